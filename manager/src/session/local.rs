//! The client of the program that embeds the manager: a client's calls, without a network.

use std::sync::Arc;

use bytes::Bytes;
use grid_protocol::client::{Channel, Denial, DenialCode, Reply, Request};
use grid_protocol::event::{Event, SendError};
use grid_protocol::id::WorkerId;
use grid_protocol::job::{BlobRef, JobId};
use grid_protocol::role::Roles;
use grid_scheduler::Owner;
use tokio::sync::{Notify, watch};

use crate::api;
use crate::api::denials::deny;
use crate::asker::{Asker, Via};
use crate::context::Context;

/// A client in the manager's own process. Clones share one client.
#[derive(Clone)]
pub struct LocalClient {
    context: Arc<Context>,
    owner: Owner,
    arrived: Arc<Notify>,
    room: Arc<Notify>,
    /// Closed when the manager has stopped.
    serving: watch::Receiver<()>,
}

impl LocalClient {
    pub(crate) fn open(context: Arc<Context>, channel: Channel, serving: watch::Receiver<()>) -> Self {
        let owner = Owner { key: context.key, channel };
        let (arrived, room) = context.cluster().router.open_local(owner);
        Self { context, owner, arrived, room, serving }
    }

    /// The channel to which its workers belong.
    pub fn channel(&self) -> Channel {
        self.owner.channel
    }

    fn asker(&self) -> Asker {
        Asker { key: self.owner.key, at_most: Roles::ALL, via: Via::Program }
    }

    /// Makes a request, with every role; `module` is the body of an upload, a blob or a message.
    /// After the manager has stopped, every request is denied.
    pub async fn request(&self, request: Request, module: Option<Bytes>) -> Reply {
        let mut serving = self.serving.clone();
        tokio::select! {
            biased;
            _ = serving.changed() => Reply::Denied(stopped()),
            reply = api::handle(&self.context, self.asker(), request, module) => reply,
        }
    }

    /// Reads a blob of a job.
    ///
    /// # Errors
    ///
    /// The [`Denial`]: the job does not exist or does not refer to the blob, or the blob cannot be read.
    pub async fn fetch(&self, job: JobId, payload: BlobRef) -> Result<Bytes, Denial> {
        api::jobs::fetch(&self.context, self.asker(), job, payload).await
    }

    /// Sends a message without waiting; returns its number, which an [`Event::Failed`] about it names.
    ///
    /// # Errors
    ///
    /// [`SendError`]; [`SendError::Full`] if the worker's window is full.
    pub fn try_send(&self, worker: WorkerId, payload: Bytes) -> Result<u64, SendError> {
        self.context.cluster().router.send(self.owner, worker, payload)
    }

    /// Waits for room in the worker's window and sends a message; returns its number.
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

    /// Sends messages under one lock, without waiting; returns their number.
    ///
    /// # Errors
    ///
    /// The index of the first message that was not sent, and why; later ones were not tried.
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

    /// False if the worker still owes an answer or an acknowledgement.
    pub fn is_quiet(&self, worker: WorkerId) -> bool {
        self.context.cluster().router.is_quiet(self.owner, worker)
    }

    /// Waits until a worker has handled a message or has ended. Cancel-safe.
    pub async fn settled(&self) {
        self.room.notified().await;
    }

    /// Stops the workers of this channel, each of which may take so many milliseconds to finish. Does not wait for them.
    pub fn goodbye(&self, grace_ms: u32) {
        self.context.change(|cluster, _| cluster.scheduler.stop_owner(self.owner, grace_ms));
    }

    /// Moves events that have come into `events`, until it holds `most` of them. Does not wait.
    pub fn try_collect(&self, most: usize, events: &mut Vec<Event>) {
        self.context.cluster().router.collect(self.owner, most, events);
    }

    /// Waits until an event has come, and adds at most `most` events to `events`. Cancel-safe.
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

/// A client outlives the manager that it was part of.
pub(super) fn stopped() -> Denial {
    deny(
        DenialCode::Conflict,
        "the manager",
        "has stopped",
        "keep the `Manager` for as long as its clients and jobs",
    )
}
