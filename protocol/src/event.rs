//! What a client's program sees of its workers: events, and why a message was not sent.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::digest::Digest;
use crate::id::WorkerId;
use crate::key::PublicKey;
use crate::link::{Delivery, MessageKind};
use crate::worker::End;

/// Something that a client is told about its workers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A worker runs and takes messages. Its first messages may come before this, which travels on a stream of its own and
    /// waits for the end of `init`; nothing of it comes after [`Self::Left`].
    Joined {
        /// The worker.
        worker: WorkerId,
        /// The host it runs on.
        host: PublicKey,
        /// The module it runs.
        module: Digest,
        /// The worker that it replaces, if it is a restart.
        replaces: Option<WorkerId>,
    },
    /// A worker sent a message.
    Message {
        /// The worker that sent it.
        worker: WorkerId,
        /// The message.
        payload: Bytes,
    },
    /// A worker could not handle a message.
    Failed {
        /// The worker.
        worker: WorkerId,
        /// The number that sending the message returned.
        message: u64,
        /// The reason, in the worker's words.
        reason: String,
    },
    /// A worker has ended.
    Left {
        /// The worker.
        worker: WorkerId,
        /// How it ended.
        end: End,
        /// The messages that it was sent and did not answer, oldest first.
        unanswered: Vec<Bytes>,
    },
}

impl Event {
    /// A message of a worker's link, as its client is told of it.
    pub fn of(worker: WorkerId, delivery: Delivery) -> Self {
        let Delivery { kind, payload, .. } = delivery;
        match kind {
            MessageKind::Message => Self::Message { worker, payload },
            MessageKind::Failure { about } => Self::Failed {
                worker,
                message: about,
                reason: String::from_utf8_lossy(&payload).into_owned(),
            },
        }
    }
}

/// Why a message could not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The worker has ended, never existed, or belongs to another client.
    #[error("no worker {0} of this client runs")]
    Gone(WorkerId),
    /// The worker's window is full of unanswered messages: wait, or collect events.
    #[error("worker {0} has a full window of unanswered messages")]
    Full(WorkerId),
    /// The message is over [`MESSAGE_BYTES_MAX`](crate::limits::MESSAGE_BYTES_MAX).
    #[error("a message of {length} bytes is over the limit of {max}")]
    TooLong {
        /// Its length, in bytes.
        length: usize,
        /// The limit, in bytes.
        max: usize,
    },
}
