//! How connections end.

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// This end closed it.
    Here,
    /// The peer closed it and gave a reason.
    Peer {
        /// One of the constants in [`code`](crate::code).
        code: u32,
        /// The reason in words.
        reason: String,
    },
    /// Nothing was received from the peer for longer than the idle timeout.
    Silent,
    /// The peer has restarted and does not know the connection.
    Restarted,
    /// The transport failed.
    Transport {
        /// The reason in words.
        reason: String,
    },
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Here => f.write_str("closed here"),
            Self::Peer { reason, .. } => write!(f, "closed by the peer: {reason}"),
            Self::Silent => f.write_str("nothing was heard from the peer for too long"),
            Self::Restarted => f.write_str("the peer has restarted"),
            Self::Transport { reason } => write!(f, "the transport failed: {reason}"),
        }
    }
}
