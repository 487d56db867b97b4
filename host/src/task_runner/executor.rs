//! An executor: a guest of one job that runs its tasks one after the other.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use grid_protocol::job::{Assignment, AttemptEnd, AttemptId, AttemptResult, JobId, Payload};
use grid_protocol::limits::{LOG_LINE_BYTES_MAX, LOG_TAIL_MAX, MESSAGE_BYTES_MAX, RESULTS_MAX};
use grid_protocol::link::MessageKind;
use grid_protocol::time::{micros, millis};
use grid_protocol::worker::{Failure, FailureKind, LogLevel, LogLine};
use parking_lot::{Mutex, MutexGuard};
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
    /// The input of the current task, until the guest takes it.
    input: Option<Bytes>,
    waker: Option<Waker>,
    /// The guest was asked to end when it is idle.
    stopping: bool,
    /// The guest is being aborted, and gets no more tasks.
    ending: bool,
    /// The guest has taken a task, so its start succeeded.
    begun: bool,
    /// The failure that the guest reported before it took a task.
    refusal: Option<Failure>,
    seq: u64,
    idle_since: Instant,
}

/// The current task of an executor.
#[derive(Debug)]
pub(super) struct RunningTask {
    attempt: AttemptId,
    task: u64,
    /// When the guest took the task; until then, when the executor was given it.
    began: Instant,
    timeout: Duration,
    results: Vec<Payload>,
    bytes: usize,
    failure: Option<Failure>,
    log: VecDeque<LogLine>,
    /// When the guest was told that its timeout has passed.
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

    /// Ends the attempt as failed, because its guest ended or could not be started.
    pub(super) fn failed(mut self, failure: Failure) -> AttemptEnd {
        self.failure = Some(failure);
        self.end()
    }

    fn end(self) -> AttemptEnd {
        let ran_us = micros(self.began.elapsed());
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
        AttemptEnd { attempt: self.attempt, ran_us, result }
    }
}

/// The task that an executor had not finished when its guest ended.
pub(super) enum Unfinished {
    /// The guest had taken the task.
    Begun(RunningTask),
    /// The guest never started this task, so it is requeued without an attempt charged. The guest had done other tasks
    /// before, or was aborted.
    Untouched(Assignment),
    /// The guest failed in its start, with the failure that it reported, if any.
    NotBegun(RunningTask, Option<Failure>),
}

/// Wall-clock time in which a guest must complete its start; [`Limits::start`] bounds its processor time.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// A failure of the host itself.
pub(super) fn host_fault(message: String) -> Failure {
    Failure { kind: FailureKind::HostFault, message, backtrace: Vec::new() }
}

impl Executor {
    /// Starts a guest, which takes a task once its `init` is done.
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
        *executor.abort.lock() = Some(abort);
        Ok(executor)
    }

    pub(super) fn job(&self) -> JobId {
        self.job
    }

    /// Gives the executor a task. The caller makes sure that it has none.
    pub(super) fn give(&self, task: RunningTask, input: Bytes) {
        if let Some(abort) = self.abort() {
            abort.expire(false);
        }
        let mut state = self.lock();
        state.task = Some(task);
        state.input = Some(input);
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Takes the unfinished task, if any, after the guest has ended.
    pub(super) fn take_task(&self) -> Option<Unfinished> {
        let mut state = self.lock();
        let task = state.task.take()?;
        let Some(input) = state.input.take() else {
            return Some(Unfinished::Begun(task));
        };
        if state.begun || task.failure.is_none() && state.ending {
            let input = Payload::Here(input);
            return Some(Unfinished::Untouched(Assignment { attempt: task.attempt, task: task.task, input }));
        }
        Some(Unfinished::NotBegun(task, state.refusal.take()))
    }

    /// True if the guest is being aborted, so that it must get no more tasks.
    pub(super) fn is_ending(&self) -> bool {
        self.lock().ending
    }

    /// True if `attempt` is the current task.
    pub(super) fn has(&self, attempt: AttemptId) -> bool {
        self.lock().task.as_ref().is_some_and(|task| task.attempt == attempt)
    }

    /// The current attempt, unless the guest is stuck, so that the lease must not be renewed.
    pub(super) fn vouched(&self) -> Option<AttemptId> {
        let stuck = self.is_stuck();
        self.lock().task.as_ref().filter(|_| !stuck).map(|task| task.attempt)
    }

    /// True if the guest no longer yields to preemption, so that its thread must hang.
    pub(super) fn is_stuck(&self) -> bool {
        self.abort().is_some_and(|abort| abort.is_stuck())
    }

    /// How long the current task has been running; zero before the guest takes it.
    pub(super) fn running_for(&self, now: Instant) -> Duration {
        let state = self.lock();
        let task = state.task.as_ref().filter(|_| state.input.is_none());
        task.map_or(Duration::ZERO, |task| now.duration_since(task.began))
    }

    /// Asks the guest to end when it is idle.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Aborts the guest, whatever it is doing.
    pub(super) fn end_now(&self) {
        self.lock().ending = true;
        self.stop();
        if let Some(abort) = self.abort() {
            abort.now();
        }
    }

    /// Ends the guest if its start or its task has taken too long.
    ///
    /// A task's guest is first made to trap, which gives a backtrace, and is aborted if it still runs after `grace`.
    pub(super) fn check_time(&self, now: Instant, grace: Duration) {
        let mut state = self.lock();
        let untaken = state.input.is_some();
        let Some(task) = &mut state.task else {
            return;
        };
        if untaken {
            // The guest is still starting, which has a limit of its own.
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
        self.abort.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, ExecutorState> {
        self.inner.lock()
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
        // What a guest sends before it has taken the task is no result of it.
        if state.input.is_some() {
            return;
        }
        let Some(task) = &mut state.task else {
            return;
        };
        // Only payload bytes count: the overhead of each result is bounded by `RESULTS_MAX`.
        task.bytes += payload.len();
        if task.bytes > MESSAGE_BYTES_MAX || task.results.len() >= RESULTS_MAX {
            task.results.clear();
            let message = format!(
                "its results are over {MESSAGE_BYTES_MAX} bytes, or more than {RESULTS_MAX} messages"
            );
            let failure = Failure { kind: FailureKind::MessageTooLarge, message, backtrace: Vec::new() };
            task.failure.get_or_insert(failure);
        } else {
            task.results.push(Payload::Here(payload));
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
        if task.log.len() >= LOG_TAIL_MAX {
            task.log.pop_front();
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        task.log.push_back(LogLine {
            unix_ms: millis(since),
            level: LogLevel::from_number(level),
            text: text.get(..text.floor_char_boundary(LOG_LINE_BYTES_MAX)).unwrap_or_default().to_owned(),
        });
    }
}
