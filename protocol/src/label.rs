//! Labels: properties of a host that placements can require.

use alloc::string::String;

use crate::codec::{Decode, Encode};

/// A label of a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}
