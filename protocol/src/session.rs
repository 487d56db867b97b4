//! Sessions: what one end keeps about the mail of many workers, from one connection to the next.
//!
//! Each worker has a [`Link`], which the owner of the session keeps where it needs it and hands over as [`Links`]. While
//! a connection is there, a [`MailSession`] collects frames for it. When the connection is lost, its frames are dropped,
//! because the links know what to send again: each end says what it has ([`positions`]), the other checks all of that
//! ([`check`]) before it changes anything, and sends what is lacking ([`MailSession::connect`]).
//!
//! The host, the client and the manager's two sides all use this; nothing here touches a socket or a clock.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::control::{Control, ControlError};
use crate::host::{Position, Resume};
use crate::id::WorkerId;
use crate::limits::MAIL_STREAMS;
use crate::link::{Link, LinkError, MessageKind, Settled};
use crate::mail::BulkHead;
use crate::send_queue::SendQueue;
use crate::worker::End;

/// The links of a session. `T` is the owner's data about each message that it sends.
pub trait Links<T> {
    /// Calls `change` with the link of a worker; `None` if the session has no such link.
    fn with<R>(&mut self, worker: WorkerId, change: impl FnOnce(&mut Link<T>) -> R) -> Option<R>;
}

impl<T> Links<T> for BTreeMap<WorkerId, Link<T>> {
    fn with<R>(&mut self, worker: WorkerId, change: impl FnOnce(&mut Link<T>) -> R) -> Option<R> {
        self.get_mut(&worker).map(change)
    }
}

/// What this end has of the links of these workers, for the peer to continue from. Called when a connection was lost;
/// drops what had half arrived, which the peer sends again. Workers without a link are passed over.
pub fn positions<T>(links: &mut impl Links<T>, workers: impl IntoIterator<Item = WorkerId>) -> Vec<Position> {
    let position = |worker| Some(Position { worker, received: links.with(worker, Link::position)? });
    workers.into_iter().filter_map(position).collect()
}

/// What the peer has of each of this end's links: what it says, and nothing of a link that it does not name.
pub fn positions_of_peer(workers: impl IntoIterator<Item = WorkerId>, theirs: &[Position]) -> Vec<Position> {
    let theirs: BTreeMap<_, _> = theirs.iter().map(|at| (at.worker, at.received)).collect();
    let received = |worker| theirs.get(&worker).copied().unwrap_or_default();
    workers.into_iter().map(|worker| Position { worker, received: received(worker) }).collect()
}

/// Checks what a peer says that it has, of the control channel and of each link, before anything changes. Links that
/// this end does not have are passed over.
///
/// # Errors
///
/// [`ControlError`]: the peer claims to have what was never sent to it; the caller must disconnect it.
pub fn check<T, Out, In>(
    control: &Control<Out, In>,
    links: &mut impl Links<T>,
    theirs: &Resume,
) -> Result<(), ControlError> {
    control.check_position(theirs.control)?;
    Ok(check_links(links, &theirs.workers)?)
}

/// As [`check`], of the links alone.
///
/// # Errors
///
/// [`LinkError`]: the peer claims to have what was never sent to it; the caller must disconnect it.
pub fn check_links<T>(links: &mut impl Links<T>, theirs: &[Position]) -> Result<(), LinkError> {
    for Position { worker, received } in theirs {
        links.with(*worker, |link| link.check_position(*received)).transpose()?;
    }
    Ok(())
}

/// One end's outgoing mail: the frames of the present connection, and the acknowledgements that are owed.
#[derive(Debug, Default)]
pub struct MailSession {
    queue: SendQueue,
    connected: bool,
    owing: Vec<WorkerId>,
}

impl MailSession {
    /// True while there is a connection. Without one no frames are collected.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// A connection is there: collects for each of the links in `theirs` what the peer lacks. Frames of an earlier
    /// connection are dropped. The caller has checked `theirs`.
    pub fn connect<T>(&mut self, links: &mut impl Links<T>, theirs: &[Position]) {
        *self = Self { connected: true, ..Self::default() };
        for Position { worker, received } in theirs {
            links.with(*worker, |link| self.queue.resume(*worker, link, *received));
        }
    }

    /// The connection is lost, and its frames with it.
    pub fn disconnect(&mut self) {
        *self = Self::default();
    }

    /// Collects the acknowledgement of a link, and its messages after `received`, which the peer has.
    pub fn resume<T>(&mut self, worker: WorkerId, link: &mut Link<T>, received: u64) {
        if self.connected {
            self.queue.resume(worker, link, received);
        }
    }

    /// Sends a message on a link, now or when there is a connection; returns its number. The caller asks
    /// [`Link::has_room`] first.
    pub fn send<T>(
        &mut self,
        worker: WorkerId,
        link: &mut Link<T>,
        kind: MessageKind,
        payload: Bytes,
        tag: T,
    ) -> u64 {
        let settled = link.acknowledge();
        let sent = link.push(kind, payload, tag);
        let seq = sent.seq;
        if self.connected {
            self.queue.put(worker, sent, settled);
        }
        seq
    }

    /// Sends the messages of a link from number `first` on, which were pushed without being sent, and the
    /// acknowledgement that the link owes.
    pub fn flush<T>(&mut self, worker: WorkerId, link: &mut Link<T>, first: u64) {
        if !self.connected {
            return;
        }
        if first > link.last_pushed() {
            self.queue.settle(worker, link);
            return;
        }
        let settled = link.acknowledge();
        for sent in link.resend_after(first.saturating_sub(1)) {
            self.queue.put(worker, sent, settled);
        }
    }

    /// Sends the acknowledgement that a link owes, if it owes one.
    pub fn settle<T>(&mut self, worker: WorkerId, link: &mut Link<T>) {
        if self.connected {
            self.queue.settle(worker, link);
        }
    }

    /// Notes that a link owes an acknowledgement, which its next message may carry, until [`Self::take_owing`]. True if
    /// it is the first.
    pub fn owe(&mut self, worker: WorkerId) -> bool {
        if self.connected {
            self.owing.push(worker);
        }
        self.owing.len() == 1
    }

    /// Takes the workers noted by [`Self::owe`]; the caller settles the link of each.
    pub fn take_owing(&mut self) -> Vec<WorkerId> {
        core::mem::take(&mut self.owing)
    }

    /// Takes what is to be written: the frames of each lane, whose empty buffers are left for the next, and the large
    /// messages, each for a stream of its own.
    pub fn take(&mut self, lanes: &mut [Vec<u8>; MAIL_STREAMS], bulk: &mut VecDeque<(BulkHead, Bytes)>) {
        self.queue.take_lanes(lanes);
        bulk.extend(core::iter::from_fn(|| self.queue.take_bulk()));
    }
}

/// The end of a worker, which counts once everything that the worker sent before it has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingEnd {
    /// Number of the last message that the worker sent.
    pub sent: u64,
    /// Number of the last message that the worker handled.
    pub settled: u64,
    /// How it ended; `None` as long as that is not known, and once it was taken.
    pub end: Option<End>,
}

impl PendingEnd {
    /// Takes the end, once, if everything before it is here; then what the worker handled is settled.
    pub fn take<'l, T>(&mut self, link: &'l mut Link<T>) -> Option<(End, Settled<'l, T>)> {
        if !link.has_arrived(self.sent) {
            return None;
        }
        let end = self.end.take()?;
        // No more than was sent, so that this cannot fail.
        let settled = link.settle(self.settled.min(link.last_pushed())).ok()?;
        Some((end, settled))
    }
}
