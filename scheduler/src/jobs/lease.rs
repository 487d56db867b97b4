//! Leases: which host runs which attempt, and until when.
//!
//! A lease gives one host the right to one attempt at a task. The host keeps it by renewing; silence ends it, and
//! nothing else in the grid decides that a host's attempt is lost, unless the host says so itself.
//!
//! The table lists each host's leases, and looks at a host's leases again only when one of them may have ended or become
//! old: a lease that ends in good time costs the clock nothing.

#[cfg(test)]
use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::hash::{BuildHasherDefault, Hasher};
use core::time::Duration;

use grid_protocol::job::{AttemptId, JobId};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;
use hashbrown::HashMap;

use super::lease_counts::{JobLeases, LeaseCounts};
use super::table::index;

/// How long a lease lasts: three renewals missed, at one every five seconds.
pub const LEASE_TERM: Duration = Duration::from_secs(15);

/// The right of a host to one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Whose task.
    pub job: JobId,
    /// The task's number in its job.
    pub task: u64,
    /// Who has it.
    pub host: PublicKey,
    /// When it ends, unless it is renewed.
    pub until: Moment,
    /// Since when the attempt runs, as the host says; `None` while it waits there.
    pub executing: Option<Moment>,
    /// When it was granted; `None` once the attempt is known to run.
    pub granted: Option<Moment>,
    /// Bytes of its input, about.
    pub bytes: u64,
    /// Where its job and its host are, while it lasts.
    pub(super) at: LeasePlaces,
}

/// Places in the tables of jobs and hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeasePlaces {
    pub(super) job: u32,
    pub(super) host: u32,
    /// Where its attempt is among its job's.
    pub(super) slot: u32,
}

/// How old a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeaseAge {
    /// Its attempt has neither waited nor run for [`YOUNG`], as far as was looked.
    Young,
    /// It has, and is in one of the table's lists of those.
    Old,
    /// It is no lease any more, and its memory is free.
    Over,
}

/// An attempt that has run, or has waited at its host, for less is not looked at as a straggler.
pub(super) const YOUNG: Duration = Duration::from_secs(2);

/// All leases.
#[derive(Debug)]
pub(super) struct LeaseTable {
    /// The row of each attempt. Looked up, and never iterated: nothing may depend on the order of a hash map.
    index: HashMap<AttemptId, u32, BuildHasherDefault<AttemptHasher>>,
    rows: Vec<LeaseRow>,
    /// The row that became free last, whose `next` is the one before; [`NO_ROW`] if there is none.
    free: u32,
    /// The leases of the host at each place.
    hosts: Vec<HostLeases>,
    /// Hosts by the moment before which none of their leases ends.
    deadlines: BTreeSet<(Moment, u32)>,
    /// Hosts by the moment before which none of their young leases becomes old.
    ages: BTreeSet<(Moment, u32)>,
    /// Leases that have waited at their hosts for long: the job's place, since when, and the attempt.
    old_waiting: BTreeSet<OldLease>,
    /// Those that have run for long.
    old_running: BTreeSet<OldLease>,
    /// Second attempts.
    extras: usize,
    counts: LeaseCounts,
}

type OldLease = (u32, Moment, AttemptId);

/// Stands for no row.
const NO_ROW: u32 = u32::MAX;

/// A lease as the table keeps it: one line of the processor's cache. Whose it is, by keys, the tables of jobs and hosts know.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct LeaseRow {
    pub(super) attempt: AttemptId,
    /// The task's number in its job.
    pub(super) task: u64,
    /// When it ends, unless it is renewed.
    pub(super) until: Moment,
    /// Since when it runs, or waits at its host.
    since: Moment,
    /// Bytes of its input, about.
    pub(super) bytes: u64,
    pub(super) at: LeasePlaces,
    /// The neighbours in the list of its host's leases.
    previous: u32,
    next: u32,
    /// The host has begun it.
    pub(super) runs: bool,
    /// It is a second attempt at a task that takes long elsewhere.
    extra: bool,
    age: LeaseAge,
}

const _: () = assert!(size_of::<LeaseRow>() == 64);

/// The leases of one host: a list of rows, the newest first.
#[derive(Debug)]
struct HostLeases {
    first: u32,
    /// Where it stands in [`LeaseTable::deadlines`].
    deadline: Option<Moment>,
    /// Where it stands in [`LeaseTable::ages`].
    age: Option<Moment>,
}

/// Puts attempts that were made one after the other side by side in the table's memory: the next one is granted where the
/// last was, which is in the processor's cache. The manager alone makes these numbers, so nobody can have them collide.
#[derive(Debug, Default)]
struct AttemptHasher(u64);

impl Hasher for AttemptHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 << 8 | u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        // The map takes the low bits as the place, and the highest seven to tell neighbours apart.
        self.0 ^ self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) & 0x7f << 57
    }
}

impl LeaseRow {
    /// A lease that begins now; a second attempt if `extra`.
    pub(super) fn new(
        now: Moment,
        attempt: AttemptId,
        task: u64,
        bytes: u64,
        extra: bool,
        at: LeasePlaces,
    ) -> Self {
        let (until, age) = (now + LEASE_TERM, LeaseAge::Young);
        let (previous, next) = (NO_ROW, NO_ROW);
        Self { attempt, task, until, since: now, bytes, at, previous, next, runs: false, extra, age }
    }

    /// Since when it runs; `None` while it waits at its host.
    pub(super) fn executing(&self) -> Option<Moment> {
        self.runs.then_some(self.since)
    }

    /// When it was granted; `None` once it runs.
    pub(super) fn granted(&self) -> Option<Moment> {
        (!self.runs).then_some(self.since)
    }

    fn is_used(&self) -> bool {
        self.age != LeaseAge::Over
    }

    /// As it is listed once it is old.
    fn as_old(&self) -> OldLease {
        (self.at.job, self.since, self.attempt)
    }
}

impl Default for HostLeases {
    fn default() -> Self {
        Self { first: NO_ROW, deadline: None, age: None }
    }
}

impl Default for LeaseTable {
    fn default() -> Self {
        Self {
            index: HashMap::default(),
            rows: Vec::new(),
            free: NO_ROW,
            hosts: Vec::new(),
            deadlines: BTreeSet::new(),
            ages: BTreeSet::new(),
            old_waiting: BTreeSet::new(),
            old_running: BTreeSet::new(),
            extras: 0,
            counts: LeaseCounts::default(),
        }
    }
}

impl LeaseTable {
    pub(super) fn grant(&mut self, row: LeaseRow) {
        let place = row.at.host;
        if self.hosts.len() <= place as usize {
            self.hosts.resize_with(place as usize + 1, HostLeases::default);
        }
        let Some(host) = self.hosts.get_mut(place as usize) else {
            return;
        };
        let row = LeaseRow { next: host.first, ..row };
        let number = match self.rows.get_mut(self.free as usize) {
            Some(free) => {
                let number = core::mem::replace(&mut self.free, free.next);
                *free = row;
                number
            }
            None => {
                self.rows.push(row);
                index(self.rows.len() - 1)
            }
        };
        if let Some(next) = self.rows.get_mut(host.first as usize) {
            next.previous = number;
        }
        host.first = number;
        self.index.insert(row.attempt, number);
        self.extras += usize::from(row.extra);
        self.counts.add(row.at.job, row.at.host);
        bring_forward(&mut self.deadlines, &mut host.deadline, place, row.until);
        bring_forward(&mut self.ages, &mut host.age, place, row.since + YOUNG);
    }

    /// Renews the lease.
    pub(super) fn renew(&mut self, now: Moment, attempt: AttemptId) {
        if let Some(row) = self.row_mut(attempt) {
            row.until = now + LEASE_TERM;
        }
    }

    /// The host has begun the attempt.
    pub(super) fn begin(&mut self, now: Moment, attempt: AttemptId) {
        let Some(row) = self.row_mut(attempt).filter(|row| !row.runs) else {
            return;
        };
        let (waited, at) = (row.as_old(), row.at);
        (row.runs, row.since) = (true, now);
        if core::mem::replace(&mut row.age, LeaseAge::Young) == LeaseAge::Old {
            self.old_waiting.remove(&waited);
        }
        self.counts.begin(at.job);
        if let Some(host) = self.hosts.get_mut(at.host as usize) {
            bring_forward(&mut self.ages, &mut host.age, at.host, now + YOUNG);
        }
    }

    /// Takes a lease out.
    pub(super) fn remove(&mut self, attempt: AttemptId) -> Option<LeaseRow> {
        let number = self.index.remove(&attempt)?;
        let entry = self.rows.get_mut(number as usize)?;
        let row = *entry;
        (entry.age, entry.next) = (LeaseAge::Over, core::mem::replace(&mut self.free, number));
        if let Some(next) = self.rows.get_mut(row.next as usize) {
            next.previous = row.previous;
        }
        match self.rows.get_mut(row.previous as usize) {
            Some(previous) => previous.next = row.next,
            None => self.hosts.get_mut(row.at.host as usize)?.first = row.next,
        }
        self.extras -= usize::from(row.extra);
        self.counts.remove(row.at.job, row.at.host, row.runs);
        if row.age == LeaseAge::Old {
            if row.runs { &mut self.old_running } else { &mut self.old_waiting }.remove(&row.as_old());
        }
        Some(row)
    }

    /// No lease ends before this.
    pub(super) fn due(&self) -> Option<Moment> {
        self.deadlines.first().map(|(due, _)| *due)
    }

    /// The leases that have ended, in the order of their attempts. The caller removes them.
    pub(super) fn expired(&mut self, now: Moment) -> Vec<AttemptId> {
        let mut ended = Vec::new();
        while let Some((due, place)) = self.deadlines.first().copied().filter(|(due, _)| *due <= now) {
            self.deadlines.remove(&(due, place));
            ended.extend(self.at_host(place).filter(|row| row.until <= now).map(|row| row.attempt));
            let next = self.at_host(place).map(|row| row.until).filter(|until| *until > now).min();
            if let Some(host) = self.hosts.get_mut(place as usize) {
                host.deadline = next;
            }
            self.deadlines.extend(next.map(|due| (due, place)));
        }
        ended.sort_unstable();
        ended
    }

    /// Notes which leases have become old.
    pub(super) fn grow_old(&mut self, now: Moment) {
        while let Some((due, place)) = self.ages.first().copied().filter(|(due, _)| *due <= now) {
            self.ages.remove(&(due, place));
            let Some(host) = self.hosts.get_mut(place as usize) else {
                continue;
            };
            host.age = None;
            let mut next = host.first;
            while let Some(row) = self.rows.get_mut(next as usize) {
                next = row.next;
                let due = row.since + YOUNG;
                if row.age == LeaseAge::Old {
                    continue;
                }
                if due > now {
                    host.age = Some(host.age.map_or(due, |other| other.min(due)));
                    continue;
                }
                if row.runs { &mut self.old_running } else { &mut self.old_waiting }.insert(row.as_old());
                row.age = LeaseAge::Old;
            }
            self.ages.extend(host.age.map(|due| (due, place)));
        }
    }

    /// The leases that have run for as long as `most` allows their jobs, in the order of their attempts; none that is
    /// young.
    pub(super) fn running_for(&self, now: Moment, most: impl Fn(u32) -> Option<Duration>) -> Vec<AttemptId> {
        let mut found = Vec::new();
        let mut next = self.old_running.first().copied();
        while let Some((job, _, _)) = next {
            let most = most(job);
            let of_job = self.old_running.range((job, Moment::ZERO, AttemptId::from_u64(0))..);
            let of_job = of_job.take_while(|(other, since, _)| {
                *other == job && most.is_some_and(|most| now.since(*since) >= most)
            });
            found.extend(of_job.map(|(_, _, attempt)| *attempt));
            next = self.old_running.range((job + 1, Moment::ZERO, AttemptId::from_u64(0))..).next().copied();
        }
        found.sort_unstable();
        found
    }

    /// The leases that have waited at their hosts and are not young, in the order of their attempts.
    pub(super) fn waiting_for_long(&self) -> Vec<AttemptId> {
        let mut found: Vec<_> = self.old_waiting.iter().map(|(_, _, attempt)| *attempt).collect();
        found.sort_unstable();
        found
    }

    /// The attempts of the host at a place, in order.
    pub(super) fn of_host(&self, place: u32) -> Vec<AttemptId> {
        let mut attempts: Vec<_> = self.at_host(place).map(|row| row.attempt).collect();
        attempts.sort_unstable();
        attempts
    }

    /// The leases of the host at a place, the newest first.
    pub(super) fn at_host(&self, place: u32) -> impl Iterator<Item = &LeaseRow> {
        let row = |number: u32| self.rows.get(number as usize);
        let first = self.hosts.get(place as usize).and_then(|host| row(host.first));
        core::iter::successors(first, move |known| row(known.next))
    }

    /// How many leases of the job at a place are under way.
    pub(super) fn counts(&self, job: u32) -> JobLeases {
        self.counts.of_job(job)
    }

    /// Second attempts under way.
    pub(super) fn extras(&self) -> usize {
        self.extras
    }

    pub(super) fn get(&self, attempt: AttemptId) -> Option<&LeaseRow> {
        self.rows.get(*self.index.get(&attempt)? as usize)
    }

    /// All leases, in the order of their attempts.
    pub(super) fn iter(&self) -> impl Iterator<Item = &LeaseRow> {
        let mut all: Vec<_> = self.rows.iter().filter(|row| row.is_used()).collect();
        all.sort_unstable_by_key(|row| row.attempt);
        all.into_iter()
    }

    fn row_mut(&mut self, attempt: AttemptId) -> Option<&mut LeaseRow> {
        self.rows.get_mut(*self.index.get(&attempt)? as usize)
    }

    /// Checks every index of the table.
    #[cfg(test)]
    pub(super) fn check(&self, now: Moment) {
        let mut old = (BTreeSet::new(), BTreeSet::new());
        let (mut deadlines, mut ages, mut count) = (BTreeSet::new(), BTreeSet::new(), 0);
        for (place, host) in (0..).zip(&self.hosts) {
            deadlines.extend(host.deadline.map(|due| (due, place)));
            ages.extend(host.age.map(|due| (due, place)));
            let mut previous = NO_ROW;
            for row in self.at_host(place) {
                let is_old = row.age == LeaseAge::Old;
                count += 1;
                assert!(row.is_used());
                assert_eq!((self.index[&row.attempt], row.at.host), (self.number_of(row), place));
                assert_eq!(core::mem::replace(&mut previous, self.number_of(row)), row.previous);
                assert!(host.deadline.is_some_and(|due| due <= row.until));
                assert!(is_old || host.age.is_some_and(|due| due <= row.since + YOUNG));
                assert!(!is_old || row.since + YOUNG <= now);
                let old = if row.runs { &mut old.0 } else { &mut old.1 };
                old.extend(is_old.then_some(row.as_old()));
            }
        }
        assert_eq!((&self.deadlines, &self.ages), (&deadlines, &ages));
        assert_eq!((&self.old_running, &self.old_waiting), (&old.0, &old.1));
        assert_eq!((self.index.len(), self.iter().count()), (count, count));
        assert_eq!(self.extras, self.iter().filter(|row| row.extra).count());
        let mut counts = BTreeMap::<u32, (BTreeSet<u32>, u32)>::new();
        for row in self.iter() {
            let (hosts, running) = counts.entry(row.at.job).or_default();
            hosts.insert(row.at.host);
            *running += u32::from(row.runs);
        }
        assert!(counts.keys().all(|job| self.counts.of_job(*job).hosts > 0));
        self.counts.check(|job| {
            let (hosts, running) = counts.get(&job).cloned().unwrap_or_default();
            JobLeases { hosts: index(hosts.len()), running }
        });
    }

    #[cfg(test)]
    fn number_of(&self, row: &LeaseRow) -> u32 {
        let is_it = |other: &LeaseRow| core::ptr::eq(other, row);
        index(self.rows.iter().position(is_it).unwrap())
    }
}

/// Sees to it that a host is looked at again at `due` or before.
fn bring_forward(order: &mut BTreeSet<(Moment, u32)>, known: &mut Option<Moment>, place: u32, due: Moment) {
    if known.is_some_and(|known| known <= due) {
        return;
    }
    if let Some(known) = known.replace(due) {
        order.remove(&(known, place));
    }
    order.insert((due, place));
}
