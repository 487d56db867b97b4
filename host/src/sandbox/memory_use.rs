//! The memory of a guest, and of all guests together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Size of the memories of one guest, which counts in that of all guests until it is dropped.
#[derive(Debug)]
pub(crate) struct MemoryUse {
    bytes: usize,
    all: Arc<AtomicU64>,
}

impl MemoryUse {
    /// A guest without memory that counts in `all`.
    pub(crate) fn none(all: &Arc<AtomicU64>) -> Self {
        Self { bytes: 0, all: all.clone() }
    }

    /// A guest without memory that counts where this one does.
    pub(crate) fn of_another(&self) -> Self {
        Self::none(&self.all)
    }

    /// Adds memory, unless there would be more than `most` bytes; returns whether it was added.
    pub(crate) fn grow(&mut self, bytes: usize, most: usize) -> bool {
        let sum = self.bytes.saturating_add(bytes);
        if sum > most {
            return false;
        }
        self.all.fetch_add(bytes as u64, Ordering::Relaxed);
        self.bytes = sum;
        true
    }

    /// Gives back memory that was added.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.all.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for MemoryUse {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_was_refused_is_not_counted_and_what_it_had_is_given_back() {
        let all = Arc::<AtomicU64>::default();
        let (mut one, other) = (MemoryUse::none(&all), MemoryUse::none(&all));
        let mut third = other.of_another();
        assert!(one.grow(60, 100) && third.grow(100, 100));
        assert!(!one.grow(41, 100) && !one.grow(usize::MAX, 100));
        assert_eq!(all.load(Ordering::Relaxed), 160);
        one.shrink(50);
        assert_eq!(all.load(Ordering::Relaxed), 110);
        drop((one, other));
        assert_eq!(all.load(Ordering::Relaxed), 100);
        drop(third);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }
}
