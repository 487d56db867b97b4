//! How connections end.

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// This end closed it.
    Here,
    /// The peer closed it and said why.
    Peer {
        /// One of [`code`](crate::code).
        code: u32,
        /// In words.
        reason: String,
    },
    /// Nothing was heard from the peer for longer than the idle timeout.
    Silent,
    /// The peer has restarted and knows nothing of the connection.
    Restarted,
    /// The transport failed.
    Transport {
        /// In words.
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
