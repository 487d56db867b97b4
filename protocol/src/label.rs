//! Labels: what a host says of itself, so that work finds it.

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
