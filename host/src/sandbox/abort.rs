//! The end of a guest from outside, whatever it is doing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use parking_lot::Mutex;

use crate::sandbox::meter::Meter;
use crate::sandbox::pool::PoolTask;
use crate::sandbox::simulated::GuestHandle;

/// Ends one guest. What it is to end is [set](Self::of) when the guest's task has been made.
#[derive(Debug, Default)]
pub(crate) struct Abort {
    killed: AtomicBool,
    task: OnceLock<Weak<PoolTask>>,
    meter: OnceLock<Arc<Meter>>,
    /// The thread that waits in the middle of a call of the guest.
    held: Mutex<Option<Thread>>,
}

impl Abort {
    /// Says which guest is to be ended. To be called once, before anybody else has this.
    pub(super) fn of(&self, meter: Arc<Meter>, task: Weak<PoolTask>) {
        // Neither was set before.
        let _ = self.meter.set(meter);
        let _ = self.task.set(task);
    }

    /// True once the guest is to end.
    pub(super) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Holds this thread, in the middle of a call of the guest, until `poll` is ready or the guest is to end.
    pub(super) fn hold(&self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<()>) {
        let thread = std::thread::current();
        *self.held.lock() = Some(thread.clone());
        let waker = Waker::from(Arc::new(Unpark(thread)));
        let mut cx = Context::from_waker(&waker);
        while !self.is_killed() && poll(&mut cx).is_pending() {
            std::thread::park();
        }
        *self.held.lock() = None;
    }
}

impl GuestHandle for Abort {
    fn end(&self) {
        self.killed.store(true, Ordering::Release);
        if let Some(thread) = &*self.held.lock() {
            thread.unpark();
        }
        if let Some(task) = self.task.get().and_then(Weak::upgrade) {
            task.wake();
        }
    }

    fn expire(&self, over: bool) {
        if let Some(meter) = self.meter.get() {
            meter.expire(over);
        }
    }

    fn overdue(&self) -> Option<Duration> {
        let task = self.task.get().and_then(Weak::upgrade)?;
        let meter = self.meter.get()?;
        (task.is_polled() && meter.is_over()).then(|| meter.budget())
    }

    fn is_stuck(&self) -> bool {
        self.task.get().and_then(Weak::upgrade).is_some_and(|task| task.is_stuck())
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_a_guest_holds_goes_on_when_the_guest_is_to_end() {
        let abort = Arc::new(Abort::default());
        let (polled, is_polled) = std::sync::mpsc::channel();
        let holding = abort.clone();
        let held = std::thread::spawn(move || {
            holding.hold(|_| {
                let _ = polled.send(());
                Poll::Pending
            });
        });
        is_polled.recv().unwrap();
        abort.end();
        held.join().unwrap();
        assert!(abort.is_killed() && abort.held.lock().is_none());
    }

    #[test]
    fn a_thread_that_a_guest_holds_goes_on_when_what_it_waits_for_is_there() {
        let abort = Abort::default();
        let mut wakers = Vec::new();
        abort.hold(|cx| {
            wakers.push(cx.waker().clone());
            cx.waker().wake_by_ref();
            if wakers.len() == 3 { Poll::Ready(()) } else { Poll::Pending }
        });
        assert!(wakers.len() == 3 && !abort.is_killed());
    }
}
