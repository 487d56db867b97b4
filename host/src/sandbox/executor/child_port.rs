//! A guest's mail at its end: what an executor has instead of a mailbox.

use std::cell::Cell;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use grid_protocol::link::MessageKind;
use grid_protocol::wire::Wire;
use grid_protocol::worker::Failure;
use parking_lot::{Mutex, MutexGuard};
use rustix::thread::futex;

use super::credit::{ROOM_BYTES, message_cost};
use super::frame::{Frame, FrameKind, NOTHING};
use super::ring::RingWriter;
use super::shared_memory::{SharedMemory, WITHDRAWN};
use crate::mailbox::{Delivery, MessagePort, Received};
use crate::sandbox::meter::{monotonic, nanos};
use crate::sandbox::pool;

thread_local! {
    /// Since when this thread wakes the host later.
    static WAKES_LATER: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Time in nanoseconds after which the host is woken at once.
const LATEST: u64 = 100_000;

/// The way to the host, which all guests of an executor share.
#[derive(Debug)]
pub(super) struct ToHost {
    writer: Mutex<RingWriter>,
    /// Wakes the host.
    bell: OwnedFd,
}

impl ToHost {
    pub(super) fn new(writer: RingWriter, bell: OwnedFd) -> Self {
        Self { writer: Mutex::new(writer), bell }
    }

    /// Puts a frame in, and waits for room for it if there is none. It may not be seen before [`Self::publish`].
    fn put(&self, frame: Frame) {
        let mut writer = self.writer.lock();
        fatal(writer.push(frame));
        while writer.is_waiting() {
            // The host always reads on.
            self.ring_if(writer.publish());
            if fatal(writer.wait_for_room()) {
                // It fails if there is room meanwhile; either way there is a look at it.
                let _ = futex::wait(&writer.state().writer_waits, futex::Flags::empty(), 1, None);
            }
            fatal(writer.advance());
        }
    }

    /// Shows the host what was put in, if it looks. It is woken by the next [`Self::publish`].
    fn show(&self) {
        self.writer.lock().show();
    }

    /// Shows the host what was put in, and wakes it if it sleeps; not before the end of [`Self::wake_after`] if this thread
    /// is in there for less than [`LATEST`].
    pub(super) fn publish(&self) {
        self.publish_at(monotonic);
    }

    /// As [`Self::publish`], for a thread that has another way to know about what time it is.
    fn publish_at(&self, now: impl FnOnce() -> u64) {
        if WAKES_LATER.get().is_some_and(|since| now().saturating_sub(since) < LATEST) {
            return self.show();
        }
        let wake = self.writer.lock().publish();
        self.ring_if(wake);
    }

    /// Does `work`, and wakes the host afterwards for what this thread puts in meanwhile: if both share a core, the host
    /// would otherwise take it over in the middle.
    pub(super) fn wake_after(&self, work: impl FnOnce()) {
        WAKES_LATER.set(Some(monotonic()));
        work();
        WAKES_LATER.set(None);
        self.publish();
    }

    /// Wakes the host for what this thread has put in, and from now on at once, even in [`Self::wake_after`].
    pub(super) fn wake_now(&self) {
        WAKES_LATER.set(None);
        self.publish();
    }

    /// Sends a frame now.
    pub(super) fn send(&self, frame: Frame) {
        self.put(frame);
        self.publish();
    }

    fn ring_if(&self, wake: bool) {
        if wake {
            self.ring();
        }
    }

    /// Wakes the host.
    pub(super) fn ring(&self) {
        // The counter overflows after 2⁶⁴ writes.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

/// Ends this process if the host has broken the rules of a ring: then it is not the program that started this one.
fn fatal<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| {
        crate::log::say(&format!("the host broke the rules: {error}"));
        std::process::exit(1)
    })
}

/// The mail of one guest.
#[derive(Debug)]
pub(super) struct ChildPort {
    guest: u32,
    to_host: Arc<ToHost>,
    /// Frames that were put into the ring since the host was last woken for them.
    unflushed: AtomicU32,
    /// When the poll began in which the host was last woken, as far as the guest shares its thread.
    flushed_in: AtomicU64,
    /// It waits for a message, and does nothing else.
    waits: AtomicBool,
    /// Where the guest says which message it has begun with, if it has this executor to itself.
    memory: Option<Arc<SharedMemory>>,
    inner: Mutex<PortState>,
}

#[derive(Debug)]
struct PortState {
    incoming: VecDeque<(u64, Bytes)>,
    /// What it has sent last, which may go with the word that its message is done.
    held: Option<Bytes>,
    /// When the guest took its present message, or was done with the last one if it has taken no other.
    took: Instant,
    /// It was done just now.
    was_done_now: bool,
    stopping: bool,
    /// Bytes that may be sent. Below zero after a long message.
    room: i64,
    on_incoming: Option<Waker>,
    on_room: Option<Waker>,
}

impl ChildPort {
    /// The port of a guest; of one that has this executor to itself, with the `memory` that it shares with the host.
    pub(super) fn new(guest: u32, to_host: Arc<ToHost>, memory: Option<Arc<SharedMemory>>) -> Self {
        if let Some(memory) = &memory {
            memory.header().begun.store(0, Ordering::Release);
        }
        let inner = PortState {
            incoming: VecDeque::new(),
            held: None,
            took: Instant::now(),
            was_done_now: false,
            stopping: false,
            room: ROOM_BYTES,
            on_incoming: None,
            on_room: None,
        };
        Self {
            guest,
            to_host,
            memory,
            unflushed: AtomicU32::new(0),
            flushed_in: AtomicU64::new(u64::MAX),
            waits: AtomicBool::new(false),
            inner: Mutex::new(inner),
        }
    }

    /// True unless the guest waits for a message.
    pub(super) fn is_at_work(&self) -> bool {
        !self.waits.load(Ordering::Relaxed)
    }

    pub(super) fn deliver(&self, seq: u64, payload: Bytes) {
        let mut inner = self.lock();
        self.waits.store(false, Ordering::Relaxed);
        inner.incoming.push_back((seq, payload));
        wake(inner, |inner| &mut inner.on_incoming);
    }

    pub(super) fn stop(&self) {
        let mut inner = self.lock();
        self.waits.store(false, Ordering::Relaxed);
        inner.stopping = true;
        wake(inner, |inner| &mut inner.on_incoming);
    }

    /// Drops the messages up to `upto` that the guest has not begun with, which the host has taken back.
    pub(super) fn withdraw(&self, upto: u64) {
        let mut inner = self.lock();
        inner.incoming.retain(|(seq, _)| *seq > upto);
        if let Some(memory) = &self.memory {
            memory.header().begun.store(upto, Ordering::Release);
        }
        wake(inner, |inner| &mut inner.on_incoming);
    }

    /// Says that the guest begins with a message; false if the host has taken messages back.
    fn begins_with(&self, seq: u64) -> bool {
        let Some(memory) = &self.memory else {
            return true;
        };
        let begin = |begun| (begun & WITHDRAWN == 0).then_some(seq);
        memory.header().begun.fetch_update(Ordering::AcqRel, Ordering::Acquire, begin).is_ok()
    }

    pub(super) fn add_room(&self, bytes: u64) {
        let mut inner = self.lock();
        inner.room = inner.room.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        wake(inner, |inner| &mut inner.on_room);
    }

    /// Tells the host that the guest is ready for messages, after what it has sent so far.
    pub(super) fn start(&self) {
        let mut inner = self.lock();
        self.put_held_of(&mut inner);
        self.put(FrameKind::Started, 0, NOTHING);
        drop(inner);
        self.to_host.publish();
    }

    /// True if messages wait that the guest may begin with.
    fn has_more(&self) -> bool {
        !self.lock().incoming.is_empty()
    }

    /// Puts what was sent last into the ring.
    pub(super) fn put_held(&self) {
        self.put_held_of(&mut self.lock());
    }

    /// The caller holds the lock until what follows is in the ring as well, so that no other thread puts this behind it.
    fn put_held_of(&self, inner: &mut PortState) {
        if let Some(payload) = inner.held.take() {
            self.put(FrameKind::Sent, 0, payload);
        }
    }

    fn put(&self, kind: FrameKind, number: u64, payload: Bytes) {
        self.to_host.put(Frame::new(kind, self.guest, number, payload));
        self.unflushed.fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, PortState> {
        self.inner.lock()
    }
}

/// Wakes a waiter without holding the lock.
fn wake(mut inner: MutexGuard<'_, PortState>, place: impl FnOnce(&mut PortState) -> &mut Option<Waker>) {
    let waker = place(&mut inner).take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl MessagePort for ChildPort {
    fn poll_incoming(&self, cx: &mut Context<'_>) -> Poll<Received> {
        let mut inner = self.lock();
        self.waits.store(false, Ordering::Relaxed);
        if inner.stopping {
            return Poll::Ready(Received::Stop);
        }
        if let Some(seq) = inner.incoming.front().map(|(seq, _)| *seq)
            && self.begins_with(seq)
            && let Some((seq, payload)) = inner.incoming.pop_front()
        {
            // Nobody asks how long a worker takes for a message. The clock takes a twentieth of a short task.
            if self.memory.is_some() && !std::mem::take(&mut inner.was_done_now) {
                inner.took = Instant::now();
            }
            return Poll::Ready(Received::Message(Delivery { seq, kind: MessageKind::Message, payload }));
        }
        self.waits.store(true, Ordering::Relaxed);
        inner.was_done_now = false;
        inner.on_incoming = Some(cx.waker().clone());
        Poll::Pending
    }

    fn send(&self, payload: Bytes) {
        let mut inner = self.lock();
        inner.room -= message_cost(payload.len());
        self.put_held_of(&mut inner);
        inner.held = Some(payload);
    }

    fn has_room(&self) -> bool {
        self.lock().room > 0
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.room > 0 {
            return Poll::Ready(());
        }
        inner.on_room = Some(cx.waker().clone());
        Poll::Pending
    }

    fn fail(&self, seq: u64, mut failure: Failure) {
        failure.clamp();
        let mut inner = self.lock();
        self.put_held_of(&mut inner);
        self.put(FrameKind::Failed, seq, failure.to_body().into());
    }

    fn done(&self, seq: u64, _: Option<Duration>) {
        let mut inner = self.lock();
        let ran = self.memory.as_ref().map_or(0, |_| {
            let now = Instant::now();
            inner.was_done_now = true;
            nanos(now - std::mem::replace(&mut inner.took, now))
        });
        self.to_host.put(Frame::done(self.guest, seq, ran, inner.held.take()));
        self.unflushed.fetch_add(1, Ordering::Relaxed);
    }

    fn flush(&self) {
        self.put_held();
        let unflushed = self.unflushed.load(Ordering::Relaxed);
        if unflushed == 0 {
            return;
        }
        // While it has other messages to handle the host is woken now and then: that takes longer than a short message. Who
        // oversees the guest wakes the host if the next message takes long.
        if self.memory.is_some() && unflushed < UNFLUSHED_MAX && self.has_more() {
            return self.to_host.show();
        }
        self.unflushed.store(0, Ordering::Relaxed);
        // The first time in a poll of a guest that shares its thread: most polls have no other, and are short.
        let poll = pool::poll_began();
        let is_first = self.memory.is_none() && self.flushed_in.swap(poll, Ordering::Relaxed) != poll;
        self.to_host.publish_at(|| if is_first { poll } else { monotonic() });
    }

    fn log(&self, level: u8, text: &str, allowed: bool) {
        let (kind, text) = if allowed { (FrameKind::Log, text) } else { (FrameKind::LogDropped, "") };
        let text = text.get(..text.floor_char_boundary(LOG_BYTES_MAX)).unwrap_or_default();
        self.put(kind, level.into(), Bytes::copy_from_slice(text.as_bytes()));
        self.to_host.publish();
    }
}

/// Frames for which the host need not be woken while the guest has messages to handle.
const UNFLUSHED_MAX: u32 = 128;

/// Bytes of a line of a log on its way to the host, which keeps fewer.
pub(super) const LOG_BYTES_MAX: usize = 4 * grid_protocol::limits::LOG_LINE_BYTES_MAX;

#[cfg(test)]
mod tests {
    use rustix::event::{EventfdFlags, eventfd};

    use super::super::ring::RingReader;
    use super::super::shared_memory::Direction;
    use super::*;

    /// A guest's port, and the host's end of the ring.
    fn port() -> (ChildPort, RingReader) {
        let memory = Arc::new(SharedMemory::new().unwrap().0);
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let to_host = ToHost::new(RingWriter::new(memory.clone(), Direction::ToHost), bell);
        (ChildPort::new(1, Arc::new(to_host), None), RingReader::new(memory, Direction::ToHost))
    }

    #[test]
    fn what_a_guest_sends_before_its_start_is_over_goes_before_the_word_that_it_is() {
        let (port, mut reader) = port();
        port.send(Bytes::from_static(b"from init"));
        port.start();
        port.send(Bytes::from_static(b"later"));
        port.flush();
        let kinds: Vec<_> =
            std::iter::from_fn(|| reader.next().unwrap()).map(|frame| frame.head.kind).collect();
        assert_eq!(kinds, [FrameKind::Sent, FrameKind::Started, FrameKind::Sent]);
    }

    #[test]
    fn the_answers_of_a_poll_that_takes_long_do_not_wait_for_its_end() {
        let (port, reader) = port();
        let is_rung = || rustix::io::read(&port.to_host.bell, &mut [0; 8]).is_ok();
        port.to_host.wake_after(|| {
            assert!(reader.sleep());
            port.send(Bytes::from_static(b"at once"));
            port.flush();
            assert!(!is_rung(), "the end of the row does it");
            std::thread::sleep(Duration::from_nanos(2 * LATEST));
            port.send(Bytes::from_static(b"late"));
            port.flush();
            assert!(is_rung());
        });
    }
}
