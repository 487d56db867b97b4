//! Resumption: what the mailroom does when a connection is lost, and when a new one stands.

use std::sync::Arc;
use std::time::Duration;

use grid_protocol::client::Channel;
use grid_protocol::host::{Position, Resume};
use grid_protocol::id::{SessionId, WorkerId};
use grid_protocol::link::LinkError;
use grid_protocol::time::Moment;
use grid_scheduler::Owner;
use tokio::sync::Notify;

use crate::desk::{Desk, RemoteDesk};
use crate::line::LineId;
use crate::mailroom::Mailroom;

/// What the driver of a client's new connection works with.
#[derive(Debug)]
pub(crate) struct ClientAttached {
    pub(crate) resumed: bool,
    pub(crate) state: Resume,
    pub(crate) line: LineId,
    pub(crate) mail_wake: Arc<Notify>,
    pub(crate) control_wake: Arc<Notify>,
    pub(crate) generation: u64,
}

impl Mailroom {
    /// A host is connected under `line` and remembers `theirs`; what the manager has of the same links.
    ///
    /// Mail goes on where it stopped. A host that remembers nothing gets nothing resent.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: the host claims what was never sent to it.
    pub(crate) fn host_connected(
        &mut self,
        line: LineId,
        theirs: &[Position],
    ) -> Result<(Arc<Notify>, Vec<Position>), LinkError> {
        for Position { worker, received } in theirs {
            if let Some(mail) = self.mails.get(worker).filter(|mail| mail.host == line) {
                mail.outward.check_position(*received)?;
            }
        }
        let Some(under) = self.lines.get(line) else {
            return Ok(Default::default());
        };
        let wake = under.connect();
        let mut ours = Vec::new();
        for Position { worker, received } in theirs {
            let Some(mail) = self.mails.get_mut(worker).filter(|mail| mail.host == line) else {
                continue;
            };
            ours.push(Position { worker: *worker, received: mail.outward.position() });
            under.post.resume(*worker, &mut mail.outward, *received);
        }
        wake.notify_one();
        Ok((wake, ours))
    }

    /// The connection under `line` is lost.
    pub(crate) fn disconnected(&mut self, line: LineId) {
        if let Some(line) = self.lines.get(line) {
            line.disconnect();
        }
    }

    /// Makes a desk for a client in this process.
    pub(crate) fn open_desk_here(&mut self, owner: Owner) -> (Arc<Notify>, Arc<Notify>) {
        let (arrived, room) = <(Arc<Notify>, Arc<Notify>)>::default();
        let desk = Desk::Here { waiting: Default::default(), arrived: arrived.clone(), room: room.clone() };
        self.desks.insert(owner, desk);
        (arrived, room)
    }

    /// Makes sure that a client elsewhere has a desk, before it has workers.
    pub(crate) fn open_desk_elsewhere(&mut self, owner: Owner, session: SessionId, now: Moment) {
        if !self.desks.contains_key(&owner) {
            let line = self.lines.add();
            self.desks.insert(
                owner,
                Desk::Remote(RemoteDesk {
                    line,
                    session,
                    control: Default::default(),
                    wake: Arc::default(),
                    gone_since: Some(now),
                    generation: 0,
                }),
            );
        }
    }

    /// A client elsewhere comes for its mail. If it remembers this session it goes on where it was; if not,
    /// it gets everything that no earlier program of the same channel has taken.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: the client claims what was never sent to it.
    pub(crate) fn client_attached(
        &mut self,
        owner: Owner,
        fresh: SessionId,
        theirs: Option<&Resume>,
        now: Moment,
    ) -> Result<Option<ClientAttached>, LinkError> {
        self.open_desk_elsewhere(owner, fresh, now);
        let Some(Desk::Remote(desk)) = self.desks.get_mut(&owner) else {
            return Ok(None);
        };
        let theirs = theirs.filter(|theirs| theirs.session == desk.session);
        let Some(line) = self.lines.get(desk.line) else {
            return Ok(None);
        };
        let mail_wake = line.connect();
        let mut positions = Vec::new();
        let of_owner = self.mails.iter_mut().filter(|(_, mail)| mail.owner == owner);
        let mut workers: Vec<WorkerId> = Vec::new();
        for (worker, mail) in of_owner {
            workers.push(*worker);
            let Some(homeward) = &mut mail.homeward else {
                continue;
            };
            let received = match theirs {
                Some(theirs) => {
                    let known = theirs.workers.iter().find(|position| position.worker == *worker);
                    let received = known.map_or(0, |position| position.received);
                    homeward.check_position(received)?;
                    received
                }
                None => {
                    // What an earlier program sent and the window held back goes first.
                    while let Some(letter) = homeward.take_arrival() {
                        mail.outward.push(letter.kind, letter.payload, 0);
                    }
                    mail.outward.retag(|_| 0);
                    homeward.restart();
                    0
                }
            };
            positions.push(Position { worker: *worker, received: homeward.position() });
            line.post.resume(*worker, homeward, received);
        }
        match theirs {
            Some(theirs) => desk
                .control
                .resume(theirs.control)
                .map_err(|_| LinkError::SettledUnsent { seq: theirs.control, next: 0 })?,
            None => {
                desk.session = fresh;
                desk.control.restart();
            }
        }
        desk.gone_since = None;
        desk.generation += 1;
        // An older connection finds that it is not the newest any more.
        std::mem::take(&mut desk.wake).notify_one();
        let attached = ClientAttached {
            resumed: theirs.is_some(),
            state: desk.state(positions),
            line: desk.line,
            mail_wake,
            control_wake: desk.wake.clone(),
            generation: desk.generation,
        };
        for worker in workers {
            self.forward(worker);
            self.deliver(worker);
        }
        Ok(Some(attached))
    }

    /// The connection of a client elsewhere is over. True if it was the channel's; another has come, if it was not.
    pub(crate) fn client_detached(&mut self, owner: Owner, generation: u64, now: Moment) -> bool {
        let Some(Desk::Remote(desk)) = self.desks.get_mut(&owner) else {
            return true;
        };
        if desk.generation != generation {
            return false;
        }
        desk.gone_since = Some(now);
        if let Some(line) = self.lines.get(desk.line) {
            line.disconnect();
        }
        true
    }

    /// Clients that have been gone for longer than `grace`; their desks are cleared.
    pub(crate) fn clear_abandoned(&mut self, now: Moment, grace: Duration) -> Vec<Owner> {
        let long_gone = |desk: &Desk| match desk {
            Desk::Remote(RemoteDesk { gone_since: Some(since), .. }) => now.since(*since) >= grace,
            _ => false,
        };
        let abandoned =
            self.desks.iter().filter(|(owner, desk)| owner.channel != Channel::COMMAND && long_gone(desk));
        let owners: Vec<_> = abandoned.map(|(owner, _)| *owner).collect();
        for owner in &owners {
            self.desks.remove(owner);
        }
        owners
    }

    /// Sends the acknowledgements that found no message to travel with.
    pub(crate) fn send_late_acknowledgements(&mut self) {
        for line in self.lines.iter_mut() {
            for worker in std::mem::take(&mut line.late) {
                if let Some(mail) = self.mails.get_mut(&worker) {
                    line.post.settle(worker, &mut mail.outward);
                    mail.taken = 0;
                }
            }
            if line.up && !line.post.is_empty() {
                line.wake.notify_one();
            }
        }
    }

    /// Workers that owe an answer and have been silent for longer than their time to live.
    pub(crate) fn silent_workers(&self, now: Moment) -> Vec<(WorkerId, Duration)> {
        self.mails.iter().filter_map(|(worker, mail)| Some((*worker, mail.overdue(now)?))).collect()
    }
}
