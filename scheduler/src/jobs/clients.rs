//! Clients: the share of the slots that each has, and who is next.

use alloc::collections::BTreeSet;
use core::cmp::Reverse;

use grid_protocol::key::PublicKey;

use super::table::{KeyedTable, index};

/// A client's share.
#[derive(Debug, Default)]
pub(super) struct ClientShare {
    /// Attempts under way.
    pub(super) live: u64,
    /// When it was last given a slot, as a count.
    pub(super) served: u64,
    /// Its jobs with tasks that wait, best first.
    pub(super) has_waiting: BTreeSet<Rank>,
}

/// The place of a job in its client's list: by priority, then by age; the last is its place in the table.
pub(super) type Rank = (Reverse<i32>, u64, u32);

/// Where a client stands among those that wait: by attempts under way, then by when it was last served, then by its place
/// in the table. One number, so that comparing two is one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ClientTurn(u128);

impl ClientTurn {
    fn place(self) -> u32 {
        index(self.0 & u128::from(u32::MAX))
    }
}

impl ClientShare {
    fn is_idle(&self) -> bool {
        self.live == 0 && self.has_waiting.is_empty()
    }

    /// Where it stands, if any of its tasks wait. It has fewer than 2³² attempts under way.
    fn turn(&self, place: u32) -> Option<ClientTurn> {
        let live = u128::from(self.live.min(u32::MAX.into()));
        let turn = ClientTurn(live << 96 | u128::from(self.served) << 32 | u128::from(place));
        (!self.has_waiting.is_empty()).then_some(turn)
    }
}

/// All clients that have attempts under way, or tasks that wait.
#[derive(Debug, Default)]
pub(super) struct Clients {
    table: KeyedTable<PublicKey, ClientShare>,
    /// Those with tasks that wait, the one first that is next, but for one.
    waiting: BTreeSet<ClientTurn>,
    /// The one of them that has changed last: most often it is the next to change, too.
    moving: Option<ClientTurn>,
}

impl Clients {
    /// Where a client is, or will be from now on.
    pub(super) fn place_of(&mut self, key: PublicKey) -> u32 {
        self.table.place(&key).unwrap_or_else(|| self.table.insert(key, ClientShare::default()))
    }

    /// Changes a client; it is forgotten when it has nothing any more.
    pub(super) fn update(&mut self, place: u32, change: impl FnOnce(&mut ClientShare)) {
        let Some((key, share)) = self.table.entry_mut(place) else {
            return;
        };
        let key = *key;
        let was = share.turn(place);
        change(share);
        let (is, is_idle) = (share.turn(place), share.is_idle());
        if was != is {
            match was {
                Some(turn) if self.moving == Some(turn) => self.moving = None,
                Some(turn) => drop(self.waiting.take(&turn)),
                None => {}
            }
            if is.is_some() {
                self.waiting.extend(core::mem::replace(&mut self.moving, is));
            }
        }
        if is_idle {
            self.table.remove(&key);
        }
    }

    /// How many have tasks that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() + usize::from(self.moving.is_some())
    }

    /// The jobs with tasks that wait, as they are to be asked for some.
    pub(super) fn jobs(&self) -> impl Iterator<Item = u32> {
        let moving = self.moving;
        let before = self.waiting.iter().take_while(move |turn| moving.is_none_or(|moving| **turn < moving));
        let behind = moving.into_iter().flat_map(|moving| self.waiting.range(moving..));
        let turns = before.copied().chain(moving).chain(behind.copied());
        let shares = turns.filter_map(|turn| self.table.at(turn.place()));
        shares.flat_map(|share| &share.has_waiting).map(|(_, _, job)| *job)
    }

    /// Where a client is, if it has anything.
    #[cfg(test)]
    pub(super) fn place(&self, key: &PublicKey) -> Option<u32> {
        self.table.place(key)
    }

    /// Checks that each client has so many attempts under way and these jobs with tasks that wait, and stands where it must.
    #[cfg(test)]
    pub(super) fn check(&self, expected: &alloc::collections::BTreeMap<PublicKey, (u64, BTreeSet<Rank>)>) {
        let mut turns = BTreeSet::new();
        assert!(self.table.iter().map(|(key, _)| key).eq(expected.keys()));
        for ((key, share), (live, waiting)) in self.table.iter().zip(expected.values()) {
            assert_eq!((share.live, &share.has_waiting), (*live, waiting));
            if !waiting.is_empty() {
                turns.extend(self.table.place(key).and_then(|place| share.turn(place)));
            }
        }
        assert!(!self.moving.is_some_and(|turn| self.waiting.contains(&turn)));
        assert_eq!(self.waiting.iter().copied().chain(self.moving).collect::<BTreeSet<_>>(), turns);
    }

    /// The shares, in the order of the clients' keys.
    #[cfg(test)]
    pub(super) fn values(&self) -> impl Iterator<Item = &ClientShare> {
        self.table.values()
    }
}
