//! The task_runner: the attempts that a host holds, and the executors that work on them.
//!
//! Attempts wait in the order in which they came. An executor is a guest of one job; it takes the next task as soon as
//! it is idle again, and has a slot only while it has a task. What has ended is kept until the manager has it on disk,
//! whatever becomes of the connection.

mod executor;
mod report;
mod state;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use grid_disk::Machine;
use grid_protocol::job::{
    Assignment, AttemptEnd, AttemptId, AttemptResult, BlobRef, JobBrief, JobId, Payload,
};
use grid_protocol::limits::PAYLOAD_BYTES_MAX;
use grid_protocol::worker::{End, Failure, FailureKind, LimitsAsked};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::outbox::Outbox;
use crate::sandbox::{Program, Sandbox};
use executor::{Executor, Unfinished};
pub(crate) use report::LEASE_RENEWAL;
use state::{AttemptState, JobQueue, Readiness, RunnerState};

/// The attempts of a host.
#[derive(Debug)]
pub(crate) struct TaskRunner {
    sandbox: Sandbox,
    outbox: Arc<Outbox>,
    machine: Machine,
    inner: Mutex<RunnerState>,
    /// Wakes the timer loop: there is something to keep time of.
    busy: Notify,
    /// Wakes whoever waits for the last attempt to end.
    emptied: Arc<Notify>,
    /// Where attempts with long results go.
    long: mpsc::UnboundedSender<(JobId, AttemptEnd)>,
}

/// A host without a connection starts no more tasks after so long: the leases of those that wait are gone, twice over.
const ALONE_MAX: Duration = Duration::from_secs(30);

/// An executor without a task is kept for so long.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// How often timeouts are looked at while anything runs.
const TICK: Duration = Duration::from_millis(50);

/// An executor that was told to end when it is idle, and does not, is ended after so long.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(2);

/// A guest whose time is over has so long to end at its own next tick, with a backtrace, before it is ended.
const TRAP_GRACE: Duration = Duration::from_millis(100);

impl TaskRunner {
    pub(crate) fn new(
        sandbox: Sandbox,
        outbox: Arc<Outbox>,
        capacity: usize,
        memory_bytes: u64,
        machine: Machine,
        emptied: Arc<Notify>,
        long: mpsc::UnboundedSender<(JobId, AttemptEnd)>,
    ) -> Self {
        let inner = RunnerState {
            jobs: BTreeMap::new(),
            held: BTreeMap::new(),
            running: Vec::new(),
            sending: 0,
            leaving: Vec::new(),
            capacity,
            memory_bytes,
            arrivals: 0,
            alone_since: None,
            draining: false,
            usual: None,
            news: report::PendingReports::default(),
        };
        Self { sandbox, outbox, machine, inner: Mutex::new(inner), busy: Notify::new(), emptied, long }
    }

    /// A job that attempts will come of; true if its module must be made ready.
    pub(crate) fn brief(&self, brief: JobBrief) {
        let mut inner = self.lock();
        if inner.jobs.get(&brief.job).is_some_and(|known| known.brief == brief) {
            return;
        }
        // Ids are drawn by clients: one that comes again may mean something else.
        inner.forget(brief.job);
        inner.jobs.insert(
            brief.job,
            JobQueue {
                brief,
                ready: Readiness::Not,
                queue: VecDeque::new(),
                idle: Vec::new(),
                started: false,
            },
        );
    }

    /// Publishers have changed: what runs is looked at again. The jobs whose modules must be made ready.
    pub(crate) fn doubt(&self) -> Vec<JobBrief> {
        let mut inner = self.lock();
        let mut doubted = Vec::new();
        let mut dismissed = Vec::new();
        for job in inner.jobs.values_mut() {
            if matches!(job.ready, Readiness::Program(..) | Readiness::Refused(_)) {
                job.ready = Readiness::Loading;
                dismissed.append(&mut job.idle);
                doubted.push(job.brief.clone());
            }
        }
        dismissed.into_iter().for_each(|executor| inner.dismiss(executor));
        doubted
    }

    /// Takes attempts in. What must be made ready for them: the job's module, and inputs that the manager keeps.
    pub(crate) fn assign(self: &Arc<Self>, job: JobId, attempts: Vec<Assignment>) -> Wants {
        let mut inner = self.lock();
        let RunnerState { jobs, held, arrivals, draining, .. } = &mut *inner;
        let known = jobs.get_mut(&job).filter(|_| !*draining);
        let Some(known) = known else {
            // The manager does not know yet that this host takes no more, or it was told that the job is over.
            inner.news.returned.extend(attempts.iter().map(|assignment| assignment.attempt));
            self.outbox.control_ready.notify_one();
            return Wants::default();
        };
        let mut wants = Wants::default();
        for assignment in attempts {
            *arrivals += 1;
            held.insert(assignment.attempt, AttemptState::Waiting);
            match assignment.input {
                Payload::Blob(stored) => wants.inputs.push((assignment, stored)),
                _ => known.queue.push_back((*arrivals, assignment)),
            }
        }
        let load = matches!(known.ready, Readiness::Not);
        if load {
            known.ready = Readiness::Loading;
        }
        wants.module = load.then(|| known.brief.clone());
        if let Readiness::Refused(failure) = &known.ready {
            let failure = failure.clone();
            inner.refuse(job, &failure);
        }
        self.pump(&mut inner);
        drop(inner);
        // Leases are renewed while the module is on its way, too.
        self.busy.notify_one();
        self.outbox.control_ready.notify_one();
        wants
    }

    /// The input of an attempt is here, or cannot be had.
    pub(crate) fn fetched(self: &Arc<Self>, job: JobId, mut task: Assignment, input: Result<Bytes, Failure>) {
        let mut inner = self.lock();
        // It may have been abandoned or given back meanwhile.
        if !matches!(inner.held.get(&task.attempt), Some(AttemptState::Waiting)) {
            return;
        }
        match input {
            // A job that was forgotten meanwhile is told of again, if the manager still wants it.
            _ if inner.draining || !inner.jobs.contains_key(&job) => {
                inner.held.remove(&task.attempt);
                inner.news.returned.push(task.attempt);
            }
            Ok(bytes) => {
                task.input = Payload::Here(bytes.into());
                inner.arrivals += 1;
                let arrival = inner.arrivals;
                if let Some(job) = inner.jobs.get_mut(&job) {
                    job.queue.push_back((arrival, task));
                }
            }
            Err(failure) => {
                let result = AttemptResult::Failed { failure, log: Vec::new() };
                inner.end(AttemptEnd { attempt: task.attempt, ran_us: 0, result });
            }
        }
        self.pump(&mut inner);
        drop(inner);
        self.outbox.control_ready.notify_one();
        self.emptied.notify_one();
    }

    /// True while an attempt is wanted.
    pub(crate) fn holds(&self, attempt: AttemptId) -> bool {
        self.lock().held.contains_key(&attempt)
    }

    /// The long results of an attempt are with the manager, or could not be brought.
    pub(crate) fn sent(self: &Arc<Self>, end: AttemptEnd) {
        let mut inner = self.lock();
        inner.sending = inner.sending.saturating_sub(1);
        inner.end(end);
        self.pump(&mut inner);
        drop(inner);
        self.outbox.control_ready.notify_one();
        self.emptied.notify_one();
    }

    /// A job's module is ready, or never will be.
    pub(crate) fn loaded(self: &Arc<Self>, job: JobId, loaded: Result<(Program, LimitsAsked), Failure>) {
        let mut inner = self.lock();
        let Some(known) = inner.jobs.get_mut(&job) else {
            return;
        };
        match loaded {
            Ok(_) if known.brief.memory_bytes > self.sandbox.policy().limits.memory_bytes as u64 => {
                let most = self.sandbox.policy().limits.memory_bytes;
                let message = format!("the job asks for more memory than the {most} bytes of a worker here");
                let failure = Failure { kind: FailureKind::MemoryLimit, message, backtrace: Vec::new() };
                known.ready = Readiness::Refused(failure.clone());
                inner.refuse(job, &failure);
            }
            Ok((program, manifest)) => {
                let memory = (known.brief.memory_bytes > 0).then_some(known.brief.memory_bytes);
                let asked = LimitsAsked { memory_bytes: memory, call_ms: None };
                let mut limits = self.sandbox.policy().limits.lowered(&manifest).lowered(&asked);
                limits.call = limits.call.min(Duration::from_millis(known.brief.timeout_ms));
                known.ready = Readiness::Program(program, limits);
            }
            Err(failure) => {
                known.ready = if failure.kind.is_unfit() {
                    Readiness::Refused(failure.clone())
                } else {
                    Readiness::Not
                };
                inner.refuse(job, &failure);
            }
        }
        self.pump(&mut inner);
        drop(inner);
        self.outbox.control_ready.notify_one();
    }

    /// Drops attempts whose leases are gone, whatever they do.
    pub(crate) fn abandon(&self, attempts: &[AttemptId]) {
        let mut inner = self.lock();
        // A manager that has given up on this host hears that it lives.
        inner.news.window = None;
        let mut waiting = BTreeSet::new();
        for attempt in attempts {
            match inner.held.remove(attempt) {
                Some(AttemptState::Waiting) => {
                    waiting.insert(*attempt);
                }
                Some(AttemptState::Running) => {
                    for executor in inner.running.iter().filter(|executor| executor.has(*attempt)) {
                        executor.end_now();
                    }
                }
                Some(AttemptState::Sending | AttemptState::Ended(_)) | None => {}
            }
        }
        if !waiting.is_empty() {
            for job in inner.jobs.values_mut() {
                job.queue.retain(|(_, assignment)| !waiting.contains(&assignment.attempt));
            }
        }
        self.outbox.control_ready.notify_one();
    }

    /// Forgets attempts whose ends are on the manager's disk.
    pub(crate) fn settled(&self, attempts: &[AttemptId]) {
        let mut inner = self.lock();
        for attempt in attempts {
            if matches!(inner.held.get(attempt), Some(AttemptState::Ended(_))) {
                inner.held.remove(attempt);
            }
        }
    }

    /// No more attempts of these jobs will come.
    pub(crate) fn jobs_over(&self, jobs: &[JobId]) {
        let mut inner = self.lock();
        jobs.iter().for_each(|job| inner.forget(*job));
        drop(inner);
        self.busy.notify_one();
    }

    /// How many slots workers leave.
    pub(crate) fn set_capacity(self: &Arc<Self>, capacity: usize) {
        let mut inner = self.lock();
        inner.capacity = capacity;
        if capacity == 0 {
            // Another host may have them.
            inner.give_back(usize::MAX);
        }
        self.pump(&mut inner);
    }

    /// Takes no more attempts, gives those back that have not begun.
    pub(crate) fn drain(&self) {
        let mut inner = self.lock();
        inner.draining = true;
        inner.give_back(usize::MAX);
    }

    /// True if nothing runs and, where `told` is asked for, the manager has everything.
    pub(crate) fn is_empty(&self, told: bool) -> bool {
        let inner = self.lock();
        let said = inner.held.is_empty() && inner.news.returned.is_empty();
        inner.running.is_empty() && inner.sending == 0 && (!told || said)
    }

    /// Keeps time: timeouts, renewals, executors that nobody needs. Runs for as long as the host does.
    pub(crate) async fn run_clockwork(self: &Arc<Self>) -> std::convert::Infallible {
        let (tick, pause) = (self.machine.stretch(TICK), self.machine.stretch(LEASE_RENEWAL));
        let mut renewal = Instant::now() + pause;
        loop {
            // The window may have changed with what ended last.
            self.outbox.control_ready.notify_one();
            if self.lock().is_at_rest() && !self.sandbox.is_wedged() {
                self.busy.notified().await;
            }
            tokio::time::sleep(tick).await;
            let now = Instant::now();
            self.end_overdue(now);
            if now >= renewal {
                renewal = now + pause;
                self.lock().news.renewal_due = true;
                self.outbox.control_ready.notify_one();
            }
        }
    }

    fn end_overdue(&self, now: Instant) {
        let mut inner = self.lock();
        for executor in &inner.running {
            executor.check_time(now, TRAP_GRACE);
        }
        let longest =
            inner.running.iter().map(|executor| executor.running_for(now)).max().unwrap_or_default();
        inner.note_time(longest.min(report::LONG), false);
        let mut dismissed = Vec::new();
        for job in inner.jobs.values_mut() {
            dismissed.extend(job.idle.extract_if(.., |executor| executor.is_idle_for(now, IDLE_MAX)));
        }
        dismissed.into_iter().for_each(|executor| inner.dismiss(executor));
        for (since, executor) in &inner.leaving {
            if now.duration_since(*since) >= LEAVE_TIME_MAX {
                executor.end_now();
            }
        }
    }

    /// Gives tasks to executors while there are both.
    fn pump(self: &Arc<Self>, inner: &mut RunnerState) {
        while inner.running.len() + inner.sending < inner.capacity && !inner.is_alone_for_long() {
            let Some((job, task)) = inner.next_task(None) else {
                return;
            };
            if !self.hand_out(inner, job, task) {
                return;
            }
        }
    }

    /// Gives a task to an executor; false if there can be none now, and the task waits again.
    fn hand_out(self: &Arc<Self>, inner: &mut RunnerState, id: JobId, task: Assignment) -> bool {
        let Some(job) = inner.jobs.get_mut(&id) else {
            return true;
        };
        let idle = std::iter::from_fn(|| job.idle.pop()).find(|executor| !executor.is_ending());
        let executor = match (idle, &job.ready) {
            (Some(executor), _) => executor,
            (None, Readiness::Program(program, limits)) => {
                let arguments = Bytes::from(job.brief.arguments.clone());
                match Executor::start(self, id, program, *limits, arguments) {
                    Ok(executor) => executor,
                    Err(error) => {
                        tracing::debug!(%error, "a task waits for a place to run");
                        inner.put_first(id, task);
                        inner.make_room(id);
                        return false;
                    }
                }
            }
            (None, _) => {
                inner.put_first(id, task);
                return false;
            }
        };
        inner.begin(&task);
        inner.running.push(executor.clone());
        inner.give(&executor, task);
        self.busy.notify_one();
        true
    }

    /// An executor is idle again: its task is over, and it gets another if there is one for it.
    fn finished(self: &Arc<Self>, executor: &Arc<Executor>, end: AttemptEnd) {
        let mut inner = self.lock();
        inner.note_time(Duration::from_micros(end.ran_us), true);
        if is_long(&end) {
            if let Some(held) = inner.held.get_mut(&end.attempt) {
                *held = AttemptState::Sending;
                inner.sending += 1;
                // The supervisor takes them for as long as the host runs.
                let _ = self.long.send((executor.job(), end));
            }
        } else {
            inner.end(end);
        }
        if let Some(job) = inner.jobs.get_mut(&executor.job()) {
            job.started = true;
        }
        // Another job's task may have waited for longer than the next of this one.
        let more = inner.running.len() + inner.sending <= inner.capacity && !inner.is_alone_for_long();
        let next = (more && !executor.is_ending()).then(|| inner.next_task(Some(executor.job()))).flatten();
        match next {
            Some((job, task)) if job == executor.job() => {
                inner.begin(&task);
                inner.give(executor, task);
            }
            other => {
                inner.running.retain(|running| !Arc::ptr_eq(running, executor));
                inner.rest(executor);
                if let Some((job, task)) = other {
                    self.hand_out(&mut inner, job, task);
                }
                self.pump(&mut inner);
            }
        }
        drop(inner);
        self.outbox.control_ready.notify_one();
        self.emptied.notify_one();
    }

    /// An executor is no more; what it had in hand, if anything, has failed.
    fn ended(self: &Arc<Self>, executor: &Arc<Executor>, end: End) {
        let mut inner = self.lock();
        inner.running.retain(|running| !Arc::ptr_eq(running, executor));
        inner.leaving.retain(|(_, leaving)| !Arc::ptr_eq(leaving, executor));
        if let Some(job) = inner.jobs.get_mut(&executor.job()) {
            job.idle.retain(|idle| !Arc::ptr_eq(idle, executor));
        }
        let failure = match end {
            End::Failed(failure) => failure,
            other => executor::host_fault(other.to_string()),
        };
        match executor.take_task() {
            Some(Unfinished::Begun(task)) => inner.end(task.failed(failure)),
            Some(Unfinished::Untouched(task)) => inner.put_first(executor.job(), task),
            Some(Unfinished::NotBegun(task, refusal)) => {
                inner.not_begun(executor.job(), task, failure, refusal)
            }
            None => {}
        }
        self.pump(&mut inner);
        drop(inner);
        self.outbox.control_ready.notify_one();
        self.emptied.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, RunnerState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What must be made ready for attempts.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    /// The job whose module is not ready.
    pub(crate) module: Option<JobBrief>,
    /// Attempts whose inputs the manager keeps.
    pub(crate) inputs: Vec<(Assignment, BlobRef)>,
}

/// True if the results do not fit into a report.
fn is_long(end: &AttemptEnd) -> bool {
    let AttemptResult::Done(results) = &end.result else {
        return false;
    };
    results.iter().map(Payload::frame_bytes).sum::<usize>() > PAYLOAD_BYTES_MAX
}
