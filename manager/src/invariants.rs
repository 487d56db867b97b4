//! A look inside, for the simulation, and promises that it must see broken.

use std::time::Duration;

use crate::server::ManagerServer;

/// A lease that has ended is noticed so late at the most.
const LATE_MAX: Duration = Duration::from_secs(1);

impl ManagerServer {
    /// How everything about jobs stands, for a person who looks for a fault.
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

    /// Looks for what must never be.
    ///
    /// # Errors
    ///
    /// What was found.
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
