//! Hosts as jobs see them: how much each wants to hold, and whether it can be relied on.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use grid_protocol::digest::Digest;
use grid_protocol::host::Label;
use grid_protocol::job::{AttemptId, JobId, JobSpec};
use grid_protocol::time::Moment;

/// A host, connected or remembered.
#[derive(Debug, Default)]
pub struct WorkHost {
    /// Labels that it carries.
    pub labels: Vec<Label>,
    /// Memory that it sets aside, in bytes.
    pub memory_bytes: u64,
    /// Slots that it offers.
    pub slots: u32,
    /// Whether it is connected.
    pub present: bool,
    /// Attempts that it is ready to hold at once: it pulls, the manager never floods.
    pub window: u32,
    /// Attempts that it holds.
    pub held: u32,
    /// Until when it gets nothing, and why it does not; `None` if it is trusted.
    pub quarantine: Option<Moment>,
    /// Modules that it has.
    pub(super) modules: BTreeSet<Digest>,
    /// The suspect that it runs, alone.
    pub(super) alone: Option<AttemptId>,
    pub(super) health: Health,
}

/// How a host fares lately.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Failures in a row, by job, and how many tasks of the job were done when the row began.
    rows: BTreeMap<JobId, Row>,
    /// Times that it was quarantined.
    quarantines: u32,
    /// Tasks done since the last failure.
    good: u32,
}

#[derive(Debug)]
struct Row {
    failures: u32,
    done_before: u64,
}

/// Failures in a row at which a host is suspected: five different tasks.
const ROW_MAX: u32 = 5;

/// The first quarantine; each doubles the one before, up to an hour.
const QUARANTINE: Duration = Duration::from_secs(30);

/// Tasks done in a row that make a host as good as new.
const GOOD_MAX: u32 = 100;

impl WorkHost {
    /// How many more attempts it may be given.
    pub fn room(&self) -> u32 {
        if !self.present || self.quarantine.is_some() || self.alone.is_some() {
            return 0;
        }
        self.window.saturating_sub(self.held)
    }

    /// True if it carries what a job's tasks need.
    pub fn suits(&self, spec: &JobSpec) -> bool {
        spec.memory_bytes <= self.memory_bytes && spec.labels.iter().all(|label| self.labels.contains(label))
    }

    /// True if a task that was done elsewhere or never tried could go here, now or later.
    pub(super) fn is_hopeful(&self, spec: &JobSpec) -> bool {
        self.present && self.quarantine.is_none() && self.window > 0 && self.suits(spec)
    }
}

impl Health {
    pub(super) fn succeeded(&mut self, job: JobId) {
        self.rows.remove(&job);
        self.good += 1;
        if self.good >= GOOD_MAX {
            self.quarantines = 0;
        }
    }

    /// A task failed here; for how long the host should get nothing, if it should.
    ///
    /// A task that fails by its own fault says something about the host only if others do the job well meanwhile.
    pub(super) fn failed(&mut self, job: JobId, done: u64, by_host: bool) -> Option<Duration> {
        self.good = 0;
        let row = self.rows.entry(job).or_insert(Row { failures: 0, done_before: done });
        row.failures += 1;
        if row.failures < ROW_MAX || !(by_host || done > row.done_before) {
            return None;
        }
        // One more failure after the pause, and it gets another.
        row.failures = ROW_MAX - 1;
        row.done_before = done.saturating_sub(1);
        let pause = QUARANTINE.saturating_mul(1 << self.quarantines.min(7)).min(Duration::from_secs(3600));
        self.quarantines += 1;
        Some(pause)
    }

    pub(super) fn forget(&mut self, job: JobId) {
        self.rows.remove(&job);
    }
}
