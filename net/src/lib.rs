//! QUIC with raw public keys: who is at the other end, and bounded streams of bytes to it.
//!
//! The only crate that knows of quinn and rustls; neither appears in what it offers. What a key may do is
//! not its business: it proves keys, bounds what a peer may take of our memory, and moves bytes.

#![forbid(unsafe_code)]

mod backoff;
mod carrier;
pub mod code;
mod conn;
mod endpoint;
mod local;
mod made_up;
mod network;
mod stream;
mod tls;

pub use backoff::Backoff;
pub use carrier::{CarryError, MailKeeper, carry};
pub use conn::{Allowance, CloseReason, Conn};
pub use endpoint::{BindError, DialError, Endpoint, Knock, KnockError, Timing};
pub use network::{Datagrams, MadeUpNetwork, Network};
pub use stream::{FrameReader, RecvStream, SendStream, StreamError};
pub use tls::{Alpn, Expect};
