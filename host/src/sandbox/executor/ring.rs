//! A ring: frames in one direction, through memory that the other end may change at any time.
//!
//! Neither end believes the other: a position that cannot be, or a part that does not fit, is [`BrokenRing`]. What is read is
//! copied out before it is looked at.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use bytes::{Bytes, BytesMut};

use super::frame::{Frame, FrameHead, FrameKind, HEAD_WORDS, PART_BYTES_MAX, Part};
use super::shared_memory::{Direction, RING_WORDS, RingState, SharedMemory};

/// The other end has written what it never writes: it is not the program that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the executor broke the rules of its ring: {0}")]
pub(super) struct BrokenRing(pub(super) &'static str);

/// The end of a ring that frames are put into.
#[derive(Debug)]
pub(super) struct RingWriter {
    memory: Arc<SharedMemory>,
    direction: Direction,
    written: u64,
    /// The reader's position when it was last looked at.
    read: u64,
    published: u64,
    /// Frames that wait for room, and how much of the first has been written.
    waiting: VecDeque<Frame>,
    waiting_bytes: usize,
    offset: usize,
}

/// Bytes of frames that wait for room at which an end takes on nothing more for the other.
const WAITING_BYTES_MAX: usize = 1 << 20;

impl RingWriter {
    pub(super) fn new(memory: Arc<SharedMemory>, direction: Direction) -> Self {
        Self {
            memory,
            direction,
            written: 0,
            read: 0,
            published: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            offset: 0,
        }
    }

    /// Puts a frame in, or into the queue behind those that wait for room.
    ///
    /// # Errors
    ///
    /// [`BrokenRing`] if the reader's position cannot be.
    pub(super) fn push(&mut self, frame: Frame) -> Result<(), BrokenRing> {
        if self.waiting.is_empty() {
            let Put::UpTo(offset) = self.put(&frame, 0)? else { return Ok(()) };
            self.offset = offset;
        }
        self.waiting_bytes += memory_bytes(&frame);
        self.waiting.push_back(frame);
        Ok(())
    }

    /// Puts in what waits, as far as there is room.
    ///
    /// # Errors
    ///
    /// [`BrokenRing`] if the reader's position cannot be.
    pub(super) fn advance(&mut self) -> Result<(), BrokenRing> {
        while let Some(frame) = self.waiting.pop_front() {
            match self.put(&frame, self.offset)? {
                Put::Whole => {
                    self.offset = 0;
                    self.waiting_bytes -= memory_bytes(&frame);
                }
                Put::UpTo(offset) => {
                    self.offset = offset;
                    self.waiting.push_front(frame);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// True if frames wait for room.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// True if so much waits for room that nothing should be taken on that can wait elsewhere.
    pub(super) fn is_full(&self) -> bool {
        self.waiting_bytes >= WAITING_BYTES_MAX
    }

    /// Shows the reader what was put in, if it looks.
    pub(super) fn show(&mut self) {
        self.state().written.store(self.written, Ordering::Release);
    }

    /// Shows the reader what was put in. True if the reader sleeps and must be woken, which this tells once.
    pub(super) fn publish(&mut self) -> bool {
        if self.published == self.written {
            return false;
        }
        self.show();
        self.published = self.written;
        let state = self.state();
        // Pairs with that of `RingReader::sleep`: either it sees what was written, or this sees that it sleeps.
        fence(Ordering::SeqCst);
        state.reader_sleeps.load(Ordering::Relaxed) != 0 && state.reader_sleeps.swap(0, Ordering::AcqRel) != 0
    }

    /// Says that this end waits for room. False if there is room meanwhile.
    ///
    /// # Errors
    ///
    /// [`BrokenRing`] if the reader's position cannot be.
    pub(super) fn wait_for_room(&mut self) -> Result<bool, BrokenRing> {
        self.state().writer_waits.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let needed = self.waiting.front().map_or(0, |frame| needed_words(frame, self.offset));
        let room = self.free()? >= needed;
        if room {
            self.state().writer_waits.store(0, Ordering::Relaxed);
        }
        Ok(!room)
    }

    pub(super) fn state(&self) -> &RingState {
        self.memory.ring(self.direction).0
    }

    /// Words that may be written.
    fn free(&mut self) -> Result<usize, BrokenRing> {
        let read = self.state().read.0.load(Ordering::Acquire);
        if read < self.read || read > self.written {
            return Err(BrokenRing("a position of its reader"));
        }
        self.read = read;
        Ok(RING_WORDS.saturating_sub(usize::try_from(self.written - read).unwrap_or(RING_WORDS)))
    }

    fn put(&mut self, frame: &Frame, mut offset: usize) -> Result<Put, BrokenRing> {
        loop {
            let left = frame.payload.get(offset..).unwrap_or_default();
            let (now, later) = left.split_at(left.len().min(PART_BYTES_MAX));
            let part = Part { head: frame.head, bytes: now.len(), later: later.len() };
            let used = usize::try_from(self.written - self.read).unwrap_or(RING_WORDS);
            let needed = needed_words(frame, offset);
            if needed > RING_WORDS.saturating_sub(used) && needed > self.free()? {
                return Ok(Put::UpTo(offset));
            }
            self.put_part(part, now);
            offset += now.len();
            if later.is_empty() {
                return Ok(Put::Whole);
            }
        }
    }

    /// Writes a part, for which there is room.
    fn put_part(&mut self, part: Part, payload: &[u8]) {
        let (_, words) = self.memory.ring(self.direction);
        let store = |at: u64, bytes: &[[u8; 8]]| {
            let [first, rest] = stretches(words, at, bytes.len());
            let (to_first, to_rest) = bytes.split_at(first.len());
            for (places, bytes) in [(first, to_first), (rest, to_rest)] {
                let each = places.iter().zip(bytes);
                each.for_each(|(place, word)| place.store(u64::from_le_bytes(*word), Ordering::Relaxed));
            }
            at + bytes.len() as u64
        };
        let mut at = store(self.written, &part.to_words().map(u64::to_le_bytes));
        let (whole, rest) = payload.as_chunks::<8>();
        at = store(at, whole);
        if !rest.is_empty() {
            let mut bytes = [0; 8];
            bytes.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            at = store(at, &[bytes]);
        }
        self.written = at;
    }
}

/// Bytes of a short frame's payload, for which there is a quicker way: no more than a part has.
const SHORT_BYTES_MAX: usize = 1 << 10;

/// Words that must be free for the part of a frame that begins at `offset`: its own, and for a short frame three quarters of
/// the ring. What a guest sends without end would otherwise keep its host from others for longer.
fn needed_words(frame: &Frame, offset: usize) -> usize {
    let left = frame.payload.len().saturating_sub(offset);
    let kept = if frame.payload.len() > PART_BYTES_MAX { 0 } else { RING_WORDS / 4 * 3 };
    HEAD_WORDS + left.min(PART_BYTES_MAX).div_ceil(8) + kept
}

/// Memory that a frame takes while it waits.
fn memory_bytes(frame: &Frame) -> usize {
    size_of::<Frame>() + frame.payload.len()
}

#[derive(Debug, PartialEq, Eq)]
enum Put {
    Whole,
    /// There is no room for what follows this offset.
    UpTo(usize),
}

/// The end of a ring that frames are taken from.
#[derive(Debug)]
pub(super) struct RingReader {
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
    /// Room for them.
    gathered: BytesMut,
}

/// Memory that payloads of a few bytes share: as long as one of them lives, all of it does.
const GATHERED_BYTES: usize = 4096;

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
    pub(super) fn new(memory: Arc<SharedMemory>, direction: Direction) -> Self {
        let gathered = BytesMut::new();
        Self { memory, direction, read: 0, written: 0, released: 0, partial: None, gathers: None, gathered }
    }

    /// Lets payloads of a few bytes share their memory in frames of one `kind`, of which the caller is done in about their
    /// order. The other end may have [`GATHERED_BYTES`] kept by each.
    pub(super) fn gathering(self, kind: FrameKind) -> Self {
        Self { gathers: Some(kind), ..self }
    }

    /// Takes the next frame; `None` if there is none that is complete, or if half a ring was read since [`Self::release`]
    /// and the frame goes on: then the writer can go on while the rest is read.
    ///
    /// # Errors
    ///
    /// [`BrokenRing`] if the writer's position or what it wrote cannot be.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, BrokenRing> {
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
    pub(super) fn release(&mut self) -> bool {
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
    pub(super) fn unreleased_bytes(&self) -> u64 {
        (self.read - self.released) * 8
    }

    /// True if nothing is left to read.
    pub(super) fn is_empty(&self) -> bool {
        self.state().written.load(Ordering::Acquire) == self.read
    }

    /// Says that this end is about to sleep. False if there is something to read, so that it must not.
    pub(super) fn sleep(&self) -> bool {
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
    pub(super) fn wake_up(&self) {
        // The other end may see it later, and wakes this one for nothing.
        self.state().reader_sleeps.store(0, Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> &RingState {
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
            if self.gathered.capacity() < length.next_multiple_of(8) {
                self.gathered = BytesMut::with_capacity(GATHERED_BYTES);
            }
            words.for_each(|word| self.gathered.extend_from_slice(&word));
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

/// The `count` words from a position on, fewer than a ring has: up to the end of the ring, and on from its beginning.
fn stretches(words: &[AtomicU64], at: u64, count: usize) -> [&[AtomicU64]; 2] {
    // Truncation is meant: the number of words is a power of two.
    #[expect(clippy::cast_possible_truncation, reason = "masked")]
    let (before, from) = words.split_at(at as usize & (RING_WORDS - 1));
    let first = from.len().min(count);
    [from.get(..first), before.get(..count - first)].map(Option::unwrap_or_default)
}

const _: () = assert!(RING_WORDS.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::super::frame::{FRAME_BYTES_MAX, FrameKind};
    use super::*;

    fn ring() -> (RingWriter, RingReader) {
        let memory = Arc::new(SharedMemory::new().unwrap().0);
        let (to, from) = (memory.clone(), memory);
        (RingWriter::new(to, Direction::ToHost), RingReader::new(from, Direction::ToHost))
    }

    fn frame(number: u64, length: usize) -> Frame {
        let payload: Vec<u8> = (0..length).map(|at| (at * 31).to_le_bytes()[0]).collect();
        Frame::new(FrameKind::Sent, 1, number, Bytes::from(payload))
    }

    #[test]
    fn frames_of_every_length_come_out_as_they_were_put_in() {
        every_length(ring());
    }

    #[test]
    fn payloads_of_a_few_bytes_that_share_their_memory_are_the_same_and_others_do_not_share_it() {
        let (writer, reader) = ring();
        every_length((writer, reader.gathering(FrameKind::Sent)));
        let (mut writer, reader) = ring();
        let mut reader = reader.gathering(FrameKind::Sent);
        let mut read = |frame: Frame| {
            writer.push(frame).unwrap();
            writer.publish();
            reader.next().unwrap().unwrap().payload
        };
        let [one, other] = [1, 2].map(|number| read(frame(number, 128)));
        assert!(!one.is_unique() && !other.is_unique());
        let kinds = [FrameKind::Sent, FrameKind::Log];
        let apart = kinds.map(|kind| {
            Frame::new(kind, 1, 3, frame(3, if kind == FrameKind::Sent { 129 } else { 8 }).payload)
        });
        assert!(apart.into_iter().all(|frame| read(frame).is_unique()));
    }

    fn every_length((mut writer, mut reader): (RingWriter, RingReader)) {
        let lengths = [
            0,
            1,
            7,
            8,
            9,
            127,
            128,
            129,
            SHORT_BYTES_MAX,
            SHORT_BYTES_MAX + 1,
            PART_BYTES_MAX,
            PART_BYTES_MAX + 1,
            5 << 20,
            3,
            (5 << 20) + 3,
            0,
        ];
        let frames: Vec<_> =
            lengths.iter().enumerate().map(|(at, length)| frame(at as u64, *length)).collect();
        let mut came = Vec::new();
        frames.iter().for_each(|frame| writer.push(frame.clone()).unwrap());
        while came.len() < frames.len() {
            writer.advance().unwrap();
            writer.publish();
            came.extend(std::iter::from_fn(|| reader.next().unwrap()));
            reader.release();
        }
        assert!(came == frames);
        assert!(reader.is_empty() && !writer.is_waiting());
    }

    #[test]
    fn short_frames_fill_a_quarter_of_the_ring_and_a_long_one_all_of_it() {
        let filled = |length| {
            let (mut writer, _) = ring();
            while !writer.is_waiting() {
                writer.push(frame(1, length)).unwrap();
            }
            usize::try_from(writer.written).unwrap()
        };
        assert!(filled(100) <= RING_WORDS / 4 && filled(100) > RING_WORDS / 5);
        assert!(filled(8 << 20) > RING_WORDS / 10 * 9);
    }

    #[test]
    fn a_ring_whose_reader_does_not_read_is_full_until_it_does() {
        let (mut writer, mut reader) = ring();
        for _ in 0..2 * WAITING_BYTES_MAX / 1000 {
            writer.push(frame(1, 1000)).unwrap();
        }
        assert!(writer.is_full());
        while writer.is_waiting() {
            while reader.next().unwrap().is_some() {}
            reader.release();
            writer.advance().unwrap();
            writer.publish();
        }
        assert_eq!(writer.waiting_bytes, 0);
    }

    #[test]
    fn half_of_a_long_frame_is_read_while_the_other_half_is_written() {
        let (mut writer, mut reader) = ring();
        writer.push(frame(1, 3 << 20)).unwrap();
        assert!(writer.wait_for_room().unwrap());
        writer.publish();
        assert_eq!(reader.next(), Ok(None));
        assert!(!reader.is_empty(), "all was read before the writer got room");
        assert!(reader.release(), "the writer waits, and is not woken");
        assert!(!writer.wait_for_room().unwrap());
    }

    #[test]
    fn a_part_that_does_not_continue_its_frame_breaks_the_ring() {
        let head = frame(1, 0).head;
        let first = Part { head, bytes: 8, later: 16 };
        let other = FrameHead { number: 2, ..head };
        for part in [
            Part { head, bytes: 8, later: 0 },
            Part { head, bytes: 8, later: 16 },
            Part { head: other, bytes: 8, later: 8 },
            Part { head, bytes: 8, later: FRAME_BYTES_MAX },
        ] {
            let (mut writer, mut reader) = ring();
            writer.put_part(first, &[0; 8]);
            writer.put_part(part, &[0; 8]);
            writer.publish();
            assert!(reader.next().is_err(), "{part:?}");
        }
    }
}
