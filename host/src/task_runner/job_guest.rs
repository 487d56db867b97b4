//! A guest that runs the tasks of one job, one after the other.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::job::{Assignment, AttemptId, JobId};
use grid_protocol::link::MessageKind;
use grid_protocol::worker::{Failure, FailureKind};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::TaskRunner;
use super::running_task::RunningTask;
use crate::mailbox::{Delivery, MessagePort, Received};
use crate::sandbox::{AbortHandle, GuestStart, Limits, Program, SandboxError, TrustDomain};

/// A guest of one job.
#[derive(Debug)]
pub(super) struct JobGuest {
    job: JobId,
    runner: Weak<TaskRunner>,
    me: Weak<Self>,
    abort: Mutex<Option<AbortHandle>>,
    inner: Mutex<JobGuestState>,
}

#[derive(Debug)]
struct JobGuestState {
    /// The tasks that it was given: the one that it works on, and those that it will work on next.
    tasks: VecDeque<RunningTask>,
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

/// The task that a guest worked on, or was to work on, when it ended.
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

/// Time for which a task may run while others wait behind it in the same guest, and that these may be expected to take.
const AHEAD_TIME_MAX: Duration = Duration::from_millis(20);

/// A failure of the host itself.
pub(super) fn host_fault(message: String) -> Failure {
    Failure { kind: FailureKind::HostFault, message, backtrace: Vec::new() }
}

impl JobGuest {
    /// Starts a guest, which takes a task once its `init` is done.
    pub(super) fn start(
        runner: &Arc<TaskRunner>,
        job: JobId,
        program: &Program,
        limits: Limits,
        arguments: Bytes,
    ) -> Result<Arc<Self>, SandboxError> {
        let guest = Self::new(Arc::downgrade(runner), job);
        let ending = guest.clone();
        let on_end = move |end| {
            if let Some(runner) = ending.runner.upgrade() {
                runner.ended(&ending, end);
            }
        };
        let start = GuestStart {
            arguments,
            limits,
            mailbox: guest.clone(),
            on_start: Box::new(|| ()),
            on_end: Box::new(on_end),
        };
        let abort = runner.sandbox.start(program, TrustDomain::Job(job), start)?;
        *guest.abort.lock() = Some(abort);
        Ok(guest)
    }

    /// A guest that has no task, and is not started.
    fn new(runner: Weak<TaskRunner>, job: JobId) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            job,
            runner,
            me: me.clone(),
            abort: Mutex::default(),
            inner: Mutex::new(JobGuestState {
                tasks: VecDeque::new(),
                waker: None,
                stopping: false,
                ending: false,
                begun: false,
                refusal: None,
                seq: 0,
                idle_since: Instant::now(),
            }),
        })
    }

    pub(super) fn job(&self) -> JobId {
        self.job
    }

    /// Gives the guest a task, to be done after those that it has.
    pub(super) fn give(&self, task: RunningTask) {
        let mut state = self.lock();
        if state.tasks.is_empty()
            && let Some(abort) = self.abort()
        {
            abort.expire(false);
        }
        state.tasks.push_back(task);
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Number of tasks that it has been given and has not ended.
    pub(super) fn tasks(&self) -> usize {
        self.lock().tasks.len()
    }

    /// Takes the unfinished task, if any, after the guest has ended, and those that waited behind it.
    pub(super) fn take_tasks(&self) -> (Option<Unfinished>, Vec<Assignment>) {
        let mut state = self.lock();
        let mut tasks = std::mem::take(&mut state.tasks).into_iter();
        let Some(task) = tasks.next() else {
            return (None, Vec::new());
        };
        let waiting = tasks.filter_map(|task| task.again()).collect();
        if task.is_taken() {
            return (Some(Unfinished::Begun(task)), waiting);
        }
        let unfinished = match task.again() {
            Some(again) if state.begun || task.failure.is_none() && state.ending => {
                Unfinished::Untouched(again)
            }
            _ => Unfinished::NotBegun(task, state.refusal.take()),
        };
        (Some(unfinished), waiting)
    }

    /// Takes back the tasks that wait behind one which takes long, or that take long together if each takes `pace` seconds,
    /// as the last ones did: so that others may do them.
    pub(super) fn withdraw(&self, now: Instant, pace: f64) -> Vec<Assignment> {
        let mut state = self.lock();
        let Some(front) = state.tasks.front().filter(|task| task.is_taken()) else {
            return Vec::new();
        };
        let is_late = now.duration_since(front.began) >= AHEAD_TIME_MAX;
        let behind = state.tasks.len() - 1;
        if behind == 0 || !is_late && pace * (behind as f64) < AHEAD_TIME_MAX.as_secs_f64() {
            return Vec::new();
        }
        let first = front.seq;
        let Some(begun) = self.abort().and_then(|abort| abort.withdraw(first, state.seq)) else {
            return Vec::new();
        };
        let begun = |task: &RunningTask| task.is_taken() && task.seq <= begun;
        let kept = state.tasks.iter().take_while(|task| begun(task)).count().max(1);
        state.tasks.split_off(kept).iter().filter_map(RunningTask::again).collect()
    }

    /// True if the guest is being aborted, so that it must get no more tasks.
    pub(super) fn is_ending(&self) -> bool {
        self.lock().ending
    }

    /// True if `attempt` is the task that it works on.
    pub(super) fn has(&self, attempt: AttemptId) -> bool {
        self.lock().tasks.front().is_some_and(|task| task.attempt == attempt)
    }

    /// The attempts that it has, unless the guest is stuck, so that their leases must not be renewed.
    pub(super) fn vouched(&self) -> Vec<AttemptId> {
        if self.is_stuck() {
            return Vec::new();
        }
        self.lock().tasks.iter().map(|task| task.attempt).collect()
    }

    /// True if the guest no longer yields to preemption, so that its thread must hang.
    pub(super) fn is_stuck(&self) -> bool {
        self.abort().is_some_and(|abort| abort.is_stuck())
    }

    /// How long the current task has been running; zero before the guest takes it.
    pub(super) fn running_for(&self, now: Instant) -> Duration {
        let state = self.lock();
        let task = state.tasks.front().filter(|task| task.is_taken());
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
        let Some(task) = state.tasks.front_mut() else {
            return;
        };
        if !task.is_taken() {
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
        state.tasks.is_empty() && now.duration_since(state.idle_since) >= most
    }

    fn abort(&self) -> Option<AbortHandle> {
        self.abort.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, JobGuestState> {
        self.inner.lock()
    }
}

impl JobGuestState {
    /// The task that the guest works on.
    fn at_work(&mut self) -> Option<&mut RunningTask> {
        // What a guest sends before it has taken a task is no result of it.
        self.tasks.front_mut().filter(|task| task.is_taken())
    }
}

impl MessagePort for JobGuest {
    fn poll_incoming(&self, cx: &mut Context<'_>) -> Poll<Received> {
        let mut state = self.lock();
        let JobGuestState { tasks, seq, begun, .. } = &mut *state;
        // They are taken in their order.
        let next = tasks.partition_point(RunningTask::is_taken);
        if let Some(task) = tasks.get_mut(next)
            && let Some(payload) = task.take_input()
        {
            *seq += 1;
            *begun = true;
            task.seq = *seq;
            if next == 0 {
                task.began = Instant::now();
            }
            let (seq, kind) = (*seq, MessageKind::Message);
            return Poll::Ready(Received::Message(Delivery { seq, kind, payload }));
        }
        if state.stopping {
            return Poll::Ready(Received::Stop);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn send(&self, payload: Bytes) {
        if let Some(task) = self.lock().at_work() {
            task.add_result(payload);
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
        } else if let Some(task) = state.at_work().filter(|task| task.seq == seq) {
            task.failure.get_or_insert(failure);
        }
    }

    fn done(&self, seq: u64, ran: Option<Duration>) {
        let mut state = self.lock();
        if state.at_work().is_none_or(|task| task.seq != seq) {
            return;
        }
        let now = Instant::now();
        state.idle_since = now;
        let Some(task) = state.tasks.pop_front() else {
            return;
        };
        // It has begun with the next one, if it has it already.
        if let Some(next) = state.at_work() {
            next.began = now;
        }
        drop(state);
        let most = now.duration_since(task.began);
        let ran = ran.map_or(most, |ran| ran.min(most));
        if let (Some(runner), Some(me)) = (self.runner.upgrade(), self.me.upgrade()) {
            runner.finished(&me, task.end(ran), now);
        }
    }

    fn flush(&self) {}

    fn log(&self, level: u8, text: &str, allowed: bool) {
        let mut state = self.lock();
        if let Some(task) = state.tasks.front_mut().filter(|_| allowed) {
            task.add_line(level, text);
        }
    }
}

#[cfg(test)]
mod tests;
