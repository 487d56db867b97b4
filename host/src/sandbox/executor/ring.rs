//! A ring: frames in one direction, through memory that the other end may change at any time.
//!
//! Neither end believes the other: a position that cannot be, or a part that does not fit, is [`BrokenRing`]. What is read is
//! copied out before it is looked at.

mod reader;
mod writer;

use std::sync::atomic::AtomicU64;

pub(super) use reader::RingReader;
pub(super) use writer::RingWriter;

use super::shared_memory::RING_WORDS;

/// The other end has written what it never writes: it is not the program that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the executor broke the rules of its ring: {0}")]
pub(super) struct BrokenRing(pub(super) &'static str);

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
mod tests;
