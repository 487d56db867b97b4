//! The messages that a guest was handed and has not handled.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The messages, oldest first, and a count of those of all guests.
#[derive(Debug)]
pub(super) struct Unhandled {
    /// Number and length of each.
    messages: VecDeque<(u64, usize)>,
    bytes: usize,
    /// Messages that no guest of this host has handled yet.
    all: Arc<AtomicUsize>,
}

impl Unhandled {
    pub(super) fn new(all: Arc<AtomicUsize>) -> Self {
        Self { messages: VecDeque::new(), bytes: 0, all }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// True if `seq` is none of their numbers, nor between two.
    pub(super) fn is_beyond(&self, seq: u64) -> bool {
        let ends = self.messages.front().zip(self.messages.back());
        !ends.is_some_and(|((oldest, _), (newest, _))| (*oldest..=*newest).contains(&seq))
    }

    /// The guest is handed a message.
    pub(super) fn push(&mut self, seq: u64, bytes: usize) {
        self.messages.push_back((seq, bytes));
        self.bytes += bytes;
        self.all.fetch_add(1, Ordering::Relaxed);
    }

    /// The guest has handled every message up to `upto`.
    pub(super) fn settle(&mut self, upto: u64) {
        while let Some((_, bytes)) = self.messages.pop_front_if(|(seq, _)| *seq <= upto) {
            self.bytes = self.bytes.saturating_sub(bytes);
            self.all.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Those after `begun`, up to `upto`, were taken back.
    pub(super) fn withdraw(&mut self, begun: u64, upto: u64) {
        let before = self.len();
        self.messages.retain(|(seq, _)| *seq <= begun || *seq > upto);
        self.bytes = self.messages.iter().map(|(_, bytes)| bytes).sum();
        self.all.fetch_sub(before - self.len(), Ordering::Relaxed);
    }
}

impl Drop for Unhandled {
    fn drop(&mut self) {
        self.all.fetch_sub(self.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_handled_or_taken_back_or_had_a_guest_that_is_gone_is_no_longer_on_its_way() {
        let all = Arc::<AtomicUsize>::default();
        let (mut one, mut other) = (Unhandled::new(all.clone()), Unhandled::new(all.clone()));
        (1..=6).for_each(|seq| one.push(seq, 10));
        other.push(1, 1);
        assert_eq!(all.load(Ordering::Relaxed), 7);
        one.settle(2);
        one.withdraw(3, 5);
        assert_eq!((one.len(), one.bytes(), all.load(Ordering::Relaxed)), (2, 20, 3));
        assert!(one.is_beyond(2) && !one.is_beyond(3) && one.is_beyond(7));
        drop(one);
        assert_eq!(all.load(Ordering::Relaxed), 1);
    }
}
