//! An executor: a guest of one job, from one task to the next.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use grid_protocol::job::{Assignment, AttemptEnd, AttemptId, AttemptResult, JobId, Payload};
use grid_protocol::limits::{LAST_WORDS_MAX, LOG_LINE_BYTES_MAX, PAYLOAD_BYTES_MAX, RESULTS_MAX};
use grid_protocol::link::Kind;
use grid_protocol::worker::{Failure, FailureKind, LogLevel, LogLine};
use tokio::time::Instant;

use super::Workbench;
use crate::mailbox::{Incoming, Letter, Mail};
use crate::sandbox::{Kill, Limits, Program};

/// A guest of one job.
#[derive(Debug)]
pub(super) struct Executor {
    job: JobId,
    bench: Weak<Workbench>,
    me: Weak<Self>,
    kill: Mutex<Option<Kill>>,
    inner: Mutex<State>,
}

#[derive(Debug)]
struct State {
    hand: Option<Hand>,
    input: Option<Bytes>,
    waker: Option<Waker>,
    stopping: bool,
    seq: u64,
    idle_since: Instant,
}

/// The task in hand.
#[derive(Debug)]
pub(super) struct Hand {
    attempt: AttemptId,
    began: Instant,
    timeout: Duration,
    results: Vec<Payload>,
    bytes: usize,
    failure: Option<Failure>,
    log: VecDeque<LogLine>,
    /// When it was told that its time is over.
    expired: Option<Instant>,
}

impl Hand {
    pub(super) fn new(task: &Assignment, timeout: Duration) -> Self {
        Self {
            attempt: task.attempt,
            began: Instant::now(),
            timeout,
            results: Vec::new(),
            bytes: 0,
            failure: None,
            log: VecDeque::new(),
            expired: None,
        }
    }

    /// The attempt failed with the guest, or for want of one.
    pub(super) fn failed(mut self, failure: Failure) -> AttemptEnd {
        self.failure = Some(failure);
        self.end()
    }

    fn end(self) -> AttemptEnd {
        let ran_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let result = match self.failure {
            None => AttemptResult::Done(self.results),
            Some(mut failure) => {
                if self.expired.is_some() {
                    failure.kind = FailureKind::Timeout;
                    failure.message = format!("it took longer than its timeout of {:?}", self.timeout);
                }
                AttemptResult::Failed { failure, log: self.log.into() }
            }
        };
        AttemptEnd { attempt: self.attempt, ran_us, result }
    }
}

/// The host itself is at fault.
pub(super) fn host_fault(message: String) -> Failure {
    Failure { kind: FailureKind::HostFault, message, backtrace: Vec::new() }
}

impl Executor {
    /// Starts a guest; it takes a task as soon as it is through its `init`.
    pub(super) fn start(
        bench: &Arc<Workbench>,
        job: JobId,
        program: &Program,
        limits: Limits,
        arguments: Bytes,
    ) -> Result<Arc<Self>, Failure> {
        let executor = Arc::new_cyclic(|me| Self {
            job,
            bench: Arc::downgrade(bench),
            me: me.clone(),
            kill: Mutex::default(),
            inner: Mutex::new(State {
                hand: None,
                input: None,
                waker: None,
                stopping: false,
                seq: 0,
                idle_since: Instant::now(),
            }),
        });
        let ending = executor.clone();
        let on_end = move |end| {
            if let Some(bench) = ending.bench.upgrade() {
                bench.ended(&ending, end);
            }
        };
        let mail: Arc<dyn Mail> = executor.clone();
        let started = bench.sandbox.start(program, arguments, limits, mail, || (), on_end);
        let kill = started.map_err(|error| host_fault(error.to_string()))?;
        *executor.kill.lock().unwrap_or_else(PoisonError::into_inner) = Some(kill);
        Ok(executor)
    }

    pub(super) fn job(&self) -> JobId {
        self.job
    }

    /// Gives it a task; it has none.
    pub(super) fn give(&self, hand: Hand, input: Vec<u8>) {
        if let Some(kill) = self.kill() {
            kill.expire(false);
        }
        let mut state = self.lock();
        state.hand = Some(hand);
        state.input = Some(Bytes::from(input));
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Takes what it has in hand, when it is no more.
    pub(super) fn take_hand(&self) -> Option<Hand> {
        self.lock().hand.take()
    }

    /// True if it works on that attempt.
    pub(super) fn has(&self, attempt: AttemptId) -> bool {
        self.lock().hand.as_ref().is_some_and(|hand| hand.attempt == attempt)
    }

    /// The attempt that it works on, unless it is stuck: not even preempted any more.
    pub(super) fn vouched(&self) -> Option<AttemptId> {
        let stuck = self.kill().is_some_and(|kill| kill.is_stuck());
        self.lock().hand.as_ref().filter(|_| !stuck).map(|hand| hand.attempt)
    }

    /// Asks it to end when it is idle.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Ends it at once, whatever it does.
    pub(super) fn end_now(&self) {
        self.stop();
        if let Some(kill) = self.kill() {
            kill.now();
        }
    }

    /// Ends the guest if its task has taken too long: first by a trap of its own, then without asking.
    pub(super) fn check_time(&self, now: Instant, grace: Duration) {
        let mut state = self.lock();
        let Some(hand) = &mut state.hand else {
            return;
        };
        match hand.expired {
            None if now.duration_since(hand.began) >= hand.timeout => {
                hand.expired = Some(now);
                drop(state);
                if let Some(kill) = self.kill() {
                    kill.expire(true);
                }
            }
            Some(since) if now.duration_since(since) >= grace => {
                drop(state);
                self.end_now();
            }
            _ => {}
        }
    }

    pub(super) fn is_idle_for(&self, now: Instant, most: Duration) -> bool {
        let state = self.lock();
        state.hand.is_none() && now.duration_since(state.idle_since) >= most
    }

    fn kill(&self) -> Option<Kill> {
        self.kill.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mail for Executor {
    fn poll_incoming(&self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let mut state = self.lock();
        if let Some(payload) = state.input.take() {
            state.seq += 1;
            return Poll::Ready(Incoming::Message(Letter { seq: state.seq, kind: Kind::Message, payload }));
        }
        if state.stopping {
            return Poll::Ready(Incoming::Stop);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn send(&self, payload: Bytes) {
        let mut state = self.lock();
        let Some(hand) = &mut state.hand else {
            return;
        };
        hand.bytes += payload.len() + 16;
        if hand.bytes > PAYLOAD_BYTES_MAX || hand.results.len() >= RESULTS_MAX {
            hand.results.clear();
            let message = format!(
                "its results are over {PAYLOAD_BYTES_MAX} bytes, or more than {RESULTS_MAX} messages"
            );
            let failure = Failure { kind: FailureKind::MessageTooLarge, message, backtrace: Vec::new() };
            hand.failure.get_or_insert(failure);
        } else {
            hand.results.push(Payload::Here(payload.into()));
        }
    }

    fn has_room(&self) -> bool {
        true
    }

    fn poll_room(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn fail(&self, _: u64, failure: Failure) {
        if let Some(hand) = &mut self.lock().hand {
            hand.failure.get_or_insert(failure);
        }
    }

    fn done(&self, _: u64) {
        let mut state = self.lock();
        state.idle_since = Instant::now();
        let Some(hand) = state.hand.take() else {
            return;
        };
        drop(state);
        if let (Some(bench), Some(me)) = (self.bench.upgrade(), self.me.upgrade()) {
            bench.finished(&me, hand.end());
        }
    }

    fn flush(&self) {}

    fn log(&self, level: u8, text: &str, allowed: bool) {
        let mut state = self.lock();
        let Some(hand) = state.hand.as_mut().filter(|_| allowed) else {
            return;
        };
        if hand.log.len() >= LAST_WORDS_MAX {
            hand.log.pop_front();
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        hand.log.push_back(LogLine {
            unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            level: LogLevel::from_number(level),
            text: text.get(..text.floor_char_boundary(LOG_LINE_BYTES_MAX)).unwrap_or_default().to_owned(),
        });
    }
}
