//! Blocks of records: what the manager writes together is one record on its disk.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::codec::{self, DecodeError};
use crate::limits::CONTROL_DECODED_BYTES_MAX;
use crate::payload::Payload;
use crate::record::OutcomeRecord;
use crate::submission::BorrowedPayload;
use crate::wire::Wire;

/// Records of consecutive numbers, encoded one after the other: a block, as it lies on disk under the number of the last.
#[derive(Debug, Default)]
pub struct BlockBuilder {
    bytes: Vec<u8>,
    records: usize,
}

/// Records in one block, at most.
pub const BLOCK_RECORDS_MAX: usize = 1024;

/// Length of a block, in bytes: 48 KiB, which the store keeps in 64. A longer record is a block by itself.
pub const BLOCK_BYTES_MAX: usize = 48 << 10;

impl BlockBuilder {
    /// True if a record of `length` bytes may be added.
    pub fn has_room(&self, length: usize) -> bool {
        let fits =
            self.records < BLOCK_RECORDS_MAX && self.bytes.len().saturating_add(length) <= BLOCK_BYTES_MAX;
        self.records == 0 || fits
    }

    /// Adds a record, whose body is `length` bytes long.
    pub fn push(&mut self, record: &impl Wire, length: usize) {
        self.bytes.reserve(length);
        record.append_body(&mut self.bytes);
        self.records += 1;
    }

    /// Adds a record's body.
    pub fn push_body(&mut self, body: &[u8]) {
        self.bytes.extend_from_slice(body);
        self.records += 1;
    }

    /// True if there are no records.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The block.
    pub fn into_body(self) -> Vec<u8> {
        self.bytes
    }
}

/// A block of inputs.
#[derive(Debug)]
pub struct InputBlock {
    block: Bytes,
    first: u64,
    /// Where each input begins.
    starts: Vec<usize>,
}

impl InputBlock {
    /// Reads a block that is kept under `last`; `None` if it is something else.
    pub fn read(block: Bytes, last: u64) -> Option<Self> {
        let (mut start, mut starts) = (0, Vec::new());
        while start < block.len() {
            let (_, used) = BorrowedPayload::first_of(block.get(start..)?)?;
            starts.push(start);
            start += used;
        }
        Some(Self { block, first: first_of(last, starts.len()), starts })
    }

    /// The number of inputs.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// True if the input with this number is in the block.
    pub fn has(&self, number: u64) -> bool {
        number.checked_sub(self.first).is_some_and(|place| place < self.starts.len() as u64)
    }

    /// The input with this number, if it is in the block, of which it keeps all in memory.
    pub fn input(&self, number: u64) -> Option<Payload> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let (input, _) = BorrowedPayload::first_of(self.block.get(*self.starts.get(place)?..)?)?;
        Some(input.in_bytes(&self.block))
    }
}

/// Reads a block of outcomes that is kept under `last`; returns its records, each with its number.
///
/// # Errors
///
/// [`DecodeError`]: the bytes are something else.
pub fn outcomes_of(
    block: &[u8],
    last: u64,
) -> Result<impl Iterator<Item = (u64, OutcomeRecord)>, DecodeError> {
    let (mut rest, mut records) = (block, Vec::new());
    while !rest.is_empty() {
        let (record, used) = codec::decode_first_payloads::<OutcomeRecord, CONTROL_DECODED_BYTES_MAX>(rest)
            .ok_or(DecodeError::Malformed { length: block.len() })?;
        records.push(record);
        rest = rest.get(used..).unwrap_or_default();
    }
    Ok((first_of(last, records.len())..).zip(records))
}

/// The number of the first of `count` records, of which the last has number `last`.
pub fn first_of(last: u64, count: usize) -> u64 {
    last.wrapping_add(1).wrapping_sub(count as u64)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::job::Outcome;

    fn record(task: u64) -> OutcomeRecord {
        OutcomeRecord { task, host: "lab".into(), ran_us: 9, outcome: Outcome::Done(Vec::new()) }
    }

    #[test]
    fn a_block_has_its_records_under_their_numbers() {
        let mut block = BlockBuilder::default();
        assert!(block.is_empty() && block.has_room(BLOCK_BYTES_MAX + 1), "the first always fits");
        for record in [record(30), record(10), record(20)] {
            let length = record.body_bytes();
            assert!(block.has_room(length));
            block.push(&record, length);
        }
        let body = block.into_body();
        let read: Vec<_> = outcomes_of(&body, 7).unwrap().collect();
        assert_eq!(read, [(5, record(30)), (6, record(10)), (7, record(20))]);
        assert!(outcomes_of(&body[..body.len() - 1], 7).is_err());
    }

    #[test]
    fn the_results_of_a_record_have_memory_of_their_own() {
        let results: Vec<_> = (0..3).map(|_| Payload::Here(Bytes::from_static(b"x"))).collect();
        let mut block = BlockBuilder::default();
        let record = OutcomeRecord { outcome: Outcome::Done(results), ..record(0) };
        (0..100).for_each(|_| block.push(&record, record.body_bytes()));
        for (_, read) in outcomes_of(&block.into_body(), 100).unwrap() {
            let Outcome::Done(results) = read.outcome else { panic!("it is done") };
            let is_alone = |result: &Payload| matches!(result, Payload::Here(bytes) if bytes.is_unique());
            assert!(results.iter().all(is_alone), "a piece of a KiB for three bytes");
        }
    }

    #[test]
    fn an_input_is_a_part_of_its_block() {
        let inputs = [&b"one"[..], b"", b"three"].map(|input| Payload::Here(Bytes::copy_from_slice(input)));
        let mut block = BlockBuilder::default();
        inputs.iter().for_each(|input| block.push(input, input.body_bytes()));
        let body = Bytes::from(block.into_body());
        let block = InputBlock::read(body.clone(), 7).unwrap();
        assert!(block.len() == 3 && !block.is_empty());
        let read = [4, 5, 6, 7, 8].map(|number| block.input(number));
        let [one, empty, three] = inputs.map(Some);
        assert_eq!(read, [None, one, empty, three, None]);
        let Some(Payload::Here(one)) = block.input(5) else { panic!("it is here") };
        assert!(body.as_ptr_range().contains(&one.as_ptr()), "it was copied");
        assert!(InputBlock::read(body.slice(1..), 7).is_none());
    }

    #[test]
    fn a_block_is_full_by_its_records_or_by_their_bytes() {
        let mut many = BlockBuilder::default();
        (0..BLOCK_RECORDS_MAX).for_each(|_| many.push_body(b"x"));
        assert!(!many.has_room(0));
        let mut long = BlockBuilder::default();
        long.push_body(&vec![0; BLOCK_BYTES_MAX - 1]);
        assert!(long.has_room(1) && !long.has_room(2));
    }
}
