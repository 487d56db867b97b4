//! PeerQueues: the outgoing mail of each peer, whether or not it is connected just now.

use std::sync::Arc;

use grid_protocol::id::WorkerId;
use grid_protocol::send_queue::SendQueue;
use tokio::sync::Notify;

/// The outgoing side of one peer's mail.
#[derive(Debug, Default)]
pub(crate) struct PeerQueue {
    /// Frames that wait for the writer.
    pub(crate) post: SendQueue,
    /// Wakes the connection's writer.
    pub(crate) wake: Arc<Notify>,
    /// False while no connection stands: frames are not made, and a resumption makes them anew.
    pub(crate) up: bool,
    /// Workers whose acknowledgement is owed and may travel with the next message to them.
    pub(crate) late: Vec<WorkerId>,
}

impl PeerQueue {
    /// A new connection stands: starts without the frames of the old one. The caller then resumes each link.
    pub(crate) fn connect(&mut self) -> Arc<Notify> {
        self.post = SendQueue::default();
        self.late.clear();
        self.wake = Arc::default();
        self.up = true;
        self.wake.clone()
    }

    /// The connection is lost.
    pub(crate) fn disconnect(&mut self) {
        self.post = SendQueue::default();
        self.late.clear();
        self.up = false;
    }
}

/// Names a queue; as long as the manager lives, a peer keeps its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PeerQueueId(usize);

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct PeerQueues {
    queues: Vec<PeerQueue>,
}

impl PeerQueues {
    /// Adds a queue, for a peer that has none.
    pub(crate) fn add(&mut self) -> PeerQueueId {
        self.queues.push(PeerQueue::default());
        PeerQueueId(self.queues.len() - 1)
    }

    /// The queue, if a connection stands under it.
    pub(crate) fn up(&mut self, id: PeerQueueId) -> Option<&mut PeerQueue> {
        self.get(id).filter(|queue| queue.up)
    }

    /// The queue.
    pub(crate) fn get(&mut self, id: PeerQueueId) -> Option<&mut PeerQueue> {
        self.queues.get_mut(id.0)
    }

    /// All queues.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut PeerQueue> {
        self.queues.iter_mut()
    }
}
