//! Resumption: what the router does when a connection is lost, and when a new one is established.

use std::sync::Arc;
use std::time::Duration;

use grid_protocol::client::Channel;
use grid_protocol::host::{Position, Resume};
use grid_protocol::id::{SessionId, WorkerId};
#[cfg(feature = "fault-injection")]
use grid_protocol::link::Link;
use grid_protocol::link::LinkError;
use grid_protocol::time::Moment;
use grid_scheduler::Owner;
use hashbrown::HashMap;
use tokio::sync::Notify;

use crate::cluster::client_session::{ClientSession, RemoteClient};
use crate::cluster::peer_queue::PeerQueueId;
use crate::cluster::router::MessageRouter;

/// What the driver of a client's new connection needs.
#[derive(Debug)]
pub(crate) struct ClientAttached {
    pub(crate) resumed: bool,
    pub(crate) state: Resume,
    pub(crate) queue: PeerQueueId,
    pub(crate) mail_wake: Arc<Notify>,
    pub(crate) control_wake: Arc<Notify>,
    pub(crate) generation: u64,
}

impl MessageRouter {
    /// A host connected, with `queue` and the link positions `theirs`. Returns the wake of the queue and the
    /// manager's positions of the same links.
    ///
    /// Each link that both ends remember continues where it stopped; other links are not resent.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: the host claims to have received messages that were never sent.
    pub(crate) fn host_connected(
        &mut self,
        queue: PeerQueueId,
        theirs: &[Position],
    ) -> Result<(Arc<Notify>, Vec<Position>), LinkError> {
        self.check_host(queue, theirs)?;
        let Some(under) = self.queues.get(queue) else {
            return Ok(Default::default());
        };
        let wake = under.connect();
        let mut ours = Vec::new();
        for Position { worker, received } in theirs {
            let Some(route) = self.routes.get_mut(worker).filter(|route| route.host == queue) else {
                continue;
            };
            ours.push(Position { worker: *worker, received: route.outward.position() });
            under.frames.resume(*worker, &mut route.outward, *received);
        }
        wake.notify_one();
        Ok((wake, ours))
    }

    /// Checks what a host remembers, before anything changes.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: the host claims what was never sent to it.
    pub(crate) fn check_host(&self, queue: PeerQueueId, theirs: &[Position]) -> Result<(), LinkError> {
        for Position { worker, received } in theirs {
            if let Some(route) = self.routes.get(worker).filter(|route| route.host == queue) {
                route.outward.check_position(*received)?;
            }
        }
        Ok(())
    }

    /// Checks what a client remembers of `session`, before anything changes.
    fn check_client(&self, owner: Owner, theirs: &Resume) -> Result<(), LinkError> {
        let Some(ClientSession::Remote(client)) = self.client_sessions.get(&owner) else {
            return Ok(());
        };
        if client.session != theirs.session || self.is_sabotaged_to_resume_anything() {
            return Ok(());
        }
        let wrong = |_| LinkError::SettledUnsent { seq: theirs.control, next: 0 };
        client.control.check_position(theirs.control).map_err(wrong)?;
        for Position { worker, received } in &theirs.workers {
            let route = self.routes.get(worker).filter(|route| route.owner == owner);
            if let Some(homeward) = route.and_then(|route| route.homeward.as_ref()) {
                homeward.check_position(*received)?;
            }
        }
        Ok(())
    }

    /// True in a simulation that must find a resumption without validation.
    fn is_sabotaged_to_resume_anything(&self) -> bool {
        #[cfg(feature = "fault-injection")]
        return self.sabotage == Some(crate::fault_injection::FaultInjection::ResumeAnything);
        #[cfg(not(feature = "fault-injection"))]
        false
    }

    /// The connection of `queue` is lost.
    pub(crate) fn disconnected(&mut self, queue: PeerQueueId) {
        if let Some(queue) = self.queues.get(queue) {
            queue.disconnect();
        }
    }

    /// Opens the session of a client in this process. Returns its notifications of events and of window space.
    pub(crate) fn open_local(&mut self, owner: Owner) -> (Arc<Notify>, Arc<Notify>) {
        let (arrived, room) = <(Arc<Notify>, Arc<Notify>)>::default();
        let client =
            ClientSession::Here { waiting: Default::default(), arrived: arrived.clone(), room: room.clone() };
        self.client_sessions.insert(owner, client);
        (arrived, room)
    }

    /// Opens the session of a remote client, if it has none, so that its workers' mail has a destination.
    pub(crate) fn open_remote(&mut self, owner: Owner, session: SessionId, now: Moment) {
        if !self.client_sessions.contains_key(&owner) {
            let queue = self.queues.add();
            self.client_sessions.insert(
                owner,
                ClientSession::Remote(RemoteClient {
                    queue,
                    session,
                    control: Default::default(),
                    wake: Arc::default(),
                    gone_since: Some(now),
                    generation: 0,
                }),
            );
        }
    }

    /// A remote client connected for the mail of its channel. If it remembers this session, it continues where it
    /// stopped; if not, it gets everything that no earlier program of the channel has settled. `None` if the channel
    /// belongs to a client in this process.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: the client claims to have received messages that were never sent.
    pub(crate) fn client_attached(
        &mut self,
        owner: Owner,
        fresh: SessionId,
        theirs: Option<&Resume>,
        now: Moment,
    ) -> Result<Option<ClientAttached>, LinkError> {
        if let Some(theirs) = theirs {
            self.check_client(owner, theirs)?;
        }
        self.open_remote(owner, fresh, now);
        let anything = self.is_sabotaged_to_resume_anything();
        #[cfg(feature = "fault-injection")]
        let sabotage = self.sabotage;
        let Some(ClientSession::Remote(client)) = self.client_sessions.get_mut(&owner) else {
            return Ok(None);
        };
        let theirs = theirs.filter(|theirs| theirs.session == client.session || anything);
        let received: HashMap<_, _> = theirs
            .into_iter()
            .flat_map(|theirs| &theirs.workers)
            .map(|at| (at.worker, at.received))
            .collect();
        let Some(queue) = self.queues.get(client.queue) else {
            return Ok(None);
        };
        let mail_wake = queue.connect();
        let mut positions = Vec::new();
        let of_owner = self.routes.iter().filter(|(_, route)| route.owner == owner);
        let mut workers: Vec<_> = of_owner.map(|(worker, _)| *worker).collect();
        workers.sort_unstable();
        for worker in &workers {
            let Some(route) = self.routes.get_mut(worker) else { continue };
            let Some(homeward) = &mut route.homeward else {
                continue;
            };
            let received = match theirs {
                Some(_) => {
                    let received = received.get(worker).copied().unwrap_or_default();
                    #[cfg(feature = "fault-injection")]
                    let received = sabotaged(sabotage, homeward, received);
                    received
                }
                None => {
                    // Messages of an earlier program that the worker's window held back go first.
                    while let Some(delivery) = homeward.take_arrival() {
                        route.outward.push(delivery.kind, delivery.payload, 0);
                    }
                    route.outward.retag(|_| 0);
                    route.handled.clear();
                    homeward.restart();
                    0
                }
            };
            positions.push(Position { worker: *worker, received: homeward.position() });
            queue.frames.resume(*worker, homeward, received);
        }
        match theirs {
            Some(theirs) => client
                .control
                .resume(theirs.control)
                .map_err(|_| LinkError::SettledUnsent { seq: theirs.control, next: 0 })?,
            None => {
                client.session = fresh;
                client.control.restart();
            }
        }
        client.gone_since = None;
        client.generation += 1;
        // Wakes the older connection, which finds that it is not the newest any more.
        std::mem::take(&mut client.wake).notify_one();
        let attached = ClientAttached {
            resumed: theirs.is_some(),
            state: client.state(positions),
            queue: client.queue,
            mail_wake,
            control_wake: client.wake.clone(),
            generation: client.generation,
        };
        for worker in workers {
            self.forward(worker);
            self.deliver(worker);
        }
        Ok(Some(attached))
    }

    /// The connection of a remote client ended. False if a newer connection has taken over the channel.
    pub(crate) fn client_detached(&mut self, owner: Owner, generation: u64, now: Moment) -> bool {
        let Some(ClientSession::Remote(client)) = self.client_sessions.get_mut(&owner) else {
            return true;
        };
        if client.generation != generation {
            return false;
        }
        client.gone_since = Some(now);
        if let Some(queue) = self.queues.get(client.queue) {
            queue.disconnect();
        }
        true
    }

    /// Removes the sessions of remote clients that have been gone for `grace` or longer, and returns their owners.
    /// Sessions of the command's channel stay.
    pub(crate) fn clear_abandoned(&mut self, now: Moment, grace: Duration) -> Vec<Owner> {
        let long_gone = |client: &ClientSession| match client {
            ClientSession::Remote(RemoteClient { gone_since: Some(since), .. }) => now.since(*since) >= grace,
            _ => false,
        };
        let abandoned = self
            .client_sessions
            .iter()
            .filter(|(owner, client)| owner.channel != Channel::COMMAND && long_gone(client));
        let mut owners: Vec<_> = abandoned.map(|(owner, _)| *owner).collect();
        owners.sort_unstable();
        for owner in &owners {
            if let Some(ClientSession::Remote(client)) = self.client_sessions.remove(owner) {
                self.queues.remove(client.queue);
            }
        }
        owners
    }

    /// Sends the acknowledgements that no message has carried.
    pub(crate) fn send_late_acknowledgements(&mut self) {
        for id in self.queues.take_owing() {
            let Some(queue) = self.queues.up(id) else { continue };
            for worker in std::mem::take(&mut queue.late) {
                if let Some(route) = self.routes.get_mut(&worker) {
                    queue.frames.settle(worker, &mut route.outward);
                    route.taken = 0;
                }
            }
            queue.wake.notify_one();
        }
    }

    /// Workers that owe an answer and have been silent for longer than their time to live, with the silence.
    pub(crate) fn silent_workers(&self, now: Moment) -> Vec<(WorkerId, Duration)> {
        let overdue = self.routes.iter().filter_map(|(worker, route)| Some((*worker, route.overdue(now)?)));
        let mut overdue: Vec<_> = overdue.collect();
        overdue.sort_unstable();
        overdue
    }
}

/// Breaks a promise about the messages that a client which had `received` so many has not acknowledged.
#[cfg(feature = "fault-injection")]
fn sabotaged(
    sabotage: Option<crate::fault_injection::FaultInjection>,
    homeward: &mut Link<u64>,
    received: u64,
) -> u64 {
    use crate::fault_injection::FaultInjection;

    let first =
        homeward.resend_after(received).next().map(|sent| (sent.kind, sent.payload.clone(), sent.tag));
    match (sabotage, first) {
        (Some(FaultInjection::DoubleMessage), Some((kind, payload, tag))) => {
            homeward.push(kind, payload, tag);
            received
        }
        (Some(FaultInjection::LoseTail), Some(_)) => homeward.last_pushed(),
        (Some(FaultInjection::ResumeAnything), _) => received.min(homeward.last_pushed()),
        _ => received,
    }
}
