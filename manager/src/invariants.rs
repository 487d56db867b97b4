//! Invariants that the simulation checks, and a description of the jobs for whoever debugs it.

use std::time::Duration;

use crate::server::ManagerServer;

/// Longest time by which the manager may notice late that a lease has ended.
const LATE_MAX: Duration = Duration::from_secs(1);

impl ManagerServer {
    /// Describes all jobs, leases and hosts, for a person who looks for a fault.
    pub fn describe(&self) -> String {
        let (cluster, now) = (self.context().cluster(), self.context().now());
        let jobs = &cluster.coordinator.jobs;
        let mut lines = Vec::new();
        for (id, job) in jobs.jobs().iter().filter(|(_, job)| !job.state.is_over()) {
            lines.push(format!("{id} is {}: {:?}", job.state.label(), job.counts()));
            lines.extend(
                jobs.obstacles(now, job).iter().map(|(host, why)| format!("  {} {why}", host.fingerprint())),
            );
        }
        for (attempt, lease) in jobs.leases() {
            let left = lease.until.since(now).as_secs();
            let since = lease.executing.map(|since| now.since(since));
            lines.push(format!(
                "{attempt}: task {} on {}, {left} s, {since:?}",
                lease.task,
                lease.host.fingerprint()
            ));
        }
        lines.extend(jobs.hosts().iter().map(|(key, host)| format!("{}: {host:?}", key.fingerprint())));
        lines.join("\n")
    }

    /// Checks the invariants I5 (no lease outlives its term by more than a second) and I6 (counts add up).
    ///
    /// # Errors
    ///
    /// A description of the invariant that is broken.
    pub fn audit(&self) -> Result<(), String> {
        let (cluster, now) = (self.context().cluster(), self.context().now());
        let jobs = &cluster.coordinator.jobs;
        for (id, job) in jobs.jobs() {
            let counts = job.counts();
            if counts.waiting + counts.leased + counts.done + counts.dead != counts.submitted {
                return Err(format!("I6: {counts:?} ({id})"));
            }
        }
        match jobs.leases().find(|(_, lease)| lease.until + LATE_MAX < now) {
            Some((attempt, lease)) => {
                Err(format!("I5: {attempt} at task {} is leased though its time is over", lease.task))
            }
            None => Ok(()),
        }
    }
}
