//! A set of places: 64 to a word, and no word for those of which none is in it.

use alloc::vec::Vec;

/// A set of places in a table, for tens of thousands of them in a few hundred words.
#[derive(Debug, Default)]
pub(super) struct PlaceSet {
    /// The number of each word, and its bits, in order.
    words: Vec<(u32, u64)>,
}

impl PlaceSet {
    pub(super) fn contains(&self, place: u32) -> bool {
        let found = self.find(place).ok().and_then(|at| self.words.get(at));
        found.is_some_and(|(_, bits)| bits & bit(place) != 0)
    }

    /// Adds a place; true if it was not there.
    pub(super) fn insert(&mut self, place: u32) -> bool {
        match self.find(place) {
            Ok(at) => self.words.get_mut(at).is_some_and(|(_, bits)| {
                let is_new = *bits & bit(place) == 0;
                *bits |= bit(place);
                is_new
            }),
            Err(at) => {
                self.words.insert(at, (place / 64, bit(place)));
                true
            }
        }
    }

    /// Removes a place; true if it was there.
    pub(super) fn remove(&mut self, place: u32) -> bool {
        let found = self.find(place).ok().and_then(|at| self.words.get_mut(at));
        found.is_some_and(|(_, bits)| {
            let was = *bits & bit(place) != 0;
            *bits &= !bit(place);
            was
        })
    }

    /// All places, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let places = |(word, bits): &(u32, u64)| {
            let (word, bits) = (*word, *bits);
            (0..64).filter(move |at| bits >> at & 1 == 1).map(move |at| word * 64 + at)
        };
        self.words.iter().flat_map(places)
    }

    fn find(&self, place: u32) -> Result<usize, usize> {
        self.words.binary_search_by_key(&(place / 64), |(word, _)| *word)
    }
}

fn bit(place: u32) -> u64 {
    1 << (place % 64)
}
