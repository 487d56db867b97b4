//! Connections as the cluster sees them: the peer's key, and a way to end them. This module names no socket.

use std::fmt;

use grid_protocol::key::PublicKey;

/// Why the manager ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The peer's key was revoked.
    Revoked,
    /// A newer connection takes its place; the text is the reason given to the peer.
    Replaced(&'static str),
    /// The peer broke the protocol; the text says how.
    Protocol(&'static str),
    /// The manager shuts down.
    Shutdown,
}

/// A connection that the cluster can end.
pub(crate) struct ConnectionHandle {
    peer: PublicKey,
    end: Box<dyn Fn(Ending) + Send + Sync>,
}

impl ConnectionHandle {
    /// A connection of `peer`. `end` closes it without blocking.
    pub(crate) fn new(peer: PublicKey, end: impl Fn(Ending) + Send + Sync + 'static) -> Self {
        Self { peer, end: Box::new(end) }
    }

    /// The key that the peer proved to have.
    pub(crate) fn peer(&self) -> &PublicKey {
        &self.peer
    }

    /// Closes the connection; closing it again changes nothing.
    pub(crate) fn end(&self, why: Ending) {
        (self.end)(why);
    }
}

impl fmt::Debug for ConnectionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionHandle").field("peer", &self.peer).finish_non_exhaustive()
    }
}
