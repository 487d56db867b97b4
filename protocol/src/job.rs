//! Jobs: what is said about lists of tasks, their attempts and their outcomes.
//!
//! A client names its job and numbers its tasks, so that saying the same thing again after a lost connection changes
//! nothing. The manager numbers attempts: a result is taken only from the attempt that holds the lease, and the
//! number tells. Numbers on the wire are the places of variants and fields: append only.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;

use crate::codec::{Decode, Encode};
use crate::digest::Digest;
use crate::key::PublicKey;
use crate::label::Label;
use crate::limits::{
    LAST_WORDS_BYTES_MAX, LAST_WORDS_MAX, MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX, RESULTS_MAX,
};
use crate::worker::{Failure, FailureKind, LogLine};

/// Names a job, for ever: drawn at random by its client.
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

/// The text names no job: whoever typed it must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job's id is `j` and 32 hexadecimal digits")]
pub struct ParseJobIdError;

/// Names one attempt at a task and the lease that it holds: the number fences.
///
/// 24 bits of the manager's incarnation, then 40 bits of counter: sixteen million restarts, and ten years of a
/// hundred thousand attempts a second in each life would be needed to use a number twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct AttemptId(u64);

impl AttemptId {
    /// The `count`th attempt of the manager's life number `incarnation`.
    pub fn new(incarnation: u32, count: u64) -> Self {
        Self(u64::from(incarnation) << 40 | count & ((1 << 40) - 1))
    }

    /// The id from its number, as a peer or a disk gave it.
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

/// Bytes of a task or of a result.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Payload {
    /// The bytes, at most [`PAYLOAD_BYTES_MAX`].
    Here(Vec<u8>),
    /// The manager keeps them.
    Blob(BlobRef),
}

/// A payload that the manager keeps as a file, named by its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct BlobRef {
    /// The SHA-256 of its bytes.
    pub digest: Digest,
    /// How many they are, at most [`MESSAGE_BYTES_MAX`].
    pub length: u64,
}

impl Payload {
    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::Blob(stored) => stored.length,
        }
    }

    /// What it adds to a frame, in bytes, at the most.
    pub fn frame_bytes(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len() + 8,
            Self::Blob(_) => 48,
        }
    }
}

impl BlobRef {
    /// What names these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: Digest::of(bytes), length: bytes.len() as u64 }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Blob(stored) => write!(f, "{} bytes, {}", stored.length, stored.digest),
        }
    }
}

/// What the tasks of a job have in common.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JobSpec {
    /// What people call it.
    pub name: String,
    /// What runs.
    pub module: Digest,
    /// What its `init` receives.
    pub arguments: Vec<u8>,
    /// Labels that a host must carry.
    pub labels: Vec<Label>,
    /// Most memory of a task, in bytes; 0 leaves it to the manifest and the host.
    pub memory_bytes: u64,
    /// Higher goes first among the jobs of one client; clients share the slots whatever their priorities.
    pub priority: i32,
    /// How long a task may take from its start, in milliseconds; then it is stopped and blamed.
    pub timeout_ms: u64,
    /// Attempts that may fail by the guest's fault before the task is dead: 1 to 100.
    pub attempts_max: u32,
    /// When to give the whole job up.
    pub give_up: GiveUp,
}

/// When to give a whole job up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub enum GiveUp {
    /// Never: every task gets its outcome.
    #[default]
    Never,
    /// When more than so many tasks are dead.
    Count(u64),
    /// When more than so many of a hundred tasks that are over are dead, and twenty at least are over.
    Percent(u8),
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum JobState {
    /// Takes tasks, and works on them.
    Open,
    /// Takes no more tasks, and works on those that it has.
    Closed,
    /// Every task has its outcome.
    Finished,
    /// Somebody stopped it; tasks without an outcome will get none.
    Cancelled,
    /// It was given up; tasks without an outcome will get none.
    GivenUp {
        /// Why.
        why: String,
    },
}

impl JobState {
    /// True once nothing more will happen by itself.
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

/// How far a job is: `submitted = waiting + leased + done + dead`, at every moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct JobCounts {
    /// Tasks that were acknowledged.
    pub submitted: u64,
    /// Tasks that wait for a host.
    pub waiting: u64,
    /// Tasks that a host holds.
    pub leased: u64,
    /// Tasks with results.
    pub done: u64,
    /// Tasks with a final failure.
    pub dead: u64,
    /// Attempts that were made again.
    pub retried: u64,
}

/// A job, as its client sees it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JobInfo {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub owner: PublicKey,
    /// What it is.
    pub spec: JobSpec,
    /// How it stands.
    pub state: JobState,
    /// How far it is.
    pub counts: JobCounts,
    /// When it was made, in seconds since 1970 on the manager's clock.
    pub created: u64,
    /// Outcomes recorded so far: the number of the newest.
    pub recorded: u64,
    /// Hosts that work on it now.
    pub hosts: u32,
    /// Attempts that those hosts said they have begun; the others wait there, for a slot or for the module.
    pub executing: u32,
}

/// What a host needs to know of a job before its first attempt.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JobBrief {
    /// Its id.
    pub job: JobId,
    /// What runs.
    pub module: Digest,
    /// What its `init` receives.
    pub arguments: Vec<u8>,
    /// Most memory of a task, in bytes; 0 for the host's own limit.
    pub memory_bytes: u64,
    /// How long a task may take from its start, in milliseconds.
    pub timeout_ms: u64,
}

/// One attempt, given to a host.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
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
pub struct AttemptEnd {
    /// Which.
    pub attempt: AttemptId,
    /// How long it ran, in microseconds on the host's clock; an allegation.
    pub ran_us: u64,
    /// Its results, or its failure.
    pub result: AttemptResult,
}

impl AttemptEnd {
    /// Holds a host to what an attempt may report: results over the limit become a failure, long texts are cut.
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
                log.truncate(LAST_WORDS_MAX);
                log.iter_mut().for_each(|line| line.clamp(LAST_WORDS_BYTES_MAX));
            }
        }
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum AttemptResult {
    /// What the task sent, in order.
    Done(Vec<Payload>),
    /// Why it failed.
    Failed {
        /// What it died of.
        failure: Failure,
        /// The guest's last lines of log, at most [`LAST_WORDS_MAX`].
        log: Vec<LogLine>,
    },
}

/// An attempt that failed, for people.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AttemptFailure {
    /// Where.
    pub host: PublicKey,
    /// What people call the host.
    pub host_name: String,
    /// How long it ran, in microseconds.
    pub ran_us: u64,
    /// What it died of; `None` if its host was lost.
    pub failure: Option<Failure>,
    /// The guest's last lines of log.
    pub log: Vec<LogLine>,
}

/// The outcome of a task.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// What it sent, in order.
    Done(Vec<Payload>),
    /// Every attempt failed; oldest first.
    Dead {
        /// Why it was not tried again.
        why: String,
        /// The attempts, at most [`FAILURES_KEPT_MAX`](crate::limits::FAILURES_KEPT_MAX).
        attempts: Vec<AttemptFailure>,
    },
}

/// An outcome in its job's record.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OutcomeEntry {
    /// Its number in the record, from 1, in the order in which tasks ended.
    pub seq: u64,
    /// The task's number in its job, from 0.
    pub task: u64,
    /// What people call the host that it ended on.
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
