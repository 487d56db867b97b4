//! Counts primes the naive way: tries every smaller divisor until one divides.
//!
//! A message is the CBOR pair `[from, to]`, or a line of text with a number `n`, which means `[n, n + 1000]`; the
//! answer is the CBOR map `{from, to, count, largest}` for the primes `p` with `from <= p < to`.

use std::ops::Range;

use grid_guest::{Turn, Worker, fail, from_cbor, send_cbor};
use serde::{Deserialize, Serialize};

/// What is known so far about the range at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// First number of the range.
    pub from: u32,
    /// One past its last number.
    pub to: u32,
    /// Primes in it.
    pub count: u32,
    /// The largest of them.
    pub largest: Option<u32>,
}

/// A worker that counts primes, a slice of the range a turn.
#[derive(Debug, Default)]
pub struct Primes {
    left: Range<u32>,
    found: Option<Found>,
}

/// Numbers looked at in one turn.
const SLICE: u32 = 100;

impl Worker for Primes {
    fn new(_arguments: &[u8]) -> Result<Self, String> {
        Ok(Self::default())
    }

    fn handle_msg(&mut self, message: &[u8]) {
        match range(message) {
            Ok(Range { start: from, end: to }) => {
                self.left = from..to;
                self.found = Some(Found { from, to, count: 0, largest: None });
            }
            Err(why) => fail(&why),
        }
    }

    fn turn(&mut self) -> Turn {
        let Some(found) = &mut self.found else { return Turn::Idle };
        for number in self.left.by_ref().take(SLICE as usize) {
            if is_prime(number) {
                found.count += 1;
                found.largest = Some(number);
            }
        }
        if self.left.is_empty() {
            send_cbor(found);
            self.found = None;
            return Turn::Idle;
        }
        Turn::Again
    }
}

/// Numbers in the range that a line of text stands for.
const LINE: u32 = 1000;

/// The range that a message asks for. No digit and no space begins a pair in CBOR, so the two forms never meet.
fn range(message: &[u8]) -> Result<Range<u32>, String> {
    if let Some(first) = std::str::from_utf8(message).ok().and_then(|text| text.trim().parse::<u32>().ok()) {
        return Ok(first..first.saturating_add(LINE));
    }
    let (from, to) = from_cbor(message)
        .map_err(|error| format!("expected the CBOR pair [from, to] or a number as text: {error}"))?;
    Ok(from..to)
}

fn is_prime(number: u32) -> bool {
    number >= 2 && (2..number).all(|divisor| !number.is_multiple_of(divisor))
}

grid_guest::worker!(Primes);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primes_below_a_thousand_are_counted() {
        let mut worker = Primes::default();
        let message = grid_guest::to_cbor(&(0, 1000)).unwrap();
        let done = grid_guest::testing::deliver(&mut worker, &message, 100);
        let found: Found = from_cbor(&done.sent[0]).unwrap();
        assert_eq!(found, Found { from: 0, to: 1000, count: 168, largest: Some(997) });
        let done = grid_guest::testing::deliver(&mut worker, b"0", 100);
        assert_eq!(from_cbor::<Found>(&done.sent[0]).unwrap(), found);
    }

    #[test]
    fn what_is_neither_a_pair_nor_a_number_fails() {
        let mut worker = Primes::default();
        for wrong in [&b"many"[..], b"-1", b"", b"\x82\x01"] {
            let done = grid_guest::testing::deliver(&mut worker, wrong, 100);
            assert!(done.sent.is_empty() && done.failed.is_some(), "{wrong:?}");
        }
    }
}
