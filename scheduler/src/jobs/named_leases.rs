//! Leases with the names of their jobs and hosts, as the world knows them.

use grid_protocol::job::{AttemptId, JobId};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;

use super::lease::LeaseRow;
use super::{JobLeases, Jobs, Lease};

impl Jobs {
    /// A lease.
    pub fn lease(&self, attempt: AttemptId) -> Option<Lease> {
        self.named(self.leases.get(attempt)?)
    }

    /// All leases, in the order of their attempts.
    pub fn leases(&self) -> impl Iterator<Item = (AttemptId, Lease)> {
        self.leases.iter().filter_map(|row| Some((row.attempt, self.named(row)?)))
    }

    /// How many leases of a job are under way.
    pub fn lease_counts(&self, job: &JobId) -> JobLeases {
        self.jobs.place(job).map_or_else(JobLeases::default, |place| self.leases.counts(place))
    }

    /// The leases of a host, in no order that means anything.
    pub fn leases_of(&self, host: &PublicKey) -> impl Iterator<Item = Lease> {
        self.attempts_of(host).map(|(_, lease)| lease)
    }

    /// The attempts that a host holds, with their leases.
    pub fn attempts_of(&self, host: &PublicKey) -> impl Iterator<Item = (AttemptId, Lease)> {
        let rows = self.hosts.place(host).into_iter().flat_map(|place| self.leases.at_host(place));
        rows.filter_map(|row| Some((row.attempt, self.named(row)?)))
    }

    /// True if `host` has the lease and it has not ended: one that ended a moment before the timer says so is over.
    pub(super) fn is_valid(&self, now: Moment, host: PublicKey, attempt: AttemptId) -> bool {
        let row = self.leases.get(attempt).filter(|row| row.until > now);
        let holder = row.and_then(|row| self.hosts.entry(row.at.host));
        holder.is_some_and(|(key, _)| *key == host)
    }

    /// Takes a lease away, and nothing else: what counts leases is brought up to date by [`Self::detach`].
    pub(super) fn take_lease(&mut self, attempt: AttemptId) -> Option<Lease> {
        let row = self.leases.remove(attempt)?;
        self.named(&row)
    }

    fn named(&self, row: &LeaseRow) -> Option<Lease> {
        let ((job, _), (host, _)) = (self.jobs.entry(row.at.job)?, self.hosts.entry(row.at.host)?);
        let LeaseRow { task, until, bytes, at, .. } = *row;
        let (executing, granted) = (row.executing(), row.granted());
        Some(Lease { job: *job, task, host: *host, until, executing, granted, bytes, at })
    }
}
