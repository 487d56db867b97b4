//! What the manager keeps on disk that never crosses the wire as such.

use alloc::string::String;
use alloc::vec::Vec;

use crate::codec::{Decode, Encode};
use crate::job::{AttemptFailure, JobSpec, JobState, Outcome};
use crate::key::PublicKey;

/// A module that the manager keeps.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ModuleRecord {
    /// The signed manifest, as it came.
    pub manifest: Vec<u8>,
    /// The way in: `core`, `command` or `component`.
    pub door: String,
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

/// What a task that failed has been through, under its job and the task's number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct TrialRecord {
    /// Attempts that failed by the guest's fault.
    pub guest: u32,
    /// Attempts that failed by a host's fault.
    pub host: u32,
    /// Attempts whose host was lost while it ran.
    pub lost: u32,
    /// The failures, oldest first, the newest [`FAILURES_KEPT_MAX`](crate::limits::FAILURES_KEPT_MAX) of them.
    pub failures: Vec<AttemptFailure>,
}
