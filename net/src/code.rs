//! Why a connection was closed, as a number on the wire: append only.

/// The peer is done, or goes down in good order.
pub const DONE: u32 = 0;
/// The peer broke the protocol.
pub const PROTOCOL: u32 = 1;
/// The peer is not let in; the greeting before said why.
pub const REFUSED: u32 = 2;
/// The peer's key was revoked or its role taken away.
pub const REVOKED: u32 = 3;
/// The same key has connected again, and only one connection of it may stand.
pub const REPLACED: u32 = 4;
/// The manager shuts down.
pub const SHUTDOWN: u32 = 5;
