//! The meter: how long a guest has been on a processor.
//!
//! A worker's future is polled when it runs and left alone when it waits, so that time on the processor is
//! the time inside its polls; waiting for room, or for its turn, is not charged.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
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
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            spent: AtomicU64::new(0),
            since: AtomicU64::new(0),
            budget: AtomicU64::new(u64::MAX),
        }
    }

    /// A call begins, and may take so long.
    pub(crate) fn begin(&self, budget: Duration) {
        self.spent.store(0, Ordering::Relaxed);
        self.since.store(self.now(), Ordering::Relaxed);
        self.budget.store(nanos(budget), Ordering::Relaxed);
    }

    /// True if the call at hand has used up its budget.
    pub(crate) fn is_over(&self) -> bool {
        let running = self.now() - self.since.load(Ordering::Relaxed);
        self.spent.load(Ordering::Relaxed) + running > self.budget.load(Ordering::Relaxed)
    }

    /// What the call at hand may take.
    pub(crate) fn budget(&self) -> Duration {
        Duration::from_nanos(self.budget.load(Ordering::Relaxed))
    }

    fn now(&self) -> u64 {
        nanos(self.epoch.elapsed())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A future whose polls are measured.
pub(crate) struct Metered<F> {
    pub(crate) meter: Arc<Meter>,
    pub(crate) work: Pin<Box<F>>,
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let meter = self.meter.clone();
        meter.since.store(meter.now(), Ordering::Relaxed);
        let polled = self.work.as_mut().poll(cx);
        let ran = meter.now() - meter.since.load(Ordering::Relaxed);
        meter.spent.fetch_add(ran, Ordering::Relaxed);
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_not_charged_and_running_is() {
        let meter = Arc::new(Meter::new());
        meter.begin(Duration::from_millis(20));
        let mut polls = 0;
        let work = std::future::poll_fn(|_| {
            polls += 1;
            if polls == 2 { Poll::Ready(()) } else { Poll::Pending }
        });
        let mut metered = Metered { meter: meter.clone(), work: Box::pin(work) };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut metered).poll(&mut cx).is_pending());
        let waited = Instant::now();
        while waited.elapsed() < Duration::from_millis(40) {
            std::hint::spin_loop();
        }
        assert!(Pin::new(&mut metered).poll(&mut cx).is_ready());
        assert!(meter.spent.load(Ordering::Relaxed) < 20_000_000);
        meter.begin(Duration::from_millis(1));
        let ran = Instant::now();
        while ran.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        assert!(meter.is_over());
    }
}
