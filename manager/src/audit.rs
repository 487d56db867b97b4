//! A look inside, for the simulation, and promises that it must see broken.

use std::time::Duration;

use crate::server::Manager;

/// A promise to break on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// A result is taken from an attempt whose lease has ended.
    NeverFence,
    /// Clients and hosts are told that something is on disk before it is.
    AcknowledgeEarly,
}

/// A lease that has ended is noticed so late at the most.
const LATE_MAX: Duration = Duration::from_secs(1);

impl Manager {
    /// Looks for what must never be.
    ///
    /// # Errors
    ///
    /// What was found.
    pub fn audit(&self) -> Result<(), String> {
        let (state, now) = (self.hub().state(), self.hub().now());
        let jobs = &state.foreman.jobs;
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
