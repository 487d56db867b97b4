//! A client in the manager's own process.

use grid_client::{Access, Answer};
use grid_manager::LocalClient;
use grid_protocol::client::{Channel, Denial, Reply, Request};
use grid_protocol::event::{Event, SendError};
use grid_protocol::id::WorkerId;
use grid_protocol::job::{BlobRef, JobId};

use crate::Bytes;

/// Access to a manager in this process.
pub(crate) struct Local(pub(crate) LocalClient);

impl Access for Local {
    fn channel(&self) -> Channel {
        self.0.channel()
    }

    fn request(&self, request: Request, body: Option<Bytes>) -> Answer<'_, Reply> {
        Box::pin(self.0.request(request, body))
    }

    fn fetch(&self, job: JobId, payload: BlobRef) -> Answer<'_, Result<Bytes, Denial>> {
        Box::pin(self.0.fetch(job, payload))
    }

    fn try_send(&self, worker: WorkerId, message: Bytes) -> Result<u64, SendError> {
        self.0.try_send(worker, message)
    }

    fn send(&self, worker: WorkerId, message: Bytes) -> Answer<'_, Result<u64, SendError>> {
        Box::pin(self.0.send(worker, message))
    }

    fn try_collect(&self, most: usize, events: &mut Vec<Event>) {
        self.0.try_collect(most, events);
    }

    fn collect<'a>(&'a self, most: usize, events: &'a mut Vec<Event>) -> Answer<'a, ()> {
        Box::pin(self.0.collect(most, events))
    }

    fn take_joined(&self) -> Option<Event> {
        self.0.take_joined()
    }

    fn changes(&self) -> Vec<(WorkerId, bool)> {
        self.0.changes()
    }

    fn is_quiet(&self, worker: WorkerId) -> bool {
        self.0.is_quiet(worker)
    }

    fn settled(&self) -> Answer<'_, ()> {
        Box::pin(self.0.settled())
    }

    fn goodbye(&self, grace_ms: u32) {
        self.0.goodbye(grace_ms);
    }
}
