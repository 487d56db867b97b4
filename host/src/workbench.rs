//! The workbench: the attempts that a host holds, and the executors that work on them.
//!
//! Attempts wait in the order in which they came. An executor is a guest of one job; it takes the next task as soon as
//! it is idle again, and has a slot only while it has a task. What has ended is kept until the manager has it on disk,
//! whatever becomes of the connection.

mod executor;
mod report;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use grid_disk::Machine;
use grid_protocol::job::{Assignment, AttemptEnd, AttemptId, AttemptResult, JobBrief, JobId};
use grid_protocol::worker::{End, Failure, LimitsAsked};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::outbox::Outbox;
use crate::sandbox::{Limits, Program, Sandbox};
use executor::{Executor, Hand};
pub(crate) use report::LEASE_RENEWAL;

/// The attempts of a host.
#[derive(Debug)]
pub(crate) struct Workbench {
    sandbox: Sandbox,
    outbox: Arc<Outbox>,
    machine: Machine,
    inner: Mutex<Inner>,
    /// Wakes the clockwork: there is something to keep time of.
    busy: Notify,
}

#[derive(Debug)]
struct Inner {
    jobs: BTreeMap<JobId, BenchJob>,
    held: BTreeMap<AttemptId, Held>,
    /// Executors that have a task.
    running: Vec<Arc<Executor>>,
    /// Executors that may have one at once.
    capacity: usize,
    arrivals: u64,
    /// Since when there is no connection.
    alone_since: Option<Instant>,
    draining: bool,
    /// What a task takes, in seconds, lately.
    usual: Option<f64>,
    news: report::News,
}

/// How an attempt stands here.
#[derive(Debug)]
enum Held {
    Waiting,
    Running,
    Ended(AttemptEnd),
}

#[derive(Debug)]
struct BenchJob {
    brief: JobBrief,
    ready: Ready,
    queue: VecDeque<(u64, Assignment)>,
    idle: Vec<Arc<Executor>>,
}

#[derive(Debug)]
enum Ready {
    Not,
    Loading,
    Program(Program, Limits),
    Refused(Failure),
}

/// A host without a connection starts no more tasks after so long: the leases of those that wait are gone, twice over.
const ALONE_MAX: Duration = Duration::from_secs(30);

/// An executor without a task is kept for so long.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// How often timeouts are looked at while anything runs.
const TICK: Duration = Duration::from_millis(50);

/// A guest whose time is over has so long to end at its own next tick, with a backtrace, before it is ended.
const TRAP_GRACE: Duration = Duration::from_millis(100);

impl Workbench {
    pub(crate) fn new(sandbox: Sandbox, outbox: Arc<Outbox>, capacity: usize, machine: Machine) -> Self {
        let inner = Inner {
            jobs: BTreeMap::new(),
            held: BTreeMap::new(),
            running: Vec::new(),
            capacity,
            arrivals: 0,
            alone_since: None,
            draining: false,
            usual: None,
            news: report::News::default(),
        };
        Self { sandbox, outbox, machine, inner: Mutex::new(inner), busy: Notify::new() }
    }

    /// A job that attempts will come of; true if its module must be made ready.
    pub(crate) fn brief(&self, brief: JobBrief) {
        let new =
            BenchJob { brief: brief.clone(), ready: Ready::Not, queue: VecDeque::new(), idle: Vec::new() };
        self.lock().jobs.entry(brief.job).or_insert(new);
    }

    /// Takes attempts in; true if the job's module must be made ready first.
    pub(crate) fn assign(self: &Arc<Self>, job: JobId, attempts: Vec<Assignment>) -> Option<JobBrief> {
        let mut inner = self.lock();
        let Inner { jobs, held, arrivals, draining, .. } = &mut *inner;
        let known = jobs.get_mut(&job).filter(|_| !*draining);
        let Some(known) = known else {
            // The manager does not know yet that this host takes no more, or it was told that the job is over.
            inner.news.returned.extend(attempts.iter().map(|assignment| assignment.attempt));
            self.outbox.control_ready.notify_one();
            return None;
        };
        for assignment in attempts {
            *arrivals += 1;
            held.insert(assignment.attempt, Held::Waiting);
            known.queue.push_back((*arrivals, assignment));
        }
        let load = matches!(known.ready, Ready::Not);
        if load {
            known.ready = Ready::Loading;
        }
        let brief = load.then(|| known.brief.clone());
        if let Ready::Refused(failure) = &known.ready {
            let failure = failure.clone();
            inner.refuse(job, &failure);
        }
        self.pump(&mut inner);
        drop(inner);
        self.outbox.control_ready.notify_one();
        brief
    }

    /// A job's module is ready, or never will be.
    pub(crate) fn loaded(self: &Arc<Self>, job: JobId, loaded: Result<(Program, LimitsAsked), Failure>) {
        let mut inner = self.lock();
        let Some(known) = inner.jobs.get_mut(&job) else {
            return;
        };
        match loaded {
            Ok((program, manifest)) => {
                let memory = (known.brief.memory_bytes > 0).then_some(known.brief.memory_bytes);
                let asked = LimitsAsked { memory_bytes: memory, call_ms: None };
                let mut limits = self.sandbox.policy().limits.lowered(&manifest).lowered(&asked);
                // A task's own time is what bounds it.
                limits.call = Duration::from_millis(known.brief.timeout_ms);
                known.ready = Ready::Program(program, limits);
            }
            Err(failure) => {
                known.ready =
                    if failure.kind.is_unfit() { Ready::Refused(failure.clone()) } else { Ready::Not };
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
                Some(Held::Waiting) => {
                    waiting.insert(*attempt);
                }
                Some(Held::Running) => {
                    for executor in inner.running.iter().filter(|executor| executor.has(*attempt)) {
                        executor.end_now();
                    }
                }
                Some(Held::Ended(_)) | None => {}
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
            if matches!(inner.held.get(attempt), Some(Held::Ended(_))) {
                inner.held.remove(attempt);
            }
        }
    }

    /// No more attempts of these jobs will come.
    pub(crate) fn jobs_over(&self, jobs: &[JobId]) {
        let mut inner = self.lock();
        for job in jobs {
            for executor in inner.jobs.remove(job).into_iter().flat_map(|job| job.idle) {
                executor.stop();
            }
        }
    }

    /// How many slots workers leave.
    pub(crate) fn set_capacity(self: &Arc<Self>, capacity: usize) {
        let mut inner = self.lock();
        inner.capacity = capacity;
        self.pump(&mut inner);
    }

    /// Takes no more attempts, gives those back that have not begun.
    pub(crate) fn drain(&self) {
        let mut inner = self.lock();
        inner.draining = true;
        let waiting: Vec<_> = inner
            .jobs
            .values_mut()
            .flat_map(|job| job.queue.drain(..))
            .map(|(_, waits)| waits.attempt)
            .collect();
        for attempt in &waiting {
            inner.held.remove(attempt);
        }
        inner.news.returned.extend(waiting);
    }

    /// True if nothing runs and, where `told` is asked for, the manager has everything.
    pub(crate) fn is_empty(&self, told: bool) -> bool {
        let inner = self.lock();
        inner.running.is_empty() && (!told || inner.held.is_empty())
    }

    /// Keeps time: timeouts, renewals, executors that nobody needs. Runs for as long as the host does.
    pub(crate) async fn run_clockwork(self: &Arc<Self>) -> std::convert::Infallible {
        let (tick, pause) = (self.machine.stretch(TICK), self.machine.stretch(LEASE_RENEWAL));
        let mut renewal = Instant::now() + pause;
        loop {
            if self.lock().held.is_empty() && !self.sandbox.is_wedged() {
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
        for job in inner.jobs.values_mut() {
            job.idle.retain(|executor| {
                let kept = !executor.is_idle_for(now, IDLE_MAX);
                if !kept {
                    executor.stop();
                }
                kept
            });
        }
    }

    /// Gives tasks to executors while there are both.
    fn pump(self: &Arc<Self>, inner: &mut Inner) {
        while inner.running.len() < inner.capacity && !inner.is_alone_for_long() {
            let Some((job, task)) = inner.next_task(None) else {
                return;
            };
            self.hand_out(inner, job, task);
        }
    }

    fn hand_out(self: &Arc<Self>, inner: &mut Inner, id: JobId, task: Assignment) {
        inner.begin(&task);
        let Some(job) = inner.jobs.get_mut(&id) else {
            return;
        };
        let hand = Hand::new(&task, Duration::from_millis(job.brief.timeout_ms));
        let executor = match (job.idle.pop(), &job.ready) {
            (Some(executor), _) => executor,
            (None, Ready::Program(program, limits)) => {
                match Executor::start(self, id, program, *limits, Bytes::from(job.brief.arguments.clone())) {
                    Ok(executor) => executor,
                    Err(failure) => {
                        inner.end(hand.failed(failure));
                        return;
                    }
                }
            }
            (None, _) => return,
        };
        inner.running.push(executor.clone());
        executor.give(hand, task.input.into_bytes());
        self.busy.notify_one();
    }

    /// An executor is idle again: its task is over, and it gets another if there is one for it.
    fn finished(self: &Arc<Self>, executor: &Arc<Executor>, end: AttemptEnd) {
        let mut inner = self.lock();
        inner.note_time(end.ran_us);
        inner.end(end);
        // Another job's task may have waited for longer than the next of this one.
        let next = (inner.running.len() <= inner.capacity && !inner.is_alone_for_long())
            .then(|| inner.next_task(Some(executor.job())))
            .flatten();
        match next {
            Some((job, task)) if job == executor.job() => {
                let timeout = inner.jobs.get(&job).map_or(0, |job| job.brief.timeout_ms);
                inner.begin(&task);
                executor.give(Hand::new(&task, Duration::from_millis(timeout)), task.input.into_bytes());
            }
            other => {
                inner.running.retain(|running| !Arc::ptr_eq(running, executor));
                match inner.jobs.get_mut(&executor.job()) {
                    Some(job) => job.idle.push(executor.clone()),
                    None => executor.stop(),
                }
                if let Some((job, task)) = other {
                    self.hand_out(&mut inner, job, task);
                }
                self.pump(&mut inner);
            }
        }
        drop(inner);
        self.outbox.control_ready.notify_one();
    }

    /// An executor is no more; what it had in hand, if anything, has failed.
    fn ended(self: &Arc<Self>, executor: &Arc<Executor>, end: End) {
        let mut inner = self.lock();
        inner.running.retain(|running| !Arc::ptr_eq(running, executor));
        if let Some(job) = inner.jobs.get_mut(&executor.job()) {
            job.idle.retain(|idle| !Arc::ptr_eq(idle, executor));
        }
        if let Some(hand) = executor.take_hand() {
            let failure = match end {
                End::Failed(failure) => failure,
                other => executor::host_fault(other.to_string()),
            };
            let unfit = failure.kind.is_unfit().then(|| failure.clone());
            inner.end(hand.failed(failure));
            if let Some(failure) = unfit {
                if let Some(job) = inner.jobs.get_mut(&executor.job()) {
                    job.ready = Ready::Refused(failure.clone());
                }
                inner.refuse(executor.job(), &failure);
            }
        }
        self.pump(&mut inner);
        drop(inner);
        self.outbox.control_ready.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn is_alone_for_long(&self) -> bool {
        self.alone_since.is_some_and(|since| since.elapsed() > ALONE_MAX)
    }

    /// The task that has waited longest, of jobs that can run; among equals, `own` first.
    fn next_task(&mut self, own: Option<JobId>) -> Option<(JobId, Assignment)> {
        let runnable = self.jobs.iter().filter(|(_, job)| matches!(job.ready, Ready::Program(..)));
        let fronts = runnable.filter_map(|(id, job)| Some((job.queue.front()?.0, Some(*id) != own, *id)));
        let (_, _, id) = fronts.min()?;
        let (_, task) = self.jobs.get_mut(&id)?.queue.pop_front()?;
        Some((id, task))
    }

    fn begin(&mut self, task: &Assignment) {
        tracing::trace!(target: "grid_host::attempt", attempt = %task.attempt, task = task.task, "begins");
        self.held.insert(task.attempt, Held::Running);
        self.news.executing.push(task.attempt);
    }

    /// The module cannot begin here: none of the job's tasks can.
    fn refuse(&mut self, id: JobId, failure: &Failure) {
        let queue = self.jobs.get_mut(&id).map(|job| std::mem::take(&mut job.queue)).unwrap_or_default();
        for (_, task) in queue {
            let result = AttemptResult::Failed { failure: failure.clone(), log: Vec::new() };
            self.end(AttemptEnd { attempt: task.attempt, ran_us: 0, result });
        }
    }

    /// An attempt has ended; one that was abandoned meanwhile is of no interest.
    fn end(&mut self, mut end: AttemptEnd) {
        end.clamp();
        if let Some(held) = self.held.get_mut(&end.attempt) {
            self.news.ended.push_back(end.attempt);
            *held = Held::Ended(end);
        }
    }

    fn note_time(&mut self, ran_us: u64) {
        let took = Duration::from_micros(ran_us).as_secs_f64();
        self.usual = Some(self.usual.map_or(took, |usual| usual * 0.9 + took * 0.1));
    }
}
