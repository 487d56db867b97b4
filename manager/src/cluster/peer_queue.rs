//! PeerQueues: the outgoing mail of each peer, connected or not.

use std::sync::Arc;

use grid_protocol::id::WorkerId;
use grid_protocol::send_queue::SendQueue;
use tokio::sync::Notify;

/// The outgoing side of one peer's mail.
#[derive(Debug, Default)]
pub(crate) struct PeerQueue {
    /// Frames that wait for the connection's writer.
    pub(crate) post: SendQueue,
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
        self.post = SendQueue::default();
        self.late.clear();
        self.wake = Arc::default();
        self.up = true;
        self.wake.clone()
    }

    /// Ends the connection and drops its frames.
    pub(crate) fn disconnect(&mut self) {
        self.post = SendQueue::default();
        self.late.clear();
        self.up = false;
    }
}

/// Names a queue. Queues are not removed while the manager runs, so a name is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PeerQueueId(usize);

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct PeerQueues {
    queues: Vec<PeerQueue>,
}

impl PeerQueues {
    /// Adds a queue.
    pub(crate) fn add(&mut self) -> PeerQueueId {
        self.queues.push(PeerQueue::default());
        PeerQueueId(self.queues.len() - 1)
    }

    /// The queue, if its peer is connected.
    pub(crate) fn up(&mut self, id: PeerQueueId) -> Option<&mut PeerQueue> {
        self.get(id).filter(|queue| queue.up)
    }

    /// The queue, connected or not.
    pub(crate) fn get(&mut self, id: PeerQueueId) -> Option<&mut PeerQueue> {
        self.queues.get_mut(id.0)
    }

    /// All queues, connected or not.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut PeerQueue> {
        self.queues.iter_mut()
    }
}
