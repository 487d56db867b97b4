//! Leases: which host runs which attempt, and until when.
//!
//! A lease gives one host the right to one attempt at a task. The host keeps it by renewing; silence ends it, and
//! nothing else in the grid decides that a host's attempt is lost, unless the host says so itself.
//!
//! Each lease stands in three lists: of all leases by their ends, of its host's leases, and of its job's leases that
//! run or that do not. All are in the order of time, so that what is due or late stands in front.

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
}

/// No lease.
const NONE: u32 = u32::MAX;

/// A list of leases, in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeaseList {
    first: u32,
    last: u32,
}

impl Default for LeaseList {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

/// The lists that a lease stands in, and what they are ordered by.
#[derive(Debug, Clone, Copy)]
enum By {
    /// All, by their ends.
    End,
    /// Its host's, by their numbers.
    Host,
    /// Its job's, by when they began, or were granted if they have not begun.
    Job,
}

/// The neighbours of a lease in one list.
#[derive(Debug, Clone, Copy)]
struct Links {
    before: u32,
    after: u32,
}

#[derive(Debug)]
struct Entry {
    attempt: AttemptId,
    lease: Lease,
    links: [Links; 3],
}

impl Entry {
    /// What a list is ordered by.
    fn rank(&self, by: By) -> (Moment, AttemptId) {
        match by {
            By::End => (self.lease.until, self.attempt),
            By::Host => (Moment::ZERO, self.attempt),
            By::Job => (self.lease.executing.unwrap_or(self.lease.granted), self.attempt),
        }
    }

    fn links(&mut self, by: By) -> &mut Links {
        let [end, host, job] = &mut self.links;
        match by {
            By::End => end,
            By::Host => host,
            By::Job => job,
        }
    }

    fn after(&self, by: By) -> u32 {
        let [end, host, job] = self.links;
        match by {
            By::End => end.after,
            By::Host => host.after,
            By::Job => job.after,
        }
    }
}

/// The lists of a job: of its leases that wait at their hosts, and of those that run.
#[derive(Debug, Default)]
pub(super) struct JobLeases {
    pub(super) standing_by: LeaseList,
    pub(super) running: LeaseList,
}

impl JobLeases {
    fn of(&mut self, lease: &Lease) -> &mut LeaseList {
        if lease.executing.is_some() { &mut self.running } else { &mut self.standing_by }
    }
}

/// All leases.
#[derive(Debug, Default)]
pub(super) struct LeaseTable {
    /// Looked up, and never iterated: nothing may depend on the order of a hash map.
    places: HashMap<AttemptId, u32>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    by_end: LeaseList,
    /// Second attempts among them.
    extras: usize,
}

impl LeaseTable {
    pub(super) fn grant(
        &mut self,
        attempt: AttemptId,
        lease: Lease,
        of_host: &mut LeaseList,
        of_job: &mut JobLeases,
    ) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            index(self.entries.len() - 1)
        });
        self.places.insert(attempt, place);
        self.extras += usize::from(lease.extra);
        let links = [Links { before: NONE, after: NONE }; 3];
        if let Some(entry) = self.entries.get_mut(place as usize) {
            *entry = Some(Entry { attempt, lease, links });
        }
        let mut by_end = self.by_end;
        self.link(&mut by_end, By::End, place);
        self.by_end = by_end;
        self.link(of_host, By::Host, place);
        self.link(of_job.of(&lease), By::Job, place);
    }

    /// The lease, if `host` has it and it has not ended: one that ended a moment before the timer says so is over.
    pub(super) fn valid(&self, now: Moment, host: PublicKey, attempt: AttemptId) -> Option<&Lease> {
        self.get(attempt).filter(|lease| lease.host == host && lease.until > now)
    }

    /// Renews the lease, if `host` has it and it has not ended; true if so.
    pub(super) fn renew(&mut self, now: Moment, host: PublicKey, attempt: AttemptId) -> bool {
        let Some(place) = self.valid(now, host, attempt).and(self.places.get(&attempt).copied()) else {
            return false;
        };
        let mut by_end = self.by_end;
        self.unlink(&mut by_end, By::End, place);
        if let Some(entry) = self.entry_mut(place) {
            entry.lease.until = now + LEASE_TERM;
        }
        self.link(&mut by_end, By::End, place);
        self.by_end = by_end;
        true
    }

    /// The host says that it has begun the attempt.
    pub(super) fn begin(&mut self, now: Moment, attempt: AttemptId, of_job: &mut JobLeases) {
        let Some(place) = self.places.get(&attempt).copied() else {
            return;
        };
        if self.at(place).is_some_and(|entry| entry.lease.executing.is_none()) {
            self.unlink(&mut of_job.standing_by, By::Job, place);
            if let Some(entry) = self.entry_mut(place) {
                entry.lease.executing = Some(now);
            }
            self.link(&mut of_job.running, By::Job, place);
        }
    }

    /// Takes a lease out; `lists` finds those of its host and its job.
    pub(super) fn remove<'a>(
        &mut self,
        attempt: AttemptId,
        lists: impl FnOnce(LeasePlaces) -> (Option<&'a mut LeaseList>, Option<&'a mut JobLeases>),
    ) -> Option<Lease> {
        let place = self.places.remove(&attempt)?;
        let lease = self.at(place)?.lease;
        let mut by_end = self.by_end;
        self.unlink(&mut by_end, By::End, place);
        self.by_end = by_end;
        let (of_host, of_job) = lists(lease.at);
        if let Some(of_host) = of_host {
            self.unlink(of_host, By::Host, place);
        }
        if let Some(of_job) = of_job {
            self.unlink(of_job.of(&lease), By::Job, place);
        }
        self.extras -= usize::from(lease.extra);
        if let Some(entry) = self.entries.get_mut(place as usize) {
            *entry = None;
        }
        self.free.push(place);
        Some(lease)
    }

    /// When the first lease ends.
    pub(super) fn due(&self) -> Option<Moment> {
        self.at(self.by_end.first).map(|entry| entry.lease.until)
    }

    /// The leases that have ended, in the order of their attempts.
    pub(super) fn expired(&self, now: Moment) -> Vec<AttemptId> {
        let mut ended: Vec<_> = self
            .list(self.by_end, By::End)
            .take_while(|(_, lease)| lease.until <= now)
            .map(|(attempt, _)| attempt)
            .collect();
        ended.sort_unstable();
        ended
    }

    /// The leases of a host or a job, in the list's order.
    pub(super) fn of_host(&self, list: LeaseList) -> impl Iterator<Item = (AttemptId, &Lease)> {
        self.list(list, By::Host)
    }

    /// Leases of a job, those first that have waited or run for longest.
    pub(super) fn of_job(&self, list: LeaseList) -> impl Iterator<Item = (AttemptId, &Lease)> {
        self.list(list, By::Job)
    }

    /// Second attempts under way.
    pub(super) fn extras(&self) -> usize {
        self.extras
    }

    pub(super) fn get(&self, attempt: AttemptId) -> Option<&Lease> {
        self.at(*self.places.get(&attempt)?).map(|entry| &entry.lease)
    }

    /// All leases, in the order of their attempts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (AttemptId, &Lease)> {
        let mut all: Vec<_> =
            self.entries.iter().flatten().map(|entry| (entry.attempt, &entry.lease)).collect();
        all.sort_unstable_by_key(|(attempt, _)| *attempt);
        all.into_iter()
    }

    /// Checks the index and the list of all leases.
    #[cfg(test)]
    pub(super) fn check(&self, all: &[(AttemptId, Lease)]) {
        let mut by_end: Vec<_> = all.iter().map(|(attempt, lease)| (lease.until, *attempt)).collect();
        by_end.sort_unstable();
        let listed = self.list(self.by_end, By::End).map(|(attempt, lease)| (lease.until, attempt));
        assert_eq!(listed.collect::<Vec<_>>(), by_end);
        assert_eq!(self.due(), by_end.first().map(|(until, _)| *until));
        assert_eq!(self.extras, all.iter().filter(|(_, lease)| lease.extra).count());
        assert_eq!(self.places.len(), all.len());
        assert!(all.iter().all(|(attempt, lease)| self.get(*attempt) == Some(lease)));
    }

    fn list(&self, list: LeaseList, by: By) -> impl Iterator<Item = (AttemptId, &Lease)> {
        let entries = core::iter::successors(self.at(list.first), move |entry| self.at(entry.after(by)));
        entries.map(|entry| (entry.attempt, &entry.lease))
    }

    fn at(&self, place: u32) -> Option<&Entry> {
        self.entries.get(place as usize)?.as_ref()
    }

    fn entry_mut(&mut self, place: u32) -> Option<&mut Entry> {
        self.entries.get_mut(place as usize)?.as_mut()
    }

    /// Puts a lease into a list: most often behind all others, since time goes on.
    fn link(&mut self, list: &mut LeaseList, by: By, place: u32) {
        let Some(rank) = self.at(place).map(|entry| entry.rank(by)) else {
            return;
        };
        let mut before = list.last;
        let mut after = NONE;
        while let Some(entry) = self.entry_mut(before).filter(|entry| entry.rank(by) > rank) {
            (before, after) = (entry.links(by).before, before);
        }
        if let Some(entry) = self.entry_mut(place) {
            *entry.links(by) = Links { before, after };
        }
        match self.entry_mut(before) {
            Some(entry) => entry.links(by).after = place,
            None => list.first = place,
        }
        match self.entry_mut(after) {
            Some(entry) => entry.links(by).before = place,
            None => list.last = place,
        }
    }

    fn unlink(&mut self, list: &mut LeaseList, by: By, place: u32) {
        let Some(Links { before, after }) = self.entry_mut(place).map(|entry| *entry.links(by)) else {
            return;
        };
        match self.entry_mut(before) {
            Some(entry) => entry.links(by).after = after,
            None => list.first = after,
        }
        match self.entry_mut(after) {
            Some(entry) => entry.links(by).before = before,
            None => list.last = before,
        }
    }
}
