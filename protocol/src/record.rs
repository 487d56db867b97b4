//! What the manager keeps on disk that never crosses the wire as such.

use alloc::string::String;
use alloc::vec::Vec;

use crate::codec::{Decode, Encode};
use crate::job::{JobSpec, JobState, Outcome};
use crate::key::PublicKey;

/// A module that the manager keeps.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ModuleRecord {
    /// The signed manifest, as it came.
    pub manifest: Vec<u8>,
    /// The way in: `core`, `command` or `component`.
    pub entry_point: String,
}

/// A job that the manager keeps.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JobRecord {
    /// Whose it is.
    pub owner: PublicKey,
    /// What it is.
    pub spec: JobSpec,
    /// How it stands.
    pub state: JobState,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Tasks up to here, exclusive, were acknowledged.
    pub submitted: u64,
    /// Bytes of all inputs together.
    pub input_bytes: u64,
    /// Numbers of outcomes up to here were used when this was written.
    pub recorded: u64,
    /// Tasks with results when this was written; all of them, once the job is over.
    pub done: u64,
    /// Tasks with a final failure when this was written.
    pub dead: u64,
}

/// The outcome of a task that the manager keeps, under its job and its number.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OutcomeRecord {
    /// The task's number in its job.
    pub task: u64,
    /// What people call the host that it ended on.
    pub host: String,
    /// How long the last attempt ran, in microseconds.
    pub ran_us: u64,
    /// The outcome.
    pub outcome: Outcome,
}

/// That a task is over, under its job and the task's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct OverRecord {
    /// The number of its outcome.
    pub seq: u64,
    /// True if it failed.
    pub dead: bool,
    /// How long the last attempt ran, in microseconds.
    pub ran_us: u64,
}
