//! Blobs: inputs and results that are too long for a record, as files.

pub(crate) mod store;
pub(crate) mod transfer_slots;
