//! Sets of numbers stored as ranges, and the numbers between those.

use std::collections::BTreeMap;

/// A set of numbers, stored as ranges: its memory grows with the number of gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Spans {
    /// The number after each range, by the first number in it.
    rows: BTreeMap<u64, u64>,
}

impl Spans {
    /// Adds the numbers `first..end`, of which the set has none or all.
    pub(crate) fn insert(&mut self, mut first: u64, mut end: u64) {
        if first >= end || self.contains(first) {
            return;
        }
        if let Some((before, before_end)) = self.rows.range(..first).next_back()
            && *before_end == first
        {
            first = *before;
        }
        if let Some(after_end) = self.rows.remove(&end) {
            end = after_end;
        }
        self.rows.insert(first, end);
    }

    /// True if the set has the number.
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.rows.range(..=number).next_back().is_some_and(|(_, end)| number < *end)
    }

    /// Count of the numbers in the set.
    pub(crate) fn count(&self) -> u64 {
        self.rows().map(|(first, end)| end - first).sum()
    }

    /// The ranges: the first number of each, and the one after its last.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.rows.iter().map(|(first, end)| (*first, *end))
    }

    /// The numbers that are not in the set, in order.
    pub(crate) fn gaps(&self) -> Gaps {
        let mut covered = 0;
        let row = |(first, end)| {
            let before = first - covered;
            covered += end - first;
            (before, covered)
        };
        Gaps { rows: self.rows().map(row).collect() }
    }
}

/// The numbers that are not in a [`Spans`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Gaps {
    /// For each range: the count of numbers before it that are not in the set, and of those in the set up to its end.
    rows: Vec<(u64, u64)>,
}

impl Gaps {
    /// The number at this place in the order, from 0.
    pub(crate) fn at(&self, place: u64) -> u64 {
        let rows_before = self.rows.partition_point(|(before, _)| *before <= place);
        let last = rows_before.checked_sub(1).and_then(|row| self.rows.get(row));
        place + last.map_or(0, |(_, covered)| *covered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_join_to_rows_whatever_their_order() {
        let mut spans = Spans::default();
        for number in [5, 3, 9, 4, 0, 8, 4] {
            spans.insert(number, number + 1);
        }
        assert_eq!(spans.rows().collect::<Vec<_>>(), [(0, 1), (3, 6), (8, 10)]);
        assert_eq!(spans.count(), 6);
        let (in_it, not): (Vec<u64>, Vec<u64>) = (0..12).partition(|number| spans.contains(*number));
        assert_eq!(in_it, [0, 3, 4, 5, 8, 9]);
        assert_eq!((0..6).map(|place| spans.gaps().at(place)).collect::<Vec<_>>(), not);
    }

    #[test]
    fn an_empty_set_leaves_every_number_where_it_is() {
        assert_eq!(Spans::default().gaps().at(7), 7);
        assert!(!Spans::default().contains(0));
    }
}
