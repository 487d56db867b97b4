//! Routes: the two links of one worker, from its host and to its client.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::id::WorkerId;
use grid_protocol::link::{Link, MessageKind, Settled};
use grid_protocol::session::PendingEnd;
use grid_protocol::time::Moment;
use grid_protocol::uncollected::{Collectable, Uncollected};
use grid_protocol::worker::End;
use grid_scheduler::Owner;
use tokio::sync::Notify;

use crate::cluster::peer_queue::{PeerQueueId, PeerQueues};

/// The two links of one worker, and what is needed to end them.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) owner: Owner,
    pub(crate) host: PeerQueueId,
    /// The link with the host; the tag is the message's number on the client's link.
    pub(crate) outward: Link<u64>,
    /// The link with a remote client; the tag is the message's number on the host's link. `None` for a client in this
    /// process.
    pub(crate) homeward: Option<Link<u64>>,
    /// What earlier programs of the client sent and the worker's window has held back. A link bounds it as it bounds what one
    /// program has unsettled; nobody is at its other end.
    left_over: Option<Box<Link>>,
    /// What the worker has handled and the client is not told of yet, oldest first: the number of the last message that
    /// the worker had sent then, and that of the message on the client's link.
    pub(crate) handled: VecDeque<(u64, u64)>,
    /// True once the host reported that the worker runs.
    pub(crate) started: bool,
    /// True while the route is in its local client's list of what waits.
    pub(crate) queued: bool,
    /// Messages taken by the client since the last acknowledgement to the host, in weighted bytes.
    pub(crate) taken: usize,
    pub(crate) heard: Moment,
    pub(crate) ttl: Duration,
    pub(crate) ending: Option<EndingRoute>,
}

/// The end of a worker whose client has not received all its mail yet.
#[derive(Debug)]
pub(crate) struct EndingRoute {
    pub(crate) pending: PendingEnd,
    pub(crate) told: bool,
}

/// Weighted bytes taken at which an acknowledgement is sent immediately: a quarter of the window of 4 MiB. Each
/// message counts 1 KiB on top of its length, so that 1024 messages, a quarter of the window's count, reach it too.
const TAKEN_MAX: usize = 1 << 20;

impl Route {
    /// The route of a worker that was placed on the host of queue `host`; `elsewhere` if its client is remote.
    pub(crate) fn new(owner: Owner, host: PeerQueueId, elsewhere: bool, ttl: Duration, now: Moment) -> Self {
        Self {
            owner,
            host,
            outward: Link::default(),
            homeward: elsewhere.then(Link::default),
            left_over: None,
            handled: VecDeque::new(),
            started: false,
            queued: false,
            taken: 0,
            heard: now,
            ttl,
            ending: None,
        }
    }

    /// The client starts again and remembers nothing: what no earlier program of its has settled is sent to it. What its
    /// earlier programs have sent and the worker's window has held back goes first, as much as one link holds. Returns how
    /// many messages are dropped: what is beyond that, and what has not arrived whole, with what came after it. No program was
    /// told that they were handled, nor is there one to tell.
    pub(crate) fn restart(&mut self) -> usize {
        let Some(homeward) = &mut self.homeward else { return 0 };
        let mut dropped = 0;
        if self.ending.is_none() {
            let mut left_over = self.left_over.take().unwrap_or_default();
            while left_over.has_room()
                && let Some(delivery) = homeward.take_arrival()
            {
                left_over.push(delivery.kind, delivery.payload, ());
            }
            self.left_over = left_over.is_owed().then_some(left_over);
            dropped = homeward.arrivals();
        }
        self.outward.retag(|_| 0);
        self.handled.clear();
        homeward.restart();
        dropped
    }

    /// Takes what is next for the worker of what a client elsewhere has sent: a message, and its number on the client's link.
    pub(crate) fn take_from_client(&mut self) -> Option<(MessageKind, Bytes, u64)> {
        if let Some(left_over) = &mut self.left_over {
            if let Some(sent) = left_over.pop_unsettled() {
                return Some((sent.kind, sent.payload, 0));
            }
            self.left_over = None;
        }
        let delivery = self.homeward.as_mut()?.take_arrival()?;
        Some((delivery.kind, delivery.payload, delivery.seq))
    }

    /// The worker has ended, and takes nothing any more.
    pub(crate) fn drop_left_over(&mut self) {
        self.left_over = None;
    }

    /// Number of messages to the worker that it has not handled, but for those on the link of a client elsewhere.
    pub(crate) fn messages_to_worker(&self) -> usize {
        let left_over = self.left_over.as_ref().map_or(0, |left_over| left_over.unsettled().len());
        self.outward.unsettled().len() + left_over
    }

    /// Acknowledges everything to the host, which then forgets the worker. The client has taken everything.
    pub(crate) fn settle_finally(&mut self, worker: WorkerId, queues: &mut PeerQueues) {
        if let Some(queue) = queues.up(self.host) {
            queue.mail.settle(worker, &mut self.outward);
            queue.wake.notify_one();
        }
    }

    /// How long the worker has been silent, if it owes an answer and its time to live is over.
    pub(crate) fn overdue(&self, now: Moment) -> Option<Duration> {
        let owes = self.started && self.ending.is_none() && self.outward.is_owed();
        let silence = now.since(self.heard);
        (owes && !self.ttl.is_zero() && silence > self.ttl).then_some(silence)
    }

    /// Adds the worker to what waits for its client in this process, if it has a message that can be taken.
    pub(crate) fn announce(&mut self, worker: WorkerId, waiting: &mut Uncollected, arrived: &Notify) {
        if !self.queued && self.outward.has_ready_arrival() {
            self.queued = true;
            waiting.push(Collectable::Messages(worker));
            arrived.notify_one();
        }
    }

    /// Sends a message to the host, once the worker runs; returns its number on the host's link.
    pub(crate) fn forward(
        &mut self,
        worker: WorkerId,
        queues: &mut PeerQueues,
        kind: MessageKind,
        payload: Bytes,
        tag: u64,
    ) -> u64 {
        self.taken = 0;
        if let Some(queue) = queues.up(self.host).filter(|_| self.started) {
            queue.wake.notify_one();
            return queue.mail.send(worker, &mut self.outward, kind, payload, tag);
        }
        self.outward.push(kind, payload, tag).seq
    }

    /// What the worker sent, as its client reads it: a failure is about a number of the client's own link, 0 for a message
    /// that the client did not send over it.
    pub(crate) fn for_client(&self, kind: MessageKind) -> MessageKind {
        match kind {
            MessageKind::Failure { about } if self.homeward.is_some() => {
                MessageKind::Failure { about: self.outward.find_unsettled(about).map_or(0, |sent| sent.tag) }
            }
            kind => kind,
        }
    }

    /// The host has settled messages, up to the one with this tag: tells the client once the answers are here.
    pub(crate) fn handled_upto(&mut self, newest: u64) {
        if self.homeward.is_some() {
            self.handled.push_back((self.outward.last_accepted(), newest));
        }
        self.finish_handled();
    }

    /// Finishes on the client's link what the worker has handled, as far as its answers are here: a client that knows a
    /// message to be handled takes its answers for sent.
    pub(crate) fn finish_handled(&mut self) {
        let Some(homeward) = &mut self.homeward else {
            return;
        };
        let here = self.outward.arrived_upto();
        while let Some((_, handled)) = self.handled.pop_front_if(|(answers, _)| *answers <= here) {
            homeward.finish(handled);
        }
    }

    /// Acknowledges what the client has taken: immediately if it is much, otherwise with the next message to the
    /// worker or after a short delay.
    pub(crate) fn acknowledge_host(&mut self, worker: WorkerId, queues: &mut PeerQueues, late: &Notify) {
        if !self.outward.owes_acknowledgement() {
            return;
        }
        let Some(queue) = queues.up(self.host) else {
            return;
        };
        if self.taken >= TAKEN_MAX {
            self.taken = 0;
            queue.mail.settle(worker, &mut self.outward);
            queue.wake.notify_one();
        } else {
            queues.owe(self.host, worker);
            late.notify_one();
        }
    }

    /// Returns how the worker ended, once, when all mail that came before its end is here.
    pub(crate) fn take_end(&mut self) -> Option<End> {
        let ending = self.ending.as_mut()?;
        let (end, settled) = ending.pending.take(&mut self.outward)?;
        ending.told = true;
        if let Some(newest) = newest(settled) {
            self.handled_upto(newest);
        }
        Some(end)
    }
}

/// The greatest tag of the messages that are settled; `None` if none are.
pub(crate) fn newest(settled: Settled<'_, u64>) -> Option<u64> {
    settled.map(|sent| sent.tag).max()
}
