//! Payloads: the inputs and results of tasks, in a frame or as blobs.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::codec::{BorrowDecode, BorrowDecoder, Decode, Decoder, Encode, Encoder, PayloadRoom, error};
use crate::digest::Digest;

/// The input of a task, or one of its results.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// The bytes, at most [`PAYLOAD_BYTES_MAX`](crate::limits::PAYLOAD_BYTES_MAX).
    Here(Bytes),
    /// A reference to bytes that the manager keeps as a blob.
    Blob(BlobRef),
}

/// Refers to a payload that the manager keeps as a file, by its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct BlobRef {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// Length in bytes, at most [`MESSAGE_BYTES_MAX`](crate::limits::MESSAGE_BYTES_MAX).
    pub length: u64,
}

impl Payload {
    /// Length of the payload, in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::Blob(stored) => stored.length,
        }
    }

    /// Upper bound of the bytes that the payload adds to a frame.
    pub fn frame_bytes(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len() + 8,
            Self::Blob(_) => 48,
        }
    }
}

// As derived, but for `Bytes`, of which the codec knows nothing.
impl Encode for Payload {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), error::EncodeError> {
        match self {
            Self::Here(bytes) => {
                0u32.encode(encoder)?;
                bytes[..].encode(encoder)
            }
            Self::Blob(stored) => {
                1u32.encode(encoder)?;
                stored.encode(encoder)
            }
        }
    }
}

impl Decode<PayloadRoom> for Payload {
    fn decode<D: Decoder<Context = PayloadRoom>>(decoder: &mut D) -> Result<Self, error::DecodeError> {
        match u32::decode(decoder)? {
            0 => Ok(Self::Here(Vec::<u8>::decode(decoder)?.into())),
            1 => Ok(Self::Blob(Decode::decode(decoder)?)),
            _ => Err(error::DecodeError::Other("bad payload")),
        }
    }
}

impl<'de> BorrowDecode<'de, PayloadRoom> for Payload {
    fn borrow_decode<D: BorrowDecoder<'de, Context = PayloadRoom>>(
        decoder: &mut D,
    ) -> Result<Self, error::DecodeError> {
        match u32::decode(decoder)? {
            // Not as a vector, which is filled with zeros first: such memory comes from no cache of the allocator.
            0 => {
                let here = <&[u8]>::borrow_decode(decoder)?;
                Ok(Self::Here(decoder.context().copy(here)))
            }
            1 => Ok(Self::Blob(Decode::decode(decoder)?)),
            _ => Err(error::DecodeError::Other("bad payload")),
        }
    }
}

impl BlobRef {
    /// The reference to `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: Digest::of(bytes), length: bytes.len() as u64 }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Blob(stored) => write!(f, "{} bytes, {}", stored.length, stored.digest),
        }
    }
}
