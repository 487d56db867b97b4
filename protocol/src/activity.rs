//! What the grid is doing, for those who look: the event feed, sampled tasks, and summaries.
//!
//! The manager keeps events and sampled tasks in two rings of bounded length, each with its own numbering. A reader
//! brings the number of the last entry that it has; what has left the ring since is reported as missed. Variants and
//! fields are numbered by position on the wire: append only.

mod grid_event;

use alloc::string::String;
use alloc::vec::Vec;

use crate::codec::{Decode, Encode};
use crate::digest::Digest;
use crate::job::{AttemptFailure, JobId};
use crate::key::PublicKey;

pub use grid_event::{Audience, EVENT_TEXT_BYTES_MAX, FeedEntry, GridEvent, HostActivity};

/// Most entries of a ring that one reply carries.
pub const FEED_BATCH_MAX: u32 = 1000;

/// Most sampled tasks that one reply carries.
pub const SAMPLE_BATCH_MAX: u32 = 8000;

/// How an attempt at a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum AttemptEnding {
    /// The task is done.
    Done,
    /// The attempt failed.
    Failed,
    /// Its host was lost.
    Lost,
}

impl AttemptEnding {
    /// The ending in a word, as people and scripts read it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Lost => "lost",
        }
    }
}

/// An attempt at a task that has ended: one of those that were sampled.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TaskSample {
    /// Its number, from 1.
    pub seq: u64,
    /// The task's job.
    pub job: JobId,
    /// The task's number in its job.
    pub task: u64,
    /// The host that ran it.
    pub host: PublicKey,
    /// When the manager heard of its end, in microseconds since 1970 on the manager's clock.
    pub end_unix_us: u64,
    /// How long it ran, in microseconds, as the host says.
    pub ran_us: u64,
    /// How it ended.
    pub ending: AttemptEnding,
    /// Number of attempts that it stands for, itself among them.
    pub stands_for: u32,
}

/// What has happened since the manager started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Totals {
    /// Tasks that were done.
    pub done: u64,
    /// Tasks that failed for good.
    pub dead: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts that were lost with their hosts.
    pub lost: u64,
    /// Tasks that were accepted.
    pub submitted: u64,
}

/// What happened in one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct RateSecond {
    /// Tasks that were done.
    pub done: u32,
    /// Attempts that failed or were lost.
    pub failed: u32,
}

/// The grid at a glance, in figures.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Overview {
    /// The manager's time, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Jobs that are not over.
    pub jobs: u32,
    /// Tasks that wait, over all jobs.
    pub waiting: u64,
    /// Tasks that hosts hold.
    pub leased: u64,
    /// Attempts that their hosts have reported as begun.
    pub executing: u32,
    /// Hosts in quarantine.
    pub quarantined: u32,
    /// What has happened since the manager started.
    pub totals: Totals,
    /// The last seconds that are over, oldest first.
    pub rates: Vec<RateSecond>,
    /// The number of the newest event.
    pub newest_event: u64,
    /// The number of the newest sampled task.
    pub newest_sample: u64,
}

/// Attempts of a job that failed for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FailureReason {
    /// The kind of failure, in a word or two.
    pub kind: String,
    /// The beginning of its message.
    pub message: String,
    /// Number of attempts.
    pub count: u64,
    /// The task of the newest of them.
    pub task: u64,
    /// The display name of its host.
    pub host: String,
}

/// One of the slowest tasks of a job.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SlowTask {
    /// The task's number in its job.
    pub task: u64,
    /// How long it ran, in microseconds.
    pub ran_us: u64,
    /// The display name of its host.
    pub host: String,
}

/// What the manager has seen of a job's attempts since it started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct JobSummary {
    /// Why attempts failed, the most frequent reason first.
    pub reasons: Vec<FailureReason>,
    /// Failed attempts for reasons that are not listed, because there are too many of them.
    pub other_failures: u64,
    /// The slowest tasks that were done, slowest first.
    pub slowest: Vec<SlowTask>,
    /// Tasks that were done.
    pub done: u64,
    /// Their running time together, in microseconds.
    pub ran_us: u64,
}

/// How a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum TaskStanding {
    /// It waits for a host.
    Waiting,
    /// Hosts hold it.
    Held(Vec<HeldAttempt>),
    /// It is done.
    Done {
        /// The display name of the host.
        host: String,
        /// How long the attempt ran, in microseconds.
        ran_us: u64,
        /// Length of each result, in bytes.
        results: Vec<u64>,
    },
    /// It failed for good.
    Dead {
        /// Why it is not tried again.
        why: String,
    },
}

impl TaskStanding {
    /// The standing in a word, as people and scripts read it.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Held(_) => "with a host",
            Self::Done { .. } => "done",
            Self::Dead { .. } => "failed",
        }
    }
}

/// An attempt that a host holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HeldAttempt {
    /// The attempt, as text.
    pub attempt: String,
    /// The task's job.
    pub job: JobId,
    /// The task's number in its job.
    pub task: u64,
    /// The display name of the host.
    pub host: String,
    /// How long it has run, in milliseconds; `None` if it has not begun.
    pub running_ms: Option<u64>,
    /// How long its lease is still good, in milliseconds.
    pub lease_ms: u64,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TaskInfo {
    /// The task's job.
    pub job: JobId,
    /// The task's number in its job.
    pub task: u64,
    /// How it stands.
    pub standing: TaskStanding,
    /// Its newest failed attempts, oldest first.
    pub failures: Vec<AttemptFailure>,
}

/// What one host is doing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HostWork {
    /// The host.
    pub host: PublicKey,
    /// Attempts that it holds, those that run first; at most [`FEED_BATCH_MAX`].
    pub attempts: Vec<HeldAttempt>,
    /// Number of attempts that it holds.
    pub held: u32,
    /// Number of attempts that it would hold.
    pub window: u32,
    /// Modules that it has, as far as the manager knows.
    pub modules: Vec<Digest>,
    /// Why it gets what it gets, one sentence a line.
    pub explanation: Vec<String>,
}

/// How much one host has to do.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HostLoad {
    /// The host.
    pub host: PublicKey,
    /// Number of attempts that it holds.
    pub held: u32,
    /// Number of attempts that it would hold.
    pub window: u32,
    /// Number of attempts that run, as far as it has said.
    pub executing: u32,
    /// For how long it still gets nothing, in milliseconds, because it failed what others did; `None` if it is trusted.
    pub quarantine_ms: Option<u64>,
}

/// Hosts of a module that a list names.
pub const MODULE_HOSTS_MAX: usize = 50;

/// The hosts that have a module, as far as the manager knows.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ModuleSpread {
    /// The module.
    pub module: Digest,
    /// Number of hosts that have it.
    pub hosts: u32,
    /// Some of them, at most [`MODULE_HOSTS_MAX`].
    pub on: Vec<PublicKey>,
}

/// Something that somebody did, or tried to do.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AuditEntry {
    /// Its number, from 1, in the order of time.
    pub seq: u64,
    /// When, in seconds since 1970 on the manager's clock.
    pub unix: u64,
    /// The key of who did it.
    pub key: PublicKey,
    /// The way it came, in a word: `client`, `page`, `token`, or `manager` for the program that the manager is part of.
    pub via: String,
    /// What was done, in a word or two: `host approve`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// Why it was refused; `None` if it was done.
    pub refused: Option<String>,
}
