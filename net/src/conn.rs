//! Connections: an authenticated peer, and the streams to and from it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use grid_protocol::key::{BadKey, PublicKey};
use quinn::VarInt;
use rustls::pki_types::CertificateDer;

use crate::close_reason::CloseReason;
use crate::local::{self, LocalConn};
use crate::stream::{Receiver, RecvStream, SendStream, Sender, StreamError};
use crate::tls::{self, Alpn};

/// A connection to a peer whose key is proved. Clones refer to the same connection.
#[derive(Debug, Clone)]
pub struct Conn {
    path: Transport,
    peer: PublicKey,
    alpn: Alpn,
}

#[derive(Debug, Clone)]
enum Transport {
    Quic(quinn::Connection),
    Local(Arc<LocalConn>),
}

/// What a connection knows of its path to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathFigures {
    /// Length of the longest datagram that is known to arrive, in bytes of UDP payload: [`MTU_INITIAL`](crate::MTU_INITIAL)
    /// at first, and up to [`MTU_SOUGHT`](crate::MTU_SOUGHT) as longer ones are tried.
    pub mtu: u16,
    /// Estimate of the round-trip time.
    pub round_trip: Duration,
}

/// What has gone over a connection, in bytes of UDP payload: mail, control frames, transfers and all that QUIC adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnTraffic {
    /// Sent to the peer, what was sent again included.
    pub sent_bytes: u64,
    /// Received from the peer.
    pub received_bytes: u64,
}

/// What an authenticated peer may occupy of our memory: bytes in flight towards us, and streams of each kind
/// open at the same time.
///
/// Until its roles are known, a peer has [`ConnLimits::STRANGER`]. QUIC's own default for the bytes is
/// unbounded: in a test, one peer occupied 133 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnLimits {
    pub(crate) window_bytes: u32,
    pub(crate) streams: u32,
}

impl ConnLimits {
    /// A peer that has only proved a key: 128 KiB, and two streams of each kind.
    pub const STRANGER: Self = Self { window_bytes: 128 << 10, streams: 2 };
    /// A host that was admitted.
    pub const HOST: Self = Self { window_bytes: 4 << 20, streams: 100 };
    /// A client that was admitted; it may upload modules.
    pub const CLIENT: Self = Self { window_bytes: 16 << 20, streams: 100 };
}

impl Conn {
    pub(crate) fn from_quic(connection: quinn::Connection) -> Result<Self, BadKey> {
        let identity =
            connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'_>>>().ok());
        let peer = tls::peer_key(&identity.ok_or(BadKey)?)?;
        let handshake = connection
            .handshake_data()
            .and_then(|any| any.downcast::<quinn::crypto::rustls::HandshakeData>().ok());
        let alpn = handshake.and_then(|data| Alpn::from_name(&data.protocol?)).ok_or(BadKey)?;
        Ok(Self { path: Transport::Quic(connection), peer, alpn })
    }

    /// Makes both ends of a connection inside this process; the first end belongs to the owner of `a`.
    pub fn local_pair(a: PublicKey, b: PublicKey, alpn: Alpn) -> (Self, Self) {
        let (near, far) = local::pair(a, b);
        let conn = |end: LocalConn| Self { peer: end.peer, path: Transport::Local(Arc::new(end)), alpn };
        (conn(near), conn(far))
    }

    /// The key that the peer proved.
    pub fn peer(&self) -> PublicKey {
        self.peer
    }

    /// The protocol that the dialler chose.
    pub fn alpn(&self) -> Alpn {
        self.alpn
    }

    /// The peer's present address, or `in process`.
    pub fn remote(&self) -> String {
        match &self.path {
            Transport::Quic(connection) => connection.remote_address().to_string(),
            Transport::Local(_) => "in process".to_owned(),
        }
    }

    /// The peer's present address; `None` for a connection inside this process.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        match &self.path {
            Transport::Quic(connection) => Some(connection.remote_address()),
            Transport::Local(_) => None,
        }
    }

    /// What is known of the path to the peer now; `None` for a connection inside this process.
    pub fn path_figures(&self) -> Option<PathFigures> {
        match &self.path {
            Transport::Quic(connection) => {
                let path = connection.stats().path;
                Some(PathFigures { mtu: path.current_mtu, round_trip: path.rtt })
            }
            Transport::Local(_) => None,
        }
    }

    /// What has gone over this connection so far; `None` for a connection inside this process.
    pub fn traffic(&self) -> Option<ConnTraffic> {
        match &self.path {
            Transport::Quic(connection) => {
                let stats = connection.stats();
                Some(ConnTraffic { sent_bytes: stats.udp_tx.bytes, received_bytes: stats.udp_rx.bytes })
            }
            Transport::Local(_) => None,
        }
    }

    /// True if both ends are in this process.
    pub fn is_local(&self) -> bool {
        matches!(self.path, Transport::Local(_))
    }

    /// 32 bytes that only the two ends of this connection know (RFC 8446, section 7.5). All zero for a
    /// connection inside this process.
    pub fn exporter(&self) -> [u8; 32] {
        let mut secret = [0; 32];
        if let Transport::Quic(connection) = &self.path {
            // It fails only for a length that HKDF cannot produce; 32 bytes it can.
            let exported = connection.export_keying_material(&mut secret, b"EXPORTER-grid-ticket", b"");
            debug_assert!(exported.is_ok(), "32 bytes are within the exporter's reach");
        }
        secret
    }

    /// Sets what the peer may occupy. The caller does this once it knows the peer's roles.
    pub fn allow(&self, allowance: ConnLimits) {
        if let Transport::Quic(connection) = &self.path {
            connection.set_receive_window(VarInt::from_u32(allowance.window_bytes));
            connection.set_max_concurrent_bi_streams(VarInt::from_u32(allowance.streams));
            connection.set_max_concurrent_uni_streams(VarInt::from_u32(allowance.streams));
        }
    }

    /// Opens a one-way stream; waits until the peer allows another.
    ///
    /// # Errors
    ///
    /// [`StreamError::Broken`]: the connection is lost or closed.
    pub async fn open_uni(&self) -> Result<SendStream, StreamError> {
        match &self.path {
            Transport::Quic(connection) => {
                connection.open_uni().await.map(|send| SendStream(Sender::Quic(send))).map_err(gone)
            }
            Transport::Local(local) => local.open_uni().await,
        }
    }

    /// Opens a two-way stream; waits until the peer allows another.
    ///
    /// # Errors
    ///
    /// [`StreamError::Broken`]: the connection is lost or closed.
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), StreamError> {
        match &self.path {
            Transport::Quic(connection) => connection.open_bi().await.map(both).map_err(gone),
            Transport::Local(local) => local.open_bi().await,
        }
    }

    /// Waits for the next one-way stream that the peer opens.
    ///
    /// # Errors
    ///
    /// [`StreamError::Broken`]: the connection is lost or closed.
    pub async fn accept_uni(&self) -> Result<RecvStream, StreamError> {
        match &self.path {
            Transport::Quic(connection) => {
                connection.accept_uni().await.map(|recv| RecvStream(Receiver::Quic(recv))).map_err(gone)
            }
            Transport::Local(local) => local.accept_uni().await,
        }
    }

    /// Waits for the next two-way stream that the peer opens.
    ///
    /// # Errors
    ///
    /// [`StreamError::Broken`]: the connection is lost or closed.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), StreamError> {
        match &self.path {
            Transport::Quic(connection) => connection.accept_bi().await.map(both).map_err(gone),
            Transport::Local(local) => local.accept_bi().await,
        }
    }

    /// Closes the connection and tells the peer why; what was written and not yet sent is lost. Inside this
    /// process, streams that are already open continue.
    pub fn close(&self, code: u32, reason: &str) {
        match &self.path {
            Transport::Quic(connection) => connection.close(VarInt::from_u32(code), reason.as_bytes()),
            Transport::Local(local) => local.close(code, reason),
        }
    }

    /// Waits until the connection ends, and returns how it ended.
    pub async fn closed(&self) -> CloseReason {
        match &self.path {
            Transport::Quic(connection) => explain(connection.closed().await),
            Transport::Local(local) => local.closed().await,
        }
    }

    /// How the connection ended; `None` while it lasts.
    pub fn close_reason(&self) -> Option<CloseReason> {
        match &self.path {
            Transport::Quic(connection) => connection.close_reason().map(explain),
            Transport::Local(local) => local.close_reason(),
        }
    }
}

fn both((send, recv): (quinn::SendStream, quinn::RecvStream)) -> (SendStream, RecvStream) {
    (SendStream(Sender::Quic(send)), RecvStream(Receiver::Quic(recv)))
}

fn gone(error: quinn::ConnectionError) -> StreamError {
    StreamError::Broken { reason: explain(error).to_string() }
}

pub(crate) fn explain(error: quinn::ConnectionError) -> CloseReason {
    use quinn::ConnectionError as Error;
    match error {
        Error::LocallyClosed => CloseReason::Here,
        Error::TimedOut => CloseReason::Silent,
        Error::Reset => CloseReason::Restarted,
        Error::ApplicationClosed(close) => CloseReason::Peer {
            code: u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX),
            reason: String::from_utf8_lossy(&close.reason).into_owned(),
        },
        other => CloseReason::Transport { reason: other.to_string() },
    }
}
