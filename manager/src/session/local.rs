//! The client of the program that the manager is part of: the same calls as a client's, without a wire.

use std::sync::Arc;

use bytes::Bytes;
use grid_protocol::client::{Channel, Denial, Reply, Request};
use grid_protocol::id::WorkerId;
use grid_protocol::job::{BlobRef, JobId};
use grid_scheduler::Owner;
use tokio::sync::Notify;

use crate::api;
use crate::cluster::client_session::Event;
use crate::cluster::router::SendError;
use crate::context::Context;

/// A client in the manager's own process. Clones share one client.
#[derive(Clone)]
pub struct LocalClient {
    context: Arc<Context>,
    owner: Owner,
    arrived: Arc<Notify>,
    room: Arc<Notify>,
}

impl LocalClient {
    pub(crate) fn open(context: Arc<Context>, channel: Channel) -> Self {
        let owner = Owner { key: context.key, channel };
        let (arrived, room) = context.cluster().router.open_local(owner);
        Self { context, owner, arrived, room }
    }

    /// Which channel its workers belong to.
    pub fn channel(&self) -> Channel {
        self.owner.channel
    }

    /// Asks what a client may ask, with every role.
    pub async fn request(&self, request: Request, module: Option<Bytes>) -> Reply {
        api::handle(&self.context, self.owner.key, request, module).await
    }

    /// Asks for the bytes of a payload of a job.
    ///
    /// # Errors
    ///
    /// The [`Denial`].
    pub async fn fetch(&self, job: JobId, payload: BlobRef) -> Result<Bytes, Denial> {
        api::jobs::fetch(&self.context, self.owner.key, job, payload).await
    }

    /// Sends a message; its number, which a [`Event::Failed`] about it names.
    ///
    /// # Errors
    ///
    /// [`SendError`]; [`SendError::Full`] if the worker owes too much.
    pub fn try_send(&self, worker: WorkerId, payload: Bytes) -> Result<u64, SendError> {
        self.context.cluster().router.send(self.owner, worker, payload)
    }

    /// Sends a message as soon as the worker's window has room.
    ///
    /// # Errors
    ///
    /// [`SendError`], but never [`SendError::Full`].
    pub async fn send(&self, worker: WorkerId, payload: Bytes) -> Result<u64, SendError> {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // Listening comes before trying, so that room that opens in between is not missed.
            room.as_mut().enable();
            match self.try_send(worker, payload.clone()) {
                Err(SendError::Full(_)) => room.await,
                other => return other,
            }
        }
    }

    /// Sends many messages under one lock, as far as windows have room; the first that was not sent, and why.
    pub fn send_many(
        &self,
        messages: impl IntoIterator<Item = (WorkerId, Bytes)>,
    ) -> Result<usize, (usize, SendError)> {
        let mut cluster = self.context.cluster();
        let mut sent = 0;
        for (worker, payload) in messages {
            match cluster.router.send(self.owner, worker, payload) {
                Ok(_) => sent += 1,
                Err(error) => return Err((sent, error)),
            }
        }
        Ok(sent)
    }

    /// Takes the next worker that has joined; what else has come stays uncollected.
    pub fn take_joined(&self) -> Option<Event> {
        self.context.cluster().router.take_joined(self.owner)
    }

    /// Workers of which it waits to be collected that they joined (true) or ended (false).
    pub fn changes(&self) -> Vec<(WorkerId, bool)> {
        self.context.cluster().router.changes(self.owner)
    }

    /// Takes what has come, at most `most` events, without waiting.
    pub fn try_collect(&self, most: usize, events: &mut Vec<Event>) {
        self.context.cluster().router.collect(self.owner, most, events);
    }

    /// Waits until something has come, and takes at most `most` events. Cancel-safe.
    pub async fn collect(&self, most: usize, events: &mut Vec<Event>) {
        loop {
            let before = events.len();
            self.try_collect(before + most, events);
            if events.len() > before {
                return;
            }
            self.arrived.notified().await;
        }
    }
}
