//! Jobs: the coordinator decides and journals, the commit writes the journal and then lets its effects take place.

pub(crate) mod announced;
pub(crate) mod commit;
pub(crate) mod coordinator;
pub(crate) mod store;
