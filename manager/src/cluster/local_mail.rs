//! What a client in this process sends and takes. It has no link: what waits for it is on the links with the hosts, and a
//! message is settled when the client takes it.

use bytes::Bytes;
use grid_protocol::event::{Event, SendError};
use grid_protocol::id::WorkerId;
use grid_protocol::limits::MESSAGE_BYTES_MAX;
use grid_protocol::link::MessageKind;
use grid_protocol::uncollected::{Collectable, Uncollected};
use grid_protocol::worker::End;
use grid_scheduler::Owner;

use crate::cluster::client_session::ClientSession;
use crate::cluster::router::MessageRouter;

impl MessageRouter {
    /// Sends a message of a client in this process; returns its number.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub(crate) fn send(&mut self, owner: Owner, worker: WorkerId, payload: Bytes) -> Result<u64, SendError> {
        let max = MESSAGE_BYTES_MAX;
        if payload.len() > max {
            return Err(SendError::TooLong { length: payload.len(), max });
        }
        let route =
            self.routes.get_mut(&worker).filter(|route| route.owner == owner && route.ending.is_none());
        let route = route.ok_or(SendError::Gone(worker))?;
        if !route.outward.has_room() {
            return Err(SendError::Full(worker));
        }
        Ok(route.forward(worker, &mut self.queues, MessageKind::Message, payload, 0))
    }

    /// False if the worker of a client in this process still owes an answer or an acknowledgement.
    pub(crate) fn is_quiet(&self, owner: Owner, worker: WorkerId) -> bool {
        self.routes.get(&worker).filter(|route| route.owner == owner).is_none_or(|route| {
            let link = &route.outward;
            route.ending.as_ref().is_some_and(|ending| ending.told)
                || !link.is_owed() && link.has_arrived(link.last_accepted())
        })
    }

    /// Moves what waits for a client in this process into `out`, until `out` holds `most` events.
    pub(crate) fn collect(&mut self, owner: Owner, most: usize, out: &mut Vec<Event>) {
        // Taken out for the moment: nothing is added while it is looked through.
        let waiting = self.uncollected(owner).filter(|waiting| !waiting.is_empty());
        let Some(mut waiting) = waiting.map(std::mem::take) else {
            return;
        };
        while out.len() < most
            && let Some(next) = waiting.pop()
        {
            match next {
                Collectable::Joined(event) => out.push(event),
                Collectable::Left(worker, end) => out.extend(self.close(worker, end)),
                Collectable::Messages(worker) => {
                    if self.take_mail(worker, most, out) {
                        waiting.put_back(Collectable::Messages(worker));
                    }
                }
            }
        }
        if let Some(place) = self.uncollected(owner) {
            *place = waiting;
        }
    }

    /// What waits for a client in this process; `None` for any other.
    fn uncollected(&mut self, owner: Owner) -> Option<&mut Uncollected> {
        match self.client_sessions.get_mut(&owner)? {
            ClientSession::Here { waiting, .. } => Some(waiting),
            ClientSession::Remote(_) => None,
        }
    }

    /// Takes the next worker that has joined, whatever waits before it for the client in this process.
    pub(crate) fn take_joined(&mut self, owner: Owner) -> Option<Event> {
        self.uncollected(owner)?.take_joined()
    }

    /// Workers of which it waits to be collected that they joined (true) or ended (false).
    pub(crate) fn changes(&self, owner: Owner) -> Vec<(WorkerId, bool)> {
        let Some(ClientSession::Here { waiting, .. }) = self.client_sessions.get(&owner) else {
            return Vec::new();
        };
        waiting.changes().collect()
    }

    /// Moves a worker's messages into `out`; true if it stopped because `out` holds `most` events.
    fn take_mail(&mut self, worker: WorkerId, most: usize, out: &mut Vec<Event>) -> bool {
        let Some(route) = self.routes.get_mut(&worker) else {
            return false;
        };
        while out.len() < most {
            let Some(delivery) = route.outward.take_arrival() else {
                route.queued = false;
                route.acknowledge_host(worker, &mut self.queues, &self.late);
                return false;
            };
            route.outward.finish(delivery.seq);
            route.taken += delivery.payload.len() + 1024;
            out.push(Event::of(worker, delivery));
        }
        route.acknowledge_host(worker, &mut self.queues, &self.late);
        true
    }

    /// Forgets a worker; returns the last event about it.
    fn close(&mut self, worker: WorkerId, end: End) -> Option<Event> {
        let mut route = self.routes.remove(&worker)?;
        route.settle_finally(worker, &mut self.queues);
        let unanswered = route.outward.take_unsettled().into_iter().map(|sent| sent.payload).collect();
        Some(Event::Left { worker, end, unanswered })
    }
}
