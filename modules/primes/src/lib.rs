//! Counts primes the naive way: tries every smaller divisor until one divides.
//!
//! A message is the CBOR pair `[from, to]`; the answer is the CBOR map `{from, to, count, largest}` for the primes
//! `p` with `from <= p < to`.

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
        match from_cbor::<(u32, u32)>(message) {
            Ok((from, to)) => {
                self.left = from..to;
                self.found = Some(Found { from, to, count: 0, largest: None });
            }
            Err(error) => fail(&format!("expected the pair [from, to]: {error}")),
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
    }
}
