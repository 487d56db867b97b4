//! Conversion of messages to bytes and back. The only file that calls bincode; other files derive its traits, and name the
//! context in which they are decoded.
//!
//! The rules hold for every message of the grid: a decoder never allocates past its limit, refuses trailing
//! bytes, and never panics; an encoder cannot fail. Enums are append-only, because a variant's position is
//! its number on the wire.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

pub(crate) use bincode::de::{BorrowDecoder, Decoder};
pub(crate) use bincode::enc::Encoder;
pub(crate) use bincode::enc::write::Writer;
pub(crate) use bincode::error;
pub(crate) use bincode::{BorrowDecode, Decode, Encode};

use crate::key::PublicKey;

/// Appends the encoding of `value` to `out`.
pub(crate) fn encode_into<T: Encode>(value: &T, out: &mut Vec<u8>) {
    // Encoding fails only if the writer fails or a type cannot be encoded (a locked mutex, for example). A
    // vector accepts everything, and our types are plain data.
    let written = bincode::encode_into_writer(value, Appender(out), config::<0>());
    debug_assert!(written.is_ok(), "plain data always encodes");
}

/// Encodes `value`. What is long is copied once: the length is counted first.
pub(crate) fn encode<T: Encode>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded_bytes(value));
    encode_into(value, &mut out);
    out
}

/// Length of the encoding of `value`, in bytes.
pub(crate) fn encoded_bytes<T: Encode>(value: &T) -> usize {
    let mut length = Counter(0);
    // As above: it cannot fail.
    let counted = bincode::encode_into_writer(value, &mut length, config::<0>());
    debug_assert!(counted.is_ok(), "plain data always encodes");
    length.0
}

/// Decodes one value, which must fill `bytes`, allocating at most `LIMIT` bytes.
pub(crate) fn decode<'de, T, const LIMIT: usize>(bytes: &'de [u8]) -> Result<T, DecodeError>
where
    T: BorrowDecode<'de, ()>,
{
    decode_in::<_, _, LIMIT>(bytes, ())
}

/// As [`decode`], for what may contain payloads.
pub(crate) fn decode_payloads<'de, T, const LIMIT: usize>(bytes: &'de [u8]) -> Result<T, DecodeError>
where
    T: BorrowDecode<'de, PayloadRoom>,
{
    decode_in::<_, _, LIMIT>(bytes, PayloadRoom::of(bytes.len()))
}

fn decode_in<'de, T, C, const LIMIT: usize>(bytes: &'de [u8], context: C) -> Result<T, DecodeError>
where
    T: BorrowDecode<'de, C>,
{
    let (value, used) = bincode::borrow_decode_from_slice_with_context(bytes, config::<LIMIT>(), context)
        .map_err(|_| DecodeError::Malformed { length: bytes.len() })?;
    match bytes.len() - used {
        0 => Ok(value),
        extra => Err(DecodeError::Trailing { extra }),
    }
}

/// Decodes one value from the beginning of `bytes`, whatever follows it; returns it and its length.
pub(crate) fn decode_first<'de, T, const LIMIT: usize>(bytes: &'de [u8]) -> Option<(T, usize)>
where
    T: BorrowDecode<'de, ()>,
{
    bincode::borrow_decode_from_slice(bytes, config::<LIMIT>()).ok()
}

/// As [`decode_first`], for what may contain payloads. Each has memory of its own: how many there are in all that follows is not
/// known.
pub(crate) fn decode_first_payloads<'de, T, const LIMIT: usize>(bytes: &'de [u8]) -> Option<(T, usize)>
where
    T: BorrowDecode<'de, PayloadRoom>,
{
    let room = PayloadRoom::of(0);
    bincode::borrow_decode_from_slice_with_context(bytes, config::<LIMIT>(), room).ok()
}

/// Memory for the payloads of a message that is decoded. Of a message with the inputs or results of many tasks, short ones are
/// parts of a common piece, where each would be an allocation of a few bytes.
///
/// What contains a [`Payload`](crate::payload::Payload) is decoded with this context alone.
#[derive(Debug)]
pub struct PayloadRoom {
    /// Length of the message, in bytes; 0 if each payload has memory of its own.
    message_bytes: usize,
    /// True if there was a payload. The first has memory of its own: there may be no other.
    has_first: bool,
    /// What is left of the current piece.
    piece: BytesMut,
}

/// Length of a piece, in bytes: what one payload that is kept keeps in memory at the most, beside itself.
const PIECE_BYTES: usize = 1024;

/// Length of the longest payload that is a part of one, in bytes.
const PART_BYTES_MAX: usize = PIECE_BYTES / 8;

impl PayloadRoom {
    fn of(message_bytes: usize) -> Self {
        Self { message_bytes, has_first: false, piece: BytesMut::new() }
    }

    /// A copy of the bytes of a payload.
    pub(crate) fn copy(&mut self, payload: &[u8]) -> Bytes {
        if payload.is_empty() {
            return Bytes::new();
        }
        let is_first = !core::mem::replace(&mut self.has_first, true);
        if is_first || payload.len() > PART_BYTES_MAX.min(self.message_bytes) {
            return Bytes::copy_from_slice(payload);
        }
        if self.piece.capacity() < payload.len() {
            self.piece = BytesMut::with_capacity(PIECE_BYTES.min(self.message_bytes));
        }
        self.piece.extend_from_slice(payload);
        self.piece.split().freeze()
    }
}

/// The bytes are not a message: the peer must act, and the caller closes its connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes do not encode a value of the expected type, or the value is larger than its limit.
    #[error("a frame of {length} bytes is not a message of this protocol")]
    Malformed {
        /// Length of what was to be decoded, in bytes.
        length: usize,
    },
    /// Bytes follow a complete message.
    #[error("{extra} bytes too many after a message")]
    Trailing {
        /// Number of bytes that follow.
        extra: usize,
    },
}

// Keys are checked when they are decoded, so that no other part of the grid ever holds an invalid one.
impl Encode for PublicKey {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), error::EncodeError> {
        self.as_bytes().encode(encoder)
    }
}

impl<C> Decode<C> for PublicKey {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, error::DecodeError> {
        Self::from_bytes(Decode::decode(decoder)?).map_err(|_| error::DecodeError::Other("bad key"))
    }
}

impl<'de, C> BorrowDecode<'de, C> for PublicKey {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(
        decoder: &mut D,
    ) -> Result<Self, error::DecodeError> {
        Decode::decode(decoder)
    }
}

/// Counts what would be written.
struct Counter(usize);

impl Writer for &mut Counter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), error::EncodeError> {
        self.0 += bytes.len();
        Ok(())
    }
}

struct Appender<'a>(&'a mut Vec<u8>);

impl Writer for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn config<const LIMIT: usize>() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<LIMIT>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    #[test]
    fn short_payloads_of_a_message_lie_in_common_pieces_and_others_by_themselves() {
        let here = |length| Payload::Here(alloc::vec![7; length].into());
        let lengths = [8, 8, 0, PART_BYTES_MAX + 1, PART_BYTES_MAX, 8];
        let payloads: Vec<_> = lengths.into_iter().map(here).collect();
        let decoded: Vec<Payload> = decode_payloads::<_, { 1 << 20 }>(&encode(&payloads)).unwrap();
        assert_eq!(decoded, payloads);
        let alone = |payload: &Payload| matches!(payload, Payload::Here(bytes) if bytes.is_unique());
        let alone: Vec<_> = decoded.iter().map(alone).collect();
        assert_eq!(alone, [true, false, false, true, false, false], "the first, and what is long");
    }

    #[test]
    fn a_payload_keeps_no_more_than_its_piece_in_memory() {
        let mut room = PayloadRoom::of(1 << 20);
        let copies: Vec<_> = (0..1 + 16 * 8).map(|_| room.copy(&[7; PART_BYTES_MAX])).collect();
        let in_order =
            copies.windows(2).skip(1).filter(|pair| pair[0].as_ptr_range().end == pair[1].as_ptr());
        assert_eq!(in_order.count(), 16 * 7, "eight have a piece together");
    }
}
