//! Mail frames: what crosses the mail streams between a manager and a host, or a manager and a client.

use alloc::vec::Vec;

use crate::codec::{self, BorrowDecode, DecodeError, Encode};
use crate::id::WorkerId;
use crate::limits::MAIL_DECODED_BYTES_MAX;
use crate::link::MessageKind;

/// One frame of mail. Numbers on the wire are the places of the variants: append only.
///
/// Both ends speak the same frames. `settled` is [`Link::acknowledge`](crate::link::Link::acknowledge)
/// of the sending end, so that a request and its answer carry each other's acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
#[non_exhaustive]
pub enum MailFrame<'a> {
    /// A message, whole.
    Inline {
        /// Whose mail it is.
        worker: WorkerId,
        /// Its number on the link.
        seq: u64,
        /// Everything up to this number has been settled by the sender of this frame.
        settled: u64,
        /// What it is.
        kind: MessageKind,
        /// Its bytes, at most [`INLINE_BYTES_MAX`](crate::limits::INLINE_BYTES_MAX).
        payload: &'a [u8],
    },
    /// The place of a message that comes on a stream of its own.
    Bulk {
        /// Whose mail it is.
        worker: WorkerId,
        /// Its number on the link.
        seq: u64,
        /// Everything up to this number has been settled by the sender of this frame.
        settled: u64,
        /// What it is.
        kind: MessageKind,
        /// Its length, at most [`MESSAGE_BYTES_MAX`](crate::limits::MESSAGE_BYTES_MAX).
        length: u64,
    },
    /// Nothing but an acknowledgement.
    Settled {
        /// Whose mail it is.
        worker: WorkerId,
        /// Everything up to this number has been settled.
        settled: u64,
    },
}

impl<'a> MailFrame<'a> {
    /// Encodes the frame's body onto the end of `out`, without the length in front.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        codec::encode_into(self, out);
    }

    /// Decodes a frame's body; the payload points into it.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: the peer must be cut off.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        codec::decode::<_, MAIL_DECODED_BYTES_MAX>(body)
    }

    /// Whose mail it is.
    pub fn worker(&self) -> WorkerId {
        match self {
            Self::Inline { worker, .. } | Self::Bulk { worker, .. } | Self::Settled { worker, .. } => *worker,
        }
    }
}

/// What stands at the head of a stream that carries one large message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, codec::Decode)]
pub struct BulkHead {
    /// Whose mail it is.
    pub worker: WorkerId,
    /// Its number on the link.
    pub seq: u64,
    /// Its length in bytes; just so many follow.
    pub length: u64,
}

impl BulkHead {
    /// Length of an encoded head with its length in front is at most this.
    pub const BYTES_MAX: usize = 32;

    /// Encodes the head's body, without the length in front.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes a head's body.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: the peer must be cut off.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        codec::decode::<_, { Self::BYTES_MAX }>(body)
    }
}
