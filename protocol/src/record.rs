//! Records that the manager keeps on disk and never sends in this form.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use crate::codec::{Decode, Encode};
use crate::job::{AttemptId, JobId, JobSpec, JobState, Outcome};
use crate::key::PublicKey;

/// A module, as the manager keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ModuleRecord {
    /// The signed manifest, as it was received.
    pub manifest: Vec<u8>,
    /// The kind of entry point: `core`, `command` or `component`.
    pub entry_point: String,
}

/// A job, as the manager keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JobRecord {
    /// The key of the client that created it.
    pub owner: PublicKey,
    /// What its tasks have in common.
    pub spec: JobSpec,
    /// The job's state.
    pub state: JobState,
    /// When it was created, in seconds since 1970.
    pub created: u64,
    /// Number of accepted tasks.
    pub submitted: u64,
    /// Length of all inputs together, in bytes.
    pub input_bytes: u64,
    /// The highest number of an outcome when this was written; later outcomes have higher numbers.
    pub recorded: u64,
    /// Tasks with results when this was written; exact once the job is over.
    pub done: u64,
    /// Tasks with a final failure when this was written.
    pub dead: u64,
}

/// The outcome of a task. A dead task's attempts are kept separately.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[bincode(decode_context = "crate::codec::PayloadRoom")]
pub struct OutcomeRecord {
    /// The task's number in its job.
    pub task: u64,
    /// Display name of the host that the last attempt ran on.
    pub host: String,
    /// How long the last attempt ran, in microseconds.
    pub ran_us: u64,
    /// The outcome.
    pub outcome: Outcome,
}

/// How tasks ended whose outcomes are in one block, in the same order and under the same key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct EndBlock {
    /// Of each task.
    pub ends: Vec<TaskEnd>,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct TaskEnd {
    /// The task's number in its job.
    pub task: u64,
    /// True if the task is dead.
    pub dead: bool,
    /// How long the last attempt ran, in microseconds.
    pub ran_us: u64,
}

/// Leases that a host was given together, kept under the number of the first.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LeaseBlock {
    /// The job.
    pub job: JobId,
    /// The host that has them.
    pub host: PublicKey,
    /// The attempts, ascending, and the task of each. They end from the first on, mostly.
    pub attempts: VecDeque<(AttemptId, u64)>,
}
