//! Peer queues: the outgoing mail of each peer, connected or not.

use std::sync::Arc;

use grid_protocol::id::WorkerId;
use grid_protocol::send_queue::SendQueue;
use slab::Slab;
use tokio::sync::Notify;

/// The outgoing side of one peer's mail.
#[derive(Debug, Default)]
pub(crate) struct PeerQueue {
    /// Frames that wait for the connection's writer.
    pub(crate) frames: SendQueue,
    /// Notified when there are frames to write.
    pub(crate) wake: Arc<Notify>,
    /// True while the peer is connected. Otherwise no frames are queued; resuming the links makes them again.
    pub(crate) up: bool,
    /// Workers that are owed an acknowledgement, which the next message to them may carry.
    pub(crate) late: Vec<WorkerId>,
}

impl PeerQueue {
    /// Starts a new connection, without the frames of the old one. The caller then resumes each link.
    pub(crate) fn connect(&mut self) -> Arc<Notify> {
        self.frames = SendQueue::default();
        self.late.clear();
        self.wake = Arc::default();
        self.up = true;
        self.wake.clone()
    }

    /// Ends the connection and drops its frames.
    pub(crate) fn disconnect(&mut self) {
        self.frames = SendQueue::default();
        self.late.clear();
        self.up = false;
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
    /// Queues with acknowledgements in [`PeerQueue::late`].
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
        self.get(id).filter(|queue| queue.up)
    }

    /// The queue, connected or not.
    pub(crate) fn get(&mut self, id: PeerQueueId) -> Option<&mut PeerQueue> {
        self.queues.get_mut(id.place).filter(|(number, _)| *number == id.number).map(|(_, queue)| queue)
    }

    /// Notes that a worker's acknowledgement is owed to a connected peer, and may travel with the next message.
    pub(crate) fn owe(&mut self, id: PeerQueueId, worker: WorkerId) {
        let Some(queue) = self.up(id) else { return };
        let first = queue.late.is_empty();
        queue.late.push(worker);
        if first {
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
        queues.get(here).unwrap().connect();
        for count in 0..3 {
            queues.owe(here, WorkerId::new(1, count));
            queues.owe(away, WorkerId::new(1, count));
        }
        assert_eq!(queues.take_owing(), [here]);
        assert_eq!(queues.take_owing(), []);
    }
}
