//! The meter: how long a guest has been on a processor.
//!
//! A worker's future is polled when it runs and left alone when it waits, so that time on the processor is
//! the time inside its polls; waiting for room, or for its turn, is not charged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Measures one worker. All access is from the one task that runs it; the atomics are for the compiler.
#[derive(Debug)]
pub(crate) struct Meter {
    epoch: Instant,
    /// Charged in earlier polls of the call at hand, in nanoseconds.
    spent: AtomicU64,
    /// When the present poll, or the call at hand if later, began; nanoseconds since `epoch`.
    since: AtomicU64,
    budget: AtomicU64,
    /// Somebody else has decided that its time is over.
    expired: AtomicBool,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            spent: AtomicU64::new(0),
            since: AtomicU64::new(0),
            budget: AtomicU64::new(u64::MAX),
            expired: AtomicBool::new(false),
        }
    }

    /// A call begins, and may take so long.
    pub(crate) fn begin(&self, budget: Duration) {
        self.spent.store(0, Ordering::Relaxed);
        self.since.store(self.now(), Ordering::Relaxed);
        self.budget.store(nanos(budget), Ordering::Relaxed);
    }

    /// Ends the time of the guest, or gives it back.
    pub(crate) fn expire(&self, over: bool) {
        self.expired.store(over, Ordering::Relaxed);
    }

    /// True if the call at hand has used up its budget.
    pub(crate) fn is_over(&self) -> bool {
        if self.expired.load(Ordering::Relaxed) {
            return true;
        }
        let running = self.now() - self.since.load(Ordering::Relaxed);
        self.spent.load(Ordering::Relaxed) + running > self.budget.load(Ordering::Relaxed)
    }

    /// What the call at hand may take.
    pub(crate) fn budget(&self) -> Duration {
        Duration::from_nanos(self.budget.load(Ordering::Relaxed))
    }

    /// The worker is polled; the moment, for [`Self::pause`].
    pub(crate) fn resume(&self) -> u64 {
        let now = self.now();
        self.since.store(now, Ordering::Relaxed);
        now
    }

    /// The poll that began at `resumed` is over; how long it took.
    pub(crate) fn pause(&self, resumed: u64) -> Duration {
        let now = self.now();
        let ran = now - self.since.load(Ordering::Relaxed);
        self.spent.fetch_add(ran, Ordering::Relaxed);
        Duration::from_nanos(now - resumed)
    }

    fn now(&self) -> u64 {
        nanos(self.epoch.elapsed())
    }
}

/// A duration in nanoseconds; 584 years at the most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_not_charged_and_running_is() {
        let meter = Meter::new();
        let spin = |time: Duration| {
            let started = Instant::now();
            while started.elapsed() < time {
                std::hint::spin_loop();
            }
        };
        let resumed = meter.resume();
        meter.begin(Duration::from_millis(20));
        meter.pause(resumed);
        spin(Duration::from_millis(40));
        let resumed = meter.resume();
        assert!(!meter.is_over());
        meter.pause(resumed);
        let resumed = meter.resume();
        meter.begin(Duration::from_millis(1));
        spin(Duration::from_millis(2));
        assert!(meter.is_over());
        assert!(meter.pause(resumed) >= Duration::from_millis(2));
    }
}
