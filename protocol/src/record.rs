//! What the manager keeps on disk that never crosses the wire as such.

use alloc::string::String;
use alloc::vec::Vec;

use crate::codec::{Decode, Encode};

/// A module that the manager keeps.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ModuleRecord {
    /// The signed manifest, as it came.
    pub manifest: Vec<u8>,
    /// The way in: `core`, `command` or `component`.
    pub door: String,
}
