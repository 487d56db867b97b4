//! Sessions of clients: the mail and events that wait for each client.

use std::sync::Arc;

use grid_protocol::client::{self, ManagerClientEnd};
use grid_protocol::host::Resume;
use grid_protocol::id::SessionId;
use grid_protocol::time::Moment;
use grid_protocol::uncollected::Uncollected;
use tokio::sync::Notify;

use crate::cluster::peer_queue::PeerQueueId;

/// A client's session.
#[derive(Debug)]
pub(crate) enum ClientSession {
    /// The client is in this process.
    Here {
        /// What waits for the client, oldest first.
        waiting: Uncollected,
        /// Notified when something waits.
        arrived: Arc<Notify>,
        /// Notified when a worker's window has room again.
        room: Arc<Notify>,
    },
    /// The client is in another process.
    Remote(RemoteClient),
}

/// The session of a client in another process.
#[derive(Debug)]
pub(crate) struct RemoteClient {
    /// The queue of its outgoing mail.
    pub(crate) queue: PeerQueueId,
    /// The session's id. A client that names another one has lost what it knew of this session.
    pub(crate) session: SessionId,
    /// The manager's end of its control stream, with the events that it has not confirmed.
    pub(crate) control: ManagerClientEnd,
    /// Notified when there is something to write to the control stream.
    pub(crate) wake: Arc<Notify>,
    /// When its connection was lost; `None` while it is connected.
    pub(crate) gone_since: Option<Moment>,
    /// The number of the newest connection, by which an older one finds that it was replaced.
    pub(crate) generation: u64,
}

/// Unconfirmed events of a client; further ones are dropped. A client that misses the end of a worker finds it in the
/// list of workers, too.
const EVENTS_WAITING_MAX: usize = 4096;

impl RemoteClient {
    /// Sends an event, now or when the client reconnects; drops it if too many wait.
    pub(crate) fn tell(&mut self, event: &client::ClientEvent) {
        if self.control.backlog() < EVENTS_WAITING_MAX {
            self.control.send(event);
            self.wake.notify_one();
        }
    }

    /// The state from which a client that reconnects continues.
    pub(crate) fn state(&mut self, workers: Vec<grid_protocol::host::Position>) -> Resume {
        Resume { session: self.session, control: self.control.position(), workers }
    }
}
