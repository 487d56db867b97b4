//! QUIC with raw public keys: who is at the other end, and bounded streams of bytes to it.
//!
//! The only crate that knows of quinn and rustls; neither appears in what it offers. What a key may do is
//! not its business: it proves keys, bounds what a peer may take of our memory, and moves bytes.

#![forbid(unsafe_code)]

mod backoff;
mod close_reason;
pub mod code;
mod conn;
mod endpoint;
mod local;
mod mail_transport;
mod network;
mod simulated;
mod stream;
mod tls;

pub use backoff::Backoff;
pub use close_reason::CloseReason;
pub use conn::{Conn, ConnLimits};
pub use endpoint::{BindError, DialError, Endpoint, Incoming, IncomingError, Timing};
pub use mail_transport::{CarryError, MailHandler, carry};
pub use network::{Datagrams, Network, SimulatedNetwork};
pub use stream::{FrameReader, RecvStream, SendStream, StreamError};
pub use tls::{Alpn, Expect};
