//! Jobs: the messages about jobs, tasks, attempts and outcomes.
//!
//! A client draws the id of its job and numbers its tasks, so that a request repeated after a lost connection
//! changes nothing. The manager numbers attempts, and accepts a result only from the attempt that holds the
//! task's lease. Variants and fields are numbered by position on the wire, so new ones are appended.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;

use crate::codec::{Decode, Encode};
use crate::digest::Digest;
use crate::key::PublicKey;
use crate::label::Label;
use crate::limits::{LAST_WORDS_BYTES_MAX, LOG_TAIL_MAX, MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX, RESULTS_MAX};
use crate::worker::{Failure, FailureKind, LogLine};

pub use crate::payload::{BlobRef, Payload};

/// Identifies a job forever; drawn at random by its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct JobId(pub [u8; 16]);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("j")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for JobId {
    type Err = ParseJobIdError;

    /// Reads `j` and 32 hexadecimal digits, the form that [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, ParseJobIdError> {
        let digits = text.strip_prefix('j').ok_or(ParseJobIdError)?;
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| ParseJobIdError)?;
        bytes.try_into().map(Self).map_err(|_| ParseJobIdError)
    }
}

/// The text is not a job id; whoever typed it must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job's id is `j` and 32 hexadecimal digits")]
pub struct ParseJobIdError;

/// Identifies one attempt at a task and its lease. The manager refuses the result of an attempt without a
/// lease.
///
/// 24 bits of the manager's incarnation, then 40 bits of counter: an id is used twice only after sixteen million
/// restarts, or after 127 days of a hundred thousand attempts a second in one incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct AttemptId(u64);

impl AttemptId {
    /// Attempt number `count` of the manager's incarnation number `incarnation`.
    pub fn new(incarnation: u32, count: u64) -> Self {
        Self(u64::from(incarnation) << 40 | count & ((1 << 40) - 1))
    }

    /// The id from its number, as read from a peer or a disk.
    pub fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The id as a number.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}.{}", self.0 >> 40, self.0 & ((1 << 40) - 1))
    }
}

/// What the tasks of a job have in common.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JobSpec {
    /// The job's display name.
    pub name: String,
    /// The module that the tasks run.
    pub module: Digest,
    /// The bytes that the guest's `init` receives.
    pub arguments: Vec<u8>,
    /// Labels that a host must have.
    pub labels: Vec<Label>,
    /// Memory limit of a task, in bytes; 0 leaves it to the manifest and the host.
    pub memory_bytes: u64,
    /// Jobs of one client with a higher number go first; between clients it has no effect.
    pub priority: i32,
    /// How long one attempt may take from its start, in milliseconds. The host then ends it and reports
    /// [`FailureKind::Timeout`].
    pub timeout_ms: u64,
    /// Attempts that may fail through the guest's fault before the task is dead: 1 to 100.
    pub attempts_max: u32,
    /// When the manager gives up the whole job.
    pub give_up: GiveUp,
}

/// When the manager gives up a whole job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub enum GiveUp {
    /// Never: every task gets its outcome.
    #[default]
    Never,
    /// When more than this many tasks are dead.
    Count(u64),
    /// When more than this percentage of the tasks that are over are dead, and at least twenty are over.
    Percent(u8),
}

/// The state of a job.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum JobState {
    /// Takes tasks, and works on them.
    Open,
    /// Takes no more tasks, and works on those that it has.
    Closed,
    /// Every task has its outcome.
    Finished,
    /// Somebody stopped it; tasks without an outcome get none.
    Cancelled,
    /// The manager gave it up; tasks without an outcome get none.
    GivenUp {
        /// The reason.
        why: String,
    },
}

impl JobState {
    /// True if the job is finished, cancelled or given up. Only a retry of its dead tasks changes that.
    pub fn is_over(&self) -> bool {
        !matches!(self, Self::Open | Self::Closed)
    }

    /// The state in a word, as people and scripts read it.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "running",
            Self::Finished => "finished",
            Self::Cancelled => "stopped",
            Self::GivenUp { .. } => "given-up",
        }
    }
}

/// The progress of a job: `submitted = waiting + leased + done + dead`, at every moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct JobCounts {
    /// Tasks that the manager has accepted.
    pub submitted: u64,
    /// Tasks that wait for a host.
    pub waiting: u64,
    /// Tasks that a host holds.
    pub leased: u64,
    /// Tasks with results.
    pub done: u64,
    /// Tasks with a final failure.
    pub dead: u64,
    /// Failed or lost attempts after which the task was tried again.
    pub retried: u64,
}

/// A job, as its client sees it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JobInfo {
    /// The job's id.
    pub id: JobId,
    /// The key of the client that created it.
    pub owner: PublicKey,
    /// What its tasks have in common.
    pub spec: JobSpec,
    /// The job's state.
    pub state: JobState,
    /// The job's progress.
    pub counts: JobCounts,
    /// When it was created, in seconds since 1970 on the manager's clock.
    pub created: u64,
    /// The number of the newest outcome; 0 if there is none.
    pub recorded: u64,
    /// Number of hosts that hold attempts of the job.
    pub hosts: u32,
    /// Attempts that their hosts have reported as begun; the other leased ones wait for a slot or for the
    /// module.
    pub executing: u32,
}

/// What a host needs to know of a job before its first attempt.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JobBrief {
    /// The job's id.
    pub job: JobId,
    /// The module that the tasks run.
    pub module: Digest,
    /// The bytes that the guest's `init` receives.
    pub arguments: Vec<u8>,
    /// Memory limit of a task, in bytes; 0 for the host's own limit.
    pub memory_bytes: u64,
    /// How long one attempt may take from its start, in milliseconds.
    pub timeout_ms: u64,
}

/// One attempt, assigned to a host.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[bincode(decode_context = "crate::codec::PayloadRoom")]
pub struct Assignment {
    /// The attempt.
    pub attempt: AttemptId,
    /// The task's number in its job.
    pub task: u64,
    /// The task's input.
    pub input: Payload,
}

/// How an attempt ended at its host.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[bincode(decode_context = "crate::codec::PayloadRoom")]
pub struct AttemptEnd {
    /// The attempt that ended.
    pub attempt: AttemptId,
    /// How long the attempt ran, in microseconds on the host's clock; an allegation.
    pub ran_us: u64,
    /// Its results, or its failure.
    pub result: AttemptResult,
}

/// Upper limit of the bytes that a failure takes of a frame: its text, a backtrace, and some lines of log.
const FAILURE_BYTES: usize = 16 << 10;

impl AttemptEnd {
    /// What it takes of a frame at the most, in bytes, as [`Payload::frame_bytes`] counts.
    pub fn frame_bytes(&self) -> usize {
        let result = match &self.result {
            AttemptResult::Done(results) => results.iter().map(Payload::frame_bytes).sum(),
            AttemptResult::Failed { .. } => FAILURE_BYTES,
        };
        24 + result
    }

    /// Applies the limits of an attempt's report: too many or too long results become a
    /// [`FailureKind::HostFault`], and long texts are cut.
    pub fn clamp(&mut self) {
        match &mut self.result {
            AttemptResult::Done(results) => {
                let bytes: usize = results.iter().map(Payload::frame_bytes).sum();
                let too_long = results.iter().any(|result| result.length() > MESSAGE_BYTES_MAX as u64);
                if bytes > PAYLOAD_BYTES_MAX + 8 * RESULTS_MAX || results.len() > RESULTS_MAX || too_long {
                    let message = "the host reported more results than a task may have".into();
                    let failure = Failure { kind: FailureKind::HostFault, message, backtrace: Vec::new() };
                    self.result = AttemptResult::Failed { failure, log: Vec::new() };
                }
            }
            AttemptResult::Failed { failure, log } => {
                failure.clamp();
                log.truncate(LOG_TAIL_MAX);
                log.iter_mut().for_each(|line| line.clamp(LAST_WORDS_BYTES_MAX));
            }
        }
    }
}

/// The result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[bincode(decode_context = "crate::codec::PayloadRoom")]
pub enum AttemptResult {
    /// The attempt succeeded; the payloads that the task sent, in order.
    Done(Vec<Payload>),
    /// The attempt failed.
    Failed {
        /// Why it failed.
        failure: Failure,
        /// The guest's last lines of log, at most [`LOG_TAIL_MAX`].
        log: Vec<LogLine>,
    },
}

/// A failed attempt, for people.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AttemptFailure {
    /// The key of the host that ran it.
    pub host: PublicKey,
    /// The host's display name.
    pub host_name: String,
    /// How long the attempt ran, in microseconds.
    pub ran_us: u64,
    /// Why it failed; `None` if the host was lost.
    pub failure: Option<Failure>,
    /// The guest's last lines of log.
    pub log: Vec<LogLine>,
}

/// The outcome of a task.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[bincode(decode_context = "crate::codec::PayloadRoom")]
pub enum Outcome {
    /// The task succeeded; the payloads that it sent, in order.
    Done(Vec<Payload>),
    /// The task failed for good.
    Dead {
        /// Why the manager did not try it again.
        why: String,
        /// The newest failed attempts, oldest first, at most
        /// [`FAILURES_KEPT_MAX`](crate::limits::FAILURES_KEPT_MAX).
        attempts: Vec<AttemptFailure>,
    },
}

/// An outcome, as the manager reports it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[bincode(decode_context = "crate::codec::PayloadRoom")]
pub struct OutcomeEntry {
    /// The outcome's number in its job, from 1, in the order in which tasks ended.
    pub seq: u64,
    /// The task's number in its job, from 0.
    pub task: u64,
    /// Display name of the host that the last attempt ran on.
    pub host: String,
    /// How long the last attempt ran, in microseconds.
    pub ran_us: u64,
    /// The outcome.
    pub outcome: Outcome,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_job_id_reads_back_as_it_was_written() {
        let id = JobId([7; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "j", "j07", "07070707070707070707070707070707"] {
            assert_eq!(wrong.parse::<JobId>(), Err(ParseJobIdError), "{wrong}");
        }
    }

    #[test]
    fn attempts_of_a_later_life_have_higher_numbers() {
        assert!(AttemptId::new(2, 0) > AttemptId::new(1, (1 << 40) - 1));
        assert_eq!(AttemptId::new(3, 17).to_string(), "a3.17");
    }
}
