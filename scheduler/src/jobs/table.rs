//! A table of things that have a key, and a small number each while they are in it.
//!
//! The key is how the world names a thing; the number, its *place*, is how the scheduler's indexes do: finding a thing
//! by its place costs the same however many there are. Decisions tell equals apart by their places, which follow from
//! what happened and from nothing else.

use alloc::collections::{BTreeMap, btree_map};
use alloc::vec::Vec;
use core::ops::Index;

/// Things by key, read-only to everybody but the scheduler.
#[derive(Debug)]
pub struct KeyedTable<K, V> {
    places: BTreeMap<K, u32>,
    entries: Vec<Option<TableEntry<K, V>>>,
    free: Vec<u32>,
}

/// A thing beside its key, which is read whenever the thing is.
#[derive(Debug)]
#[repr(C)]
struct TableEntry<K, V> {
    key: K,
    value: V,
}

impl<K, V> Default for KeyedTable<K, V> {
    fn default() -> Self {
        Self { places: BTreeMap::new(), entries: Vec::new(), free: Vec::new() }
    }
}

impl<K: Ord + Copy, V> KeyedTable<K, V> {
    /// The thing of that key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.at(self.place(key)?)
    }

    /// True if there is a thing of that key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.places.contains_key(key)
    }

    /// How many things there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// True if there is nothing.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// All things with their keys, in the order of the keys.
    pub fn iter(&self) -> TableIter<'_, K, V> {
        TableIter { places: self.places.iter(), entries: &self.entries }
    }

    /// All things, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Where the thing of that key is, until it is removed.
    pub(super) fn place(&self, key: &K) -> Option<u32> {
        self.places.get(key).copied()
    }

    /// The thing at a place.
    pub(super) fn at(&self, place: u32) -> Option<&V> {
        self.entry(place).map(|(_, value)| value)
    }

    /// The thing at a place, and its key.
    pub(super) fn entry(&self, place: u32) -> Option<(&K, &V)> {
        self.entries.get(place as usize)?.as_ref().map(|entry| (&entry.key, &entry.value))
    }

    /// The thing at a place, to be changed.
    pub(super) fn at_mut(&mut self, place: u32) -> Option<&mut V> {
        self.entries.get_mut(place as usize)?.as_mut().map(|entry| &mut entry.value)
    }

    /// The thing at a place, to be changed, and its key.
    pub(super) fn entry_mut(&mut self, place: u32) -> Option<(&K, &mut V)> {
        self.entries.get_mut(place as usize)?.as_mut().map(|entry| (&entry.key, &mut entry.value))
    }

    /// The thing of that key, to be changed.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.at_mut(self.place(key)?)
    }

    /// Adds a thing, in the place of what had its key; where it is.
    pub(super) fn insert(&mut self, key: K, value: V) -> u32 {
        let fresh = self.free.last().copied().unwrap_or_else(|| index(self.entries.len()));
        let place = *self.places.entry(key).or_insert(fresh);
        if place == fresh && self.free.pop().is_none() {
            self.entries.push(None);
        }
        if let Some(entry) = self.entries.get_mut(place as usize) {
            *entry = Some(TableEntry { key, value });
        }
        place
    }

    /// Takes a thing out; its place may be given to another.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.places.remove(key)?;
        let TableEntry { value, .. } = self.entries.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(value)
    }

    /// All things, to be changed, in no order that means anything.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().flatten().map(|entry| &mut entry.value)
    }
}

/// A count of things in memory as a place; there are never 2³² of them.
pub(super) fn index(count: impl TryInto<u32>) -> u32 {
    count.try_into().unwrap_or(u32::MAX)
}

impl<K: Ord + Copy, V> Index<&K> for KeyedTable<K, V> {
    type Output = V;

    /// The thing of that key.
    ///
    /// # Panics
    ///
    /// If there is none, as a map does.
    fn index(&self, key: &K) -> &V {
        match self.get(key) {
            Some(value) => value,
            None => unreachable!("no entry for the key"),
        }
    }
}

impl<'a, K: Ord + Copy, V> IntoIterator for &'a KeyedTable<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = TableIter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Goes through a [`KeyedTable`] in the order of its keys.
#[derive(Debug)]
pub struct TableIter<'a, K, V> {
    places: btree_map::Iter<'a, K, u32>,
    entries: &'a [Option<TableEntry<K, V>>],
}

impl<'a, K, V> Iterator for TableIter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let (_, place) = self.places.next()?;
        self.entries.get(*place as usize)?.as_ref().map(|entry| (&entry.key, &entry.value))
    }
}
