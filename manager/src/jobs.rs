//! Jobs: the coordinator decides and journals; the group commit writes the journal, then runs the effects.

pub(crate) mod announced;
pub(crate) mod commit;
pub(crate) mod coordinator;
pub(crate) mod inputs;
mod journal;
mod leases;
pub(crate) mod store;
