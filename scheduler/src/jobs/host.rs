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
    /// Which of all connections its present one is.
    pub(super) joined: u64,
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
    /// The suspect that it will run as soon as it is empty.
    pub(super) reserved: Option<(JobId, u64)>,
    /// It let a lease end while it was connected, and has shown no life since.
    pub(super) silent: bool,
    /// Bytes of input that it holds, about.
    pub(super) held_bytes: u64,
    pub(super) health: Health,
}

/// How a host fares lately.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// What speaks against it, by job, since it last did a task of the job.
    counts: BTreeMap<JobId, u32>,
    /// When something last did.
    counted: Option<Moment>,
    /// Times that it was quarantined.
    quarantines: u32,
    /// Tasks done since something last spoke against it.
    good: u32,
}

/// So much must speak against a host before it is quarantined.
const COUNT_MAX: u32 = 5;

/// Faults of a host within so long are one: a module that cannot be fetched fails every task that waits for it.
const INCIDENT: Duration = Duration::from_secs(1);

/// Modules of one host that are remembered; more are only not preferred.
const MODULES_MAX: usize = 10_000;

/// Bytes of input that a host holds at the most, about.
const HELD_BYTES_MAX: u64 = 8 << 20;

/// The first quarantine; each doubles the one before, up to an hour.
const QUARANTINE: Duration = Duration::from_secs(30);

/// Tasks done in a row that make a host as good as new.
const GOOD_MAX: u32 = 100;

impl WorkHost {
    /// How many more attempts it may be given.
    pub fn room(&self) -> u32 {
        let closed = !self.present || self.silent || self.quarantine.is_some();
        if closed || self.alone.is_some() || self.reserved.is_some() || self.held_bytes >= HELD_BYTES_MAX {
            return 0;
        }
        self.window.saturating_sub(self.held)
    }

    /// How many more attempts it would begin at once.
    pub(super) fn idle(&self) -> u32 {
        self.slots.saturating_sub(self.held).min(self.room())
    }

    /// How many inputs of so many bytes it may be given: one at least.
    pub(super) fn room_for(&self, bytes: u64) -> u32 {
        let room = HELD_BYTES_MAX.saturating_sub(self.held_bytes) / bytes.max(1);
        u32::try_from(room).unwrap_or(u32::MAX).max(1)
    }

    /// It has the module, or will have it soon.
    pub(super) fn note_module(&mut self, module: Digest) {
        if self.modules.len() < MODULES_MAX {
            self.modules.insert(module);
        }
    }

    /// True if it carries what a job's tasks need.
    pub fn suits(&self, spec: &JobSpec) -> bool {
        spec.memory_bytes <= self.memory_bytes && spec.labels.iter().all(|label| self.labels.contains(label))
    }

    /// True if it takes tasks, now or when it has done some.
    pub(super) fn is_open(&self) -> bool {
        self.present && !self.silent && self.quarantine.is_none() && self.window > 0
    }

    /// True if a task that was done elsewhere or never tried could go here, now or later.
    pub(super) fn is_hopeful(&self, spec: &JobSpec) -> bool {
        self.is_open() && self.suits(spec)
    }
}

impl Health {
    pub(super) fn succeeded(&mut self, job: JobId) {
        self.counts.remove(&job);
        self.good += 1;
        if self.good >= GOOD_MAX {
            self.quarantines = 0;
        }
    }

    /// A task failed here by the host's own fault; for how long it should get nothing, if it should.
    pub(super) fn failed(&mut self, now: Moment, job: JobId) -> Option<Duration> {
        if self.counted.is_some_and(|counted| now.since(counted) < INCIDENT) {
            return None;
        }
        self.count(now, job)
    }

    /// A task that failed here was done elsewhere: by how long it should get nothing, if it should.
    ///
    /// A failure by the task's own fault says nothing of the host before.
    pub(super) fn contradicted(&mut self, now: Moment, job: JobId) -> Option<Duration> {
        self.count(now, job)
    }

    fn count(&mut self, now: Moment, job: JobId) -> Option<Duration> {
        self.counted = Some(now);
        self.good = 0;
        let count = self.counts.entry(job).or_default();
        *count += 1;
        if *count < COUNT_MAX {
            return None;
        }
        // One more after the pause, and it gets another.
        *count = COUNT_MAX - 1;
        let pause = QUARANTINE.saturating_mul(1 << self.quarantines.min(7)).min(Duration::from_secs(3600));
        self.quarantines += 1;
        Some(pause)
    }

    pub(super) fn is_clean(&self) -> bool {
        self.counts.is_empty() && self.quarantines == 0
    }

    pub(super) fn forget(&mut self, job: JobId) {
        self.counts.remove(&job);
    }
}
