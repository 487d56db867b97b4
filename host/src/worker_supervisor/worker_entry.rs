//! A worker on this host, from the order to start it until nothing of it is owed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use grid_protocol::id::WorkerId;
use parking_lot::Mutex;

use crate::mailbox::Mailbox;
use crate::outbox::Outbox;
use crate::sandbox::AbortHandle;

/// A worker on this host: its mailbox and how to end it.
#[derive(Debug)]
pub(crate) struct WorkerEntry {
    pub(crate) mailbox: Arc<Mailbox>,
    lifecycle: Mutex<Lifecycle>,
    /// It was ready for messages.
    pub(super) running: AtomicBool,
}

/// How far a worker's start has got, and so how it can be ended.
#[derive(Debug, Default)]
enum Lifecycle {
    /// Its module is being fetched or compiled, so nothing can be ended yet.
    #[default]
    Preparing,
    /// As `Preparing`, but the worker is to be ended as soon as it has started.
    EndsAtStart,
    /// It has been started and can be ended immediately.
    Running(AbortHandle),
}

impl WorkerEntry {
    pub(super) fn new(worker: WorkerId, outbox: Arc<Outbox>) -> Self {
        Self {
            mailbox: Arc::new(Mailbox::new(worker, outbox)),
            lifecycle: Mutex::default(),
            running: false.into(),
        }
    }

    /// Ends the worker, whatever it is doing; one that has not started yet is ended as soon as it starts.
    pub(super) fn end_now(&self) {
        self.mailbox.stop();
        let mut lifecycle = self.lifecycle.lock();
        match &*lifecycle {
            Lifecycle::Running(abort) => abort.now(),
            Lifecycle::Preparing | Lifecycle::EndsAtStart => *lifecycle = Lifecycle::EndsAtStart,
        }
    }

    pub(super) fn has_started(&self, abort: AbortHandle) {
        let mut lifecycle = self.lifecycle.lock();
        if matches!(*lifecycle, Lifecycle::EndsAtStart) {
            abort.now();
        }
        *lifecycle = Lifecycle::Running(abort);
    }
}
