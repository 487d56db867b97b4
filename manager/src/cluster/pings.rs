//! Pings: questions to one host about its workers, kept until the host answers.
//!
//! A ping is a command, and a command that was queued for a host cannot be taken back. So one that timed out, or whose
//! client has gone, keeps its place until the host answers or begins a new session: that bounds the queue as well.

use std::sync::Arc;

use grid_protocol::host::WorkerStatus;
use hashbrown::HashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Pings that one host may leave unanswered: more workers than most hosts have. Without a limit, a client that pings a
/// host that is away would fill the queue of its commands, and end its session.
pub(crate) const PINGS_MAX: usize = 256;

/// The pings that a host has not answered.
#[derive(Debug)]
pub(crate) struct Pings {
    unanswered: HashMap<u64, PendingPing>,
    room: Arc<Semaphore>,
}

/// The right to one more ping of a host.
pub(crate) type PingPermit = OwnedSemaphorePermit;

#[derive(Debug)]
struct PendingPing {
    answer: oneshot::Sender<WorkerStatus>,
    /// Given back when the entry is removed.
    _permit: PingPermit,
}

impl Default for Pings {
    fn default() -> Self {
        Self { unanswered: HashMap::new(), room: Arc::new(Semaphore::new(PINGS_MAX)) }
    }
}

impl Pings {
    /// Where a permit for a ping is to be had, as soon as fewer than [`PINGS_MAX`] are unanswered.
    pub(crate) fn room(&self) -> Arc<Semaphore> {
        self.room.clone()
    }

    /// Adds a ping; the receiver gets the answer, or an error if the host begins a new session instead.
    pub(crate) fn add(&mut self, nonce: u64, permit: PingPermit) -> oneshot::Receiver<WorkerStatus> {
        let (answer, answered) = oneshot::channel();
        self.unanswered.insert(nonce, PendingPing { answer, _permit: permit });
        answered
    }

    /// Passes on the host's answer, unless nobody waits for it any more.
    pub(crate) fn answer(&mut self, nonce: u64, worker_status: WorkerStatus) {
        if let Some(ping) = self.unanswered.remove(&nonce) {
            let _ = ping.answer.send(worker_status);
        }
    }

    /// Forgets all pings, because the commands that carried them were dropped.
    pub(crate) fn clear(&mut self) {
        self.unanswered.clear();
    }

    /// Number of unanswered pings.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.unanswered.len()
    }
}
