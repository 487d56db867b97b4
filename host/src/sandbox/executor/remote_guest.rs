//! A guest in an executor, as its host sees it: between the guest's frames and its mailbox.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::wire::Wire;
use grid_protocol::worker::{End, Failure};

use super::child_port::LOG_BYTES_MAX;
use super::credit::{ROOM_BYTES, UNHANDLED_BYTES_MAX, message_cost, unhandled_max};
use super::frame::{Frame, FrameKind, NOTHING};
use super::process::GuestRef;
use super::ring::BrokenRing;
use super::unhandled::Unhandled;
use crate::mailbox::{MessagePort, Received};
use crate::sandbox::{GuestEnd, GuestStart, Limits};

/// A guest: what has been handed to it, and what it has sent that its mailbox has no room for.
pub(super) struct RemoteGuest {
    reference: Arc<GuestRef>,
    waker: Waker,
    pub(super) limits: Limits,
    mailbox: Arc<dyn MessagePort>,
    on_start: Option<Box<dyn FnOnce() + Send>>,
    on_end: Option<Box<dyn FnOnce(GuestEnd) + Send>>,
    has_started: bool,
    /// The mailbox had nothing for it when it was last asked, and wakes the process when it has.
    mailbox_wakes: bool,
    was_told_to_stop: bool,
    unhandled: Unhandled,
    /// How many messages that may be.
    unhandled_max: usize,
    /// What it has sent and its mailbox has not taken, in order.
    held: VecDeque<HeldFrame>,
    /// Cost of messages that were taken, and for which it has not been given new room.
    owed_room: i64,
    /// Cost of what it has sent and has not been given new room for.
    used_room: i64,
    end: Option<End>,
    /// Something was given to the mailbox since it was last flushed.
    is_unflushed: bool,
    /// Number of frames from it, by which one that makes no progress is recognized.
    pub(super) progress: u64,
    /// Number of messages that it has said are done.
    pub(super) handled: u64,
}

enum HeldFrame {
    Sent(Bytes),
    Done(u64, Duration),
    /// The first, and then the second.
    Answered(Bytes, u64, Duration),
    Failed(u64, Failure),
}

impl RemoteGuest {
    pub(super) fn new(reference: Arc<GuestRef>, start: GuestStart) -> Self {
        let GuestStart { limits, mailbox, on_start, on_end, .. } = start;
        Self {
            waker: Waker::from(reference.clone()),
            unhandled: Unhandled::new(reference.unanswered()),
            unhandled_max: unhandled_max(reference.runs_tasks()),
            reference,
            limits,
            mailbox,
            on_start: Some(on_start),
            on_end: Some(on_end),
            has_started: false,
            mailbox_wakes: false,
            was_told_to_stop: false,
            held: VecDeque::new(),
            owed_room: 0,
            used_room: 0,
            end: None,
            is_unflushed: false,
            progress: 0,
            handled: 0,
        }
    }

    /// Handles a frame of the guest; true if the caller must call [`Self::attend`] when it has handled all that have come.
    ///
    /// # Errors
    ///
    /// [`BrokenRing`] if an executor never sends such a frame.
    pub(super) fn handle(&mut self, Frame { head, payload }: Frame) -> Result<bool, BrokenRing> {
        self.progress += 1;
        match head.kind {
            FrameKind::Started => {
                self.has_started = true;
                if let Some(on_start) = self.on_start.take() {
                    on_start();
                }
            }
            FrameKind::Sent => {
                self.use_room(payload.len())?;
                self.hold(HeldFrame::Sent(payload));
            }
            FrameKind::Done => {
                self.settle(head.number)?;
                self.hold(HeldFrame::Done(head.number, Duration::from_nanos(head.nanos)));
            }
            FrameKind::Answered => {
                self.settle(head.number)?;
                self.use_room(payload.len())?;
                self.hold(HeldFrame::Answered(payload, head.number, Duration::from_nanos(head.nanos)));
            }
            FrameKind::Failed => {
                let mut failure = Failure::from_body(&payload).map_err(|_| BrokenRing("no failure"))?;
                failure.clamp();
                if self.held.len() > HELD_MAX {
                    return Err(BrokenRing("more failures than messages"));
                }
                self.hold(HeldFrame::Failed(head.number, failure));
            }
            FrameKind::Log | FrameKind::LogDropped => {
                if payload.len() > LOG_BYTES_MAX {
                    return Err(BrokenRing("a line that is too long"));
                }
                let level = u8::try_from(head.number).unwrap_or_default();
                let text = String::from_utf8_lossy(&payload);
                self.mailbox.log(level, &text, head.kind == FrameKind::Log);
            }
            FrameKind::Ended => {
                let mut end = End::from_body(&payload).map_err(|_| BrokenRing("no end"))?;
                match &mut end {
                    End::Stopped => {}
                    End::Failed(failure) => failure.clamp(),
                    _ => return Err(BrokenRing("an end that only a manager tells")),
                }
                self.end = Some(end);
                // It handles none of them any more, though what it sent may wait for long.
                self.unhandled.settle(u64::MAX);
            }
            _ => return Err(BrokenRing("a frame that only a host sends")),
        }
        let has_news = self.end.is_some() || self.is_unflushed || !self.held.is_empty();
        Ok(has_news || !self.mailbox_wakes || self.owed_room >= ROOM_BYTES / 2)
    }

    /// The guest has sent a message.
    fn use_room(&mut self, length: usize) -> Result<(), BrokenRing> {
        if length > self.limits.message_bytes || self.used_room > ROOM_BYTES {
            return Err(BrokenRing("a message that is too long, or has no room"));
        }
        self.used_room += message_cost(length);
        Ok(())
    }

    /// The guest has handled the messages up to this one.
    fn settle(&mut self, number: u64) -> Result<(), BrokenRing> {
        if self.unhandled.is_beyond(number) {
            return Err(BrokenRing("a message is done that does not wait to be"));
        }
        self.handled += 1;
        self.unhandled.settle(number);
        Ok(())
    }

    /// Gives the mailbox this, now or when it has room for what is held before it.
    fn hold(&mut self, frame: HeldFrame) {
        self.take_held();
        let left = if self.held.is_empty() { self.offer(frame) } else { Some(frame) };
        self.held.extend(left);
    }

    /// Gives the mailbox what it has room for.
    fn take_held(&mut self) {
        while let Some(next) = self.held.pop_front() {
            if let Some(left) = self.offer(next) {
                self.held.push_front(left);
                return;
            }
        }
    }

    /// Gives the mailbox this, or gives it back if there is no room for it.
    fn offer(&mut self, frame: HeldFrame) -> Option<HeldFrame> {
        match frame {
            HeldFrame::Answered(payload, seq, ran) => {
                let cost = message_cost(payload.len());
                if let Err(payload) = self.mailbox.answer(payload, seq, ran) {
                    return Some(HeldFrame::Answered(payload, seq, ran));
                }
                self.owed_room += cost;
                self.is_unflushed = false;
            }
            HeldFrame::Done(seq, ran) => {
                self.mailbox.done(seq, Some(ran));
                // What a frame to the manager says is settled must not run ahead of the answers.
                self.mailbox.flush();
                self.is_unflushed = false;
            }
            frame if !self.mailbox.has_room() => return Some(frame),
            HeldFrame::Sent(payload) => {
                self.owed_room += message_cost(payload.len());
                self.mailbox.send(payload);
                self.is_unflushed = true;
            }
            HeldFrame::Failed(seq, failure) => {
                self.mailbox.fail(seq, failure);
                self.is_unflushed = true;
            }
        }
        None
    }

    /// Passes on what waits at either side; puts frames for the guest into `out` if there is `room` for them. True if the
    /// guest has ended and everything that it sent was taken, so that the caller calls [`Self::finish`].
    pub(super) fn attend(&mut self, out: &mut Vec<Frame>, room: bool) -> bool {
        // Lent for the moment, because cloning it takes longer.
        let waker = std::mem::replace(&mut self.waker, Waker::noop().clone());
        let is_over = self.attend_as(&waker, out, room);
        self.waker = waker;
        is_over
    }

    fn attend_as(&mut self, waker: &Waker, out: &mut Vec<Frame>, room: bool) -> bool {
        let mut cx = Context::from_waker(waker);
        // What its mailbox has from now on must wake its process again.
        self.reference.is_queued.store(false, Ordering::Release);
        self.take_held();
        // Asked again after the waker is in place: there may be room by now.
        while !self.held.is_empty() && self.mailbox.poll_room(&mut cx).is_ready() {
            self.take_held();
        }
        if std::mem::take(&mut self.is_unflushed) {
            self.mailbox.flush();
        }
        if self.end.is_some() {
            return self.held.is_empty();
        }
        if !room {
            return false;
        }
        let guest = self.reference.guest;
        if self.owed_room >= ROOM_BYTES / 2 {
            let room = u64::try_from(self.owed_room).unwrap_or_default();
            self.used_room -= self.owed_room;
            self.owed_room = 0;
            out.push(Frame::new(FrameKind::Room, guest, room, NOTHING));
        }
        let Self { unhandled, unhandled_max, was_told_to_stop, .. } = self;
        let wants = |unhandled: &Unhandled| {
            unhandled.len() < *unhandled_max && unhandled.bytes() < UNHANDLED_BYTES_MAX
        };
        self.mailbox_wakes = self.has_started
            && !*was_told_to_stop
            && wants(unhandled)
            && self.mailbox.poll_each(&mut cx, &mut |received| match received {
                Received::Message(delivery) => {
                    unhandled.push(delivery.seq, delivery.payload.len());
                    out.push(Frame::new(FrameKind::Message, guest, delivery.seq, delivery.payload));
                    wants(unhandled)
                }
                Received::Stop => {
                    *was_told_to_stop = true;
                    out.push(Frame::new(FrameKind::Stop, guest, 0, NOTHING));
                    false
                }
            });
        false
    }

    /// True if the guest has said that it ended.
    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Notes that the messages after `begun`, up to `upto`, were withdrawn.
    pub(super) fn withdrawn(&mut self, begun: u64, upto: u64) {
        self.unhandled.withdraw(begun, upto);
    }

    /// The processor time that the guest may take for what it is doing; `None` if it waits.
    pub(super) fn budget(&self) -> Option<Duration> {
        match (self.has_started, self.was_told_to_stop) {
            (false, _) => Some(self.limits.start),
            (true, true) => Some(self.limits.stop),
            (true, false) => (!self.unhandled.is_empty()).then_some(self.limits.call),
        }
    }

    /// Tells that the guest has ended, by `otherwise` if it has not told itself.
    pub(super) fn finish(mut self, otherwise: GuestEnd) {
        let end = self.end.take().map_or(otherwise, GuestEnd::Ended);
        if let Some(on_end) = self.on_end.take() {
            on_end(end);
        }
    }
}

impl Drop for RemoteGuest {
    fn drop(&mut self) {
        if let Some(on_end) = self.on_end.take() {
            on_end(GuestEnd::Lost { reason: "the host goes down".to_owned() });
        }
    }
}

/// What a guest may have sent that its mailbox has no room for: room for its messages is given by their length, and each
/// message that it handles is done, or fails, once.
const HELD_MAX: usize = 8192;

#[cfg(test)]
mod tests;
