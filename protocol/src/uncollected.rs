//! What waits for a client's program to collect it: the same for a client over the network and one in the manager's
//! process.

use alloc::collections::VecDeque;

use crate::event::Event;
use crate::id::WorkerId;
use crate::worker::End;

/// What has come and was not collected, oldest first. The messages themselves are on the workers' links.
#[derive(Debug, Default)]
pub struct Uncollected(VecDeque<Collectable>);

/// Something that waits to be collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collectable {
    /// The worker has sent messages.
    Messages(WorkerId),
    /// A worker joined.
    Joined(Event),
    /// The worker ended; this comes after all its messages.
    Left(WorkerId, End),
}

impl Uncollected {
    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what has come.
    pub fn push(&mut self, item: Collectable) {
        self.0.push_back(item);
    }

    /// Puts back what was taken and is not over.
    pub fn put_back(&mut self, item: Collectable) {
        self.0.push_front(item);
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<Collectable> {
        self.0.pop_front()
    }

    /// Takes the next worker that has joined, whatever waits before it. Messages stay where they are, unacknowledged.
    pub fn take_joined(&mut self) -> Option<Event> {
        let place = self.0.iter().position(|item| matches!(item, Collectable::Joined(_)))?;
        match self.0.remove(place) {
            Some(Collectable::Joined(event)) => Some(event),
            _ => None,
        }
    }

    /// Workers of which it waits to be collected that they joined (true) or ended (false).
    pub fn changes(&self) -> impl Iterator<Item = (WorkerId, bool)> {
        self.0.iter().filter_map(|item| match item {
            Collectable::Joined(Event::Joined { worker, .. }) => Some((*worker, true)),
            Collectable::Left(worker, _) => Some((*worker, false)),
            _ => None,
        })
    }
}
