//! Access: how a client reaches its manager.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use grid_protocol::client::{Channel, Denial, Reply, Request};
use grid_protocol::event::{Event, SendError};
use grid_protocol::id::WorkerId;
use grid_protocol::job::{BlobRef, JobId};

/// What an [`Access`] gives after a wait.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The way from a client to its manager: a connection over the network, or the same process. Both keep the same promises.
pub trait Access: Send + Sync {
    /// The channel that the client's workers belong to.
    fn channel(&self) -> Channel;

    /// Sends a request, with the bytes that go with it, and gives the reply.
    fn request(&self, request: Request, body: Option<Bytes>) -> Answer<'_, Reply>;

    /// Fetches the bytes of a long input or result of a job.
    fn fetch(&self, job: JobId, payload: BlobRef) -> Answer<'_, Result<Bytes, Denial>>;

    /// Sends a message if the worker's window has room; its number.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    fn try_send(&self, worker: WorkerId, message: Bytes) -> Result<u64, SendError>;

    /// Sends a message as soon as the worker's window has room; its number. Never fails with [`SendError::Full`].
    fn send(&self, worker: WorkerId, message: Bytes) -> Answer<'_, Result<u64, SendError>>;

    /// Moves events that have come into `events`, until it holds `most` of them. Does not wait.
    fn try_collect(&self, most: usize, events: &mut Vec<Event>);

    /// Waits until an event has come, and adds at most `most` to `events`. Cancel-safe.
    fn collect<'a>(&'a self, most: usize, events: &'a mut Vec<Event>) -> Answer<'a, ()>;

    /// Takes the next [`Event::Joined`]; what else has come stays uncollected.
    fn take_joined(&self) -> Option<Event>;

    /// Workers of which it waits to be collected that they joined (true) or ended (false).
    fn changes(&self) -> Vec<(WorkerId, bool)>;

    /// The manager has started these workers for this client.
    fn expect(&self, _workers: &[WorkerId]) {}

    /// False if the worker still owes the client something that the client can tell.
    fn is_quiet(&self, worker: WorkerId) -> bool;

    /// Why the manager ended this client's access for good, if it did.
    fn sent_away(&self) -> Option<&Denial> {
        None
    }

    /// Waits for an acknowledgement; one that came before is not announced again. Cancel-safe.
    fn settled(&self) -> Answer<'_, ()>;

    /// Tells the manager that the client is done; its workers have so many milliseconds to stop.
    fn goodbye(&self, grace_ms: u32);

    /// The roles that the manager said the client has; `None` where it has all.
    fn roles(&self) -> Option<grid_protocol::role::Roles> {
        None
    }
}
