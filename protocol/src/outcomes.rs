//! Outcomes: the ends of attempts as they lie in a frame. A host encodes each when the attempt ends, and keeps nothing else of it
//! until the manager has it on disk.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::codec;
use crate::job::AttemptEnd;
use crate::limits::BATCH_BYTES_MAX;

/// The encoding of an [`AttemptEnd`].
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedEnd(Encoding);

/// A short one needs no memory of its own: it is made on the thread of a guest and dropped on another, which costs an allocator
/// most.
#[derive(Clone, PartialEq, Eq)]
enum Encoding {
    Short { frame_bytes: u8, length: u8, bytes: [u8; SHORT_BYTES] },
    Long { frame_bytes: u32, bytes: Box<[u8]> },
}

/// Length of the longest encoding that is kept in place, in bytes: that of one result of some 14 bytes. Another byte would make each
/// attempt that a host holds take eight more.
const SHORT_BYTES: usize = 29;

/// A [`HostEvent::Outcomes`](crate::host::HostEvent::Outcomes), put together of encoded ends.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct EncodedOutcomes {
    count: u64,
    ends: Vec<u8>,
    frame_bytes: usize,
}

/// The position of [`HostEvent::Outcomes`](crate::host::HostEvent::Outcomes) among the events.
const OUTCOMES: u32 = 10;

impl EncodedEnd {
    /// Encodes `end`. `room` is used for its memory alone, so that there is one allocation at most, of the right length.
    pub fn of(end: &AttemptEnd, room: &mut Vec<u8>) -> Self {
        room.clear();
        codec::encode_into(end, room);
        // An end that is over the limits is cut before.
        let frame_bytes = u32::try_from(end.frame_bytes()).unwrap_or(u32::MAX);
        let mut bytes = [0; SHORT_BYTES];
        Self(match (u8::try_from(frame_bytes), u8::try_from(room.len()), bytes.get_mut(..room.len())) {
            (Ok(frame_bytes), Ok(length), Some(short)) => {
                short.copy_from_slice(room);
                Encoding::Short { frame_bytes, length, bytes }
            }
            _ => Encoding::Long { frame_bytes, bytes: room.as_slice().into() },
        })
    }

    /// See [`AttemptEnd::frame_bytes`].
    pub fn frame_bytes(&self) -> usize {
        match self.0 {
            Encoding::Short { frame_bytes, .. } => frame_bytes.into(),
            Encoding::Long { frame_bytes, .. } => frame_bytes as usize,
        }
    }

    fn bytes(&self) -> &[u8] {
        match &self.0 {
            Encoding::Short { length, bytes, .. } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Encoding::Long { bytes, .. } => bytes,
        }
    }
}

impl fmt::Debug for EncodedEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes().len())
    }
}

impl EncodedOutcomes {
    /// With room for so many short ends, and no more than a frame has.
    pub fn for_short(count: usize) -> Self {
        let bytes = count.saturating_mul(SHORT_BYTES).min(BATCH_BYTES_MAX);
        Self { ends: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Adds an end.
    pub fn push(&mut self, end: &EncodedEnd) {
        self.count += 1;
        self.ends.extend_from_slice(end.bytes());
        self.frame_bytes += end.frame_bytes();
    }

    /// Number of ends.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of what [`EncodedEnd::frame_bytes`] says of them.
    pub fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// The body of the event's frame.
    pub fn to_body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(16 + self.ends.len());
        codec::encode_into(&(OUTCOMES, self.count), &mut body);
        body.extend_from_slice(&self.ends);
        body
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use bytes::Bytes;

    use super::*;
    use crate::host::HostEvent;
    use crate::job::{AttemptId, AttemptResult};
    use crate::payload::Payload;
    use crate::worker::{Failure, FailureKind};

    #[test]
    fn outcomes_of_encoded_ends_are_those_of_the_ends() {
        let failure =
            Failure { kind: FailureKind::Trap, message: "it trapped".into(), backtrace: Vec::new() };
        let result = |number: u64| match number % 4 {
            0 => AttemptResult::Done(Vec::new()),
            1 => AttemptResult::Done(vec![Payload::Here(Bytes::from(vec![7; 300])); 2]),
            // Of every length about the longest that is kept in place.
            2 => {
                let length = usize::from(number.to_le_bytes()[0] % 32);
                AttemptResult::Done(vec![Payload::Here(Bytes::from(vec![7; length]))])
            }
            _ => AttemptResult::Failed { failure: failure.clone(), log: Vec::new() },
        };
        let end = |number| AttemptEnd {
            attempt: AttemptId::new(1, number),
            ran_us: number * 1000,
            result: result(number),
        };
        let mut room = vec![1, 2, 3];
        for count in [0, 1, 300] {
            let ends: Vec<_> = (0..count).map(end).collect();
            let mut outcomes = EncodedOutcomes::default();
            ends.iter().for_each(|end| outcomes.push(&EncodedEnd::of(end, &mut room)));
            assert_eq!(outcomes.count(), count);
            assert_eq!(outcomes.to_body(), codec::encode(&HostEvent::Outcomes { ends: ends.clone() }));
            assert_eq!(outcomes.frame_bytes(), ends.iter().map(AttemptEnd::frame_bytes).sum());
        }
    }
}
