//! Why a connection was closed, as a number on the wire: append only.

/// The closing end is done, or shuts down in good order.
pub const DONE: u32 = 0;
/// The other end broke the protocol.
pub const PROTOCOL: u32 = 1;
/// The other end is refused; the greeting before gave the reason.
pub const REFUSED: u32 = 2;
/// The other end's key was revoked.
pub const REVOKED: u32 = 3;
/// A newer connection replaces this one: only one is allowed for a host's key, or for a client's channel.
pub const REPLACED: u32 = 4;
/// The manager shuts down.
pub const SHUTDOWN: u32 = 5;
