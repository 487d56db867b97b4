//! The router: moves messages between clients and workers.
//!
//! A worker's mail crosses two links, client to manager and manager to host. The manager settles a message on one
//! link only when it was settled on the other, so that a slow worker holds back only its own client. A client in this
//! process has no link: a message is settled when the client takes it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::client;
use grid_protocol::event::{Event, SendError};
use grid_protocol::id::WorkerId;
use grid_protocol::key::PublicKey;
use grid_protocol::link::{Link, LinkError, MessageKind};
use grid_protocol::mail::MailFrame;
use grid_protocol::session::PendingEnd;
use grid_protocol::time::Moment;
use grid_protocol::uncollected::Collectable;
use grid_protocol::worker::End;
use grid_scheduler::Owner;
use hashbrown::HashMap;
use tokio::sync::Notify;

use crate::cluster::client_session::ClientSession;
use crate::cluster::peer_queue::{PeerQueueId, PeerQueues};
use crate::cluster::route::{EndingRoute, Route, newest};

/// The routes of all workers, and the sessions of their clients.
#[derive(Debug, Default)]
pub(crate) struct MessageRouter {
    pub(crate) queues: PeerQueues,
    pub(crate) client_sessions: HashMap<Owner, ClientSession>,
    pub(crate) routes: HashMap<WorkerId, Route>,
    #[cfg(feature = "fault-injection")]
    pub(crate) sabotage: Option<crate::fault_injection::FaultInjection>,
    /// Notified when late acknowledgements are to be sent.
    pub(crate) late: Arc<Notify>,
    /// Notified when a worker's window has room again, for requests that wait for it.
    pub(crate) room: Arc<Notify>,
    /// Clients of which a worker's window has room again, until [`Self::announce_room`] tells them.
    freed: Vec<Owner>,
}

impl MessageRouter {
    /// Opens the route of a worker that was placed. Messages to it wait until it runs.
    pub(crate) fn open(
        &mut self,
        worker: WorkerId,
        owner: Owner,
        host: PeerQueueId,
        ttl: Duration,
        now: Moment,
    ) {
        // A client whose session was cleared may come back for the workers of its deployments.
        let elsewhere = !matches!(self.client_sessions.get(&owner), Some(ClientSession::Here { .. }));
        self.routes.insert(worker, Route::new(owner, host, elsewhere, ttl, now));
    }

    /// The worker runs: sends the messages that waited for it, and tells its client.
    pub(crate) fn started(&mut self, event: client::ClientEvent, now: Moment) {
        let client::ClientEvent::Joined { worker, host, module, replaces } = event.clone() else {
            return;
        };
        let Some(route) = self.routes.get_mut(&worker) else {
            return;
        };
        if std::mem::replace(&mut route.started, true) {
            return;
        }
        route.heard = now;
        if let Some(queue) = self.queues.up(route.host) {
            queue.mail.resume(worker, &mut route.outward, 0);
            queue.wake.notify_one();
        }
        match self.client_sessions.get_mut(&route.owner) {
            Some(ClientSession::Here { waiting, arrived, .. }) => {
                waiting.push(Collectable::Joined(Event::Joined { worker, host, module, replaces }));
                arrived.notify_one();
            }
            Some(ClientSession::Remote(client)) => {
                client.tell(&event);
            }
            None => {}
        }
    }

    /// Records how far the host says the worker's mail had come when it ended; [`Self::left`] follows.
    pub(crate) fn ended_at(&mut self, worker: WorkerId, sent: u64, settled: u64) {
        if let Some(route) = self.routes.get_mut(&worker) {
            let pending = PendingEnd { sent, settled, end: None };
            route.ending = Some(EndingRoute { pending, told: false });
        }
    }

    /// The worker has ended. Its client is told after the last of its messages.
    pub(crate) fn left(&mut self, worker: WorkerId, end: End) {
        let Some(route) = self.routes.get_mut(&worker) else {
            return;
        };
        route.drop_left_over();
        match &mut route.ending {
            Some(ending) => ending.pending.end = Some(end),
            None => {
                // The host did not say how far it was; nothing more is expected.
                let sent = route.outward.position();
                let pending = PendingEnd { sent, settled: 0, end: Some(end) };
                route.ending = Some(EndingRoute { pending, told: false });
            }
        }
        self.wake_senders(worker);
        self.deliver(worker);
    }

    /// The host of `queue` is gone for good: messages of its ended workers that are not here are not waited for. What such a
    /// worker said at its end that it has handled does not count then: the answers may be what is not here.
    pub(crate) fn host_gone(&mut self, queue: PeerQueueId) {
        let ended = |(worker, route): (&WorkerId, &mut Route)| {
            let ending = route.ending.as_mut().filter(|_| route.host == queue)?;
            let here = route.outward.position();
            if here < ending.pending.sent {
                (ending.pending.sent, ending.pending.settled) = (here, 0);
            }
            Some(*worker)
        };
        let mut ended: Vec<_> = self.routes.iter_mut().filter_map(ended).collect();
        ended.sort_unstable();
        for worker in ended {
            self.deliver(worker);
        }
    }

    /// Sends a message for a client of that key which has no link to the worker. The caller checks the length.
    ///
    /// # Errors
    ///
    /// [`SendError::Gone`] and [`SendError::Full`].
    pub(crate) fn send_for(
        &mut self,
        key: PublicKey,
        worker: WorkerId,
        payload: Bytes,
    ) -> Result<(), SendError> {
        let route =
            self.routes.get_mut(&worker).filter(|route| route.owner.key == key && route.ending.is_none());
        let route = route.ok_or(SendError::Gone(worker))?;
        if !route.outward.has_room() {
            return Err(SendError::Full(worker));
        }
        route.forward(worker, &mut self.queues, MessageKind::Message, payload, 0);
        Ok(())
    }

    /// Handles one frame from the host of `queue`.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: the host broke the link's rules; the caller must end its connection.
    pub(crate) fn handle_host_frame(
        &mut self,
        queue: PeerQueueId,
        frame: MailFrame<'_>,
        buffer: &Bytes,
        now: Moment,
    ) -> Result<(), LinkError> {
        let worker = frame.worker();
        // Frames of a worker that was given up may still be in transit; they are dropped.
        let Some(route) = self.routes.get_mut(&worker).filter(|route| route.host == queue) else {
            return Ok(());
        };
        route.heard = now;
        // Before the message that a failure is about is settled, perhaps by the same frame.
        let frame = frame.map_kind(|kind| route.for_client(kind));
        let (fresh, settled) = frame.deliver(buffer, &mut route.outward)?;
        let newest = newest(settled);
        if let Some(newest) = newest {
            route.handled_upto(newest);
            if self.freed.last() != Some(&route.owner) {
                self.freed.push(route.owner);
            }
        }
        let elsewhere = route.homeward.is_some();
        // First the answers, then the word that what they answer is handled. Most are for a client in this process, for which
        // nothing is looked up again.
        if fresh
            && route.ending.is_none()
            && let Some(ClientSession::Here { waiting, arrived, .. }) =
                self.client_sessions.get_mut(&route.owner)
        {
            route.announce(worker, waiting, arrived);
        } else if fresh || route.ending.is_some() {
            self.deliver(worker);
        }
        if newest.is_some() && elsewhere {
            self.forward_freed(worker);
        }
        Ok(())
    }

    /// Tells those who wait to send that windows have room. Called after a batch of a host's frames, because waking a
    /// client for each of a thousand workers takes longer than the rest.
    pub(crate) fn announce_room(&mut self) {
        if self.freed.is_empty() {
            return;
        }
        self.room.notify_waiters();
        for owner in self.freed.drain(..) {
            if let Some(ClientSession::Here { room, .. }) = self.client_sessions.get(&owner) {
                room.notify_waiters();
            }
        }
    }

    /// Handles one frame from the remote client of `owner`.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: the client broke the link's rules; the caller must end its connection.
    pub(crate) fn handle_client_frame(
        &mut self,
        owner: Owner,
        frame: MailFrame<'_>,
        buffer: &Bytes,
    ) -> Result<(), LinkError> {
        let worker = frame.worker();
        let Some(route) = self.routes.get_mut(&worker).filter(|route| route.owner == owner) else {
            return Ok(());
        };
        let Some(homeward) = &mut route.homeward else {
            return Ok(());
        };
        for sent in frame.deliver(buffer, homeward)?.1 {
            route.outward.finish(sent.tag);
            route.taken += sent.payload.len() + 1024;
        }
        route.acknowledge_host(worker, &mut self.queues, &self.late);
        self.forward(worker);
        self.deliver(worker);
        Ok(())
    }

    /// The payload of a large message from a host has arrived on its own stream.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: the host broke the link's rules; the caller must end its connection.
    pub(crate) fn fulfil_from_host(
        &mut self,
        queue: PeerQueueId,
        worker: WorkerId,
        seq: u64,
        payload: Bytes,
    ) -> Result<(), LinkError> {
        if let Some(route) = self.routes.get_mut(&worker).filter(|route| route.host == queue) {
            route.outward.fulfil(seq, payload)?;
            route.finish_handled();
        }
        self.deliver(worker);
        self.forward_freed(worker);
        Ok(())
    }

    /// The payload of a large message from a client has arrived on its own stream.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: the client broke the link's rules; the caller must end its connection.
    pub(crate) fn fulfil_from_client(
        &mut self,
        owner: Owner,
        worker: WorkerId,
        seq: u64,
        payload: Bytes,
    ) -> Result<(), LinkError> {
        let route = self.routes.get_mut(&worker).filter(|route| route.owner == owner);
        if let Some(homeward) = route.and_then(|route| route.homeward.as_mut()) {
            homeward.fulfil(seq, payload)?;
        }
        self.forward(worker);
        Ok(())
    }

    /// Moves messages from the client's link to the host's, as far as the worker's window has room.
    pub(crate) fn forward(&mut self, worker: WorkerId) {
        let Some(route) = self.routes.get_mut(&worker) else {
            return;
        };
        while route.outward.has_room() {
            let Some((kind, payload, number)) = route.take_from_client() else {
                break;
            };
            route.forward(worker, &mut self.queues, kind, payload, number);
        }
    }

    /// Moves messages from the host's link to the client, and the worker's end after them.
    pub(crate) fn deliver(&mut self, worker: WorkerId) {
        let Some(route) = self.routes.get_mut(&worker) else {
            return;
        };
        let ending = route.ending.is_some();
        match self.client_sessions.get_mut(&route.owner) {
            Some(ClientSession::Here { waiting, arrived, .. }) => {
                route.announce(worker, waiting, arrived);
                if let Some(end) = route.take_end() {
                    waiting.push(Collectable::Left(worker, end));
                    arrived.notify_one();
                }
            }
            Some(ClientSession::Remote(client)) => {
                let Some(homeward) = &mut route.homeward else {
                    return;
                };
                while homeward.has_room() {
                    let Some(delivery) = route.outward.take_arrival() else {
                        break;
                    };
                    if let Some(queue) = self.queues.up(client.queue) {
                        queue.mail.send(worker, homeward, delivery.kind, delivery.payload, delivery.seq);
                        queue.wake.notify_one();
                    } else {
                        homeward.push(delivery.kind, delivery.payload, delivery.seq);
                    }
                }
                if route.outward.arrivals() > 0 {
                    return;
                }
                if let Some(end) = route.take_end() {
                    let homeward = route.homeward.as_ref();
                    let sent = homeward.map_or(0, Link::last_pushed);
                    let settled = homeward.map_or(0, Link::finished);
                    client.tell(&client::ClientEvent::Left { worker, end, sent, settled });
                }
            }
            None => {
                // The client is gone for good; nobody will take the messages.
                if route.take_end().is_some() {
                    route.settle_finally(worker, &mut self.queues);
                    self.routes.remove(&worker);
                }
                return;
            }
        }
        if ending {
            self.sweep(worker);
        }
    }

    /// Forgets a worker whose remote client has settled everything.
    fn sweep(&mut self, worker: WorkerId) {
        let over = self.routes.get(&worker).is_some_and(|route| {
            route.ending.as_ref().is_some_and(|ending| ending.told)
                && route.homeward.as_ref().is_some_and(|homeward| !homeward.is_owed())
        });
        if over && let Some(mut route) = self.routes.remove(&worker) {
            route.settle_finally(worker, &mut self.queues);
        }
    }

    /// Number of unsettled messages to the worker, and of messages from it that its client has not taken.
    pub(crate) fn counts(&self, worker: WorkerId) -> (u32, u32) {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        self.routes.get(&worker).map_or((0, 0), |route| {
            let homeward = route.homeward.as_ref().map_or(0, |homeward| homeward.unsettled().len());
            (count(route.messages_to_worker()), count(route.outward.arrivals() + homeward))
        })
    }

    /// The worker's window has room: acknowledges to its remote client what the worker handled, and sends what waited.
    fn forward_freed(&mut self, worker: WorkerId) {
        let Some(route) = self.routes.get_mut(&worker) else { return };
        let Some(homeward) = &mut route.homeward else { return };
        if let Some(ClientSession::Remote(client)) = self.client_sessions.get(&route.owner)
            && let Some(queue) = self.queues.up(client.queue)
        {
            queue.mail.settle(worker, homeward);
            queue.wake.notify_one();
        }
        // Whether the client is there or not: an earlier program of it may have something waiting.
        self.forward(worker);
    }

    /// Lets those in this process who wait to send to the worker try again.
    fn wake_senders(&self, worker: WorkerId) {
        self.room.notify_waiters();
        let owner = self.routes.get(&worker).map(|route| route.owner);
        if let Some(ClientSession::Here { room, .. }) =
            owner.and_then(|owner| self.client_sessions.get(&owner))
        {
            room.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests;
