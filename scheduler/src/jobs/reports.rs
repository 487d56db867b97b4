//! Reports: what hosts say of themselves and of their attempts.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use grid_protocol::digest::Digest;
use grid_protocol::host::HostCapacity;
use grid_protocol::job::AttemptId;
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;

use crate::roster::HostChange;

use super::{AttemptFate, JobDecision, Jobs, Verdict};

impl Jobs {
    /// Something happened to a host. The leases of one that is away, or has restarted, decide what becomes of its attempts.
    pub fn handle_host(&mut self, now: Moment, key: PublicKey, change: HostChange<'_>) {
        match change {
            HostChange::Joined { capacity, .. } => self.handle_joined(key, capacity),
            HostChange::Draining => self.handle_window(key, 0),
            HostChange::Away | HostChange::Restarted => self.handle_away(key),
            HostChange::Gone { .. } => self.handle_gone(now, key),
        }
    }

    fn handle_joined(&mut self, key: PublicKey, capacity: &HostCapacity) {
        self.joins += 1;
        let (joins, place) = (self.joins, self.host_place(key));
        self.hosts.update_capacity(place, |host| {
            host.joined = joins;
            host.labels.clone_from(&capacity.labels);
            host.memory_bytes = capacity.memory_bytes;
            host.slots = capacity.slots;
            host.present = true;
            host.silent = false;
            // It says how much it wants on each connection.
            host.window = 0;
        });
    }

    /// Where a host is, or will be from now on.
    pub(super) fn host_place(&mut self, key: PublicKey) -> u32 {
        if let Some(place) = self.hosts.place(&key) {
            return place;
        }
        let place = self.hosts.insert(key);
        for job in self.jobs.values_mut() {
            if job.done_by_gone.remove(&key) {
                job.done_by.insert(place);
            }
        }
        place
    }

    /// Forgets a host that has no attempts.
    fn forget_host(&mut self, key: PublicKey) {
        let Some(place) = self.hosts.place(&key) else {
            return;
        };
        for job in self.jobs.values_mut() {
            // Its place may be another's next.
            if job.done_by.remove(place) {
                job.done_by_gone.insert(key);
            }
        }
        self.hosts.remove(&key);
    }

    fn handle_away(&mut self, key: PublicKey) {
        if let Some(place) = self.hosts.place(&key) {
            self.hosts.update(place, |host| (host.present, host.window) = (false, 0));
        }
    }

    /// It will renew nothing.
    fn handle_gone(&mut self, now: Moment, key: PublicKey) {
        self.handle_away(key);
        self.keep_only(now, key, &BTreeSet::new());
        // What spoke against it is remembered in case that it comes again.
        if self.hosts.get(&key).is_some_and(|host| host.quarantine.is_none() && host.health.is_clean()) {
            self.forget_host(key);
        }
    }

    /// A host that starts a new session says which attempts it has: the others are lost, and what it has no right
    /// to it must drop.
    pub fn handle_holding(&mut self, now: Moment, key: PublicKey, attempts: &[AttemptId]) {
        let held: BTreeSet<_> = attempts.iter().copied().collect();
        self.keep_only(now, key, &held);
        self.handle_renewal(now, key, attempts);
    }

    /// A host is ready to hold so many attempts at once.
    pub fn handle_window(&mut self, key: PublicKey, window: u32) {
        if let Some(place) = self.hosts.place(&key) {
            self.hosts.update(place, |host| (host.window, host.silent) = (window, false));
        }
    }

    /// A host has a module.
    pub fn handle_module(&mut self, key: PublicKey, module: Digest) {
        if let Some(place) = self.hosts.place(&key) {
            self.hosts.note_module(place, module);
        }
    }

    /// A host vouches for these attempts. Those that it has no right to any more it must drop.
    pub fn handle_renewal(&mut self, now: Moment, key: PublicKey, attempts: &[AttemptId]) {
        let mut stale = Vec::new();
        for attempt in attempts {
            if self.is_valid(now, key, *attempt) {
                self.leases.renew(now, *attempt);
            } else {
                stale.push(*attempt);
            }
        }
        if let Some(place) = self.hosts.place(&key)
            && stale.len() < attempts.len()
        {
            self.hosts.update(place, |host| host.silent = false);
        }
        if !stale.is_empty() {
            self.decisions.push_back(JobDecision::Stray { host: key, attempts: stale });
        }
    }

    /// A host has begun these attempts.
    pub fn handle_executing(&mut self, now: Moment, key: PublicKey, attempts: &[AttemptId]) {
        for attempt in attempts {
            if self.is_valid(now, key, *attempt) {
                self.leases.begin(now, *attempt);
            }
        }
    }

    /// A host gives attempts back that it has not begun.
    pub fn handle_returned(&mut self, now: Moment, key: PublicKey, attempts: &[AttemptId]) {
        for attempt in attempts {
            if !self.is_valid(now, key, *attempt) {
                continue;
            }
            if let Some(lease) = self.release(*attempt) {
                let verdict = self.settle_back(now, lease);
                self.decisions.push_back(JobDecision::Lost { attempt: *attempt, host: key, verdict });
            }
        }
    }

    /// An attempt has ended at its host; what becomes of the task. The caller makes it durable, and then tells the host.
    pub fn handle_end(
        &mut self,
        now: Moment,
        key: PublicKey,
        attempt: AttemptId,
        fate: AttemptFate,
        ran_us: u64,
    ) -> Verdict {
        #[cfg(feature = "fault-injection")]
        if let Some(mut lease) = self.ended.get(&attempt).copied().filter(|_| self.never_fence) {
            let (Some(job), Some(host)) = (self.jobs.place(&lease.job), self.hosts.place(&lease.host)) else {
                return Verdict::Fenced;
            };
            (lease.at.job, lease.at.host) = (job, host);
            return self.settle_done(now, lease, ran_us);
        }
        if !self.is_valid(now, key, attempt) {
            return Verdict::Fenced;
        }
        let Some(lease) = self.release(attempt) else {
            return Verdict::Fenced;
        };
        let verdict = match fate {
            AttemptFate::Done => self.settle_done(now, lease, ran_us),
            AttemptFate::Failed(kind) => self.settle_failed(now, lease, kind),
        };
        self.check_finished(lease.at.job);
        verdict
    }
}
