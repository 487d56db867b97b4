//! The task runner: the attempts that a host holds, and the guests that work on them.
//!
//! Attempts wait in the order of their arrival. A guest belongs to one job; it takes the next task as soon as it
//! is idle, and occupies a slot only while it has a task. The end of an attempt is kept, across connections, until the
//! manager has it on disk.

mod dispatch;
mod job_guest;
mod report;
mod running_task;
mod state;
mod trace;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grid_disk::Machine;
use grid_protocol::job::{
    Assignment, AttemptEnd, AttemptId, AttemptResult, BlobRef, JobBrief, JobId, Payload,
};
use grid_protocol::worker::{Failure, FailureKind, LimitsAsked};
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::metrics::HostMetrics;
use crate::outbox::Outbox;
use crate::sandbox::{Program, Sandbox};
pub(crate) use report::{LEASE_RENEWAL, Report};
use state::{AttemptState, JobQueue, Readiness, RunnerState};

/// The attempts of a host.
#[derive(Debug)]
pub(crate) struct TaskRunner {
    sandbox: Sandbox,
    outbox: Arc<Outbox>,
    machine: Machine,
    inner: Mutex<RunnerState>,
    /// Notified when there are timeouts or lease renewals to watch again.
    busy: Notify,
    /// Notified when an attempt ends, so that a draining host can check whether it is empty.
    pub(crate) emptied: Arc<Notify>,
    /// Takes ended attempts whose results do not fit into a report.
    long: mpsc::UnboundedSender<(JobId, AttemptEnd)>,
}

/// Time without a connection after which no waiting task is started: twice the 15 s term of a lease, so their leases
/// have expired.
const ALONE_MAX: Duration = Duration::from_secs(30);

/// Time for which a guest without a task is kept.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// Interval between checks of timeouts while anything runs.
const TICK: Duration = Duration::from_millis(50);

/// Time that an idle guest has to end after it was asked to, before it is aborted.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(2);

/// Time that a guest whose timeout has passed has to trap at its next tick, with a backtrace, before it is aborted.
const TRAP_GRACE: Duration = Duration::from_millis(100);

impl TaskRunner {
    pub(crate) fn new(
        sandbox: Sandbox,
        outbox: Arc<Outbox>,
        capacity: usize,
        memory_bytes: u64,
        machine: Machine,
        long: mpsc::UnboundedSender<(JobId, AttemptEnd)>,
        metrics: Arc<HostMetrics>,
    ) -> Self {
        let inner = RunnerState {
            jobs: BTreeMap::new(),
            held: HashMap::new(),
            running: Vec::new(),
            sending: 0,
            leaving: Vec::new(),
            capacity,
            memory_bytes,
            arrivals: 0,
            alone_since: None,
            draining: false,
            has_executors: sandbox.has_executors(),
            losses: BTreeMap::new(),
            usual: None,
            news: report::PendingReports::default(),
            encoding: Vec::new(),
            traced: trace::TracedAttempts::default(),
            metrics,
        };
        let emptied = Arc::default();
        Self { sandbox, outbox, machine, inner: Mutex::new(inner), busy: Notify::new(), emptied, long }
    }

    /// Registers a job whose attempts the manager is about to assign. Does not load its module.
    pub(crate) fn brief(&self, brief: JobBrief) {
        let mut inner = self.lock();
        if inner.jobs.get(&brief.job).is_some_and(|known| known.brief == brief) {
            return;
        }
        // Clients choose the ids, so the same id may come again with a different job.
        inner.forget(brief.job);
        inner.jobs.insert(
            brief.job,
            JobQueue {
                brief,
                ready: Readiness::Not,
                queue: VecDeque::new(),
                idle: Vec::new(),
                pace: None,
                ready_at: (Instant::now(), Duration::ZERO),
                started: false,
            },
        );
    }

    /// Called when the trusted publishers have changed. Dismisses idle guests, and returns the jobs whose modules
    /// the caller must load, and so check, again. JobGuests that have a task continue with it.
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
        dismissed.into_iter().for_each(|guest| inner.dismiss(guest));
        doubted
    }

    /// The manager wants the times of attempts that come next.
    pub(crate) fn follow(&self, attempts: &[AttemptId]) {
        let mut inner = self.lock();
        let RunnerState { traced, held, .. } = &mut *inner;
        traced.follow(Instant::now(), attempts, |attempt| held.contains_key(&attempt));
    }

    /// Accepts attempts; returns what the caller must load for them: the job's module, and inputs kept by the manager.
    ///
    /// If the host drains or does not know the job, the attempts are returned to the manager instead.
    pub(crate) fn assign(self: &Arc<Self>, job: JobId, attempts: Vec<Assignment>) -> Wants {
        let mut inner = self.lock();
        let RunnerState { jobs, held, arrivals, draining, .. } = &mut *inner;
        let known = jobs.get_mut(&job).filter(|_| !*draining);
        let Some(known) = known else {
            // Either the manager does not know yet that this host drains, or the host was told that the job is over.
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
        // Leases must be renewed while the module is being loaded, too.
        self.busy.notify_one();
        self.outbox.control_ready.notify_one();
        wants
    }

    /// Handles the fetched input of an attempt, or the failure to fetch it.
    pub(crate) fn fetched(self: &Arc<Self>, job: JobId, mut task: Assignment, input: Result<Bytes, Failure>) {
        let mut inner = self.lock();
        // It may have been abandoned or given back meanwhile.
        if !matches!(inner.held.get(&task.attempt), Some(AttemptState::Waiting)) {
            return;
        }
        match input {
            // If the manager still wants a job that was forgotten meanwhile, it describes the job again.
            _ if inner.draining || !inner.jobs.contains_key(&job) => {
                inner.held.remove(&task.attempt);
                inner.news.returned.push(task.attempt);
            }
            Ok(bytes) => {
                inner.traced.fetched(Instant::now(), task.attempt);
                task.input = Payload::Here(bytes);
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

    /// True while the host holds the attempt; false once it was abandoned, returned or settled.
    pub(crate) fn holds(&self, attempt: AttemptId) -> bool {
        self.lock().held.contains_key(&attempt)
    }

    /// Handles the end of an attempt whose long results were sent to the manager, or could not be sent.
    pub(crate) fn sent(self: &Arc<Self>, end: AttemptEnd) {
        let mut inner = self.lock();
        inner.sending = inner.sending.saturating_sub(1);
        inner.end(end);
        self.pump(&mut inner);
        drop(inner);
        self.outbox.control_ready.notify_one();
        self.emptied.notify_one();
    }

    /// Handles the loaded module of a job, or the failure to load it, which fails the job's waiting attempts.
    ///
    /// After a failure of the module itself later attempts fail too; after any other, the next attempt loads it again.
    pub(crate) fn loaded(
        self: &Arc<Self>,
        job: JobId,
        loaded: Result<(Program, LimitsAsked), Failure>,
        compile: Duration,
    ) {
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
                known.ready_at = (Instant::now(), compile);
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

    /// Drops attempts whose leases have expired or were revoked, and aborts those that run.
    pub(crate) fn abandon(&self, attempts: &[AttemptId]) {
        let mut inner = self.lock();
        // Report the window again: the manager may have taken this host for lost.
        inner.news.window = None;
        let mut waiting = BTreeSet::new();
        for attempt in attempts {
            match inner.held.remove(attempt) {
                Some(AttemptState::Waiting) => {
                    waiting.insert(*attempt);
                }
                Some(AttemptState::Running) => {
                    inner.metrics.task_abandoned();
                    for guest in inner.running.iter().filter(|guest| guest.has(*attempt)) {
                        guest.end_now();
                    }
                }
                Some(AttemptState::Sending) => inner.metrics.task_abandoned(),
                Some(AttemptState::Ended(_)) | None => {}
            }
        }
        if !waiting.is_empty() {
            for job in inner.jobs.values_mut() {
                job.queue.retain(|(_, assignment)| !waiting.contains(&assignment.attempt));
            }
        }
        self.outbox.control_ready.notify_one();
    }

    /// Forgets attempts whose ends the manager has on disk.
    pub(crate) fn settled(&self, attempts: &[AttemptId]) {
        let mut inner = self.lock();
        for attempt in attempts {
            if matches!(inner.held.get(attempt), Some(AttemptState::Ended(_))) {
                inner.held.remove(attempt);
            }
        }
    }

    /// Forgets jobs of which the manager will assign no more attempts.
    pub(crate) fn jobs_over(&self, jobs: &[JobId]) {
        let mut inner = self.lock();
        jobs.iter().for_each(|job| inner.forget(*job));
        drop(inner);
        self.busy.notify_one();
    }

    /// Sets the number of tasks that may run concurrently: the slots that no worker occupies.
    ///
    /// Does not end tasks that run beyond a lower capacity.
    pub(crate) fn set_capacity(self: &Arc<Self>, capacity: usize) {
        let mut inner = self.lock();
        inner.capacity = capacity;
        if capacity == 0 {
            // Another host may be able to run them.
            inner.give_back(usize::MAX);
        }
        self.pump(&mut inner);
    }

    /// Accepts no more attempts and returns those that have not begun to the manager. Running attempts continue.
    pub(crate) fn drain(&self) {
        let mut inner = self.lock();
        inner.draining = true;
        inner.give_back(usize::MAX);
    }

    /// Number of slots that tasks occupy.
    pub(crate) fn slots_used(&self) -> usize {
        let inner = self.lock();
        inner.running.len() + inner.sending
    }

    /// True if nothing runs or is being sent and, if `told` is set, no attempt is held or waits to be returned.
    pub(crate) fn is_empty(&self, told: bool) -> bool {
        let inner = self.lock();
        let said = inner.held.is_empty() && inner.news.returned.is_empty();
        inner.running.is_empty() && inner.sending == 0 && (!told || said)
    }

    /// The timer loop: enforces timeouts, requests lease renewals, ends idle guests. Runs as long as the host does.
    pub(crate) async fn run_timer(self: &Arc<Self>) -> std::convert::Infallible {
        let (tick, pause) = (self.machine.stretch(TICK), self.machine.stretch(LEASE_RENEWAL));
        let mut renewal = Instant::now() + pause;
        loop {
            // The end of a task may have changed the window.
            self.outbox.control_ready.notify_one();
            if self.rests() && !self.sandbox.is_wedged() {
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

    /// True if there is nothing to watch; then what many attempts took of memory is given back.
    fn rests(&self) -> bool {
        let mut inner = self.lock();
        let rests = inner.is_at_rest();
        if rests {
            inner.held.shrink_to_fit();
            inner.news.executing.shrink_to_fit();
            inner.news.ended.shrink_to_fit();
        }
        rests
    }

    fn end_overdue(self: &Arc<Self>, now: Instant) {
        let mut inner = self.lock();
        for guest in &inner.running {
            guest.check_time(now, TRAP_GRACE);
        }
        let running = inner.running.iter().map(|guest| (guest.job(), guest));
        let late: Vec<_> = running.map(|(job, guest)| (job, guest.withdraw(now, inner.pace(job)))).collect();
        late.into_iter().for_each(|(job, tasks)| inner.put_back(job, tasks));
        if inner.has_executors {
            // Others may do what was taken back; and a process that could not be started may start now.
            self.pump(&mut inner);
        }
        let longest = inner.running.iter().map(|guest| guest.running_for(now)).max().unwrap_or_default();
        inner.note_time(longest.min(report::LONG), false);
        let mut dismissed = Vec::new();
        for job in inner.jobs.values_mut() {
            dismissed.extend(job.idle.extract_if(.., |guest| guest.is_idle_for(now, IDLE_MAX)));
        }
        dismissed.into_iter().for_each(|guest| inner.dismiss(guest));
        for (since, guest) in &inner.leaving {
            if now.duration_since(*since) >= LEAVE_TIME_MAX {
                guest.end_now();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, RunnerState> {
        self.inner.lock()
    }
}

/// What the caller of [`TaskRunner::assign`] must load for the attempts.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    /// The job, if its module must be loaded.
    pub(crate) module: Option<JobBrief>,
    /// Attempts whose inputs must be fetched from the manager.
    pub(crate) inputs: Vec<(Assignment, BlobRef)>,
}
