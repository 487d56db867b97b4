//! The end of a ring that frames are put into.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::{BrokenRing, stretches};
use crate::sandbox::executor::frame::{Frame, HEAD_WORDS, PART_BYTES_MAX, Part};
use crate::sandbox::executor::shared_memory::{Direction, RING_WORDS, RingState, SharedMemory};

/// The end of a ring that frames are put into.
#[derive(Debug)]
pub(in crate::sandbox::executor) struct RingWriter {
    memory: Arc<SharedMemory>,
    direction: Direction,
    pub(super) written: u64,
    /// The reader's position when it was last looked at.
    read: u64,
    published: u64,
    /// Frames that wait for room, and how much of the first has been written.
    waiting: VecDeque<Frame>,
    pub(super) waiting_bytes: usize,
    offset: usize,
}

/// Bytes of frames that wait for room at which an end takes on nothing more for the other.
pub(super) const WAITING_BYTES_MAX: usize = 1 << 20;

impl RingWriter {
    pub(in crate::sandbox::executor) fn new(memory: Arc<SharedMemory>, direction: Direction) -> Self {
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
    pub(in crate::sandbox::executor) fn push(&mut self, frame: Frame) -> Result<(), BrokenRing> {
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
    pub(in crate::sandbox::executor) fn advance(&mut self) -> Result<(), BrokenRing> {
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
    pub(in crate::sandbox::executor) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// True if so much waits for room that nothing should be taken on that can wait elsewhere.
    pub(in crate::sandbox::executor) fn is_full(&self) -> bool {
        self.waiting_bytes >= WAITING_BYTES_MAX
    }

    /// Shows the reader what was put in, if it looks.
    pub(in crate::sandbox::executor) fn show(&mut self) {
        self.state().written.store(self.written, Ordering::Release);
    }

    /// Shows the reader what was put in. True if the reader sleeps and must be woken, which this tells once.
    pub(in crate::sandbox::executor) fn publish(&mut self) -> bool {
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
    pub(in crate::sandbox::executor) fn wait_for_room(&mut self) -> Result<bool, BrokenRing> {
        self.state().writer_waits.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let needed = self.waiting.front().map_or(0, |frame| needed_words(frame, self.offset));
        let room = self.free()? >= needed;
        if room {
            self.state().writer_waits.store(0, Ordering::Relaxed);
        }
        Ok(!room)
    }

    pub(in crate::sandbox::executor) fn state(&self) -> &RingState {
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
    pub(super) fn put_part(&mut self, part: Part, payload: &[u8]) {
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
