//! Duty: one of two threads reads the ring and runs quick guests, and the other stands by.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};

use super::child_port::ToHost;
use crate::sandbox::direct_call::Standby;

/// Which of the two threads is on duty.
#[derive(Debug, Default)]
struct Duty {
    /// The second is.
    is_second: Mutex<bool>,
    changed: Condvar,
    /// The other thread waits to be on duty.
    stands_by: AtomicBool,
}

/// The share of one of the two threads.
#[derive(Debug)]
pub(super) struct Shift {
    duty: Arc<Duty>,
    is_second: bool,
    to_host: Arc<ToHost>,
}

impl Shift {
    /// Those of the two threads; that of the first begins.
    pub(super) fn both(to_host: &Arc<ToHost>) -> [Self; 2] {
        let duty = Arc::<Duty>::default();
        [false, true].map(|is_second| Self { duty: duty.clone(), is_second, to_host: to_host.clone() })
    }

    /// Waits until this thread is on duty.
    pub(super) fn begin(&self) {
        let mut is_second = self.duty.is_second.lock();
        if *is_second == self.is_second {
            return;
        }
        self.duty.stands_by.store(true, Ordering::Relaxed);
        while *is_second != self.is_second {
            self.duty.changed.wait(&mut is_second);
        }
    }

    /// True if another thread would take over.
    pub(super) fn has_standby(&self) -> bool {
        self.duty.stands_by.load(Ordering::Relaxed)
    }
}

impl Standby for Shift {
    fn take_over(&self) {
        let mut is_second = self.duty.is_second.lock();
        if *is_second == self.is_second {
            *is_second = !self.is_second;
            self.duty.stands_by.store(false, Ordering::Relaxed);
            self.duty.changed.notify_one();
        }
        drop(is_second);
        // What the guests before have answered waits for the end of the row.
        self.to_host.wake_now();
    }

    fn flush(&self) {
        self.to_host.wake_now();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use rustix::event::{EventfdFlags, eventfd};

    use super::super::ring::RingWriter;
    use super::super::shared_memory::{Direction, SharedMemory};
    use super::*;

    #[test]
    fn a_thread_that_hands_over_is_on_duty_again_when_the_other_does() {
        let memory = Arc::new(SharedMemory::new().unwrap().0);
        let bell = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let to_host = Arc::new(ToHost::new(RingWriter::new(memory, Direction::ToHost), bell));
        let [first, second] = Shift::both(&to_host);
        first.begin();
        assert!(!first.has_standby(), "nobody stands by yet");
        let (began, begins) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        let other = std::thread::spawn(move || {
            second.begin();
            began.send(second.has_standby()).unwrap();
            goes_on.recv().unwrap();
            second.take_over();
        });
        first.take_over();
        assert!(!begins.recv().unwrap(), "the first is not back");
        go_on.send(()).unwrap();
        first.begin();
        other.join().unwrap();
        assert!(!first.has_standby());
    }
}
