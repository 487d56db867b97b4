//! Leases: which host runs which attempt, and until when.
//!
//! A lease gives one host the right to one attempt at a task. The host keeps it by renewing; silence ends it, and
//! nothing else in the grid decides that a host's attempt is lost, unless the host says so itself.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use grid_protocol::job::{AttemptId, JobId};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;

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
}

/// All leases.
#[derive(Debug, Default)]
pub(super) struct LeaseTable {
    leases: BTreeMap<AttemptId, Lease>,
    /// No lease ends before this; `None` while there is none.
    due: Option<Moment>,
}

impl LeaseTable {
    pub(super) fn grant(&mut self, attempt: AttemptId, lease: Lease) {
        self.due = Some(self.due.map_or(lease.until, |due| due.min(lease.until)));
        self.leases.insert(attempt, lease);
    }

    /// The lease, if `host` has it and it has not ended: one that ended a moment before the timer says so is over.
    pub(super) fn valid(&mut self, now: Moment, host: PublicKey, attempt: AttemptId) -> Option<&mut Lease> {
        self.leases.get_mut(&attempt).filter(|lease| lease.host == host && lease.until > now)
    }

    pub(super) fn remove(&mut self, attempt: AttemptId) -> Option<Lease> {
        let lease = self.leases.remove(&attempt);
        if self.leases.is_empty() {
            self.due = None;
        }
        lease
    }

    /// When [`Self::take_expired`] may have something to give.
    pub(super) fn due(&self) -> Option<Moment> {
        self.due
    }

    /// Takes the leases that have ended.
    pub(super) fn take_expired(&mut self, now: Moment) -> Vec<(AttemptId, Lease)> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let expired =
            |(attempt, lease): (&AttemptId, &Lease)| (lease.until <= now).then_some((*attempt, *lease));
        let ended: Vec<_> = self.leases.iter().filter_map(expired).collect();
        for (attempt, _) in &ended {
            self.leases.remove(attempt);
        }
        self.due = self.leases.values().map(|lease| lease.until).min();
        ended
    }

    pub(super) fn get(&self, attempt: AttemptId) -> Option<&Lease> {
        self.leases.get(&attempt)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (AttemptId, &Lease)> {
        self.leases.iter().map(|(attempt, lease)| (*attempt, lease))
    }
}
