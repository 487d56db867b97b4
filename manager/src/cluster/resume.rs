//! Resumption: what the router does when a connection is lost, and when a new one is established.

use std::sync::Arc;
use std::time::Duration;

use grid_protocol::client::Channel;
use grid_protocol::control::ControlError;
use grid_protocol::host::{Position, Resume};
use grid_protocol::id::{SessionId, WorkerId};
use grid_protocol::link::{Link, LinkError};
use grid_protocol::session::{self, Links};
use grid_protocol::time::Moment;
use grid_scheduler::Owner;
use hashbrown::HashMap;
use tokio::sync::Notify;

use crate::cluster::client_session::{ClientSession, RemoteClient};
use crate::cluster::peer_queue::PeerQueueId;
use crate::cluster::route::Route;
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

/// The links of a host's workers.
struct HostLinks<'a> {
    queue: PeerQueueId,
    routes: &'a mut HashMap<WorkerId, Route>,
}

impl Links<u64> for HostLinks<'_> {
    fn with<R>(&mut self, worker: WorkerId, change: impl FnOnce(&mut Link<u64>) -> R) -> Option<R> {
        let route = self.routes.get_mut(&worker).filter(|route| route.host == self.queue)?;
        Some(change(&mut route.outward))
    }
}

/// The links of a client's workers.
struct ClientLinks<'a> {
    owner: Owner,
    routes: &'a mut HashMap<WorkerId, Route>,
}

impl Links<u64> for ClientLinks<'_> {
    fn with<R>(&mut self, worker: WorkerId, change: impl FnOnce(&mut Link<u64>) -> R) -> Option<R> {
        let route = self.routes.get_mut(&worker).filter(|route| route.owner == self.owner)?;
        route.homeward.as_mut().map(change)
    }
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
        let mut links = HostLinks { queue, routes: &mut self.routes };
        let Some(under) = self.queues.get(queue) else {
            return Ok(Default::default());
        };
        let ours = session::positions(&mut links, theirs.iter().map(|at| at.worker));
        Ok((under.connect(&mut links, theirs), ours))
    }

    /// Checks what a host remembers, before anything changes.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: the host claims what was never sent to it.
    pub(crate) fn check_host(&mut self, queue: PeerQueueId, theirs: &[Position]) -> Result<(), LinkError> {
        session::check_links(&mut HostLinks { queue, routes: &mut self.routes }, theirs)
    }

    /// Checks what a client remembers of its session, before anything changes.
    fn check_client(&mut self, owner: Owner, theirs: &Resume) -> Result<(), ControlError> {
        let anything = self.is_sabotaged_to_resume_anything();
        match self.client_sessions.get(&owner) {
            Some(ClientSession::Remote(client)) if client.session == theirs.session && !anything => {
                let mut links = ClientLinks { owner, routes: &mut self.routes };
                session::check(&client.control, &mut links, theirs)
            }
            _ => Ok(()),
        }
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
            queue.mail.disconnect();
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
    /// [`ControlError`]: the client claims to have received what was never sent.
    pub(crate) fn client_attached(
        &mut self,
        owner: Owner,
        fresh: SessionId,
        theirs: Option<&Resume>,
        now: Moment,
    ) -> Result<Option<ClientAttached>, ControlError> {
        if let Some(theirs) = theirs {
            self.check_client(owner, theirs)?;
        }
        self.open_remote(owner, fresh, now);
        let anything = self.is_sabotaged_to_resume_anything();
        let Some(ClientSession::Remote(client)) = self.client_sessions.get_mut(&owner) else {
            return Ok(None);
        };
        let Some(queue) = self.queues.get(client.queue) else {
            return Ok(None);
        };
        let theirs = theirs.filter(|theirs| theirs.session == client.session || anything);
        match theirs {
            Some(theirs) => client.control.resume(theirs.control)?,
            None => {
                client.session = fresh;
                client.control.restart();
                let of_owner = self.routes.values_mut().filter(|route| route.owner == owner);
                let dropped: usize = of_owner.map(Route::restart).sum();
                if dropped > 0 {
                    let (key, channel) = (owner.key.fingerprint(), owner.channel.0);
                    tracing::warn!(client = %key, channel, dropped, "messages of its earlier programs were dropped: more than are kept, or not all there");
                }
            }
        }
        let of_owner = self.routes.iter().filter(|(_, route)| route.owner == owner);
        let mut workers: Vec<_> = of_owner.map(|(worker, _)| *worker).collect();
        workers.sort_unstable();
        let mut links = ClientLinks { owner, routes: &mut self.routes };
        let ours = session::positions(&mut links, workers.iter().copied());
        // A worker that the client does not name was placed since.
        let named = theirs.map(|theirs| theirs.workers.as_slice()).unwrap_or_default();
        #[allow(unused_mut, reason = "fault injection changes it")]
        let mut theirs_of_all = session::positions_of_peer(workers.iter().copied(), named);
        #[cfg(feature = "fault-injection")]
        if theirs.is_some() {
            for Position { worker, received } in &mut theirs_of_all {
                links.with(*worker, |link| *received = sabotaged(self.sabotage, link, *received));
            }
        }
        let mail_wake = queue.connect(&mut links, &theirs_of_all);
        client.gone_since = None;
        client.generation += 1;
        // Wakes the older connection, which finds that it is not the newest any more.
        std::mem::take(&mut client.wake).notify_one();
        let attached = ClientAttached {
            resumed: theirs.is_some(),
            state: client.state(ours),
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
            queue.mail.disconnect();
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
            for worker in queue.mail.take_owing() {
                if let Some(route) = self.routes.get_mut(&worker) {
                    queue.mail.settle(worker, &mut route.outward);
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
