//! Peer queues: the outgoing mail of each peer, connected or not.

use std::sync::Arc;

use grid_protocol::host::Position;
use grid_protocol::id::WorkerId;
use grid_protocol::session::{Links, MailSession};
use slab::Slab;
use tokio::sync::Notify;

/// The outgoing side of one peer's mail.
#[derive(Debug, Default)]
pub(crate) struct PeerQueue {
    /// The frames that wait for the connection's writer.
    pub(crate) mail: MailSession,
    /// Notified when there are frames to write.
    pub(crate) wake: Arc<Notify>,
}

impl PeerQueue {
    /// Starts a new connection with what the peer lacks of each link in `theirs`, which the caller has checked.
    pub(crate) fn connect<T>(&mut self, links: &mut impl Links<T>, theirs: &[Position]) -> Arc<Notify> {
        self.mail.connect(links, theirs);
        self.wake = Arc::default();
        self.wake.notify_one();
        self.wake.clone()
    }
}

/// Names a queue. A name is never used again: the number tells a queue from an earlier one in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PeerQueueId {
    place: usize,
    number: u64,
}

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct PeerQueues {
    queues: Slab<(u64, PeerQueue)>,
    /// Queues that there have been.
    made: u64,
    /// Queues that owe acknowledgements.
    owing: Vec<PeerQueueId>,
}

impl PeerQueues {
    /// Adds a queue.
    pub(crate) fn add(&mut self) -> PeerQueueId {
        self.made += 1;
        PeerQueueId { number: self.made, place: self.queues.insert((self.made, PeerQueue::default())) }
    }

    /// Removes a queue, for good; a name that has none is ignored.
    pub(crate) fn remove(&mut self, id: PeerQueueId) {
        if self.get(id).is_some() {
            self.queues.remove(id.place);
        }
    }

    /// The queue, if its peer is connected.
    pub(crate) fn up(&mut self, id: PeerQueueId) -> Option<&mut PeerQueue> {
        self.get(id).filter(|queue| queue.mail.is_connected())
    }

    /// The queue, connected or not.
    pub(crate) fn get(&mut self, id: PeerQueueId) -> Option<&mut PeerQueue> {
        self.queues.get_mut(id.place).filter(|(number, _)| *number == id.number).map(|(_, queue)| queue)
    }

    /// Notes that a worker's acknowledgement is owed to a connected peer, and may travel with the next message.
    pub(crate) fn owe(&mut self, id: PeerQueueId, worker: WorkerId) {
        if self.up(id).is_some_and(|queue| queue.mail.owe(worker)) {
            self.owing.push(id);
        }
    }

    /// Takes the queues that owe acknowledgements.
    pub(crate) fn take_owing(&mut self) -> Vec<PeerQueueId> {
        std::mem::take(&mut self.owing)
    }

    /// Queues that there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.queues.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use grid_protocol::link::Link;

    use super::*;

    #[test]
    fn the_name_of_a_queue_that_was_removed_names_no_later_one() {
        let mut queues = PeerQueues::default();
        let first = queues.add();
        queues.remove(first);
        let second = queues.add();
        assert!(queues.get(first).is_none() && queues.get(second).is_some());
        queues.remove(first);
        assert_eq!(queues.len(), 1);
    }

    #[test]
    fn a_queue_owes_once_however_many_workers_it_owes_for() {
        let mut queues = PeerQueues::default();
        let (here, away) = (queues.add(), queues.add());
        queues.get(here).unwrap().connect(&mut BTreeMap::<WorkerId, Link>::new(), &[]);
        for count in 0..3 {
            queues.owe(here, WorkerId::new(1, count));
            queues.owe(away, WorkerId::new(1, count));
        }
        assert_eq!(queues.take_owing(), [here]);
        assert_eq!(queues.take_owing(), []);
    }
}
