//! Stragglers: attempts that take long, wait long or run for ever, looked at twice a second.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use grid_protocol::time::Moment;

use super::lease::{LeaseRow, YOUNG};
use super::{JobDecision, Jobs, ScheduledJob};

/// How often second attempts are thought about.
const EXTRAS_PAUSE: Duration = Duration::from_millis(500);

/// A task is late when it has run for three times as long as usual, and two seconds more.
const LATE_FACTOR: u32 = 3;
const LATE_AT_LEAST: Duration = YOUNG;

/// An attempt that runs for so much longer than its task may is taken from its host, whatever the host says: time enough
/// for a result of 64 MiB over a line of 1 Mbit/s.
const OVERDUE_AFTER: Duration = Duration::from_secs(10 * 60);

/// Second attempts may take a tenth of the slots.
const EXTRA_SHARE: u64 = 10;

impl Jobs {
    /// Looks at the attempts that are oldest in their jobs, if it is time to: not at the others, however many they are.
    pub(super) fn look_at_stragglers(&mut self, now: Moment) {
        if now >= self.extras_due {
            self.extras_due = now + EXTRAS_PAUSE;
            self.leases.grow_old(now);
            self.second_attempts(now);
            self.recall(now);
            self.end_overdue(now);
        }
    }

    /// Gives tasks that take long another try elsewhere, where slots are idle because nothing waits for them.
    fn second_attempts(&mut self, now: Moment) {
        let most = usize::try_from(self.hosts.slots.div_ceil(EXTRA_SHARE)).unwrap_or(0);
        let mut left = most.saturating_sub(self.leases.extras());
        if left == 0 || self.hosts.idle_slots == 0 {
            return;
        }
        let late_after = |job| self.jobs.at(job).and_then(ScheduledJob::late_after).map(just_more_than);
        let late = self.leases.running_for(now, late_after).into_iter();
        let late = late.filter_map(|attempt| self.leases.get(attempt).copied());
        let late: Vec<_> = late.filter(|lease| self.is_alone(lease)).collect();
        let mut in_vain = BTreeSet::new();
        for lease in late {
            if left == 0 {
                return;
            }
            if let Some(host) = self.idle_host(&lease, &mut in_vain, |_, _| true) {
                self.grant(now, host, lease.at.job, &[lease.task], Some(lease.attempt));
                left -= 1;
            }
        }
    }

    /// True if there is no other attempt at the task, and may be one.
    fn is_alone(&self, lease: &LeaseRow) -> bool {
        let job = self.jobs.at(lease.at.job);
        job.is_some_and(|job| job.live.is_single(lease.task) && !job.is_suspect(lease.task))
    }

    /// The first host but its own that could begin a lease's task at once. `in_vain` remembers jobs for which there is none,
    /// as long as no host becomes idle.
    fn idle_host(
        &self,
        lease: &LeaseRow,
        in_vain: &mut BTreeSet<u32>,
        is_fit: impl Fn(&ScheduledJob, u32) -> bool,
    ) -> Option<u32> {
        if in_vain.contains(&lease.at.job) {
            return None;
        }
        let job = self.jobs.at(lease.at.job)?;
        let idle = self.hosts.idle_for(job);
        let mut fit = idle.filter(|(place, key)| is_fit(job, *place) && !job.is_closed_to(key));
        let mut is_own = false;
        let found = fit.find(|(place, _)| {
            let own = *place == lease.at.host;
            is_own |= own;
            !own
        });
        if found.is_none() && !is_own {
            in_vain.insert(lease.at.job);
        }
        found.map(|(place, _)| place)
    }

    /// Takes attempts that wait for two seconds behind others at their hosts, or at a host that begins nothing, to hosts that are idle.
    fn recall(&mut self, now: Moment) {
        if self.hosts.idle_slots == 0 {
            return;
        }
        let waiting = self.leases.waiting_for_long();
        let mut in_vain = BTreeSet::new();
        for attempt in waiting {
            if self.hosts.idle_slots == 0 {
                return;
            }
            let Some(row) = self.leases.get(attempt).copied().filter(|row| self.is_alone(row)) else {
                continue;
            };
            if let Some(host) = self.idle_host(&row, &mut in_vain, |job, place| job.done_by.contains(place))
                && let Some(lease) = self.lease(attempt)
            {
                self.abandon(&[attempt]);
                self.settle_back(now, lease);
                self.grant(now, host, row.at.job, &[row.task], None);
                // The host that had it may be idle now.
                in_vain.clear();
            }
        }
    }

    /// Takes attempts from hosts that say for far too long that they run them.
    fn end_overdue(&mut self, now: Moment) {
        let most = |job| {
            let timeout = Duration::from_millis(self.jobs.at(job)?.spec.timeout_ms);
            Some(just_more_than(timeout.saturating_add(OVERDUE_AFTER)))
        };
        for attempt in self.leases.running_for(now, most) {
            if let Some(lease) = self.take_lease(attempt) {
                self.lose(now, attempt, lease, false);
                let attempts = alloc::vec![attempt];
                self.decisions.push_back(JobDecision::Abandon { host: lease.host, attempts });
                self.blame_host(now, lease);
            }
        }
    }
}

impl ScheduledJob {
    /// How long an attempt may run before another is worth a try.
    fn late_after(&self) -> Option<Duration> {
        self.usual_time().map(|usual| usual * LATE_FACTOR + LATE_AT_LEAST)
    }
}

fn just_more_than(time: Duration) -> Duration {
    time.saturating_add(Duration::from_nanos(1))
}
