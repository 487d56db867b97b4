//! Conversion of messages to bytes and back. The only file that names bincode.
//!
//! The rules hold for every message of the grid: a decoder never allocates past its limit, refuses trailing
//! bytes, and never panics; an encoder cannot fail. Enums are append-only, because a variant's position is
//! its number on the wire.

use alloc::vec::Vec;

pub(crate) use bincode::de::{BorrowDecoder, Decoder};
pub(crate) use bincode::enc::Encoder;
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
    let (value, used) = bincode::borrow_decode_from_slice(bytes, config::<LIMIT>())
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

impl bincode::enc::write::Writer for &mut Counter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), error::EncodeError> {
        self.0 += bytes.len();
        Ok(())
    }
}

struct Appender<'a>(&'a mut Vec<u8>);

impl bincode::enc::write::Writer for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn config<const LIMIT: usize>() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<LIMIT>()
}
