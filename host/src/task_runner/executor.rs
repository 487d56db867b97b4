//! An executor: a guest of one job, from one task to the next.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use grid_protocol::job::{Assignment, AttemptEnd, AttemptId, AttemptResult, JobId, Payload};
use grid_protocol::limits::{LAST_WORDS_MAX, LOG_LINE_BYTES_MAX, MESSAGE_BYTES_MAX, RESULTS_MAX};
use grid_protocol::link::MessageKind;
use grid_protocol::worker::{Failure, FailureKind, LogLevel, LogLine};
use tokio::time::Instant;

use super::TaskRunner;
use crate::mailbox::{Delivery, MessagePort, Received};
use crate::sandbox::{AbortHandle, Limits, Program, SandboxError};

/// A guest of one job.
#[derive(Debug)]
pub(super) struct Executor {
    job: JobId,
    runner: Weak<TaskRunner>,
    me: Weak<Self>,
    abort: Mutex<Option<AbortHandle>>,
    inner: Mutex<ExecutorState>,
}

#[derive(Debug)]
struct ExecutorState {
    task: Option<RunningTask>,
    /// The input of the task in hand, until the guest takes it.
    input: Option<Bytes>,
    waker: Option<Waker>,
    /// It is to end when it is idle.
    stopping: bool,
    /// It is to end at once: it gets nothing more.
    ending: bool,
    /// It has taken a task: it got through its start.
    begun: bool,
    /// Why it does not begin, in its own words.
    refusal: Option<Failure>,
    seq: u64,
    idle_since: Instant,
}

/// The task in hand.
#[derive(Debug)]
pub(super) struct RunningTask {
    attempt: AttemptId,
    task: u64,
    /// When the guest took it; until then, when it was given to the guest.
    began: Instant,
    timeout: Duration,
    results: Vec<Payload>,
    bytes: usize,
    failure: Option<Failure>,
    log: VecDeque<LogLine>,
    /// When it was told that its time is over.
    expired: Option<Instant>,
}

impl RunningTask {
    pub(super) fn new(task: &Assignment, timeout: Duration) -> Self {
        Self {
            attempt: task.attempt,
            task: task.task,
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
                // The clock and the guest's own budget run out at about the same time.
                let spent = failure.kind == FailureKind::TimeLimit && self.began.elapsed() >= self.timeout;
                if self.expired.is_some() || spent {
                    failure.kind = FailureKind::Timeout;
                    failure.message = format!("it took longer than its timeout of {:?}", self.timeout);
                }
                AttemptResult::Failed { failure, log: self.log.into() }
            }
        };
        AttemptEnd { attempt: self.attempt, ran_us, result }
    }
}

/// What an executor had in hand when it ended.
pub(super) enum Unfinished {
    /// The guest had taken it.
    Begun(RunningTask),
    /// The guest, which had done others before or was told to end, had not: it is as good as new.
    Untouched(Assignment),
    /// The guest did not get through its start, and why in its own words.
    NotBegun(RunningTask, Option<Failure>),
}

/// A guest must be through its start after so long, by the clock on the wall: its time on a processor is bounded
/// already.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// The host itself is at fault.
pub(super) fn host_fault(message: String) -> Failure {
    Failure { kind: FailureKind::HostFault, message, backtrace: Vec::new() }
}

impl Executor {
    /// Starts a guest; it takes a task as soon as it is through its `init`.
    pub(super) fn start(
        runner: &Arc<TaskRunner>,
        job: JobId,
        program: &Program,
        limits: Limits,
        arguments: Bytes,
    ) -> Result<Arc<Self>, SandboxError> {
        let executor = Arc::new_cyclic(|me| Self {
            job,
            runner: Arc::downgrade(runner),
            me: me.clone(),
            abort: Mutex::default(),
            inner: Mutex::new(ExecutorState {
                task: None,
                input: None,
                waker: None,
                stopping: false,
                ending: false,
                begun: false,
                refusal: None,
                seq: 0,
                idle_since: Instant::now(),
            }),
        });
        let ending = executor.clone();
        let on_end = move |end| {
            if let Some(runner) = ending.runner.upgrade() {
                runner.ended(&ending, end);
            }
        };
        let mail: Arc<dyn MessagePort> = executor.clone();
        let abort = runner.sandbox.start(program, arguments, limits, mail, || (), on_end)?;
        *executor.abort.lock().unwrap_or_else(PoisonError::into_inner) = Some(abort);
        Ok(executor)
    }

    pub(super) fn job(&self) -> JobId {
        self.job
    }

    /// Gives it a task; it has none.
    pub(super) fn give(&self, task: RunningTask, input: Vec<u8>) {
        if let Some(abort) = self.abort() {
            abort.expire(false);
        }
        let mut state = self.lock();
        state.task = Some(task);
        state.input = Some(Bytes::from(input));
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Takes what it has in hand, when it is no more.
    pub(super) fn take_task(&self) -> Option<Unfinished> {
        let mut state = self.lock();
        let task = state.task.take()?;
        let Some(input) = state.input.take() else {
            return Some(Unfinished::Begun(task));
        };
        if state.begun || task.failure.is_none() && state.ending {
            let input = Payload::Here(input.into());
            return Some(Unfinished::Untouched(Assignment { attempt: task.attempt, task: task.task, input }));
        }
        Some(Unfinished::NotBegun(task, state.refusal.take()))
    }

    /// True if it gets nothing more.
    pub(super) fn is_ending(&self) -> bool {
        self.lock().ending
    }

    /// True if it works on that attempt.
    pub(super) fn has(&self, attempt: AttemptId) -> bool {
        self.lock().task.as_ref().is_some_and(|task| task.attempt == attempt)
    }

    /// The attempt that it works on, unless it is stuck: not even preempted any more.
    pub(super) fn vouched(&self) -> Option<AttemptId> {
        let stuck = self.is_stuck();
        self.lock().task.as_ref().filter(|_| !stuck).map(|task| task.attempt)
    }

    /// True if it is not even preempted any more.
    pub(super) fn is_stuck(&self) -> bool {
        self.abort().is_some_and(|abort| abort.is_stuck())
    }

    /// How long the task in hand has been running.
    pub(super) fn running_for(&self, now: Instant) -> Duration {
        let state = self.lock();
        let task = state.task.as_ref().filter(|_| state.input.is_none());
        task.map_or(Duration::ZERO, |task| now.duration_since(task.began))
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
        self.lock().ending = true;
        self.stop();
        if let Some(abort) = self.abort() {
            abort.now();
        }
    }

    /// Ends the guest if its task has taken too long: first by a trap of its own, then without asking.
    pub(super) fn check_time(&self, now: Instant, grace: Duration) {
        let mut state = self.lock();
        let untaken = state.input.is_some();
        let Some(task) = &mut state.task else {
            return;
        };
        if untaken {
            // The guest's start has a time of its own.
            if now.duration_since(task.began) >= START_TIME_MAX {
                let message = format!("it was not through its start after {START_TIME_MAX:?}");
                let failure = Failure { kind: FailureKind::Start, message, backtrace: Vec::new() };
                task.failure.get_or_insert(failure);
                drop(state);
                self.end_now();
            }
            return;
        }
        match task.expired {
            None if now.duration_since(task.began) >= task.timeout => {
                task.expired = Some(now);
                drop(state);
                if let Some(abort) = self.abort() {
                    abort.expire(true);
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
        state.task.is_none() && now.duration_since(state.idle_since) >= most
    }

    fn abort(&self) -> Option<AbortHandle> {
        self.abort.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, ExecutorState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MessagePort for Executor {
    fn poll_incoming(&self, cx: &mut Context<'_>) -> Poll<Received> {
        let mut state = self.lock();
        if let Some(payload) = state.input.take() {
            state.seq += 1;
            state.begun = true;
            if let Some(task) = &mut state.task {
                task.began = Instant::now();
            }
            return Poll::Ready(Received::Message(Delivery {
                seq: state.seq,
                kind: MessageKind::Message,
                payload,
            }));
        }
        if state.stopping {
            return Poll::Ready(Received::Stop);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn send(&self, payload: Bytes) {
        let mut state = self.lock();
        // What a guest sends before it has taken the task has nothing to do with it.
        if state.input.is_some() {
            return;
        }
        let Some(task) = &mut state.task else {
            return;
        };
        // Their bytes alone: what each takes beside them is bounded by their number.
        task.bytes += payload.len();
        if task.bytes > MESSAGE_BYTES_MAX || task.results.len() >= RESULTS_MAX {
            task.results.clear();
            let message = format!(
                "its results are over {MESSAGE_BYTES_MAX} bytes, or more than {RESULTS_MAX} messages"
            );
            let failure = Failure { kind: FailureKind::MessageTooLarge, message, backtrace: Vec::new() };
            task.failure.get_or_insert(failure);
        } else {
            task.results.push(Payload::Here(payload.into()));
        }
    }

    fn has_room(&self) -> bool {
        true
    }

    fn poll_room(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn fail(&self, seq: u64, failure: Failure) {
        let mut state = self.lock();
        if !state.begun {
            state.refusal.get_or_insert(failure);
        } else if state.input.is_none()
            && seq == state.seq
            && let Some(task) = &mut state.task
        {
            task.failure.get_or_insert(failure);
        }
    }

    fn done(&self, seq: u64) {
        let mut state = self.lock();
        if state.input.is_some() || seq != state.seq {
            return;
        }
        state.idle_since = Instant::now();
        let Some(task) = state.task.take() else {
            return;
        };
        drop(state);
        if let (Some(runner), Some(me)) = (self.runner.upgrade(), self.me.upgrade()) {
            runner.finished(&me, task.end());
        }
    }

    fn flush(&self) {}

    fn log(&self, level: u8, text: &str, allowed: bool) {
        let mut state = self.lock();
        let Some(task) = state.task.as_mut().filter(|_| allowed) else {
            return;
        };
        if task.log.len() >= LAST_WORDS_MAX {
            task.log.pop_front();
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        task.log.push_back(LogLine {
            unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            level: LogLevel::from_number(level),
            text: text.get(..text.floor_char_boundary(LOG_LINE_BYTES_MAX)).unwrap_or_default().to_owned(),
        });
    }
}
