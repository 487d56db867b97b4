//! Leases: which host runs which attempt, and until when.
//!
//! A lease gives one host the right to one attempt at a task. The host keeps it by renewing; silence ends it, and
//! nothing else in the grid decides that a host's attempt is lost, unless the host says so itself.
//!
//! The table keeps each host's leases together, and looks at a host's leases again only when one of them may have ended
//! or become old: a lease that ends in good time costs the clock nothing.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use grid_protocol::job::{AttemptId, JobId};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;
use hashbrown::HashMap;

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
    /// When it was granted.
    pub granted: Moment,
    /// When it ends, unless it is renewed.
    pub until: Moment,
    /// Since when the attempt runs, as the host says; `None` while it waits there.
    pub executing: Option<Moment>,
    /// A second attempt at a task that takes long elsewhere.
    pub extra: bool,
    /// Bytes of its input, about.
    pub bytes: u64,
    /// Where its job, its client and its host are, while it lasts.
    pub(super) at: LeasePlaces,
}

/// Places in the tables of jobs, clients and hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeasePlaces {
    pub(super) job: u32,
    pub(super) client: u32,
    pub(super) host: u32,
    /// Where its attempt is among its job's.
    pub(super) slot: u32,
    pub(super) age: LeaseAge,
}

/// How old a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaseAge {
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
#[derive(Debug, Default)]
pub(super) struct LeaseTable {
    /// The host's place and the slot of each attempt. Looked up, and never iterated: nothing may depend on the order of a
    /// hash map.
    slots: HashMap<AttemptId, (u32, u32)>,
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
}

type OldLease = (u32, Moment, AttemptId);

/// The leases of one host.
#[derive(Debug, Default)]
struct HostLeases {
    slots: Vec<LeaseEntry>,
    /// One more than the slot that became free last, which says the same of the one before; zero if there is none.
    free: u32,
    /// Where it stands in [`LeaseTable::deadlines`].
    deadline: Option<Moment>,
    /// Where it stands in [`LeaseTable::ages`].
    age: Option<Moment>,
}

/// Two lines of the processor's cache, which fetches them together.
#[derive(Debug)]
#[repr(align(128))]
struct LeaseEntry {
    attempt: AttemptId,
    lease: Lease,
}

const _: () = assert!(size_of::<LeaseEntry>() == 128);

impl LeaseEntry {
    fn is_used(&self) -> bool {
        self.lease.at.age != LeaseAge::Over
    }
}

impl Lease {
    /// Since when it runs, or waits at its host.
    fn since(&self) -> Moment {
        self.executing.unwrap_or(self.granted)
    }
}

impl HostLeases {
    fn entries(&self) -> impl Iterator<Item = &LeaseEntry> {
        self.slots.iter().filter(|entry| entry.is_used())
    }

    fn entry_mut(&mut self, slot: u32) -> Option<&mut LeaseEntry> {
        self.slots.get_mut(slot as usize).filter(|entry| entry.is_used())
    }

    fn add(&mut self, entry: LeaseEntry) -> u32 {
        let free = self.free.checked_sub(1);
        if let Some((free, slot)) = free.and_then(|free| Some((free, self.slots.get_mut(free as usize)?))) {
            self.free = slot.lease.at.slot;
            *slot = entry;
            return free;
        }
        self.slots.push(entry);
        index(self.slots.len() - 1)
    }

    fn take(&mut self, slot: u32) -> Option<Lease> {
        let entry = self.slots.get_mut(slot as usize).filter(|entry| entry.is_used())?;
        let lease = entry.lease;
        entry.lease.at.age = LeaseAge::Over;
        entry.lease.at.slot = core::mem::replace(&mut self.free, slot + 1);
        Some(lease)
    }
}

impl LeaseTable {
    pub(super) fn grant(&mut self, attempt: AttemptId, lease: Lease) {
        let place = lease.at.host;
        if self.hosts.len() <= place as usize {
            self.hosts.resize_with(place as usize + 1, HostLeases::default);
        }
        let Some(host) = self.hosts.get_mut(place as usize) else {
            return;
        };
        let slot = host.add(LeaseEntry { attempt, lease });
        self.slots.insert(attempt, (place, slot));
        self.extras += usize::from(lease.extra);
        bring_forward(&mut self.deadlines, &mut host.deadline, place, lease.until);
        bring_forward(&mut self.ages, &mut host.age, place, lease.since() + YOUNG);
    }

    /// The lease, if `host` has it and it has not ended: one that ended a moment before the timer says so is over.
    pub(super) fn valid(&self, now: Moment, host: PublicKey, attempt: AttemptId) -> Option<&Lease> {
        self.get(attempt).filter(|lease| lease.host == host && lease.until > now)
    }

    /// Renews the lease, if `host` has it and it has not ended; true if so.
    pub(super) fn renew(&mut self, now: Moment, host: PublicKey, attempt: AttemptId) -> bool {
        let entry = self.entry_mut(attempt).map(|(_, entry)| entry);
        let valid = entry.filter(|entry| entry.lease.host == host && entry.lease.until > now);
        valid.map(|entry| entry.lease.until = now + LEASE_TERM).is_some()
    }

    /// The host says that it has begun the attempt, if it has the lease.
    pub(super) fn begin(&mut self, now: Moment, host: PublicKey, attempt: AttemptId) {
        let Some((place, entry)) = self.entry_mut(attempt) else {
            return;
        };
        let lease = &mut entry.lease;
        if lease.host != host || lease.until <= now || lease.executing.is_some() {
            return;
        }
        let waited = (lease.at.job, lease.granted, attempt);
        lease.executing = Some(now);
        if core::mem::replace(&mut lease.at.age, LeaseAge::Young) == LeaseAge::Old {
            self.old_waiting.remove(&waited);
        }
        if let Some(host) = self.hosts.get_mut(place as usize) {
            bring_forward(&mut self.ages, &mut host.age, place, now + YOUNG);
        }
    }

    /// Takes a lease out.
    pub(super) fn remove(&mut self, attempt: AttemptId) -> Option<Lease> {
        let (place, slot) = self.slots.remove(&attempt)?;
        let lease = self.hosts.get_mut(place as usize)?.take(slot)?;
        self.extras -= usize::from(lease.extra);
        if lease.at.age == LeaseAge::Old {
            let old = (lease.at.job, lease.since(), attempt);
            if lease.executing.is_some() { &mut self.old_running } else { &mut self.old_waiting }
                .remove(&old);
        }
        Some(lease)
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
            let Some(host) = self.hosts.get_mut(place as usize) else {
                continue;
            };
            let is_over = |entry: &&LeaseEntry| entry.lease.until <= now;
            ended.extend(host.entries().filter(is_over).map(|entry| entry.attempt));
            let ends = host.entries().map(|entry| entry.lease.until).filter(|until| *until > now);
            host.deadline = ends.min();
            self.deadlines.extend(host.deadline.map(|due| (due, place)));
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
            let young = host.slots.iter_mut().filter(|entry| entry.lease.at.age == LeaseAge::Young);
            host.age = None;
            for entry in young {
                let lease = &entry.lease;
                let due = lease.since() + YOUNG;
                if due > now {
                    host.age = Some(host.age.map_or(due, |other| other.min(due)));
                    continue;
                }
                let runs = lease.executing.is_some();
                let old = if runs { &mut self.old_running } else { &mut self.old_waiting };
                old.insert((lease.at.job, lease.since(), entry.attempt));
                entry.lease.at.age = LeaseAge::Old;
            }
            self.ages.extend(host.age.map(|due| (due, place)));
        }
    }

    /// The leases that have run for as long as `most` allows their jobs, by their attempts; none that is young.
    pub(super) fn running_for(
        &self,
        now: Moment,
        most: impl Fn(u32) -> Option<Duration>,
    ) -> Vec<(AttemptId, Lease)> {
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
        self.sorted(found)
    }

    /// The leases that have waited at their hosts and are not young, by their attempts.
    pub(super) fn waiting_for_long(&self) -> Vec<(AttemptId, Lease)> {
        self.sorted(self.old_waiting.iter().map(|(_, _, attempt)| *attempt).collect())
    }

    fn sorted(&self, mut attempts: Vec<AttemptId>) -> Vec<(AttemptId, Lease)> {
        attempts.sort_unstable();
        attempts.into_iter().filter_map(|attempt| Some((attempt, *self.get(attempt)?))).collect()
    }

    /// The attempts of the host at a place, in order.
    pub(super) fn of_host(&self, place: u32) -> Vec<AttemptId> {
        let entries = self.hosts.get(place as usize).into_iter().flat_map(HostLeases::entries);
        let mut attempts: Vec<_> = entries.map(|entry| entry.attempt).collect();
        attempts.sort_unstable();
        attempts
    }

    /// The leases of the host at a place, in no order that means anything.
    pub(super) fn leases_at(&self, place: u32) -> impl Iterator<Item = &Lease> {
        let entries = self.hosts.get(place as usize).into_iter().flat_map(HostLeases::entries);
        entries.map(|entry| &entry.lease)
    }

    /// Second attempts under way.
    pub(super) fn extras(&self) -> usize {
        self.extras
    }

    pub(super) fn get(&self, attempt: AttemptId) -> Option<&Lease> {
        let (place, slot) = *self.slots.get(&attempt)?;
        let slot = self.hosts.get(place as usize)?.slots.get(slot as usize)?;
        Some(&slot.lease).filter(|_| slot.is_used())
    }

    /// All leases, in the order of their attempts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (AttemptId, &Lease)> {
        let entries = self.hosts.iter().flat_map(HostLeases::entries);
        let mut all: Vec<_> = entries.map(|entry| (entry.attempt, &entry.lease)).collect();
        all.sort_unstable_by_key(|(attempt, _)| *attempt);
        all.into_iter()
    }

    fn entry_mut(&mut self, attempt: AttemptId) -> Option<(u32, &mut LeaseEntry)> {
        let (place, slot) = *self.slots.get(&attempt)?;
        Some((place, self.hosts.get_mut(place as usize)?.entry_mut(slot)?))
    }

    /// Checks every index of the table.
    #[cfg(test)]
    pub(super) fn check(&self, now: Moment) {
        let mut old = (BTreeSet::new(), BTreeSet::new());
        let (mut deadlines, mut ages, mut count) = (BTreeSet::new(), BTreeSet::new(), 0);
        for (place, host) in (0..).zip(&self.hosts) {
            deadlines.extend(host.deadline.map(|due| (due, place)));
            ages.extend(host.age.map(|due| (due, place)));
            for LeaseEntry { attempt, lease } in host.entries() {
                let is_old = lease.at.age == LeaseAge::Old;
                count += 1;
                assert_eq!((self.get(*attempt), lease.at.host), (Some(lease), place));
                assert!(host.deadline.is_some_and(|due| due <= lease.until));
                assert!(is_old || host.age.is_some_and(|due| due <= lease.since() + YOUNG));
                assert!(!is_old || lease.since() + YOUNG <= now);
                let old = if lease.executing.is_some() { &mut old.0 } else { &mut old.1 };
                old.extend(is_old.then_some((lease.at.job, lease.since(), *attempt)));
            }
        }
        assert_eq!((&self.deadlines, &self.ages), (&deadlines, &ages));
        assert_eq!((&self.old_running, &self.old_waiting), (&old.0, &old.1));
        assert_eq!(self.slots.len(), count);
        assert_eq!(self.extras, self.iter().filter(|(_, lease)| lease.extra).count());
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
