//! Conversion of whole messages to frame bodies and back.

use alloc::vec::Vec;

use crate::activity::AuditEntry;
use crate::client::{ClientGreeting, ClientHello, DeploymentInfo, KeyInfo, Reply, Request};
use crate::codec::{self, DecodeError};
use crate::executor::{ExecutorModule, ExecutorSetup, StartGuest};
use crate::host::{Greeting, Hello, HostCapacity, ModuleOffered, Transfer, Transferred};
use crate::job::{AttemptFailure, Payload};
use crate::limits::CONTROL_DECODED_BYTES_MAX;
use crate::record::{EndBlock, JobRecord, LeaseBlock, ModuleRecord, OutcomeRecord};
use crate::ticket::TicketRecord;
use crate::token::TokenInfo;
use crate::trace::TraceContext;
use crate::worker::{End, Failure};

/// A message that fills a frame, outside the numbered notes of a control channel.
pub trait Wire: Sized {
    /// Encodes the body of the frame, without the length prefix.
    fn to_body(&self) -> Vec<u8>;

    /// Appends what [`Self::to_body`] returns to `out`.
    fn append_body(&self, out: &mut Vec<u8>);

    /// Length of what [`Self::to_body`] returns, in bytes.
    fn body_bytes(&self) -> usize;

    /// Decodes the body of a frame, allocating at most [`CONTROL_DECODED_BYTES_MAX`].
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: the bytes are something else; the caller must disconnect the peer.
    fn from_body(body: &[u8]) -> Result<Self, DecodeError>;
}

/// The protocol version that a hello begins with, whatever follows: a newer program may say more, and is told the version
/// and not that its hello is malformed. `None` if there is none.
pub fn version(hello: &[u8]) -> Option<u16> {
    codec::decode_first::<u16, CONTROL_DECODED_BYTES_MAX>(hello).map(|(version, _)| version)
}

macro_rules! wire {
    ($($message:ty),+ $(,)?) => {$(
        impl Wire for $message {
            fn to_body(&self) -> Vec<u8> {
                codec::encode(self)
            }

            fn append_body(&self, out: &mut Vec<u8>) {
                codec::encode_into(self, out);
            }

            fn body_bytes(&self) -> usize {
                codec::encoded_bytes(self)
            }

            fn from_body(body: &[u8]) -> Result<Self, DecodeError> {
                codec::decode_payloads::<_, CONTROL_DECODED_BYTES_MAX>(body)
            }
        }
    )+};
}

wire!(Hello, Greeting, Transfer, Transferred, ModuleOffered, ClientHello, ClientGreeting, Request, Reply);

// Kept on disk, not sent; the same rules hold.
wire!(HostCapacity, KeyInfo, DeploymentInfo, TicketRecord, ModuleRecord);
wire!(
    JobRecord,
    Payload,
    OutcomeRecord,
    EndBlock,
    LeaseBlock,
    AttemptFailure,
    TokenInfo,
    AuditEntry,
    TraceContext
);

// Between a host and its executor processes.
wire!(ExecutorSetup, ExecutorModule, StartGuest, End, Failure);
