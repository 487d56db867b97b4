//! How many hosts work on a job, and how many of its attempts run: counted as leases come and go, because clients of a busy
//! job ask several hundred times a second, and a look at every lease of it would take longer than its tasks.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The leases of a job that are under way, as people ask for them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct JobLeases {
    /// Hosts that hold one.
    pub hosts: u32,
    /// Those whose attempts have begun, as their hosts say.
    pub running: u32,
}

/// The counts of all jobs, by places in the tables of jobs and hosts.
#[derive(Debug, Default)]
pub(super) struct LeaseCounts {
    jobs: Vec<JobLeases>,
    /// The jobs that a host has leases of, and of how many.
    hosts: Vec<BTreeMap<u32, u32>>,
}

impl LeaseCounts {
    pub(super) fn of_job(&self, place: u32) -> JobLeases {
        self.jobs.get(place as usize).copied().unwrap_or_default()
    }

    /// A lease is granted, whose attempt does not run.
    pub(super) fn add(&mut self, job: u32, host: u32) {
        self.jobs.resize_with(self.jobs.len().max(job as usize + 1), JobLeases::default);
        self.hosts.resize_with(self.hosts.len().max(host as usize + 1), BTreeMap::new);
        let (of_job, of_host) = (self.jobs.get_mut(job as usize), self.hosts.get_mut(host as usize));
        let (Some(of_job), Some(of_host)) = (of_job, of_host) else {
            return;
        };
        let leases = of_host.entry(job).or_insert(0);
        of_job.hosts += u32::from(*leases == 0);
        *leases += 1;
    }

    /// The attempt of a lease begins.
    pub(super) fn begin(&mut self, job: u32) {
        if let Some(of_job) = self.jobs.get_mut(job as usize) {
            of_job.running += 1;
        }
    }

    /// A lease ends, of an attempt that `runs` or has not begun.
    pub(super) fn remove(&mut self, job: u32, host: u32, runs: bool) {
        let Some(of_job) = self.jobs.get_mut(job as usize) else {
            return;
        };
        of_job.running -= u32::from(runs);
        let Some(of_host) = self.hosts.get_mut(host as usize) else {
            return;
        };
        if let Some(leases) = of_host.get_mut(&job) {
            *leases -= 1;
            if *leases == 0 {
                of_host.remove(&job);
                of_job.hosts -= 1;
            }
        }
    }

    /// Checks the counts of every job by those that are `right`.
    #[cfg(test)]
    pub(super) fn check(&self, right: impl Fn(u32) -> JobLeases) {
        for (job, counts) in (0..).zip(&self.jobs) {
            assert_eq!(*counts, right(job));
        }
        assert!(self.hosts.iter().flat_map(BTreeMap::values).all(|leases| *leases > 0));
    }
}
