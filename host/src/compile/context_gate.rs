//! The gate between the threads of a compilation: who gives a context back takes the same one again.
//!
//! The compiler keeps its contexts on a stack: a thread puts its own there when it is done with a function, and takes the
//! uppermost for the next. Two that do so at the same time exchange theirs. That costs twice: what the function before has left in a
//! context is part of the hash by which a function is found, and a thread that fills the memory of another waits for the allocator.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const NOBODY: usize = usize::MAX;

/// Held by a thread from shortly before it gives its context back until it begins with the next, right before it takes one. Waiting is
/// short, so it takes processor time; and nothing but speed depends on it.
#[derive(Debug)]
pub(super) struct ContextGate {
    /// A thread's number in its pool.
    holder: AtomicUsize,
    /// How long a thread waits for one that holds it.
    wait_max: Duration,
}

impl ContextGate {
    pub(super) const fn new(wait_max: Duration) -> Self {
        Self { holder: AtomicUsize::new(NOBODY), wait_max }
    }

    /// Waits until nobody holds it, or until one has held it for too long, and holds it.
    pub(super) fn enter(&self, thread: usize) {
        let mut waiting = None;
        loop {
            let holder = self.holder.load(Ordering::Relaxed);
            if holder == thread {
                return;
            }
            let free = holder == NOBODY || {
                let (behind, since) = waiting.unwrap_or_else(|| (holder, Instant::now()));
                let since = if behind == holder { since } else { Instant::now() };
                waiting = Some((holder, since));
                since.elapsed() > self.wait_max
            };
            if free && self.pass(holder, thread) {
                return;
            }
            spin_loop();
        }
    }

    /// Leaves it, if this thread still holds it.
    pub(super) fn leave(&self, thread: usize) {
        self.pass(thread, NOBODY);
    }

    /// From one holder to the next; false if somebody else holds it.
    fn pass(&self, from: usize, to: usize) -> bool {
        self.holder.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_at_a_time_until_it_leaves() {
        let (gate, inside) = (ContextGate::new(Duration::from_secs(60)), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (gate, inside) = (&gate, &inside);
                scope.spawn(move || {
                    for _ in 0..1000 {
                        gate.enter(thread);
                        gate.enter(thread);
                        assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0, "both hold it");
                        inside.fetch_sub(1, Ordering::Relaxed);
                        gate.leave(thread);
                    }
                });
            }
        });
        assert_eq!(gate.holder.load(Ordering::Relaxed), NOBODY);
    }

    #[test]
    fn who_does_not_leave_is_overtaken_and_leaves_nobody_elses() {
        let gate = ContextGate::new(Duration::from_millis(5));
        gate.enter(0);
        let since = Instant::now();
        gate.enter(1);
        assert!(since.elapsed() >= gate.wait_max, "it did not wait");
        gate.leave(0);
        assert_eq!(gate.holder.load(Ordering::Relaxed), 1);
    }
}
