//! A ring: frames in one direction, through memory that the other end may change at any time.
//!
//! Neither end believes the other: a position that cannot be, or a part that does not fit, is [`BrokenRing`]. What is read is
//! copied out before it is looked at.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use bytes::{BufMut, BytesMut};

use super::frame::{FRAME_BYTES_MAX, Frame, FrameHead, HEAD_WORDS, PART_BYTES_MAX, Part};
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
    offset: usize,
}

impl RingWriter {
    pub(super) fn new(memory: Arc<SharedMemory>, direction: Direction) -> Self {
        Self { memory, direction, written: 0, read: 0, published: 0, waiting: VecDeque::new(), offset: 0 }
    }

    /// Puts a frame in, or into the queue behind those that wait for room.
    ///
    /// # Errors
    ///
    /// [`BrokenRing`] if the reader's position cannot be.
    pub(super) fn push(&mut self, frame: Frame) -> Result<(), BrokenRing> {
        self.waiting.push_back(frame);
        self.advance()
    }

    /// Puts in what waits, as far as there is room.
    ///
    /// # Errors
    ///
    /// [`BrokenRing`] if the reader's position cannot be.
    pub(super) fn advance(&mut self) -> Result<(), BrokenRing> {
        while let Some(frame) = self.waiting.pop_front() {
            match self.put(&frame, self.offset)? {
                Put::Whole => self.offset = 0,
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
        let before = self.free()?;
        let room = before > HEAD_WORDS + self.next_bytes().min(PART_BYTES_MAX).div_ceil(8);
        if room {
            self.state().writer_waits.store(0, Ordering::Relaxed);
        }
        Ok(!room)
    }

    /// Bytes of the next part.
    fn next_bytes(&self) -> usize {
        self.waiting.front().map_or(0, |frame| frame.payload.len().saturating_sub(self.offset))
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
            let part = Part { head: frame.head, bytes: now.len(), more: !later.is_empty() };
            let used = usize::try_from(self.written - self.read).unwrap_or(RING_WORDS);
            if part.words() > RING_WORDS.saturating_sub(used) && part.words() > self.free()? {
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
        let mut at = self.written;
        let mut put = |word: u64| {
            if let Some(place) = slot(words, at) {
                place.store(word, Ordering::Relaxed);
            }
            at += 1;
        };
        part.to_words().into_iter().for_each(&mut put);
        let (whole, rest) = payload.as_chunks::<8>();
        whole.iter().for_each(|bytes| put(u64::from_le_bytes(*bytes)));
        if !rest.is_empty() {
            let mut bytes = [0; 8];
            bytes.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            put(u64::from_le_bytes(bytes));
        }
        self.written = at;
    }
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
    /// The parts so far of a frame that is not complete.
    partial: Option<(FrameHead, BytesMut)>,
}

impl RingReader {
    pub(super) fn new(memory: Arc<SharedMemory>, direction: Direction) -> Self {
        Self { memory, direction, read: 0, written: 0, released: 0, partial: None }
    }

    /// Takes the next frame; `None` if there is none that is complete.
    ///
    /// # Errors
    ///
    /// [`BrokenRing`] if the writer's position or what it wrote cannot be.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, BrokenRing> {
        loop {
            let Some(part) = self.next_part()? else {
                return Ok(None);
            };
            let at = self.read + HEAD_WORDS as u64;
            self.read += part.words() as u64;
            if self.partial.is_none() && !part.more {
                let mut payload = BytesMut::with_capacity(part.bytes.next_multiple_of(8));
                self.copy(at, part.bytes, &mut payload);
                return Ok(Some(Frame { head: part.head, payload: payload.freeze() }));
            }
            let (head, mut payload) = self.partial.take().unwrap_or((part.head, BytesMut::new()));
            if head != part.head {
                return Err(BrokenRing("a part of another frame"));
            }
            if payload.len() + part.bytes > FRAME_BYTES_MAX {
                return Err(BrokenRing("a frame that is too long"));
            }
            self.copy(at, part.bytes, &mut payload);
            if !part.more {
                return Ok(Some(Frame { head, payload: payload.freeze() }));
            }
            self.partial = Some((head, payload));
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

    /// Says that this end is about to sleep. False if there is something to read, so that it must not.
    pub(super) fn sleep(&self) -> bool {
        let state = self.state();
        state.reader_sleeps.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if state.written.load(Ordering::Acquire) == self.read {
            return true;
        }
        state.reader_sleeps.store(0, Ordering::Relaxed);
        false
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
        let word =
            |offset: u64| slot(words, self.read + offset).map_or(0, |word| word.load(Ordering::Relaxed));
        let part = Part::from_words([word(0), word(1), word(2), word(3)]).ok_or(BrokenRing("no head"))?;
        if part.words() as u64 > available {
            return Err(BrokenRing("a part that is not there"));
        }
        Ok(Some(part))
    }

    /// Copies `bytes` bytes, from position `at` on, to the end of `to`.
    fn copy(&self, at: u64, bytes: usize, to: &mut BytesMut) {
        let (_, words) = self.memory.ring(self.direction);
        let length = to.len() + bytes;
        to.reserve(bytes.next_multiple_of(8));
        for offset in 0..bytes.div_ceil(8) as u64 {
            let word = slot(words, at + offset).map_or(0, |word| word.load(Ordering::Relaxed));
            to.put_slice(&word.to_le_bytes());
        }
        to.truncate(length);
    }
}

/// The word at a position.
fn slot(words: &[AtomicU64], at: u64) -> Option<&AtomicU64> {
    // Truncation is meant: the number of words is a power of two.
    #[expect(clippy::cast_possible_truncation, reason = "masked")]
    words.get(at as usize & (RING_WORDS - 1))
}

const _: () = assert!(RING_WORDS.is_power_of_two());
