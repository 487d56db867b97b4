//! A task that a guest was given, until it ends.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use grid_protocol::job::{Assignment, AttemptEnd, AttemptId, AttemptResult, Payload};
use grid_protocol::limits::{LOG_LINE_BYTES_MAX, LOG_TAIL_MAX, MESSAGE_BYTES_MAX, RESULTS_MAX};
use grid_protocol::time::{micros, millis};
use grid_protocol::worker::{Failure, FailureKind, LogLevel, LogLine};
use tokio::time::Instant;

/// A task that a guest was given.
#[derive(Debug)]
pub(super) struct RunningTask {
    pub(super) attempt: AttemptId,
    task: u64,
    /// The input, until the guest takes it.
    input: Option<Bytes>,
    /// The input, kept while the guest has it, if the guest may be lost without any fault of its own.
    kept: Option<Bytes>,
    /// The number of the message that the input was handed over as.
    pub(super) seq: u64,
    /// When the guest began to work on it; until then, when the guest was given it.
    pub(super) began: Instant,
    pub(super) timeout: Duration,
    results: Vec<Payload>,
    bytes: usize,
    pub(super) failure: Option<Failure>,
    log: VecDeque<LogLine>,
    /// When the guest was told that its timeout has passed.
    pub(super) expired: Option<Instant>,
}

impl RunningTask {
    /// A task that is given to a guest `now` with its input, which is kept after the guest took it if `keep` is set.
    pub(super) fn new(
        attempt: AttemptId,
        task: u64,
        input: Bytes,
        timeout: Duration,
        keep: bool,
        now: Instant,
    ) -> Self {
        Self {
            attempt,
            task,
            kept: keep.then(|| input.clone()),
            input: Some(input),
            seq: 0,
            began: now,
            timeout,
            results: Vec::new(),
            bytes: 0,
            failure: None,
            log: VecDeque::new(),
            expired: None,
        }
    }

    /// True once the input was handed over.
    pub(super) fn is_taken(&self) -> bool {
        self.input.is_none()
    }

    /// Takes the input to hand it over.
    pub(super) fn take_input(&mut self) -> Option<Bytes> {
        self.input.take()
    }

    /// The task as it was assigned, to be begun anew; `None` if its input was not kept.
    pub(super) fn again(&self) -> Option<Assignment> {
        let input = self.input.clone().or_else(|| self.kept.clone())?;
        Some(Assignment { attempt: self.attempt, task: self.task, input: Payload::Here(input) })
    }

    /// Adds a message that the guest sent.
    pub(super) fn add_result(&mut self, payload: Bytes) {
        // Only payload bytes count: the overhead of each result is bounded by `RESULTS_MAX`.
        self.bytes += payload.len();
        if self.bytes > MESSAGE_BYTES_MAX || self.results.len() >= RESULTS_MAX {
            self.results.clear();
            let message = format!(
                "its results are over {MESSAGE_BYTES_MAX} bytes, or more than {RESULTS_MAX} messages"
            );
            let failure = Failure { kind: FailureKind::MessageTooLarge, message, backtrace: Vec::new() };
            self.failure.get_or_insert(failure);
        } else {
            self.results.push(Payload::Here(payload));
        }
    }

    /// Adds a line of the guest's log, of which the last ones are kept.
    pub(super) fn add_line(&mut self, level: u8, text: &str) {
        if self.log.len() >= LOG_TAIL_MAX {
            self.log.pop_front();
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.log.push_back(LogLine {
            unix_ms: millis(since),
            level: LogLevel::from_number(level),
            text: text.get(..text.floor_char_boundary(LOG_LINE_BYTES_MAX)).unwrap_or_default().to_owned(),
        });
    }

    /// Ends the attempt as failed, because its guest ended or could not be started.
    pub(super) fn failed(mut self, failure: Failure) -> AttemptEnd {
        self.failure = Some(failure);
        let ran = self.began.elapsed();
        self.end(ran)
    }

    /// Ends the attempt, which ran for this long.
    pub(super) fn end(self, ran: Duration) -> AttemptEnd {
        let result = match self.failure {
            None => AttemptResult::Done(self.results),
            Some(mut failure) => {
                // The wall clock and the guest's processor budget may run out at about the same time.
                let spent = failure.kind == FailureKind::TimeLimit && self.began.elapsed() >= self.timeout;
                if self.expired.is_some() || spent {
                    failure.kind = FailureKind::Timeout;
                    failure.message = format!("it took longer than its timeout of {:?}", self.timeout);
                }
                AttemptResult::Failed { failure, log: self.log.into() }
            }
        };
        AttemptEnd { attempt: self.attempt, ran_us: micros(ran), result }
    }
}
