//! The gate between the threads of a compilation: who gives a context back takes the same one again.
//!
//! The compiler keeps its contexts on a stack: a thread puts its own there when it is done with a function, and takes the
//! uppermost for the next. Two that do so at the same time exchange theirs. That costs twice: what the function before has left in a
//! context is part of the hash by which a function is found, and a thread that fills the memory of another waits for the allocator.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a thread waits for the one before it, which needs 10 to 20 µs: 200 µs. One that has nothing more to compile never passes.
const WAIT_MAX: Duration = Duration::from_micros(200);

const NOBODY: usize = usize::MAX;

/// Held by a thread from shortly before it gives its context back until it takes the next. Waiting is short, so it takes processor
/// time; and nothing but speed depends on it.
#[derive(Debug)]
pub(super) struct ContextGate {
    /// A thread's number in its pool.
    holder: AtomicUsize,
}

impl ContextGate {
    pub(super) const fn new() -> Self {
        Self { holder: AtomicUsize::new(NOBODY) }
    }

    /// Waits until nobody holds it, or until its holder has had it for too long, and holds it.
    pub(super) fn enter(&self, thread: usize) {
        let mut since = None;
        loop {
            let holder = self.holder.load(Ordering::Relaxed);
            if holder == thread {
                return;
            }
            let free = holder == NOBODY || since.get_or_insert_with(Instant::now).elapsed() > WAIT_MAX;
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
        let (gate, inside) = (ContextGate::new(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (gate, inside) = (&gate, &inside);
                scope.spawn(move || {
                    for _ in 0..1000 {
                        gate.enter(thread);
                        gate.enter(thread);
                        if gate.holder.load(Ordering::Relaxed) == thread {
                            assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                            inside.fetch_sub(1, Ordering::Relaxed);
                        }
                        gate.leave(thread);
                    }
                });
            }
        });
        assert_eq!(gate.holder.load(Ordering::Relaxed), NOBODY);
    }

    #[test]
    fn who_does_not_leave_is_overtaken_and_leaves_nobody_elses() {
        let gate = ContextGate::new();
        gate.enter(0);
        let since = Instant::now();
        gate.enter(1);
        assert!(since.elapsed() >= WAIT_MAX, "it did not wait");
        gate.leave(0);
        assert_eq!(gate.holder.load(Ordering::Relaxed), 1);
    }
}
