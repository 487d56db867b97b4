//! The mail of one worker, on its way through the manager.

use std::time::Duration;

use bytes::Bytes;
use grid_protocol::id::WorkerId;
use grid_protocol::link::{Link, LinkError, MessageKind};
use grid_protocol::time::Moment;
use grid_protocol::worker::End;
use grid_scheduler::Owner;
use tokio::sync::Notify;

use crate::cluster::peer_queue::{PeerQueueId, PeerQueues};

/// The mail of one worker.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) owner: Owner,
    pub(crate) host: PeerQueueId,
    /// To the host; the tag is the message's number on the client's link.
    pub(crate) outward: Link<u64>,
    /// To a client elsewhere; the tag is the message's number on the host's link.
    pub(crate) homeward: Option<Link<u64>>,
    /// True once the host said that it runs.
    pub(crate) started: bool,
    /// True while it waits on its owner's client.
    pub(crate) queued: bool,
    /// What was taken since the last acknowledgement, in weighted bytes.
    pub(crate) taken: usize,
    pub(crate) heard: Moment,
    pub(crate) ttl: Duration,
    pub(crate) ending: Option<EndingRoute>,
}

/// A worker that has ended, and whose mail has not all got home yet.
#[derive(Debug)]
pub(crate) struct EndingRoute {
    pub(crate) sent: u64,
    pub(crate) settled: u64,
    pub(crate) end: Option<End>,
    pub(crate) told: bool,
}

/// Taken mail at which an acknowledgement no longer waits for a message to travel with: a quarter of the
/// window. Each message counts 1 KiB on top of its length, so that a quarter of the count closes it too.
const TAKEN_MAX: usize = 1 << 20;

impl Route {
    /// Route for a worker that was placed behind `host`.
    pub(crate) fn new(owner: Owner, host: PeerQueueId, elsewhere: bool, ttl: Duration, now: Moment) -> Self {
        Self {
            owner,
            host,
            outward: Link::default(),
            homeward: elsewhere.then(Link::default),
            started: false,
            queued: false,
            taken: 0,
            heard: now,
            ttl,
            ending: None,
        }
    }

    /// The client has everything: tells the host so, which then forgets the worker.
    pub(crate) fn settle_finally(&mut self, worker: WorkerId, queues: &mut PeerQueues) {
        if let Some(queue) = queues.up(self.host) {
            queue.post.settle(worker, &mut self.outward);
            queue.wake.notify_one();
        }
    }

    /// For how long it has been silent at `now`, if it owes an answer and that is too long.
    pub(crate) fn overdue(&self, now: Moment) -> Option<Duration> {
        let owes = self.started && self.ending.is_none() && self.outward.is_owed();
        let silence = now.since(self.heard);
        (owes && !self.ttl.is_zero() && silence > self.ttl).then_some(silence)
    }

    /// Sends a message to the host; its number.
    pub(crate) fn forward(
        &mut self,
        worker: WorkerId,
        queues: &mut PeerQueues,
        kind: MessageKind,
        payload: Bytes,
        tag: u64,
    ) -> u64 {
        let settled = self.outward.acknowledge();
        self.taken = 0;
        let sent = self.outward.push(kind, payload, tag);
        let seq = sent.seq;
        if let Some(queue) = queues.up(self.host).filter(|_| self.started) {
            queue.post.put(worker, sent, settled);
            queue.wake.notify_one();
        }
        seq
    }

    /// The host has settled what it was sent; true if anything new.
    pub(crate) fn settle_outward(&mut self, upto: u64) -> Result<bool, LinkError> {
        let mut freed = false;
        for sent in self.outward.settle(upto)? {
            freed = true;
            if let Some(homeward) = &mut self.homeward {
                homeward.finish(sent.tag);
            }
        }
        Ok(freed)
    }

    /// Sees to it that the host hears of what was taken: at once if it is much, else before long.
    pub(crate) fn acknowledge_host(&mut self, worker: WorkerId, queues: &mut PeerQueues, late: &Notify) {
        if !self.outward.owes_acknowledgement() {
            return;
        }
        let Some(queue) = queues.up(self.host) else {
            return;
        };
        if self.taken >= TAKEN_MAX {
            self.taken = 0;
            queue.post.settle(worker, &mut self.outward);
            queue.wake.notify_one();
        } else {
            queue.late.push(worker);
            late.notify_one();
        }
    }

    /// The end, once: when all mail that came before it is here.
    pub(crate) fn take_end(&mut self) -> Option<End> {
        let ending = self.ending.as_mut()?;
        if ending.told || ending.end.is_none() || !self.outward.has_arrived(ending.sent) {
            return None;
        }
        ending.told = true;
        let (settled, end) = (ending.settled, ending.end.take());
        // A host that claims to have settled more than it was sent settles everything.
        let _ = self.settle_outward(settled.min(self.outward.last_pushed()));
        end
    }
}
