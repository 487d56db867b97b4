//! Links: numbered messages that survive the loss of a connection.
//!
//! Each worker has a link between the manager and its host. Either end numbers what it sends from 1, keeps
//! each message until the other end says that it is *settled*, and bounds what is unsettled. The same number
//! serves as acknowledgement, flow control and, after a reconnect, as the position to continue from. A
//! message to a worker is settled when the worker is idle again after it; a message from a worker, when the
//! client has taken it. Nothing here touches a socket.

use alloc::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::codec::{Decode, Encode};
use crate::limits::MESSAGE_BYTES_MAX;

/// Unsettled bytes at which a sender must wait, unless they are those of a single message ([`LONE_BYTES_MAX`]): 4 MiB.
pub const WINDOW_BYTES_MAX: usize = 4 << 20;

/// Bytes of a message that is unsettled alone, and that another may follow all the same: 8 MiB. So the next long message is
/// on its way while a worker handles one. A sender holds at most this plus one message ([`MESSAGE_BYTES_MAX`]) for one worker.
pub const LONE_BYTES_MAX: usize = 2 * WINDOW_BYTES_MAX;

/// Unsettled messages at which a sender must wait; it bounds what empty messages cost.
pub const WINDOW_MESSAGES_MAX: usize = 4096;

/// One end of a worker's link. `T` is data of the sender about each of its own messages; it is not
/// transmitted.
#[derive(Debug)]
pub struct Link<T = ()> {
    next: u64,
    unsettled: VecDeque<Sent<T>>,
    unsettled_bytes: usize,
    arrivals: VecDeque<Arrival>,
    /// Bytes of large messages that arrived before the frame that announces them, by message number.
    early: BTreeMap<u64, Bytes>,
    /// Bytes of `arrivals` and `early`.
    held_bytes: usize,
    /// Number of `arrivals` whose bytes have not arrived.
    missing: usize,
    accepted: u64,
    finished: u64,
    told: u64,
}

/// A message that the other end has not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent<T> {
    /// Its number, from 1.
    pub seq: u64,
    /// Message or failure report.
    pub kind: MessageKind,
    /// The message's bytes.
    pub payload: Bytes,
    /// The sender's own data about the message.
    pub tag: T,
}

/// The kind of a message on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum MessageKind {
    /// Bytes between a client and a worker.
    Message,
    /// The worker could not handle message number `about`; the payload is its reason, in UTF-8.
    Failure {
        /// Number of the failed message, on the link in the other direction.
        about: u64,
    },
}

/// A message as it leaves a link at the receiving end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its number, from 1.
    pub seq: u64,
    /// Message or failure report.
    pub kind: MessageKind,
    /// The message's bytes.
    pub payload: Bytes,
}

/// Where the bytes of a message travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryContent {
    /// In the frame itself.
    Here(Bytes),
    /// On a stream of their own; [`Link::fulfil`] supplies them.
    Elsewhere,
}

#[derive(Debug)]
struct Arrival {
    seq: u64,
    kind: MessageKind,
    content: DeliveryContent,
}

impl Arrival {
    fn held_bytes(&self) -> usize {
        match &self.content {
            DeliveryContent::Here(payload) => payload.len(),
            DeliveryContent::Elsewhere => 0,
        }
    }
}

impl<T> Default for Link<T> {
    fn default() -> Self {
        Self {
            next: 1,
            unsettled: VecDeque::new(),
            unsettled_bytes: 0,
            arrivals: VecDeque::new(),
            early: BTreeMap::new(),
            held_bytes: 0,
            missing: 0,
            accepted: 0,
            finished: 0,
            told: 0,
        }
    }
}

impl<T> Link<T> {
    /// True if another message may be pushed.
    pub fn has_room(&self) -> bool {
        self.unsettled.is_empty()
            || self.unsettled.len() == 1 && self.unsettled_bytes <= LONE_BYTES_MAX
            || (self.unsettled_bytes < WINDOW_BYTES_MAX && self.unsettled.len() < WINDOW_MESSAGES_MAX)
    }

    /// Numbers a message and keeps it until it is settled. Does not check the window; the caller asks
    /// [`Self::has_room`] first.
    pub fn push(&mut self, kind: MessageKind, payload: Bytes, tag: T) -> &Sent<T> {
        let seq = self.next;
        self.next += 1;
        self.unsettled_bytes += payload.len();
        self.unsettled.push_back_mut(Sent { seq, kind, payload, tag })
    }

    /// Bytes of all unsettled messages.
    pub fn unsettled_bytes(&self) -> usize {
        self.unsettled_bytes
    }

    /// The number of the last message pushed; 0 before the first.
    pub fn last_pushed(&self) -> u64 {
        self.next - 1
    }

    /// Settles every message up to `seq`, because the other end says so. The iterator returns them, oldest
    /// first.
    ///
    /// A number lower than an earlier one settles nothing.
    ///
    /// # Errors
    ///
    /// [`LinkError::SettledUnsent`]: the peer settles a message that was never sent; the caller must
    /// disconnect it.
    pub fn settle(&mut self, seq: u64) -> Result<Settled<'_, T>, LinkError> {
        if seq >= self.next {
            return Err(LinkError::SettledUnsent { seq, next: self.next });
        }
        Ok(Settled { link: self, upto: seq })
    }

    /// The unsettled messages, oldest first.
    pub fn unsettled(&self) -> impl ExactSizeIterator<Item = &Sent<T>> {
        self.unsettled.iter()
    }

    /// Removes and returns the oldest unsettled message, when no peer is left to settle it.
    pub fn pop_unsettled(&mut self) -> Option<Sent<T>> {
        let sent = self.unsettled.pop_front()?;
        self.unsettled_bytes -= sent.payload.len();
        Some(sent)
    }

    /// Removes and returns every unsettled message, when no peer is left to settle them.
    pub fn take_unsettled(&mut self) -> VecDeque<Sent<T>> {
        self.unsettled_bytes = 0;
        core::mem::take(&mut self.unsettled)
    }

    /// Starts again with a peer that remembers nothing: renumbers the unsettled messages from 1. Drops what
    /// was received and not taken; a caller that needs it takes it first.
    pub fn restart(&mut self) {
        let unsettled = self.take_unsettled();
        *self = Self::default();
        for sent in unsettled {
            self.push(sent.kind, sent.payload, sent.tag);
        }
    }

    /// Replaces the sender's data about each unsettled message.
    pub fn retag(&mut self, mut tag: impl FnMut(&T) -> T) {
        for sent in &mut self.unsettled {
            sent.tag = tag(&sent.tag);
        }
    }

    /// True if the other end has not settled everything.
    pub fn is_owed(&self) -> bool {
        !self.unsettled.is_empty()
    }

    /// Receives message `seq`; false, and dropped, if it was received before.
    ///
    /// # Errors
    ///
    /// [`LinkError::Gap`] and [`LinkError::Overrun`]: the peer broke the protocol; the caller must disconnect
    /// it.
    pub fn accept(
        &mut self,
        seq: u64,
        kind: MessageKind,
        content: DeliveryContent,
    ) -> Result<bool, LinkError> {
        if seq <= self.accepted {
            return Ok(false);
        }
        if seq != self.accepted + 1 {
            return Err(LinkError::Gap { expected: self.accepted + 1, seq });
        }
        let content = match content {
            DeliveryContent::Here(payload) => {
                self.hold(seq, payload.len())?;
                DeliveryContent::Here(payload)
            }
            DeliveryContent::Elsewhere => {
                self.hold(seq, 0)?;
                self.early.remove(&seq).map_or(DeliveryContent::Elsewhere, DeliveryContent::Here)
            }
        };
        self.accepted = seq;
        self.missing += usize::from(content == DeliveryContent::Elsewhere);
        self.arrivals.push_back(Arrival { seq, kind, content });
        Ok(true)
    }

    /// Receives the bytes of message `seq`, which travel [`DeliveryContent::Elsewhere`] and may arrive before
    /// or after the message's frame. False, and dropped, if they are not expected.
    ///
    /// # Errors
    ///
    /// [`LinkError::Overrun`]: the peer broke the protocol; the caller must disconnect it.
    pub fn fulfil(&mut self, seq: u64, payload: Bytes) -> Result<bool, LinkError> {
        let announced = seq <= self.accepted;
        let awaited = match announced {
            true => {
                self.arrival_mut(seq).is_some_and(|arrival| arrival.content == DeliveryContent::Elsewhere)
            }
            false => !self.early.contains_key(&seq),
        };
        if !awaited {
            return Ok(false);
        }
        self.hold(seq, payload.len())?;
        match self.arrival_mut(seq) {
            Some(arrival) => {
                arrival.content = DeliveryContent::Here(payload);
                self.missing -= 1;
            }
            None => drop(self.early.insert(seq, payload)),
        }
        Ok(true)
    }

    /// The received message `seq`, if it has not been taken. Numbers are contiguous.
    fn arrival_mut(&mut self, seq: u64) -> Option<&mut Arrival> {
        let first = self.arrivals.front()?.seq;
        self.arrivals.get_mut(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    /// Checks and counts bytes of message `seq`, which are held until the message is taken.
    fn hold(&mut self, seq: u64, bytes: usize) -> Result<(), LinkError> {
        let held_bytes = self.held_bytes + bytes;
        if seq - self.finished > OUTSTANDING_MAX || held_bytes > HELD_BYTES_MAX {
            return Err(LinkError::Overrun { seq });
        }
        self.held_bytes = held_bytes;
        Ok(())
    }

    /// Takes the next message in order; `None` if there is none, or its bytes are still missing.
    pub fn take_arrival(&mut self) -> Option<Delivery> {
        match self.arrivals.pop_front()? {
            Arrival { seq, kind, content: DeliveryContent::Here(payload) } => {
                self.held_bytes -= payload.len();
                Some(Delivery { seq, kind, payload })
            }
            waiting @ Arrival { content: DeliveryContent::Elsewhere, .. } => {
                self.arrivals.push_front(waiting);
                None
            }
        }
    }

    /// True if every message up to `seq` has arrived with its bytes, and no later one lacks its bytes.
    pub fn has_arrived(&self, seq: u64) -> bool {
        self.accepted >= seq && self.missing == 0
    }

    /// The number up to which every message has arrived with its bytes.
    pub fn arrived_upto(&self) -> u64 {
        match self.first_missing() {
            // It was announced, so that there is one before it, or none.
            Some(hole) => self.arrivals.get(hole).map_or(self.accepted, |arrival| arrival.seq - 1),
            None => self.accepted,
        }
    }

    /// The place in `arrivals` of the first whose bytes have not arrived.
    fn first_missing(&self) -> Option<usize> {
        let missing = |arrival: &Arrival| arrival.content == DeliveryContent::Elsewhere;
        (self.missing > 0).then(|| self.arrivals.iter().position(missing)).flatten()
    }

    /// True if [`Self::take_arrival`] would return a message.
    pub fn has_ready_arrival(&self) -> bool {
        matches!(self.arrivals.front(), Some(Arrival { content: DeliveryContent::Here(_), .. }))
    }

    /// Number of messages that were received, complete or not, and not taken.
    pub fn arrivals(&self) -> usize {
        self.arrivals.len()
    }

    /// The number of the last message received, complete or not.
    pub fn last_accepted(&self) -> u64 {
        self.accepted
    }

    /// The number of the last message that this end has finished with.
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// Marks every message up to `seq` as finished, so that the next acknowledgement settles them. Never goes
    /// back, and never past the last message received.
    pub fn finish(&mut self, seq: u64) {
        self.finished = self.finished.max(seq.min(self.accepted));
    }

    /// The number for the `settled` field of the next frame; the caller must send that frame.
    pub fn acknowledge(&mut self) -> u64 {
        self.told = self.finished;
        self.finished
    }

    /// True if the other end has not been told of everything that is finished.
    pub fn owes_acknowledgement(&self) -> bool {
        self.told < self.finished
    }

    /// Called when the connection is lost: returns the highest number up to which every message is complete,
    /// and drops those after it.
    ///
    /// The other end resends them ([`Self::resend_after`]).
    pub fn position(&mut self) -> u64 {
        if let Some(hole) = self.first_missing() {
            self.accepted -= self.arrivals.drain(hole..).count() as u64;
            self.missing = 0;
        }
        self.early.clear();
        self.held_bytes = self.arrivals.iter().map(Arrival::held_bytes).sum();
        // The frames with the last acknowledgements may be lost.
        self.told = 0;
        self.accepted
    }

    /// Checks a peer's claim to have received everything up to `position`.
    ///
    /// # Errors
    ///
    /// [`LinkError::SettledUnsent`]: `position` was never sent.
    pub fn check_position(&self, position: u64) -> Result<(), LinkError> {
        if position >= self.next {
            return Err(LinkError::SettledUnsent { seq: position, next: self.next });
        }
        Ok(())
    }

    /// The messages to resend to a peer that has everything up to `position`.
    pub fn resend_after(&self, position: u64) -> impl Iterator<Item = &Sent<T>> {
        // Numbers are contiguous, so the first one gives the index of the rest.
        let first = self.unsettled.front().map_or(self.next, |sent| sent.seq);
        let known = (position + 1).saturating_sub(first);
        self.unsettled.iter().skip(usize::try_from(known).unwrap_or(usize::MAX))
    }

    /// The message `seq`, if it is unsettled.
    pub fn find_unsettled(&self, seq: u64) -> Option<&Sent<T>> {
        self.resend_after(seq.saturating_sub(1)).next().filter(|sent| sent.seq == seq)
    }
}

/// Messages that may be received and not finished: one window, as a correct sender has unsettled, and one
/// more for acknowledgements in transit.
const OUTSTANDING_MAX: u64 = 2 * WINDOW_MESSAGES_MAX as u64;

/// Bytes that may be received and not taken. A correct sender stops after a lone message; one may follow that, and a failure
/// report. The window is a margin.
const HELD_BYTES_MAX: usize = LONE_BYTES_MAX + WINDOW_BYTES_MAX + MESSAGE_BYTES_MAX;

/// What [`Link::settle`] settles, oldest first. Dropping it settles the rest.
#[derive(Debug)]
pub struct Settled<'a, T> {
    link: &'a mut Link<T>,
    upto: u64,
}

impl<T> Iterator for Settled<'_, T> {
    type Item = Sent<T>;

    fn next(&mut self) -> Option<Sent<T>> {
        let link = &mut *self.link;
        let upto = self.upto;
        let sent = link.unsettled.pop_front_if(|sent| sent.seq <= upto)?;
        link.unsettled_bytes -= sent.payload.len();
        Some(sent)
    }
}

impl<T> Drop for Settled<'_, T> {
    fn drop(&mut self) {
        while self.next().is_some() {}
    }
}

/// The peer broke the protocol of a link; the caller must close its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A message is missing.
    #[error("message {seq} came where {expected} was due")]
    Gap {
        /// The number that was expected.
        expected: u64,
        /// The number that came.
        seq: u64,
    },
    /// More messages or bytes than the window allows.
    #[error("message {seq} goes past the window")]
    Overrun {
        /// The number that came.
        seq: u64,
    },
    /// The peer settled a message that was never sent.
    #[error("message {seq} was settled, but {next} is the next to be sent")]
    SettledUnsent {
        /// The number settled.
        seq: u64,
        /// The number that the next message will have.
        next: u64,
    },
}

#[cfg(test)]
mod tests;
