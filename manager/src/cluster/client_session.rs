//! Sessions of clients: where a client's mail and events wait for it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use grid_protocol::client::{self, ManagerClientEnd};
use grid_protocol::digest::Digest;
use grid_protocol::host::Resume;
use grid_protocol::id::{SessionId, WorkerId};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;
use grid_protocol::worker::End;
use tokio::sync::Notify;

use crate::cluster::peer_queue::PeerQueueId;

/// One thing that a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A worker runs and takes messages.
    Joined {
        /// Which.
        worker: WorkerId,
        /// Where.
        host: PublicKey,
        /// Its module.
        module: Digest,
        /// The worker in whose place it came.
        replaces: Option<WorkerId>,
    },
    /// A worker sent a message.
    Message {
        /// Which.
        worker: WorkerId,
        /// What.
        payload: Bytes,
    },
    /// A worker could not handle a message.
    Failed {
        /// Which.
        worker: WorkerId,
        /// The number that sending the message returned.
        message: u64,
        /// Why, in the worker's words.
        reason: String,
    },
    /// A worker has ended.
    Left {
        /// Which.
        worker: WorkerId,
        /// How.
        end: End,
        /// The messages that it was sent and never answered, oldest first.
        unanswered: Vec<Bytes>,
    },
}

/// Something that waits on the client of a client in this process.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// A worker has mail.
    Route(WorkerId),
    /// A worker joined.
    Joined(Event),
    /// A worker left, after all its mail.
    Left(WorkerId, End),
}

/// A client's client.
#[derive(Debug)]
pub(crate) enum ClientSession {
    /// The client is in this process.
    Here {
        /// What waits, in order.
        waiting: VecDeque<Waiting>,
        /// Wakes the client when something waits.
        arrived: Arc<Notify>,
        /// Wakes a sender when a window has opened.
        room: Arc<Notify>,
    },
    /// The client is elsewhere.
    Remote(RemoteClient),
}

/// The client of a client elsewhere.
#[derive(Debug)]
pub(crate) struct RemoteClient {
    /// Its mail.
    pub(crate) queue: PeerQueueId,
    /// Its session; another one means that the client has forgotten everything.
    pub(crate) session: SessionId,
    /// Its events.
    pub(crate) control: ManagerClientEnd,
    /// Wakes the writer of its control stream.
    pub(crate) wake: Arc<Notify>,
    /// Since when it is gone; `None` while it is here.
    pub(crate) gone_since: Option<Moment>,
    /// Tells an older connection apart from the present one.
    pub(crate) generation: u64,
}

/// Events that wait for a client that does not come: its workers' ends can be read from the list of
/// workers as well, so that the newest are the ones to do without.
const EVENTS_WAITING_MAX: usize = 4096;

impl RemoteClient {
    /// Tells the client, now or when it comes back.
    pub(crate) fn tell(&mut self, event: &client::ClientEvent) {
        if self.control.backlog() < EVENTS_WAITING_MAX {
            self.control.send(event);
            self.wake.notify_one();
        }
    }

    /// Where a client that comes back goes on from.
    pub(crate) fn state(&mut self, workers: Vec<grid_protocol::host::Position>) -> Resume {
        Resume { session: self.session, control: self.control.position(), workers }
    }
}
