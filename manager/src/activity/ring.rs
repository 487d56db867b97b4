//! A ring: the newest entries of a numbered sequence, and how many a reader has missed.

use std::collections::VecDeque;

/// The newest entries of a sequence that is numbered from 1.
#[derive(Debug)]
pub(crate) struct Ring<T> {
    kept: VecDeque<T>,
    max: usize,
    /// The number of the newest entry.
    newest: u64,
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RingPage<T> {
    pub(crate) entries: Vec<T>,
    /// Entries that have left the ring since the one that the reader has.
    pub(crate) missed: u64,
    /// The number to ask with next.
    pub(crate) next: u64,
}

impl<T> Ring<T> {
    pub(crate) fn new(max: usize) -> Self {
        Self { kept: VecDeque::new(), max, newest: 0 }
    }

    /// The number of the newest entry; 0 if there never was one.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// Adds an entry, which is told its number; the oldest leaves if there is no room.
    pub(crate) fn push(&mut self, entry: impl FnOnce(u64) -> T) {
        if self.kept.len() >= self.max {
            self.kept.pop_front();
        }
        self.newest += 1;
        self.kept.push_back(entry(self.newest));
    }

    /// Entries above `after`, oldest first, as `shown` gives them, at most `most`; those for which it gives nothing are
    /// passed over, and are not missed. A number above the newest, which only another life of the manager can have
    /// given, begins anew with the oldest entry.
    pub(crate) fn after<S>(&self, after: u64, most: usize, shown: impl Fn(&T) -> Option<S>) -> RingPage<S> {
        let after = if after > self.newest { 0 } else { after };
        let gone = self.newest - self.kept.len() as u64;
        // Whoever asks from the beginning wants what there is.
        let missed = if after == 0 { 0 } else { gone.saturating_sub(after) };
        let from = after.max(gone);
        let (mut entries, mut next) = (Vec::new(), from);
        let skip = usize::try_from(from - gone).unwrap_or(usize::MAX);
        for entry in self.kept.iter().skip(skip) {
            if entries.len() >= most {
                break;
            }
            entries.extend(shown(entry));
            next += 1;
        }
        RingPage { entries, missed, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(count: u64) -> Ring<u64> {
        let mut ring = Ring::new(10);
        (0..count).for_each(|_| ring.push(|seq| seq));
        ring
    }

    #[test]
    fn a_reader_who_keeps_up_misses_nothing() {
        let mut ring = ring(5);
        assert_eq!(
            ring.after(0, 3, |seq| Some(*seq)),
            RingPage { entries: vec![1, 2, 3], missed: 0, next: 3 }
        );
        assert_eq!(ring.after(3, 3, |seq| Some(*seq)), RingPage { entries: vec![4, 5], missed: 0, next: 5 });
        assert_eq!(ring.after(5, 3, |seq| Some(*seq)), RingPage { entries: vec![], missed: 0, next: 5 });
        ring.push(|seq| seq);
        assert_eq!(ring.after(5, 3, |seq| Some(*seq)), RingPage { entries: vec![6], missed: 0, next: 6 });
    }

    #[test]
    fn a_reader_who_falls_behind_is_told_of_the_hole() {
        let ring = ring(100);
        let page = ring.after(50, 2, |seq| Some(*seq));
        assert_eq!(page, RingPage { entries: vec![91, 92], missed: 40, next: 92 });
        assert_eq!(ring.after(0, 1, |seq| Some(*seq)).missed, 0, "it asks for what there is");
    }

    #[test]
    fn what_a_reader_may_not_see_is_passed_over_once() {
        let ring = ring(6);
        let page = ring.after(0, 2, |seq| seq.is_multiple_of(3).then_some(*seq));
        assert_eq!(page, RingPage { entries: vec![3, 6], missed: 0, next: 6 });
    }

    #[test]
    fn a_number_from_an_earlier_life_of_the_manager_begins_anew() {
        let page = ring(3).after(1000, 10, |seq| Some(*seq));
        assert_eq!(page, RingPage { entries: vec![1, 2, 3], missed: 0, next: 3 });
    }
}
