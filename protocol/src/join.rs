//! Joining: why a peer is not let in.

use alloc::string::String;

use crate::codec::{Decode, Encode};
use crate::key::PublicKey;

/// Why a peer is not let in.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[non_exhaustive]
pub enum JoinRefusal {
    /// The two programs speak different versions: upgrade the older one.
    #[error("the manager speaks protocol {manager} and this program speaks {peer}")]
    Version {
        /// The manager's.
        manager: u16,
        /// The peer's.
        peer: u16,
    },
    /// The manager knows no ticket of that id, or forgot it.
    #[error("the manager knows no such ticket")]
    TicketUnknown,
    /// The ticket is past its time.
    #[error("the ticket expired at {at} (seconds since 1970)")]
    TicketExpired {
        /// When, in seconds since 1970 on the manager's clock.
        at: u64,
    },
    /// The ticket has let another key in already.
    #[error("the ticket was used already, by {by}")]
    TicketUsed {
        /// The key that it let in.
        by: PublicKey,
    },
    /// The proof does not fit the ticket.
    #[error("the proof does not fit the ticket")]
    WrongProof,
    /// The key lacks the role that this session asks for.
    #[error("the key {key} is not allowed in as a {role}")]
    NotAllowed {
        /// The peer's key.
        key: PublicKey,
        /// The role that it lacks.
        role: crate::role::Role,
    },
    /// The key was revoked.
    #[error("the key {key} was revoked")]
    Revoked {
        /// The peer's key.
        key: PublicKey,
    },
    /// The manager has as many of these as it may.
    #[error("the manager has no room for another {what}")]
    Full {
        /// Of what.
        what: String,
    },
    /// The first frame makes no sense.
    #[error("the first frame was refused: {why}")]
    Malformed {
        /// Why.
        why: String,
    },
}
