//! What the task runner has to tell the manager.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use grid_protocol::host::HostEvent;
use grid_protocol::job::{AttemptEnd, AttemptId, AttemptResult, JobId, Payload};
use grid_protocol::limits::{BATCH_BYTES_MAX, HELD_ATTEMPTS_MAX};
use tokio::time::Instant;

use super::{AttemptState, JobQueue, RunnerState, TaskRunner};

/// How often a host vouches for its attempts: three times in the term of a lease.
pub(crate) const LEASE_RENEWAL: Duration = Duration::from_secs(5);

/// A host asks for so much work ahead: enough to bridge the way to the manager and its disk.
const AHEAD: Duration = Duration::from_millis(100);

/// The way to the manager is nothing beside a task that takes so long.
pub(super) const LONG: Duration = Duration::from_secs(1);

/// Attempts that wait here at the most.
const AHEAD_MAX: usize = 4096;

/// What a failure takes of a frame at the most: its text, a backtrace, and some lines of log.
const FAILURE_BYTES: usize = 16 << 10;

/// What the manager does not know yet.
#[derive(Debug, Default)]
pub(super) struct PendingReports {
    /// A new session begins: everything is news.
    pub(super) anew: bool,
    pub(super) ended: VecDeque<AttemptId>,
    pub(super) executing: Vec<AttemptId>,
    pub(super) returned: Vec<AttemptId>,
    pub(super) renewal_due: bool,
    /// What the manager was told of the window.
    pub(super) window: Option<u32>,
}

impl TaskRunner {
    /// A connection stands; `anew` if the manager remembers nothing of the last one.
    pub(crate) fn connected(self: &Arc<Self>, anew: bool) {
        let mut inner = self.lock();
        inner.alone_since = None;
        inner.news.window = None;
        inner.news.renewal_due = true;
        if anew {
            inner.news.anew = true;
            let ended = |(attempt, held): (&AttemptId, &AttemptState)| {
                matches!(held, AttemptState::Ended(_)).then_some(*attempt)
            };
            let ended: Vec<_> = inner.held.iter().filter_map(ended).collect();
            let running = |(attempt, held): (&AttemptId, &AttemptState)| {
                matches!(held, AttemptState::Running | AttemptState::Sending).then_some(*attempt)
            };
            let running: Vec<_> = inner.held.iter().filter_map(running).collect();
            inner.news.ended = ended.into();
            inner.news.executing = running;
            inner.news.returned.clear();
            // The manager says which jobs are over only to those that it told of them.
            let busy: BTreeSet<_> = inner.running.iter().map(|executor| executor.job()).collect();
            let over =
                |(id, job): (&JobId, &JobQueue)| (job.queue.is_empty() && !busy.contains(id)).then_some(*id);
            let over: Vec<_> = inner.jobs.iter().filter_map(over).collect();
            over.into_iter().for_each(|job| inner.forget(job));
        }
        // While nobody was there nothing was begun.
        self.pump(&mut inner);
    }

    /// The connection is lost.
    pub(crate) fn disconnected(&self) {
        self.lock().alone_since.get_or_insert(Instant::now());
    }

    /// The next thing to report, until there is nothing.
    pub(crate) fn next_report(&self) -> Option<HostEvent> {
        let mut inner = self.lock();
        if std::mem::take(&mut inner.news.anew) {
            return Some(HostEvent::Holding { attempts: inner.holding() });
        }
        if std::mem::take(&mut inner.news.renewal_due) {
            return Some(HostEvent::Alive { attempts: inner.vouched(self.sandbox.is_wedged()) });
        }
        // Before what makes room: what is given back shall not come again.
        if let Some(window) = self.next_window(&mut inner) {
            return Some(window);
        }
        let ends = inner.take_ends();
        if !ends.is_empty() {
            return Some(HostEvent::Outcomes { ends });
        }
        if !inner.news.returned.is_empty() {
            return Some(HostEvent::Returned { attempts: std::mem::take(&mut inner.news.returned) });
        }
        let mut executing = std::mem::take(&mut inner.news.executing);
        executing.retain(|attempt| {
            matches!(inner.held.get(attempt), Some(AttemptState::Running | AttemptState::Sending))
        });
        if !executing.is_empty() {
            return Some(HostEvent::Executing { attempts: executing });
        }
        None
    }

    /// How much the host is ready to hold, if that has changed.
    fn next_window(&self, inner: &mut RunnerState) -> Option<HostEvent> {
        let window = if self.sandbox.is_wedged() { 0 } else { inner.window() };
        let told = inner.news.window;
        let changed =
            told.is_none_or(|told| (told == 0) != (window == 0) || window.abs_diff(told) > told / 8);
        if !changed {
            return None;
        }
        inner.news.window = Some(window);
        // What waits beyond it waits better where it may run sooner.
        let surplus = inner.active().saturating_sub(window as usize);
        inner.give_back(surplus);
        Some(HostEvent::Window { attempts: window })
    }
}

impl RunnerState {
    /// Attempts that run or wait.
    fn active(&self) -> usize {
        self.held.values().filter(|held| !matches!(held, AttemptState::Ended(_))).count()
    }

    /// What the host has from before, as much as fits: of those that have ended the ends follow anyway.
    fn holding(&self) -> Vec<AttemptId> {
        let active = |held: &AttemptState| !matches!(held, AttemptState::Ended(_));
        let first = self.held.iter().filter(|(_, held)| active(held));
        let then = self.held.iter().filter(|(_, held)| !active(held));
        first.chain(then).map(|(attempt, _)| *attempt).take(HELD_ATTEMPTS_MAX as usize).collect()
    }

    fn take_ends(&mut self) -> Vec<AttemptEnd> {
        let (mut ends, mut bytes) = (Vec::new(), 0);
        while let Some(attempt) = self.news.ended.front() {
            if let Some(AttemptState::Ended(end)) = self.held.get(attempt) {
                bytes += 24
                    + match &end.result {
                        AttemptResult::Done(results) => results.iter().map(Payload::frame_bytes).sum(),
                        AttemptResult::Failed { .. } => FAILURE_BYTES,
                    };
                if bytes > BATCH_BYTES_MAX && !ends.is_empty() {
                    break;
                }
                ends.push(end.clone());
            }
            self.news.ended.pop_front();
        }
        ends
    }

    /// Attempts that have an executor at work, or will have one.
    fn vouched(&self, wedged: bool) -> Vec<AttemptId> {
        if wedged {
            return Vec::new();
        }
        let at_work: Vec<_> = self.running.iter().filter_map(|executor| executor.vouched()).collect();
        let moves = self.capacity > 0 && (self.running.is_empty() || !at_work.is_empty());
        let waits = self.held.iter().filter(|(_, held)| {
            moves && matches!(held, AttemptState::Waiting) || matches!(held, AttemptState::Sending)
        });
        at_work.iter().copied().chain(waits.map(|(attempt, _)| *attempt)).collect()
    }

    /// Attempts that the host is ready to hold.
    fn window(&self) -> u32 {
        // An executor that hangs has its slot for good.
        let stuck = self.running.iter().filter(|executor| executor.is_stuck()).count();
        let free = self.capacity.saturating_sub(stuck).min(self.memory_slots());
        if self.draining || free == 0 || self.held.len() > HELD_ATTEMPTS_MAX as usize {
            return 0;
        }
        let capacity = free as f64;
        // Tasks that take long are not kept waiting here, where no other host can have them.
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
