//! The state of the task runner: jobs, attempts and guests, and which guest gets which task.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use grid_protocol::job::{Assignment, AttemptEnd, AttemptId, AttemptResult, JobBrief, JobId, Payload};
use grid_protocol::outcomes::EncodedEnd;
use grid_protocol::worker::{Failure, FailureKind};
use hashbrown::HashMap;
use tokio::time::Instant;

use super::job_guest::{JobGuest, Unfinished};
use super::running_task::RunningTask;
use super::trace::TracedAttempts;
use super::{ALONE_MAX, report};
use crate::metrics::HostMetrics;
use crate::sandbox::{Limits, Program};

#[derive(Debug)]
pub(super) struct RunnerState {
    pub(super) jobs: BTreeMap<JobId, JobQueue>,
    /// The attempts that the host answers for; each is looked up several times.
    pub(super) held: HashMap<AttemptId, AttemptState>,
    /// JobGuests that have a task.
    pub(super) running: Vec<Arc<JobGuest>>,
    /// Number of attempts whose long results are being sent. Each keeps a slot.
    pub(super) sending: usize,
    /// JobGuests that were asked to end, and when.
    pub(super) leaving: Vec<(Instant, Arc<JobGuest>)>,
    /// Number of tasks that may run, or send long results, concurrently.
    pub(super) capacity: usize,
    /// Memory for the running tasks of all jobs that ask for memory, in bytes.
    pub(super) memory_bytes: u64,
    pub(super) arrivals: u64,
    /// Since when there is no connection.
    pub(super) alone_since: Option<Instant>,
    pub(super) draining: bool,
    /// Guests have processes of their own: they may be lost, so that inputs are kept while they have them, and a task
    /// takes a moment to reach them, so that several are on their way.
    pub(super) has_executors: bool,
    /// How often the guest of an attempt was lost while it had the attempt, for those that have not ended.
    pub(super) losses: BTreeMap<AttemptId, u32>,
    /// Moving average of the running time of a task, in seconds; `None` before the first has finished.
    pub(super) usual: Option<f64>,
    pub(super) news: report::PendingReports,
    /// Memory in which ends are encoded.
    pub(super) encoding: Vec<u8>,
    pub(super) traced: TracedAttempts,
    pub(super) metrics: Arc<HostMetrics>,
}

/// The state of an attempt on this host.
#[derive(Debug)]
pub(super) enum AttemptState {
    Waiting,
    Running,
    /// Done; its long results are being sent to the manager.
    Sending,
    /// As the manager is told.
    Ended(EncodedEnd),
}

#[derive(Debug)]
pub(super) struct JobQueue {
    pub(super) brief: JobBrief,
    pub(super) ready: Readiness,
    pub(super) queue: VecDeque<(u64, Assignment)>,
    pub(super) idle: Vec<Arc<JobGuest>>,
    /// Moving average of the running time of its tasks here, in seconds; `None` before the first has finished.
    pub(super) pace: Option<f64>,
    /// When its module was ready, and how long it was compiled for that.
    pub(super) ready_at: (Instant, Duration),
    /// A guest of the job has finished a task on this host, so the job's module can start here.
    pub(super) started: bool,
}

#[derive(Debug)]
pub(super) enum Readiness {
    Not,
    Loading,
    Program(Program, Limits),
    Refused(Failure),
}

/// Work that a guest is given ahead: its tasks take a few microseconds to reach it and to come back.
const AHEAD: Duration = Duration::from_millis(1);

/// Tasks that a guest may have at a time.
const DEPTH_MAX: usize = 256;

/// Times that the guest of a task may be lost on this host, with the process that it ran in, before the task fails here.
const LOSSES_MAX: u32 = 10;

impl RunnerState {
    pub(super) fn is_alone_for_long(&self) -> bool {
        self.alone_since.is_some_and(|since| since.elapsed() > ALONE_MAX)
    }

    /// The task that has waited longest, of jobs that can run; among equals, `own` first. If it must be of that job, and is
    /// of another, it stays where it is.
    pub(super) fn next_task(&mut self, own: Option<JobId>, of_own: bool) -> Option<(JobId, Assignment)> {
        let used = self.memory_used();
        let fits = |job: &JobQueue| used == 0 || used + job.brief.memory_bytes <= self.memory_bytes;
        let runnable =
            self.jobs.iter().filter(|(_, job)| matches!(job.ready, Readiness::Program(..)) && fits(job));
        let fronts = runnable.filter_map(|(id, job)| Some((job.queue.front()?.0, Some(*id) != own, *id)));
        let (_, _, id) = fronts.min()?;
        if of_own && own != Some(id) {
            return None;
        }
        let (_, task) = self.jobs.get_mut(&id)?.queue.pop_front()?;
        Some((id, task))
    }

    /// True when no attempt is held and no guest is idle or leaving, so the timer may sleep.
    pub(super) fn is_at_rest(&self) -> bool {
        self.held.is_empty() && self.leaving.is_empty() && self.jobs.values().all(|job| job.idle.is_empty())
    }

    /// Gives a guest a task of its own job.
    pub(super) fn give(&mut self, guest: &JobGuest, task: Assignment, now: Instant) {
        let job = self.jobs.get(&guest.job());
        let timeout = job.map_or(0, |job| job.brief.timeout_ms);
        if let Some(job) = job.filter(|_| !self.traced.is_empty()) {
            self.traced.given(now, task.attempt, job.ready_at);
        }
        // An input that the manager keeps was fetched before the task was queued.
        let Assignment { attempt, task, input } = task;
        if let Payload::Here(input) = input {
            let timeout = Duration::from_millis(timeout);
            guest.give(RunningTask::new(attempt, task, input, timeout, self.has_executors, now));
        }
    }

    /// Handles the tasks of a guest that has ended because of this failure: the one that it worked on fails, and those that
    /// waited behind it are requeued.
    pub(super) fn unfinished(&mut self, guest: &JobGuest, failure: Failure) {
        let (unfinished, waiting) = guest.take_tasks();
        self.put_back(guest.job(), waiting);
        match unfinished {
            Some(Unfinished::Begun(task)) => self.end(task.failed(failure)),
            Some(Unfinished::Untouched(task)) => self.put_first(guest.job(), task),
            Some(Unfinished::NotBegun(task, refusal)) => {
                self.not_begun(guest.job(), task, failure, refusal);
            }
            None => {}
        }
    }

    /// Handles the tasks of a guest that was lost with its process: they begin anew, without an attempt charged. The one
    /// that it worked on fails if that has happened to it [`LOSSES_MAX`] times before.
    pub(super) fn lost(&mut self, guest: &JobGuest, reason: String) {
        let (unfinished, waiting) = guest.take_tasks();
        self.put_back(guest.job(), waiting);
        match unfinished {
            Some(Unfinished::Begun(task) | Unfinished::NotBegun(task, _)) => {
                let losses = self.losses.entry(task.attempt).or_default();
                *losses += 1;
                match task.again() {
                    Some(again) if *losses <= LOSSES_MAX => self.put_first(guest.job(), again),
                    _ => self.end(task.failed(super::job_guest::host_fault(reason))),
                }
            }
            Some(Unfinished::Untouched(task)) => self.put_first(guest.job(), task),
            None => {}
        }
    }

    /// Puts tasks that a guest was given and has not begun back in the queue, in their order.
    pub(super) fn put_back(&mut self, id: JobId, tasks: Vec<Assignment>) {
        for task in tasks.into_iter().rev() {
            self.put_first(id, task);
        }
    }

    /// Number of tasks of this job that a guest may have at a time: what it does in [`AHEAD`], if tasks take a moment to
    /// reach it.
    pub(super) fn depth(&self, id: JobId) -> usize {
        let pace = self.jobs.get(&id).and_then(|job| job.pace).filter(|_| self.has_executors);
        // A float to integer cast saturates.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded in the same line"
        )]
        pace.map_or(1, |pace| ((AHEAD.as_secs_f64() / pace.max(1e-9)) as usize).clamp(1, DEPTH_MAX))
    }

    /// About the time that a task of this job takes, in seconds; 0 if it is not known.
    pub(super) fn pace(&self, id: JobId) -> f64 {
        self.jobs.get(&id).and_then(|job| job.pace).unwrap_or_default()
    }

    /// Puts a task back in the queue, before all others of its job.
    pub(super) fn put_first(&mut self, id: JobId, task: Assignment) {
        // A task that was abandoned meanwhile is dropped.
        if let Some(held) = self.held.get_mut(&task.attempt) {
            *held = AttemptState::Waiting;
            if let Some(job) = self.jobs.get_mut(&id) {
                job.queue.push_front((0, task));
            }
        }
    }

    /// Keeps a guest that has no task, or dismisses it if there are as many idle ones as tasks may run.
    pub(super) fn rest(&mut self, guest: &Arc<JobGuest>) {
        if guest.is_ending() {
            return;
        }
        let idle: usize = self.jobs.values().map(|job| job.idle.len()).sum();
        let job = self.jobs.get_mut(&guest.job()).filter(|job| matches!(job.ready, Readiness::Program(..)));
        match job {
            Some(job) if idle < self.capacity.max(1) => job.idle.push(guest.clone()),
            _ => self.dismiss(guest.clone()),
        }
    }

    /// Asks a guest to end; the timer loop aborts it if it does not.
    pub(super) fn dismiss(&mut self, guest: Arc<JobGuest>) {
        guest.stop();
        self.leaving.push((Instant::now(), guest));
    }

    /// Dismisses the idle guests of all other jobs, to make room for one of job `own`.
    pub(super) fn make_room(&mut self, own: JobId) {
        let others = self.jobs.iter_mut().filter(|(id, _)| **id != own);
        let idle: Vec<_> = others.flat_map(|(_, job)| std::mem::take(&mut job.idle)).collect();
        idle.into_iter().for_each(|guest| self.dismiss(guest));
    }

    /// Forgets a job: drops its waiting attempts and dismisses its idle guests. Running attempts continue.
    pub(super) fn forget(&mut self, id: JobId) {
        if let Some(job) = self.jobs.remove(&id) {
            for (_, task) in job.queue {
                self.held.remove(&task.attempt);
            }
            job.idle.into_iter().for_each(|guest| self.dismiss(guest));
        }
    }

    /// Returns up to `most` queued attempts to the manager, newest first.
    pub(super) fn give_back(&mut self, most: usize) {
        for _ in 0..most {
            let newest = self.jobs.iter().filter_map(|(id, job)| Some((job.queue.back()?.0, *id))).max();
            let task = newest.and_then(|(_, id)| self.jobs.get_mut(&id)?.queue.pop_back());
            let Some((_, task)) = task else {
                return;
            };
            self.held.remove(&task.attempt);
            self.news.returned.push(task.attempt);
        }
    }

    /// Fails a task whose guest failed in its start.
    ///
    /// Unless the host is at fault or a guest of the job has worked here before, no task of the job can run here: its
    /// waiting attempts fail too, and so do later ones.
    pub(super) fn not_begun(
        &mut self,
        id: JobId,
        task: RunningTask,
        mut failure: Failure,
        refusal: Option<Failure>,
    ) {
        let started = self.jobs.get(&id).is_some_and(|job| job.started);
        if let Some(refusal) = refusal {
            failure.message = refusal.message;
        }
        if started {
            failure.kind = FailureKind::HostFault;
        } else if !failure.kind.is_unfit() && failure.kind != FailureKind::HostFault {
            failure.kind = FailureKind::Start;
        }
        let unfit = failure.kind.is_unfit();
        self.end(task.failed(failure.clone()));
        if unfit {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.ready = Readiness::Refused(failure.clone());
            }
            self.refuse(id, &failure);
        }
    }

    pub(super) fn begin(&mut self, task: &Assignment) {
        tracing::trace!(target: "grid_host::attempt", attempt = %task.attempt, task = task.task, "begins");
        self.held.insert(task.attempt, AttemptState::Running);
        self.news.executing.push(task.attempt);
        self.note_news();
        self.metrics.task_begun();
    }

    /// Memory that the jobs of running guests ask for, in bytes.
    pub(super) fn memory_used(&self) -> u64 {
        if self.jobs.values().all(|job| job.brief.memory_bytes == 0) {
            return 0;
        }
        let asked = |guest: &Arc<JobGuest>| Some(self.jobs.get(&guest.job())?.brief.memory_bytes);
        self.running.iter().filter_map(asked).sum()
    }

    /// Number of guests that may run concurrently within the memory, if each takes as much as the largest job's.
    pub(super) fn memory_slots(&self) -> usize {
        let asked = self.jobs.values().filter(|job| !job.queue.is_empty()).map(|job| job.brief.memory_bytes);
        let running = self.running.iter().filter_map(|guest| self.jobs.get(&guest.job()));
        let most = asked.chain(running.map(|job| job.brief.memory_bytes)).max().unwrap_or_default();
        if most == 0 {
            return usize::MAX;
        }
        usize::try_from((self.memory_bytes / most).max(1)).unwrap_or(usize::MAX)
    }

    /// Fails all queued attempts of a job, because its module cannot run here.
    pub(super) fn refuse(&mut self, id: JobId, failure: &Failure) {
        let queue = self.jobs.get_mut(&id).map(|job| std::mem::take(&mut job.queue)).unwrap_or_default();
        for (_, task) in queue {
            let result = AttemptResult::Failed { failure: failure.clone(), log: Vec::new() };
            self.end(AttemptEnd { attempt: task.attempt, ran_us: 0, result });
        }
    }

    /// Records the end of an attempt and queues its report; ignores one that was abandoned meanwhile.
    pub(super) fn end(&mut self, mut end: AttemptEnd) {
        end.clamp();
        self.losses.remove(&end.attempt);
        if let Some(held) = self.held.get_mut(&end.attempt) {
            let ran = Duration::from_micros(end.ran_us);
            if !self.traced.is_empty() && self.traced.ended(Instant::now(), end.attempt, ran) {
                self.news.timed.push(end.attempt);
            }
            self.metrics.task_ended(&end);
            self.news.ended.push_back(end.attempt);
            *held = AttemptState::Ended(EncodedEnd::of(&end, &mut self.encoding));
            self.note_news();
        }
    }

    /// Updates the average of a job with the time that a task took.
    pub(super) fn note_pace(&mut self, id: JobId, took: Duration) {
        if let Some(job) = self.jobs.get_mut(&id) {
            let took = took.as_secs_f64();
            job.pace = Some(job.pace.map_or(took, |pace| pace * 0.8 + took * 0.2));
        }
    }

    /// Updates the average with the time that a task took or, if it is not over, has taken already.
    pub(super) fn note_time(&mut self, took: Duration, is_over: bool) {
        let took = took.as_secs_f64();
        self.usual = match self.usual {
            Some(usual) if is_over => Some(usual * 0.8 + took * 0.2),
            Some(usual) => Some(usual.max(took)),
            None if is_over => Some(took),
            None => None,
        };
    }
}
