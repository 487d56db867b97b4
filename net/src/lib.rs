//! QUIC with raw public keys: authenticated peers, and bounded streams of bytes to them.
//!
//! The only crate that knows quinn and rustls; neither appears in its API. It proves keys, bounds the memory
//! that a peer may occupy, and moves bytes. It does not decide what a key may do: its callers must.

#![forbid(unsafe_code)]

mod backoff;
mod close_reason;
pub mod code;
mod conn;
mod endpoint;
mod known_managers;
mod local;
mod mail_transport;
mod main_task;
mod network;
mod pace;
mod shedding;
mod simulated;
mod stream;
mod tls;
mod udp_probe;
#[cfg(unix)]
mod udp_socket;

pub use backoff::Backoff;
pub use close_reason::CloseReason;
pub use conn::{Conn, ConnLimits, ConnTraffic, PathFigures};
pub use endpoint::{
    BindError, DialError, Endpoint, Incoming, IncomingError, MTU_INITIAL, MTU_SOUGHT, SOCKET_BUFFER_BYTES,
    Timing,
};
pub use known_managers::{KnownManagers, KnownManagersError, ReachError};
pub use mail_transport::{CarryError, MailHandler, carry};
pub use main_task::run_as_task;
pub use network::{Datagrams, Network, SimulatedNetwork};
pub use pace::Pace;
pub use stream::{FrameReader, RecvStream, SendStream, StreamError};
pub use tls::{Alpn, Expect};
pub use udp_probe::{UdpAnswer, ask_over_udp};
