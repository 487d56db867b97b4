//! Joining: why the manager refuses a peer.

use alloc::string::String;

use crate::codec::{Decode, Encode};
use crate::key::PublicKey;

/// Why the manager refuses a peer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[non_exhaustive]
pub enum JoinRefusal {
    /// The two programs speak different protocol versions: upgrade the older one.
    #[error("the manager speaks protocol {manager} and this program speaks {peer}")]
    Version {
        /// The manager's version.
        manager: u16,
        /// The peer's version.
        peer: u16,
    },
    /// The manager has no ticket with that id; it may have deleted it.
    #[error("the manager knows no such ticket")]
    TicketUnknown,
    /// The ticket has expired.
    #[error("the ticket expired at {at} (seconds since 1970)")]
    TicketExpired {
        /// When it expired, in seconds since 1970 on the manager's clock.
        at: u64,
    },
    /// Another key has used the ticket.
    #[error("the ticket was used already, by {by}")]
    TicketUsed {
        /// The key that used it.
        by: PublicKey,
    },
    /// The proof was not made with this ticket's secret for this connection.
    #[error("the proof does not fit the ticket")]
    WrongProof,
    /// The key lacks the role that this session needs.
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
    /// The manager has reached a limit.
    #[error("the manager has no room for another {what}")]
    Full {
        /// What the manager has no room for.
        what: String,
    },
    /// The first frame is malformed, or breaks a limit.
    #[error("the first frame was refused: {why}")]
    Malformed {
        /// The reason.
        why: String,
    },
}

impl JoinRefusal {
    /// The reason in a word or two, for scripts.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Version { .. } => "version",
            Self::TicketUnknown => "ticket-unknown",
            Self::TicketExpired { .. } => "ticket-expired",
            Self::TicketUsed { .. } => "ticket-used",
            Self::WrongProof => "wrong-proof",
            Self::NotAllowed { .. } => "not-allowed",
            Self::Revoked { .. } => "revoked",
            Self::Full { .. } => "full",
            Self::Malformed { .. } => "malformed",
        }
    }
}
