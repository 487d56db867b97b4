//! A worker's mailbox: where the sandbox and the network meet.
//!
//! The sandbox polls it for messages and puts the guest's messages in; the driver delivers frames from the
//! manager and takes outgoing mail from the outbox. It outlives connections: what the manager has not settled
//! is sent again on the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::id::WorkerId;
use grid_protocol::link::{Link, LinkError, MessageKind};
use grid_protocol::mail::MailFrame;
use grid_protocol::worker::{Failure, LogLevel};
use parking_lot::{Mutex, MutexGuard};

pub use grid_protocol::link::Delivery;

use crate::outbox::Outbox;

/// What a worker receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A message.
    Message(Delivery),
    /// A request to stop: the worker handles no more messages, calls `stop` and ends.
    Stop,
}

/// Where a guest's messages come from and go to: a worker's [`Mailbox`], or a job's executor.
pub trait MessagePort: Send + Sync + std::fmt::Debug {
    /// The next message or stop request. A message is ready only while there is room to report that it failed.
    fn poll_incoming(&self, cx: &mut Context<'_>) -> Poll<Received>;

    /// Hands what has come to `take`, one after the other, as long as it asks for more. True if nothing more can be taken now,
    /// and the task of `cx` is woken when something can. `take` must not call this port.
    fn poll_each(&self, cx: &mut Context<'_>, take: &mut dyn FnMut(Received) -> bool) -> bool {
        while let Poll::Ready(received) = self.poll_incoming(cx) {
            if !take(received) {
                return false;
            }
        }
        true
    }

    /// Takes a message from the guest. It is sent at [`Self::flush`]; the caller waits for [`Self::poll_room`] first.
    fn send(&self, payload: Bytes);

    /// True while there is room for another message.
    fn has_room(&self) -> bool;

    /// Ready while there is room for another message.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Records that the guest could not handle message `seq`.
    fn fail(&self, seq: u64, failure: Failure);

    /// Records that the guest has handled every message up to `seq`, the last of them in the time that it says, if it
    /// says one.
    fn done(&self, seq: u64, ran: Option<Duration>);

    /// Takes a message from the guest, which with it has handled every message up to `seq`, and sends it: [`Self::send`],
    /// [`Self::done`] and [`Self::flush`] in one. Gives it back if there is no room for it.
    fn answer(&self, payload: Bytes, seq: u64, ran: Duration) -> Result<(), Bytes> {
        if !self.has_room() {
            return Err(payload);
        }
        self.send(payload);
        self.done(seq, Some(ran));
        self.flush();
        Ok(())
    }

    /// Ends a turn: sends the guest's messages and acknowledges those that it has handled.
    fn flush(&self);

    /// Takes a line of the guest's log. One that is not `allowed`, because it exceeds the log budget, is dropped.
    fn log(&self, level: u8, text: &str, allowed: bool);
}

/// The messages to and from one worker.
#[derive(Debug)]
pub struct Mailbox {
    worker: WorkerId,
    outbox: Arc<Outbox>,
    ended: AtomicBool,
    inner: Mutex<MailboxState>,
}

#[derive(Debug, Default)]
struct MailboxState {
    link: Link,
    /// Number of the first message that has not been queued for the present connection.
    unqueued: u64,
    /// Number of the present connection, or of the last one.
    connection: u64,
    stopping: bool,
    on_incoming: WakerSlot,
    on_room: WakerSlot,
}

impl MailboxState {
    /// As [`MessagePort::poll_incoming`].
    fn poll_incoming(&mut self, cx: &Context<'_>) -> Poll<Received> {
        if self.stopping {
            return Poll::Ready(Received::Stop);
        }
        // The message may fail, and the report of the failure takes room in the window like any message.
        if !self.link.has_room() {
            self.on_room.register(cx);
            return Poll::Pending;
        }
        if let Some(delivery) = self.link.take_arrival() {
            return Poll::Ready(Received::Message(delivery));
        }
        self.on_incoming.register(cx);
        Poll::Pending
    }
}

/// The waker of whoever waits for something, kept from one wait to the next: most are the same task's.
#[derive(Debug, Default)]
pub(crate) struct WakerSlot {
    waker: Option<Waker>,
    waits: bool,
}

impl WakerSlot {
    /// Has the task of `cx` woken by the next [`Self::wake`].
    pub(crate) fn register(&mut self, cx: &Context<'_>) {
        self.waits = true;
        match &mut self.waker {
            // Cloned only if it is another's.
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }

    /// Wakes whoever has registered since the last call.
    pub(crate) fn wake(&mut self) {
        if std::mem::take(&mut self.waits)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }
}

impl Mailbox {
    /// An empty mailbox, which sends nothing before [`Self::resume`].
    pub fn new(worker: WorkerId, outbox: Arc<Outbox>) -> Self {
        Self { worker, outbox, ended: AtomicBool::new(false), inner: Mutex::default() }
    }

    /// The worker that the mailbox belongs to.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Asks the worker to stop once it has handled its current message. Does not abort it.
    pub fn stop(&self) {
        let mut inner = self.lock();
        inner.stopping = true;
        inner.on_incoming.wake();
        inner.on_room.wake();
    }

    /// Handles a frame from the manager. `buffer` is what `frame` borrows from.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the manager broke the rules of the link; the caller must close the connection.
    pub fn handle_frame(&self, frame: MailFrame<'_>, buffer: &Bytes) -> Result<(), LinkError> {
        let mut inner = self.lock();
        drop(frame.deliver(buffer, &mut inner.link)?);
        if inner.link.has_room() {
            inner.on_room.wake();
        }
        if inner.link.has_ready_arrival() {
            inner.on_incoming.wake();
        }
        Ok(())
    }

    /// Handles the bytes of a large message, which have arrived on a stream of their own.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the manager broke the rules of the link; the caller must close the connection.
    pub fn fulfil(&self, seq: u64, payload: Bytes) -> Result<(), LinkError> {
        let mut inner = self.lock();
        inner.link.fulfil(seq, payload)?;
        if inner.link.has_ready_arrival() {
            inner.on_incoming.wake();
        }
        Ok(())
    }

    /// Changes or reads the link, for what the session does with all links.
    pub fn with_link<R>(&self, change: impl FnOnce(&mut Link) -> R) -> R {
        change(&mut self.lock().link)
    }

    /// Continues on a new connection: sends again every message after `received`, which the manager has. The caller has
    /// checked that.
    pub fn resume(&self, connection: u64, received: u64) {
        let mut inner = self.lock();
        let MailboxState { link, unqueued, connection: present, .. } = &mut *inner;
        *present = connection;
        *unqueued = link.last_pushed() + 1;
        self.outbox.with_session(connection, |session| session.resume(self.worker, link, received));
    }

    /// Records that the worker has ended; returns the number of the last message that it sent, and of the last that it
    /// handled.
    pub fn end(&self) -> (u64, u64) {
        let mut inner = self.lock();
        self.ended.store(true, Ordering::Release);
        // It may wait long for its mail to be collected; what it would wake is gone.
        (inner.on_incoming, inner.on_room) = Default::default();
        (inner.link.last_pushed(), inner.link.finished())
    }

    /// True while a message is being handled or waits to be.
    pub fn is_busy(&self) -> bool {
        let inner = self.lock();
        inner.link.last_accepted() > inner.link.finished()
    }

    /// True if the worker has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// True if the worker has ended and the manager has settled every message from it.
    pub fn is_over(&self) -> bool {
        self.has_ended() && !self.lock().link.is_owed()
    }

    /// Sends what was pushed, and the acknowledgement that is owed.
    fn flush_link(&self, inner: &mut MailboxState) {
        let MailboxState { link, unqueued, connection, .. } = inner;
        if *unqueued > link.last_pushed() && !link.owes_acknowledgement() {
            return;
        }
        self.outbox.with_session(*connection, |session| {
            session.flush(self.worker, link, *unqueued);
            *unqueued = link.last_pushed() + 1;
        });
    }

    fn lock(&self) -> MutexGuard<'_, MailboxState> {
        self.inner.lock()
    }
}

impl MessagePort for Mailbox {
    fn poll_incoming(&self, cx: &mut Context<'_>) -> Poll<Received> {
        self.lock().poll_incoming(cx)
    }

    fn poll_each(&self, cx: &mut Context<'_>, take: &mut dyn FnMut(Received) -> bool) -> bool {
        let mut inner = self.lock();
        while let Poll::Ready(received) = inner.poll_incoming(cx) {
            if !take(received) {
                return false;
            }
        }
        true
    }

    fn send(&self, payload: Bytes) {
        self.lock().link.push(MessageKind::Message, payload, ());
    }

    fn has_room(&self) -> bool {
        self.lock().link.has_room()
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.link.has_room() {
            return Poll::Ready(());
        }
        inner.on_room.register(cx);
        Poll::Pending
    }

    fn fail(&self, seq: u64, failure: Failure) {
        self.lock().link.push(MessageKind::Failure { about: seq }, Bytes::from(failure.message), ());
    }

    fn done(&self, seq: u64, _: Option<Duration>) {
        self.lock().link.finish(seq);
    }

    fn answer(&self, payload: Bytes, seq: u64, _: Duration) -> Result<(), Bytes> {
        let mut inner = self.lock();
        if !inner.link.has_room() {
            return Err(payload);
        }
        inner.link.push(MessageKind::Message, payload, ());
        inner.link.finish(seq);
        self.flush_link(&mut inner);
        Ok(())
    }

    fn flush(&self) {
        self.flush_link(&mut self.lock());
    }

    fn log(&self, level: u8, text: &str, allowed: bool) {
        self.outbox.log(self.worker, LogLevel::from_number(level), allowed.then_some(text));
    }
}

#[cfg(test)]
mod tests {
    use grid_protocol::link::WINDOW_MESSAGES_MAX;
    use grid_protocol::worker::FailureKind;

    use super::*;

    #[test]
    fn a_worker_whose_failures_nobody_collects_is_handed_nothing_more_until_there_is_room() {
        let mailbox = Mailbox::new(WorkerId::new(1, 1), Arc::default());
        let mut cx = Context::from_waker(Waker::noop());
        let bring = |seq| {
            let frame = MailFrame::Inline {
                worker: mailbox.worker(),
                seq,
                settled: 0,
                kind: MessageKind::Message,
                payload: b"",
            };
            mailbox.handle_frame(frame, &Bytes::new()).unwrap();
        };
        let failure =
            Failure { kind: FailureKind::Reported, message: "no".to_owned(), backtrace: Vec::new() };
        for seq in 1..=WINDOW_MESSAGES_MAX as u64 {
            bring(seq);
            assert!(matches!(mailbox.poll_incoming(&mut cx), Poll::Ready(Received::Message(_))), "{seq}");
            mailbox.fail(seq, failure.clone());
            mailbox.done(seq, None);
        }
        bring(WINDOW_MESSAGES_MAX as u64 + 1);
        assert!(mailbox.poll_incoming(&mut cx).is_pending());
        let settled = MailFrame::Settled { worker: mailbox.worker(), settled: 1 };
        mailbox.handle_frame(settled, &Bytes::new()).unwrap();
        assert!(mailbox.poll_incoming(&mut cx).is_ready());
    }
}
