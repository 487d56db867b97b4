//! The meter: measures the processor time of a guest.
//!
//! A guest's future is polled only while it runs, so processor time is the time inside its polls. Waiting for
//! a message, for room or for a thread is not charged.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Measures one guest. Only the task that runs the guest changes it, except by [`Self::expire`]; any thread may look.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Time charged in earlier polls of the current call, in nanoseconds.
    spent: AtomicU64,
    /// When the present poll, or the current call if later, began; as [`monotonic`] has it.
    since: AtomicU64,
    budget: AtomicU64,
    /// The guest's time was declared over, whatever its budget.
    expired: AtomicBool,
    /// The guest has done nothing in the present poll before the next call begins.
    is_fresh: AtomicBool,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            spent: AtomicU64::new(0),
            since: AtomicU64::new(0),
            budget: AtomicU64::new(u64::MAX),
            expired: AtomicBool::new(false),
            is_fresh: AtomicBool::new(false),
        }
    }

    /// Begins to measure a call, which may take `budget` of processor time.
    pub(crate) fn begin(&self, budget: Duration) {
        self.spent.store(0, Ordering::Relaxed);
        // The clock takes a tenth of a short call.
        if !self.is_fresh.load(Ordering::Relaxed) {
            self.since.store(monotonic(), Ordering::Relaxed);
        }
        self.is_fresh.store(false, Ordering::Relaxed);
        self.budget.store(nanos(budget), Ordering::Relaxed);
    }

    /// Declares the guest's time over, whatever its budget, or takes that back. [`Self::begin`] does not take it back.
    pub(crate) fn expire(&self, over: bool) {
        self.expired.store(over, Ordering::Relaxed);
    }

    /// True if the current call has used up its budget, or the guest's time was declared over.
    pub(crate) fn is_over(&self) -> bool {
        if self.expired.load(Ordering::Relaxed) {
            return true;
        }
        // The overseer asks, too, while the guest begins something: then `since` may be the later one.
        let running = monotonic().saturating_sub(self.since.load(Ordering::Relaxed));
        self.spent.load(Ordering::Relaxed).saturating_add(running) > self.budget.load(Ordering::Relaxed)
    }

    /// The budget of the current call.
    pub(crate) fn budget(&self) -> Duration {
        Duration::from_nanos(self.budget.load(Ordering::Relaxed))
    }

    /// The guest has waited until the present poll began, and what it does next is a call, which began with the poll.
    pub(crate) fn note_waited(&self) {
        self.is_fresh.store(true, Ordering::Relaxed);
    }

    /// Begins a poll, now.
    pub(crate) fn resume(&self, now: u64) {
        self.since.store(now, Ordering::Relaxed);
    }

    /// Ends the present poll, and charges its time; returns when that was.
    pub(crate) fn pause(&self) -> u64 {
        let now = monotonic();
        let ran = now - self.since.load(Ordering::Relaxed);
        self.spent.fetch_add(ran, Ordering::Relaxed);
        self.is_fresh.store(false, Ordering::Relaxed);
        now
    }
}

/// A time in nanoseconds, from 1 on, since this process first asked.
pub(crate) fn monotonic() -> u64 {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    nanos(EPOCH.elapsed()).max(1)
}

/// A duration in nanoseconds, at most 584 years.
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
        let resume = || meter.resume(monotonic());
        resume();
        meter.begin(Duration::from_millis(20));
        meter.pause();
        spin(Duration::from_millis(40));
        resume();
        assert!(!meter.is_over());
        meter.pause();
        resume();
        meter.begin(Duration::from_millis(1));
        spin(Duration::from_millis(2));
        assert!(meter.is_over());
        meter.pause();
    }

    #[test]
    fn a_call_that_begins_while_another_thread_looks_is_not_over() {
        let meter = Meter::new();
        meter.begin(Duration::from_secs(1));
        meter.resume(monotonic() + nanos(Duration::from_secs(1)));
        assert!(!meter.is_over());
    }

    #[test]
    fn a_call_is_charged_for_nothing_that_came_before_it() {
        let (long, short) = (Duration::from_secs(3600), Duration::from_millis(100));
        let pass = || std::thread::sleep(short + short / 4);
        let meter = Meter::new();
        let began = monotonic();
        meter.resume(began);
        meter.note_waited();
        meter.begin(long);
        // It goes on in another poll, after which it ends; then another begins.
        meter.pause();
        meter.resume(began);
        pass();
        meter.begin(short);
        assert!(!meter.is_over());
        // The guest waits, and the poll in which it is given something begins later.
        meter.pause();
        pass();
        meter.resume(monotonic());
        meter.note_waited();
        meter.begin(short);
        assert!(!meter.is_over());
        // Two in one poll: the first begins with it, the second does not.
        pass();
        meter.begin(short);
        assert!(!meter.is_over());
        pass();
        assert!(meter.is_over());
    }
}
