//! Decisions: what the driver is told to do, and what becomes of a task.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use grid_protocol::job::{AttemptId, JobId, JobState};
use grid_protocol::key::PublicKey;
use grid_protocol::worker::FailureKind;

use super::TaskHistory;

/// What the driver must do, after it made it durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobDecision {
    /// Give `host` these attempts.
    Lease {
        /// Where.
        host: PublicKey,
        /// Whose tasks.
        job: JobId,
        /// Each attempt and the task's number.
        attempts: Vec<(AttemptId, u64)>,
    },
    /// An attempt is lost: its lease ended, or its host has forgotten it.
    Lost {
        /// Which.
        attempt: AttemptId,
        /// Who had it.
        host: PublicKey,
        /// What becomes of the task.
        verdict: Verdict,
    },
    /// Tell `host` to drop these, whose leases are gone.
    Abandon {
        /// Where.
        host: PublicKey,
        /// Which.
        attempts: Vec<AttemptId>,
    },
    /// Tell `host` to drop these, to which it has no right; perhaps it never had.
    Stray {
        /// Where.
        host: PublicKey,
        /// Which.
        attempts: Vec<AttemptId>,
    },
    /// A job has come to this state.
    Turned {
        /// Which.
        job: JobId,
        /// Which state.
        state: JobState,
    },
    /// A host gets nothing of one job for a while.
    Barred {
        /// Which host.
        host: PublicKey,
        /// Which job.
        job: JobId,
        /// For how long.
        pause: Duration,
    },
    /// A host gets nothing for a while.
    Quarantined {
        /// Which.
        host: PublicKey,
        /// For how long.
        pause: Duration,
    },
}

/// What becomes of a task whose attempt has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The attempt had no right to an outcome any more: nothing changes.
    Fenced,
    /// Done: record its results under this number.
    Done {
        /// Whose task.
        job: JobId,
        /// Its number.
        task: u64,
        /// The number of the outcome.
        seq: u64,
    },
    /// Dead: record its failures under this number.
    Dead {
        /// Whose task.
        job: JobId,
        /// Its number.
        task: u64,
        /// The number of the outcome.
        seq: u64,
        /// Why it is not tried again.
        why: String,
        /// What it has been through.
        history: TaskHistory,
    },
    /// It will be tried again, and the failure is kept.
    Again {
        /// Whose task.
        job: JobId,
        /// Its number.
        task: u64,
        /// What it has been through.
        history: TaskHistory,
    },
    /// It goes back as if it had never left.
    Back {
        /// Whose task.
        job: JobId,
        /// Its number.
        task: u64,
    },
}

/// How an attempt ended, as its host says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptFate {
    /// With results.
    Done,
    /// With a failure of this kind.
    Failed(FailureKind),
}
