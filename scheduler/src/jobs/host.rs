//! Hosts as jobs see them: how much each wants to hold, and whether it can be relied on.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use grid_protocol::digest::Digest;
use grid_protocol::host::Label;
use grid_protocol::job::{AttemptId, JobId, JobSpec};
use grid_protocol::time::Moment;

use super::ScheduledJob;
use super::host_order::{OTHER_KINDS, Traits};

/// A host, connected or remembered.
///
/// Its fields lie in memory as they are written: first what every task changes, so that of ten thousand hosts each costs few
/// lines of the processor's cache.
#[derive(Debug, Default)]
#[repr(C)]
pub struct WorkHost {
    /// Attempts that it holds.
    pub held: u32,
    /// Attempts that it is ready to hold at once: it pulls, the manager never floods.
    pub window: u32,
    /// Slots that it offers.
    pub slots: u32,
    /// Whether it is connected.
    pub present: bool,
    /// It let a lease end while it was connected, and has shown no life since.
    pub(super) silent: bool,
    /// It is kept empty for a suspect.
    pub(super) is_reserved: bool,
    /// Bytes of input that it holds, about.
    pub(super) held_bytes: u64,
    /// Until when it gets nothing, and why it does not; `None` if it is trusted.
    pub quarantine: Option<Moment>,
    /// The suspect that it runs, alone.
    pub(super) alone: Option<AttemptId>,
    /// What the indexes say of it.
    pub(super) indexed: HostIndexed,
    /// What it is good for, by kinds of work.
    pub(super) traits: Traits,
    /// Which of all connections its present one is.
    pub(super) joined: u64,
    /// The pass over the hosts with room in which it was last looked at.
    pub(super) looked_at: u64,
    /// Memory that it sets aside, in bytes.
    pub memory_bytes: u64,
    pub(super) health: Health,
    /// Labels that it carries.
    pub labels: Vec<Label>,
    /// Modules that it has.
    pub(super) modules: BTreeSet<Digest>,
}

/// What the indexes say of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HostIndexed {
    /// Its load, if it has room; otherwise [`NO_ROOM`].
    ready: u64,
    pub(super) idle: u32,
    slots: u32,
    is_open: bool,
    is_unclaimed: bool,
    pub(super) present: bool,
    pub(super) is_quarantined: bool,
}

/// More than any load.
const NO_ROOM: u64 = u64::MAX;

impl Default for HostIndexed {
    fn default() -> Self {
        let (is_open, is_unclaimed, present, is_quarantined) = (false, false, false, false);
        Self { ready: NO_ROOM, idle: 0, slots: 0, is_open, is_unclaimed, present, is_quarantined }
    }
}

impl HostIndexed {
    pub(super) fn of(host: &WorkHost) -> Self {
        let room = host.room();
        let is_open = host.is_open();
        Self {
            ready: if room > 0 { host.load() } else { NO_ROOM },
            idle: host.idle_of(room),
            slots: host.slots,
            is_open,
            is_unclaimed: is_open && host.alone.is_none() && !host.is_reserved,
            present: host.present,
            is_quarantined: host.quarantine.is_some(),
        }
    }

    /// By what the host stands in each order, in the order of `Hosts::orders`; `joined` is the same as long as it is open.
    pub(super) fn ranks(&self, joined: u64) -> [Option<u64>; 4] {
        [
            (self.ready != NO_ROOM).then_some(self.ready),
            (self.idle > 0).then_some(0),
            self.is_open.then_some(joined),
            self.is_unclaimed.then_some(joined),
        ]
    }

    pub(super) fn present_slots(&self) -> u64 {
        if self.present { self.slots.into() } else { 0 }
    }
}

/// How a host fares lately.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Health {
    /// Tasks done since something last spoke against it.
    good: u32,
    /// How it fares with the jobs of which it failed something.
    tallies: BTreeMap<JobId, HostTally>,
    /// When something last did.
    counted: Option<Moment>,
    /// Times that it was quarantined.
    quarantines: u32,
}

/// How a host fares with one job.
#[derive(Debug, Default)]
struct HostTally {
    /// Tasks that failed here by the host's fault, or were done elsewhere after they had failed here.
    bad: u32,
    /// Tasks done here since the first of those.
    good: u32,
    /// Times that it was barred from the job.
    bars: u32,
}

/// So many bad tasks of a job, and as many as good ones at least, bar a host from the job: a module that traps by
/// chance makes every host look bad to its own client, and to nobody else.
const BAD_MAX: u32 = 5;

/// Older tasks count half, so that a host that turns bad is noticed.
const TALLY_MAX: u32 = 64;

/// The first bar; each doubles the one before, up to a quarter of an hour.
const BAR: Duration = Duration::from_secs(30);
const BAR_MAX: Duration = Duration::from_secs(15 * 60);

/// Faults of a host within so long are one: a module that cannot be fetched fails every task that waits for it.
const INCIDENT: Duration = Duration::from_secs(1);

/// Modules of one host that are remembered; more are only not preferred.
const MODULES_MAX: usize = 10_000;

/// Bytes of input that a host holds beyond what its slots work on, at the most, about.
const AHEAD_BYTES_MAX: u64 = 8 << 20;

/// The first quarantine; each doubles the one before, up to an hour.
const QUARANTINE: Duration = Duration::from_secs(30);

/// Tasks done in a row that make a host as good as new.
const GOOD_MAX: u32 = 100;

impl WorkHost {
    /// Modules that it has, as far as is known.
    pub fn modules(&self) -> impl Iterator<Item = &Digest> {
        self.modules.iter()
    }

    /// How many more attempts it may be given.
    pub fn room(&self) -> u32 {
        let closed = !self.present || self.silent || self.quarantine.is_some();
        if closed || self.alone.is_some() || self.is_reserved {
            return 0;
        }
        let room = self.window.saturating_sub(self.held);
        if self.ahead_bytes() < AHEAD_BYTES_MAX {
            room
        } else {
            room.min(self.slots.saturating_sub(self.held))
        }
    }

    /// Bytes of the inputs that wait here for a slot, about.
    fn ahead_bytes(&self) -> u64 {
        let ahead = self.held.saturating_sub(self.slots);
        if ahead == 0 {
            return 0;
        }
        self.held_bytes / u64::from(self.held.max(1)) * u64::from(ahead)
    }

    /// How many more attempts it would begin at once.
    pub(super) fn idle(&self) -> u32 {
        self.idle_of(self.room())
    }

    /// The same, where [`Self::room`] is known.
    pub(super) fn idle_of(&self, room: u32) -> u32 {
        self.slots.saturating_sub(self.held).min(room)
    }

    /// Attempts that it holds by its slots, in 1024ths.
    pub(super) fn load(&self) -> u64 {
        u64::from(self.held) * 1024 / u64::from(self.slots.max(1))
    }

    /// How many inputs of so many bytes it may be given: one for each free slot at least.
    pub(super) fn room_for(&self, bytes: u64) -> u32 {
        let ahead = AHEAD_BYTES_MAX.saturating_sub(self.ahead_bytes()) / bytes.max(1);
        let free = self.slots.saturating_sub(self.held);
        u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(free).max(1)
    }

    /// It has the module, or will have it soon; true if that is new.
    pub(super) fn note_module(&mut self, module: Digest) -> bool {
        self.modules.len() < MODULES_MAX && self.modules.insert(module)
    }

    /// True if it has a job's module, and its traits say so.
    pub(super) fn is_known_to_hold(&self, job: &ScheduledJob) -> bool {
        let kind = job.kind();
        kind != OTHER_KINDS && self.traits.holds & kind != 0
    }

    /// True if it has a job's module.
    pub(super) fn has_module_of(&self, job: &ScheduledJob) -> bool {
        self.is_known_to_hold(job) || self.modules.contains(&job.spec.module)
    }

    /// True if it carries what a job's tasks need.
    pub fn suits(&self, spec: &JobSpec) -> bool {
        spec.memory_bytes <= self.memory_bytes && spec.labels.iter().all(|label| self.labels.contains(label))
    }

    /// True if it takes tasks, now or when it has done some.
    pub(super) fn is_open(&self) -> bool {
        self.present && !self.silent && self.quarantine.is_none() && self.window > 0
    }
}

impl Health {
    pub(super) fn succeeded(&mut self, job: JobId) {
        if let Some(tally) = self.tallies.get_mut(&job) {
            tally.good += 1;
            if tally.good + tally.bad > TALLY_MAX {
                (tally.good, tally.bad) = (tally.good / 2, tally.bad / 2);
            }
        }
        self.good += 1;
        if self.good >= GOOD_MAX {
            self.quarantines = 0;
        }
    }

    /// Counts a failure by the host's own fault; returns the bar from the job to impose, if any.
    pub(super) fn failed(&mut self, now: Moment, job: JobId) -> Option<Duration> {
        if self.counted.is_some_and(|counted| now.since(counted) < INCIDENT) {
            return None;
        }
        self.count(now, job)
    }

    /// Counts a contradiction: a task that failed here was done elsewhere. Returns the bar from the job to impose, if any.
    pub(super) fn contradicted(&mut self, now: Moment, job: JobId) -> Option<Duration> {
        self.count(now, job)
    }

    fn count(&mut self, now: Moment, job: JobId) -> Option<Duration> {
        self.counted = Some(now);
        self.good = 0;
        let tally = self.tallies.entry(job).or_default();
        tally.bad += 1;
        if tally.bad < BAD_MAX || tally.bad < tally.good {
            return None;
        }
        // One more after the bar, and it gets another.
        (tally.bad, tally.good) = (BAD_MAX - 1, 0);
        let bar = BAR.saturating_mul(1 << tally.bars.min(7)).min(BAR_MAX);
        tally.bars += 1;
        Some(bar)
    }

    /// The next quarantine of the whole host.
    pub(super) fn quarantine(&mut self) -> Duration {
        let pause = QUARANTINE.saturating_mul(1 << self.quarantines.min(7)).min(Duration::from_secs(3600));
        self.quarantines += 1;
        pause
    }

    pub(super) fn is_clean(&self) -> bool {
        self.tallies.is_empty() && self.quarantines == 0
    }

    pub(super) fn forget(&mut self, job: JobId) {
        self.tallies.remove(&job);
    }
}
