//! Mail frames: what crosses the mail streams between the manager and a host, or the manager and a client.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::codec::{self, BorrowDecode, DecodeError, Encode};
use crate::id::WorkerId;
use crate::limits::MAIL_DECODED_BYTES_MAX;
use crate::link::{DeliveryContent, Link, LinkError, MessageKind, Settled};

/// One frame of mail. Variants are numbered by position on the wire: append only.
///
/// Both ends use the same frames. `settled` is [`Link::acknowledge`](crate::link::Link::acknowledge) of the
/// sending end, so that every message also acknowledges the other direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
#[non_exhaustive]
pub enum MailFrame<'a> {
    /// A message with its bytes.
    Inline {
        /// The worker that the link belongs to.
        worker: WorkerId,
        /// The message's number on the link.
        seq: u64,
        /// The sender of this frame has settled everything up to this number.
        settled: u64,
        /// Message or failure report.
        kind: MessageKind,
        /// The message's bytes, at most [`INLINE_BYTES_MAX`](crate::limits::INLINE_BYTES_MAX).
        payload: &'a [u8],
    },
    /// Announces a message whose bytes travel on a stream of their own.
    Bulk {
        /// The worker that the link belongs to.
        worker: WorkerId,
        /// The message's number on the link.
        seq: u64,
        /// The sender of this frame has settled everything up to this number.
        settled: u64,
        /// Message or failure report.
        kind: MessageKind,
        /// Length in bytes, at most [`MESSAGE_BYTES_MAX`](crate::limits::MESSAGE_BYTES_MAX).
        length: u64,
    },
    /// Only an acknowledgement.
    Settled {
        /// The worker that the link belongs to.
        worker: WorkerId,
        /// The sender of this frame has settled everything up to this number.
        settled: u64,
    },
}

impl<'a> MailFrame<'a> {
    /// Appends the encoded body of the frame to `out`, without the length prefix.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        codec::encode_into(self, out);
    }

    /// Decodes the body of a frame; the payload borrows from it.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: the caller must disconnect the peer.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        codec::decode::<_, MAIL_DECODED_BYTES_MAX>(body)
    }

    /// Hands the frame to its link, which receives the message and settles what is acknowledged. True if there was a
    /// message, and it was not received before. `buffer` is what the frame borrows from.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: the peer broke the rules of the link; the caller must disconnect it.
    pub fn deliver<'l, T>(
        self,
        buffer: &Bytes,
        link: &'l mut Link<T>,
    ) -> Result<(bool, Settled<'l, T>), LinkError> {
        let (fresh, settled) = match self {
            Self::Inline { seq, settled, kind, payload, .. } => {
                (link.accept(seq, kind, DeliveryContent::Here(buffer.slice_ref(payload)))?, settled)
            }
            Self::Bulk { seq, settled, kind, .. } => {
                (link.accept(seq, kind, DeliveryContent::Elsewhere)?, settled)
            }
            Self::Settled { settled, .. } => (false, settled),
        };
        Ok((fresh, link.settle(settled)?))
    }

    /// The frame with its message's kind changed.
    #[must_use]
    pub fn map_kind(mut self, change: impl FnOnce(MessageKind) -> MessageKind) -> Self {
        if let Self::Inline { kind, .. } | Self::Bulk { kind, .. } = &mut self {
            *kind = change(*kind);
        }
        self
    }

    /// True if the frame has a message, or announces one.
    pub fn has_message(&self) -> bool {
        !matches!(self, Self::Settled { .. })
    }

    /// The worker that the link belongs to.
    pub fn worker(&self) -> WorkerId {
        match self {
            Self::Inline { worker, .. } | Self::Bulk { worker, .. } | Self::Settled { worker, .. } => *worker,
        }
    }
}

/// The header of a stream that carries one large message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, codec::Decode)]
pub struct BulkHead {
    /// The worker that the link belongs to.
    pub worker: WorkerId,
    /// The message's number on the link.
    pub seq: u64,
    /// Length of the message in bytes; exactly that many follow.
    pub length: u64,
}

impl BulkHead {
    /// Upper bound of an encoded header with its length prefix, in bytes.
    pub const BYTES_MAX: usize = 32;

    /// The encoded body of the header, without the length prefix.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes the body of a header.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: the caller must disconnect the peer.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        codec::decode::<_, { Self::BYTES_MAX }>(body)
    }
}
