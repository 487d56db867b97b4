//! The end of a ring that frames are taken from.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use bytes::{Bytes, BytesMut};

use super::{BrokenRing, stretches};
use crate::sandbox::executor::frame::{Frame, FrameHead, FrameKind, HEAD_WORDS, Part};
use crate::sandbox::executor::shared_memory::{Direction, RING_WORDS, RingState, SharedMemory};

/// Bytes of a short frame's payload, for which there is a quicker way: no more than a part has.
pub(super) const SHORT_BYTES_MAX: usize = 1 << 10;

/// The end of a ring that frames are taken from.
#[derive(Debug)]
pub(in crate::sandbox::executor) struct RingReader {
    memory: Arc<SharedMemory>,
    direction: Direction,
    read: u64,
    /// The writer's position when it was last looked at.
    written: u64,
    released: u64,
    /// A frame that is not complete.
    partial: Option<Partial>,
    /// Payloads of a few bytes share their memory in frames of this kind.
    gathers: Option<FrameKind>,
    /// Memory that they share, in bytes: as long as one of them lives, all of it does.
    gathered_bytes: usize,
    /// Room for them.
    gathered: BytesMut,
}

/// The longest of them.
const GATHERED_BYTES_MAX: usize = 128;

/// The parts so far of a frame.
#[derive(Debug)]
struct Partial {
    head: FrameHead,
    /// Their bytes, as words of the ring.
    words: Vec<[u8; 8]>,
    /// Bytes that follow.
    missing: usize,
}

impl RingReader {
    pub(in crate::sandbox::executor) fn new(memory: Arc<SharedMemory>, direction: Direction) -> Self {
        Self {
            memory,
            direction,
            read: 0,
            written: 0,
            released: 0,
            partial: None,
            gathers: None,
            gathered_bytes: 0,
            gathered: BytesMut::new(),
        }
    }

    /// Lets payloads of a few bytes share memory, `bytes` long, in frames of one `kind`. The other end may have as much kept by
    /// each of them.
    pub(in crate::sandbox::executor) fn gathering(self, kind: FrameKind, bytes: usize) -> Self {
        Self { gathers: Some(kind), gathered_bytes: bytes, ..self }
    }

    /// Takes the next frame; `None` if there is none that is complete, or if half a ring was read since [`Self::release`]
    /// and the frame goes on: then the writer can go on while the rest is read.
    ///
    /// # Errors
    ///
    /// [`BrokenRing`] if the writer's position or what it wrote cannot be.
    pub(in crate::sandbox::executor) fn next(&mut self) -> Result<Option<Frame>, BrokenRing> {
        loop {
            if self.partial.is_some() && self.unreleased_bytes() >= RING_WORDS as u64 * 4 {
                return Ok(None);
            }
            let Some(part) = self.next_part()? else {
                return Ok(None);
            };
            let at = self.read + HEAD_WORDS as u64;
            self.read += part.words() as u64;
            if part.bytes <= SHORT_BYTES_MAX && part.later == 0 && self.partial.is_none() {
                let gathers = self.gathers == Some(part.head.kind);
                let payload = self.short_payload(at, part.bytes, gathers);
                return Ok(Some(Frame { head: part.head, payload }));
            }
            let missing = part.bytes + part.later;
            let mut partial = match self.partial.take() {
                // No more than a frame may have, which `Part` has checked.
                None => {
                    let words = Vec::with_capacity(missing.div_ceil(8));
                    Partial { head: part.head, words, missing }
                }
                Some(partial) if (partial.head, partial.missing) == (part.head, missing) => partial,
                Some(_) => return Err(BrokenRing("a part of another frame")),
            };
            self.copy(at, part.bytes.div_ceil(8), &mut partial.words);
            if part.later == 0 {
                let mut payload = partial.words.into_flattened();
                let padding = part.bytes.next_multiple_of(8) - part.bytes;
                payload.truncate(payload.len() - padding);
                return Ok(Some(Frame { head: part.head, payload: payload.into() }));
            }
            self.partial = Some(Partial { missing: part.later, ..partial });
        }
    }

    /// Gives the room of all frames that were taken back to the writer. True if the writer waits for it and must be
    /// woken, which it is told once.
    pub(in crate::sandbox::executor) fn release(&mut self) -> bool {
        if self.released == self.read {
            return false;
        }
        self.released = self.read;
        let state = self.state();
        state.read.0.store(self.read, Ordering::Release);
        fence(Ordering::SeqCst);
        state.writer_waits.load(Ordering::Relaxed) != 0 && state.writer_waits.swap(0, Ordering::AcqRel) != 0
    }

    /// Bytes that were read since [`Self::release`].
    pub(in crate::sandbox::executor) fn unreleased_bytes(&self) -> u64 {
        (self.read - self.released) * 8
    }

    /// True if nothing is left to read.
    pub(in crate::sandbox::executor) fn is_empty(&self) -> bool {
        self.state().written.load(Ordering::Acquire) == self.read
    }

    /// Says that this end is about to sleep. False if there is something to read, so that it must not.
    pub(in crate::sandbox::executor) fn sleep(&self) -> bool {
        let state = self.state();
        state.reader_sleeps.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.is_empty() {
            return true;
        }
        state.reader_sleeps.store(0, Ordering::Relaxed);
        false
    }

    /// Says that this end does not sleep any more, so that nobody need wake it.
    pub(in crate::sandbox::executor) fn wake_up(&self) {
        // The other end may see it later, and wakes this one for nothing.
        self.state().reader_sleeps.store(0, Ordering::Relaxed);
    }

    pub(in crate::sandbox::executor) fn state(&self) -> &RingState {
        self.memory.ring(self.direction).0
    }

    fn next_part(&mut self) -> Result<Option<Part>, BrokenRing> {
        if self.written == self.read {
            let written = self.state().written.load(Ordering::Acquire);
            if written < self.written || written - self.read > RING_WORDS as u64 {
                return Err(BrokenRing("a position of its writer"));
            }
            self.written = written;
            if written == self.read {
                return Ok(None);
            }
        }
        let available = self.written - self.read;
        if available < HEAD_WORDS as u64 {
            return Err(BrokenRing("half a head"));
        }
        let (_, words) = self.memory.ring(self.direction);
        let mut head = [0; HEAD_WORDS];
        let [first, rest] = stretches(words, self.read, HEAD_WORDS);
        let places = first.iter().chain(rest);
        head.iter_mut().zip(places).for_each(|(word, place)| *word = place.load(Ordering::Relaxed));
        let part = Part::from_words(head).ok_or(BrokenRing("no head"))?;
        if part.words() as u64 > available {
            return Err(BrokenRing("a part that is not there"));
        }
        Ok(Some(part))
    }

    /// The payload of a short frame, at position `at`.
    fn short_payload(&mut self, at: u64, length: usize, gathers: bool) -> Bytes {
        let (_, words) = self.memory.ring(self.direction);
        let places = stretches(words, at, length.div_ceil(8)).into_iter().flatten();
        let words = places.map(|place| place.load(Ordering::Relaxed).to_le_bytes());
        if gathers && (1..=GATHERED_BYTES_MAX).contains(&length) {
            let padded = length.next_multiple_of(8);
            if self.gathered.capacity() < padded {
                self.gathered = BytesMut::with_capacity(self.gathered_bytes);
            }
            // To append each word would be a call for each.
            self.gathered.resize(padded, 0);
            self.gathered.as_chunks_mut::<8>().0.iter_mut().zip(words).for_each(|(to, word)| *to = word);
            let mut payload = self.gathered.split().freeze();
            payload.truncate(length);
            return payload;
        }
        // Of its own length: with room to spare there would be a second allocation.
        let mut payload = Vec::with_capacity(length);
        for word in words {
            let left = length - payload.len();
            payload.extend_from_slice(word.get(..left.min(8)).unwrap_or_default());
        }
        payload.into()
    }

    /// Copies `count` words, from position `at` on, to the end of `to`.
    fn copy(&self, at: u64, count: usize, to: &mut Vec<[u8; 8]>) {
        let (_, words) = self.memory.ring(self.direction);
        for places in stretches(words, at, count) {
            to.extend(places.iter().map(|place| place.load(Ordering::Relaxed).to_le_bytes()));
        }
    }
}
