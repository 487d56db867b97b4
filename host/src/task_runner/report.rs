//! The reports of the task runner to the manager.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use grid_protocol::host::HostEvent;
use grid_protocol::job::{AttemptId, JobId};
use grid_protocol::limits::{BATCH_BYTES_MAX, HELD_ATTEMPTS_MAX};
use grid_protocol::outcomes::EncodedOutcomes;
use grid_protocol::trace::{AttemptTimes, TRACED_A_FRAME_MAX};
use tokio::time::Instant;

use super::{AttemptState, JobQueue, Readiness, RunnerState, TaskRunner};

/// Interval at which a host renews the leases of its attempts: three times in the 15 s term of a lease.
pub(crate) const LEASE_RENEWAL: Duration = Duration::from_secs(5);

/// Running time of the tasks that a host asks for ahead: covers the round trip to the manager and its disk.
const AHEAD: Duration = Duration::from_millis(100);

/// How long tasks that have begun or ended wait for others, so that the manager is woken, writes to its disk and answers once
/// for all of them: as long as the host holds work for twice that time, and so will not wait for the manager.
const GATHER: Duration = Duration::from_millis(25);

/// Slots for each of which one end may be kept back, and one at least: what a host that is killed has done in vain stays little
/// beside what it was doing.
const SLOTS_FOR_ONE_KEPT: usize = 4;

/// Running time of a task beside which the round trip to the manager is negligible.
pub(super) const LONG: Duration = Duration::from_secs(1);

/// Upper limit of the attempts that a host asks for ahead.
const AHEAD_MAX: usize = 4096;

/// What the manager has not been told yet.
#[derive(Debug, Default)]
pub(super) struct PendingReports {
    /// A new session has begun, so all attempts that the host holds must be reported.
    pub(super) anew: bool,
    pub(super) ended: VecDeque<AttemptId>,
    pub(super) executing: Vec<AttemptId>,
    pub(super) returned: Vec<AttemptId>,
    /// Attempts that have ended, and of which the manager wants the times.
    pub(super) timed: Vec<AttemptId>,
    pub(super) renewal_due: bool,
    /// The window that the manager was last told.
    pub(super) window: Option<u32>,
    /// Since when something has begun or ended that may be kept back; `None` if nothing has that is not told.
    pub(super) untold_since: Option<Instant>,
    /// All of that is to be told now: some has been, or a task has ended of whose job nothing waits here, so that its client may
    /// wait for it.
    pub(super) is_due: bool,
    /// Until when that is kept back, if the last look for reports found that it is.
    pub(super) kept_until: Option<Instant>,
}

/// What the manager is told.
#[derive(Debug)]
pub(crate) enum Report {
    /// The ends of attempts, which are encoded already.
    Outcomes(EncodedOutcomes),
    /// Anything else.
    Event(HostEvent),
}

impl TaskRunner {
    /// Handles a new connection; `anew` if the manager remembers nothing of the last session.
    pub(crate) fn connected(self: &Arc<Self>, anew: bool) {
        let mut inner = self.lock();
        inner.alone_since = None;
        inner.news.window = None;
        inner.news.untold_since = None;
        inner.news.renewal_due = true;
        if anew {
            inner.news.anew = true;
            inner.news.ended = inner.held_that(|held| matches!(held, AttemptState::Ended(_))).into();
            let begun = |held: &AttemptState| matches!(held, AttemptState::Running | AttemptState::Sending);
            inner.news.executing = inner.held_that(begun);
            inner.news.returned.clear();
            // In a new session the manager announces the end of a job only to hosts that it has told of the job.
            let busy: BTreeSet<_> = inner.running.iter().map(|guest| guest.job()).collect();
            let over =
                |(id, job): (&JobId, &JobQueue)| (job.queue.is_empty() && !busy.contains(id)).then_some(*id);
            let over: Vec<_> = inner.jobs.iter().filter_map(over).collect();
            over.into_iter().for_each(|job| inner.forget(job));
        }
        // Without a connection no more tasks may have been started.
        self.pump(&mut inner);
    }

    /// Handles the loss of the connection: after [`ALONE_MAX`](super::ALONE_MAX) no more tasks are started.
    pub(crate) fn disconnected(&self) {
        self.lock().alone_since.get_or_insert(Instant::now());
    }

    /// Takes the next report; `None` if there is nothing to report.
    pub(crate) fn next_report(&self) -> Option<Report> {
        let mut inner = self.lock();
        if std::mem::take(&mut inner.news.anew) {
            return Some(Report::Event(HostEvent::Holding { attempts: inner.holding() }));
        }
        if std::mem::take(&mut inner.news.renewal_due) {
            let attempts = inner.vouched(self.sandbox.is_wedged());
            return Some(Report::Event(HostEvent::Alive { attempts }));
        }
        // Before the reports that make room in the window: the manager must not assign again what is returned here.
        if let Some(window) = self.next_window(&mut inner) {
            return Some(Report::Event(window));
        }
        if !inner.news.returned.is_empty() {
            let attempts = std::mem::take(&mut inner.news.returned);
            return Some(Report::Event(HostEvent::Returned { attempts }));
        }
        inner.news.kept_until = inner.gathers_until().filter(|until| Instant::now() < *until);
        if inner.news.kept_until.is_some() {
            return None;
        }
        inner.news.is_due = true;
        if !inner.news.timed.is_empty() {
            return Some(Report::Event(HostEvent::Traced { times: inner.take_times() }));
        }
        let ends = inner.take_ends();
        if ends.count() > 0 {
            return Some(Report::Outcomes(ends));
        }
        inner.news.untold_since = None;
        inner.news.is_due = false;
        let RunnerState { news, held, .. } = &mut *inner;
        // Most have ended meanwhile, and the room is used again.
        news.executing.retain(|attempt| {
            matches!(held.get(attempt), Some(AttemptState::Running | AttemptState::Sending))
        });
        let attempts: Vec<_> = news.executing.drain(..).collect();
        (!attempts.is_empty()).then_some(Report::Event(HostEvent::Executing { attempts }))
    }

    /// When to look for reports again, although nothing happens until then; says it once.
    pub(crate) fn take_due(&self) -> Option<Instant> {
        self.lock().news.kept_until.take()
    }

    /// The window to report, if it differs enough from the one reported last; returns attempts that exceed it.
    fn next_window(&self, inner: &mut RunnerState) -> Option<HostEvent> {
        let window = if self.sandbox.is_wedged() { 0 } else { inner.window() };
        let told = inner.news.window;
        let changed =
            told.is_none_or(|told| (told == 0) != (window == 0) || window.abs_diff(told) > told / 8);
        if !changed {
            return None;
        }
        inner.news.window = Some(window);
        // Waiting attempts beyond the window may run sooner on another host.
        let surplus = inner.active().saturating_sub(window as usize);
        inner.give_back(surplus);
        Some(HostEvent::Window { attempts: window })
    }
}

impl RunnerState {
    /// Something has begun or ended that the manager must be told.
    pub(super) fn note_news(&mut self) {
        self.news.untold_since.get_or_insert_with(Instant::now);
    }

    /// A task of this job has ended.
    pub(super) fn note_end_of(&mut self, id: JobId) {
        self.news.is_due |= self.jobs.get(&id).is_none_or(|job| job.queue.is_empty());
    }

    /// Until when the manager is not told what has begun or ended, so that it is told more at once; `None` if it is to be told
    /// now: because somebody may wait for it, because little work waits here, because there is enough to tell, or because a
    /// task may take this process with it, and the manager must know which.
    fn gathers_until(&self) -> Option<Instant> {
        let since = self.news.untold_since.filter(|_| self.has_executors && !self.news.is_due)?;
        if self.news.ended.len() > (self.capacity / SLOTS_FOR_ONE_KEPT).max(1) {
            return None;
        }
        let can_run = |job: &&JobQueue| matches!(job.ready, Readiness::Program(..));
        let waiting: usize = self.jobs.values().filter(can_run).map(|job| job.queue.len()).sum();
        may_gather(waiting, self.usual?, self.capacity).then_some(since + GATHER)
    }

    /// Number of attempts that have not ended.
    fn active(&self) -> usize {
        self.held.values().filter(|held| !matches!(held, AttemptState::Ended(_))).count()
    }

    /// The attempts that the host holds, up to [`HELD_ATTEMPTS_MAX`]. Ended ones come last: their ends follow anyway.
    fn holding(&self) -> Vec<AttemptId> {
        let mut attempts = self.held_that(|held| !matches!(held, AttemptState::Ended(_)));
        attempts.extend(self.held_that(|held| matches!(held, AttemptState::Ended(_))));
        attempts.truncate(HELD_ATTEMPTS_MAX as usize);
        attempts
    }

    /// The attempts in such a state, ascending.
    fn held_that(&self, is_so: impl Fn(&AttemptState) -> bool) -> Vec<AttemptId> {
        let held = self.held.iter().filter(|(_, held)| is_so(held));
        let mut attempts: Vec<_> = held.map(|(attempt, _)| *attempt).collect();
        attempts.sort_unstable();
        attempts
    }

    /// The times of attempts whose ends are reported next.
    fn take_times(&mut self) -> Vec<AttemptTimes> {
        let now = Instant::now();
        let some = self.news.timed.len().min(TRACED_A_FRAME_MAX);
        self.news.timed.drain(..some).filter_map(|attempt| self.traced.told(now, attempt)).collect()
    }

    /// Those that fit into one frame.
    fn take_ends(&mut self) -> EncodedOutcomes {
        let mut ends = EncodedOutcomes::for_short(self.news.ended.len());
        while let Some(attempt) = self.news.ended.front() {
            if let Some(AttemptState::Ended(end)) = self.held.get(attempt) {
                if ends.count() > 0 && ends.frame_bytes() + end.frame_bytes() > BATCH_BYTES_MAX {
                    break;
                }
                ends.push(end);
            }
            self.news.ended.pop_front();
        }
        ends
    }

    /// Attempts whose leases are to be renewed: those that run, will be able to run, or send their results.
    fn vouched(&self, wedged: bool) -> Vec<AttemptId> {
        if wedged {
            return Vec::new();
        }
        let mut vouched: Vec<_> = self.running.iter().flat_map(|guest| guest.vouched()).collect();
        let moves = self.capacity > 0 && (self.running.is_empty() || !vouched.is_empty());
        vouched.extend(self.held_that(|held| {
            moves && matches!(held, AttemptState::Waiting) || matches!(held, AttemptState::Sending)
        }));
        vouched
    }

    /// The number of attempts that the host is ready to hold; 0 if it can run none.
    fn window(&self) -> u32 {
        // A guest that hangs never releases its slot.
        let stuck = self.running.iter().filter(|guest| guest.is_stuck()).count();
        let free = self.capacity.saturating_sub(stuck).min(self.memory_slots());
        if self.draining || free == 0 || self.held.len() > HELD_ATTEMPTS_MAX as usize {
            return 0;
        }
        let capacity = free as f64;
        // Long tasks are not requested ahead: while they wait here, no other host can run them.
        let quick = self.usual.filter(|usual| *usual < LONG.as_secs_f64());
        let ahead = quick.map_or(0.0, |usual| (capacity * AHEAD.as_secs_f64() / usual.max(1e-6)).ceil());
        // A float to integer cast saturates.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded in the next line"
        )]
        let ahead = (ahead as usize).min(AHEAD_MAX);
        u32::try_from(free + ahead).unwrap_or(u32::MAX).min(HELD_ATTEMPTS_MAX)
    }
}

/// True if `waiting` tasks that usually take so many seconds keep so many slots busy for twice as long as reports may wait: the
/// manager hears of free places in time to fill them.
fn may_gather(waiting: usize, usual: f64, capacity: usize) -> bool {
    waiting as f64 * usual >= 2.0 * GATHER.as_secs_f64() * capacity.max(1) as f64
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use grid_disk::Machine;
    use grid_protocol::digest::Digest;
    use grid_protocol::job::{Assignment, AttemptEnd, AttemptResult, JobBrief, Payload};
    use grid_protocol::worker::End;
    use tokio::sync::mpsc;

    use super::*;
    use crate::mailbox::MessagePort;
    use crate::sandbox::{GuestHandle, Policy, Sandbox, SimulatedGuests};

    /// Nobody starts a guest: the tests begin and end tasks by themselves.
    #[derive(Debug)]
    struct NoGuests;

    impl SimulatedGuests for NoGuests {
        fn start(
            &self,
            _: Digest,
            _: Arc<dyn MessagePort>,
            _: Box<dyn FnOnce() + Send>,
            _: Box<dyn FnOnce(End) + Send>,
        ) -> Arc<dyn GuestHandle> {
            unreachable!("a test has started a guest")
        }

        fn are_wedged(&self) -> bool {
            false
        }
    }

    const JOB: JobId = JobId([1; 16]);

    /// A runner of so many slots, which together do a task in 10 ms, and which holds so many tasks.
    fn runner(slots: u8, tasks: u64) -> Arc<TaskRunner> {
        let sandbox = Sandbox::simulated(Arc::new(NoGuests), Policy::default());
        let (long, _) = mpsc::unbounded_channel();
        let (outbox, machine) = (Arc::default(), Machine::default());
        let runner =
            Arc::new(TaskRunner::new(sandbox, outbox, slots.into(), 0, machine, long, Arc::default()));
        let module = Digest::of(b"module");
        runner.brief(JobBrief { job: JOB, module, arguments: Vec::new(), memory_bytes: 0, timeout_ms: 1000 });
        let input = Payload::Here(Bytes::new());
        let attempt = |task| Assignment { attempt: AttemptId::new(1, task), task, input: input.clone() };
        runner.assign(JOB, (0..tasks).map(attempt).collect());
        let mut inner = runner.lock();
        (inner.usual, inner.has_executors) = (Some(0.01 * f64::from(slots)), true);
        let program = runner.sandbox.program(module).unwrap();
        inner.jobs.get_mut(&JOB).unwrap().ready = Readiness::Program(program, Policy::default().limits);
        drop(inner);
        assert!(matches!(runner.next_report(), Some(Report::Event(HostEvent::Window { .. }))));
        runner
    }

    /// The next task begins and ends.
    fn work(runner: &TaskRunner) {
        let mut inner = runner.lock();
        let (_, task) = inner.jobs.get_mut(&JOB).unwrap().queue.pop_front().unwrap();
        inner.begin(&task);
        let result = AttemptResult::Done(Vec::new());
        inner.end(AttemptEnd { attempt: task.attempt, ran_us: 10_000, result });
    }

    /// As if what is untold had happened an hour from now, so that it is not due already; returns when.
    fn put_off(inner: &mut RunnerState) -> Instant {
        *inner.news.untold_since.insert(Instant::now() + Duration::from_secs(3600))
    }

    fn told(runner: &TaskRunner) -> Option<u64> {
        match runner.next_report()? {
            Report::Outcomes(ends) => Some(ends.count()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tasks_that_end_while_others_wait_are_told_together_and_when_they_are_due() {
        let runner = runner(12, 10);
        (0..3).for_each(|_| work(&runner));
        let since = put_off(&mut runner.lock());
        assert_eq!(told(&runner), None, "work for 70 ms waits");
        assert_eq!(runner.take_due(), Some(since + GATHER));
        assert_eq!(runner.take_due(), None, "it is said once");
        runner.lock().news.untold_since = Some(Instant::now().checked_sub(GATHER).unwrap());
        assert_eq!((told(&runner), told(&runner), runner.take_due()), (Some(3), None, None));
        assert_eq!(runner.lock().news.untold_since, None);
    }

    #[test]
    fn the_last_tasks_that_a_host_holds_are_told_as_they_end_and_those_before_with_them() {
        let runner = runner(1, 6);
        work(&runner);
        put_off(&mut runner.lock());
        assert_eq!(told(&runner), None, "work for 50 ms waits");
        work(&runner);
        assert_eq!((told(&runner), told(&runner)), (Some(2), None));
        work(&runner);
        assert_eq!((told(&runner), runner.take_due()), (Some(1), None));
    }

    #[test]
    fn what_has_begun_is_told_with_what_has_ended() {
        let runner = runner(1, 10);
        (0..2).for_each(|_| work(&runner));
        let mut inner = runner.lock();
        let (_, next) = inner.jobs.get_mut(&JOB).unwrap().queue.pop_front().unwrap();
        inner.begin(&next);
        put_off(&mut inner);
        drop(inner);
        assert_eq!(told(&runner), Some(2));
        let executing = runner.next_report();
        assert!(
            matches!(&executing, Some(Report::Event(HostEvent::Executing { attempts })) if attempts[..] == [next.attempt])
        );
        assert_eq!((told(&runner), runner.take_due()), (None, None));
    }

    #[test]
    fn of_a_host_with_few_slots_one_end_is_kept_back_and_of_others_one_for_four_slots() {
        for (slots, kept) in [(1, 1), (7, 1), (8, 2), (16, 4)] {
            let runner = runner(slots, 10);
            put_off(&mut runner.lock());
            for _ in 0..kept {
                work(&runner);
                assert_eq!(told(&runner), None, "{slots} slots");
            }
            work(&runner);
            assert_eq!(told(&runner), Some(kept + 1), "{slots} slots");
        }
    }

    #[test]
    fn nothing_is_kept_back_where_a_task_may_end_the_host_or_for_work_that_cannot_run_or_from_a_client_that_may_wait()
     {
        let kept = |change: fn(&mut RunnerState)| {
            let runner = runner(1, 10);
            work(&runner);
            let mut inner = runner.lock();
            put_off(&mut inner);
            change(&mut inner);
            drop(inner);
            told(&runner).is_none()
        };
        assert!(kept(|_| ()));
        assert!(!kept(|inner| inner.has_executors = false));
        assert!(!kept(|inner| inner.jobs.get_mut(&JOB).unwrap().ready = Readiness::Loading));
        assert!(!kept(|inner| inner.note_end_of(JobId([2; 16]))), "nothing of that job waits");
        assert!(kept(|inner| inner.note_end_of(JOB)));
    }

    #[test]
    fn what_is_kept_back_goes_with_what_a_host_that_drains_returns() {
        let runner = runner(1, 10);
        work(&runner);
        put_off(&mut runner.lock());
        assert_eq!(told(&runner), None);
        runner.drain();
        let reports: Vec<_> = std::iter::from_fn(|| runner.next_report()).collect();
        let [
            Report::Event(HostEvent::Window { attempts: 0 }),
            Report::Event(HostEvent::Returned { attempts }),
            Report::Outcomes(ends),
        ] = &reports[..]
        else {
            panic!("{reports:?}")
        };
        assert_eq!((attempts.len(), ends.count()), (9, 1));
    }

    #[test]
    fn reports_wait_only_while_work_for_twice_that_time_waits_for_each_slot() {
        // Ten tasks of 10 ms, as a host of one slot holds: it tells every few of them.
        assert!(may_gather(10, 0.01, 1));
        assert!(may_gather(5, 0.01, 1));
        assert!(!may_gather(4, 0.01, 1), "the last of a job are told at once");
        assert!(!may_gather(10, 0.01, 3), "three slots work them off in a third of the time");
        assert!(!may_gather(AHEAD_MAX, 4e-6, 1), "tasks that take nothing are gathered by the commits");
        assert!(!may_gather(0, 10.0, 1), "a long task with nothing behind it");
    }
}
