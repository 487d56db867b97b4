//! Endpoints: a UDP socket with its QUIC connections.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use grid_protocol::key::{PublicKey, SecretKey};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{AsyncUdpSocket, EndpointConfig, MtuDiscoveryConfig, Runtime as _, TransportConfig, VarInt};
use quinn_proto::{ConnectionIdGenerator as _, HashedConnectionIdGenerator};
use ring::hkdf::{HKDF_SHA256, Salt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::close_reason::CloseReason;
use crate::conn::{Conn, ConnLimits, explain};
use crate::network::{Network, SimulatedSocket, Sockets};
use crate::shedding::SheddingSocket;
use crate::simulated::{self, SeededIds};
use crate::tls::{self, Alpn, Expect};

/// A socket with its QUIC state. Clones refer to the same endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    endpoint: quinn::Endpoint,
    key: SecretKey,
    timing: Timing,
    simulated: bool,
}

/// How soon silence is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Interval at which an idle connection sends something, so that its path through a NAT stays open.
    /// Default: 2 s. An idle host learns only by this that its manager was killed and is back: with a handshake
    /// after it, that stays within three seconds.
    pub keep_alive: Duration,
    /// Silence after which a connection is lost. Default: 10 s, four lost keep-alives and a margin.
    pub idle: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { keep_alive: Duration::from_secs(2), idle: Duration::from_secs(10) }
    }
}

/// Time limit of a handshake at the server, so that half-open ones do not accumulate.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);

/// Open connections, handshakes included, above which a newcomer must first prove its address with a retry
/// token.
const HANDSHAKES_BEFORE_RETRY: usize = 32;

/// Newcomers that may wait for [`Incoming::answer`]; more are refused.
const HANDSHAKES_MAX: usize = 1024;

/// Size of the socket's buffers, in bytes. With the system's default of 208 KiB, 32 hosts that arrive
/// together lose each other's packets and wait a second; with 8 MiB they do not.
pub const SOCKET_BUFFER_BYTES: usize = 8 << 20;

/// Length of the longest datagram that a connection sends at first, in bytes: what QUIC demands of every path (RFC 9000,
/// section 14).
pub const MTU_INITIAL: u16 = 1200;

/// Length of the longest datagram that a connection tries, in bytes: what is left of Ethernet's 1500 under IPv6 and UDP.
pub const MTU_SOUGHT: u16 = 1452;

/// Bytes that one connection buffers until its peer acknowledges them; beyond it, writers wait.
const SEND_WINDOW_BYTES: u64 = 8 << 20;

/// Receive window of one stream, in bytes, within the window of its connection.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// Time after which a manager that has not answered is dialled once more. One dial sends its first datagram again
/// after 0.3, 0.9 and 2.1 s, which is too seldom to get through a flood that drowns two of three.
const DIAL_INTERVAL: Duration = Duration::from_millis(250);

/// Dials of one manager that are under way at the same time, at the most.
const DIALS_AT_ONCE: usize = 5;

/// Round-trip time that is assumed until one is measured: a lost first datagram is sent again after three times as
/// long. With quinn's 333 ms, a newcomer whose datagrams are lost in a flood waits 1, then 2, then 4 s.
const INITIAL_RTT: Duration = Duration::from_millis(100);

impl Endpoint {
    /// Opens an endpoint that listens for hosts and clients, and can dial.
    ///
    /// Its stateless resets, connection ids and tokens derive from `key`. When a manager restarts with the
    /// same key, the answer to a peer's next packet therefore says that the connection is gone.
    ///
    /// # Errors
    ///
    /// [`BindError`]; the operator must act.
    pub fn serve(bind: SocketAddr, key: &SecretKey, timing: Timing) -> Result<Self, BindError> {
        Self::serve_on(&Network::default(), bind, key, timing)
    }

    /// As [`Self::serve`], on the given network.
    ///
    /// # Errors
    ///
    /// [`BindError`]; the operator must act.
    pub fn serve_on(
        network: &Network,
        bind: SocketAddr,
        key: &SecretKey,
        timing: Timing,
    ) -> Result<Self, BindError> {
        let crypto =
            tls::server_config(key, tls::provider(network.is_simulated())).map_err(BindError::tls(bind))?;
        let crypto = QuicServerConfig::try_from(crypto).map_err(BindError::tls(bind))?;
        let tokens = Salt::new(HKDF_SHA256, &[]).extract(key.derive("quic tokens").as_slice());
        let mut config = quinn::ServerConfig::new(Arc::new(crypto), Arc::new(tokens));
        config
            .transport_config(Arc::new(transport(ConnLimits::STRANGER, timing)))
            .migration(true)
            .max_incoming(HANDSHAKES_MAX);
        Self::open(network, bind, Some(config), key, timing)
    }

    /// Opens an endpoint that only dials.
    ///
    /// # Errors
    ///
    /// [`BindError`]; the operator must act.
    pub fn dialer(bind: SocketAddr, key: &SecretKey, timing: Timing) -> Result<Self, BindError> {
        Self::dialer_on(&Network::default(), bind, key, timing)
    }

    /// As [`Self::dialer`], on the given network.
    ///
    /// # Errors
    ///
    /// [`BindError`]; the operator must act.
    pub fn dialer_on(
        network: &Network,
        bind: SocketAddr,
        key: &SecretKey,
        timing: Timing,
    ) -> Result<Self, BindError> {
        Self::open(network, bind, None, key, timing)
    }

    fn open(
        network: &Network,
        bind: SocketAddr,
        server: Option<quinn::ServerConfig>,
        key: &SecretKey,
        timing: Timing,
    ) -> Result<Self, BindError> {
        let failed = |error| BindError { bind, error };
        let mut config = EndpointConfig::new(Arc::new(ring::hmac::Key::new(
            ring::hmac::HMAC_SHA256,
            key.derive("quic reset key").as_slice(),
        )));
        let runtime = Arc::new(quinn::TokioRuntime);
        let socket: Arc<dyn AsyncUdpSocket> = match &network.0 {
            own @ (Sockets::System | Sockets::Quinn) => {
                let drive = if matches!(own, Sockets::System) { driven } else { driven_by_quinn };
                let socket = socket(bind).and_then(drive).map_err(failed)?;
                if server.is_some() {
                    let [a, b, c, d, e, f, g, h, ..] = *key.derive("quic connection ids");
                    let id_key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
                    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
                    Arc::new(SheddingSocket::new(socket, id_key))
                } else {
                    socket
                }
            }
            Sockets::Simulated(network) => {
                let seed = network.seed();
                simulated::begin(seed);
                config.rng_seed(Some(seed)).cid_generator(|| Box::new(SeededIds));
                Arc::new(SimulatedSocket(network.bind(bind).map_err(failed)?))
            }
        };
        let endpoint = quinn::Endpoint::new_with_abstract_socket(config, server, socket, runtime);
        let endpoint = endpoint.map_err(failed)?;
        Ok(Self { endpoint, key: key.clone(), timing, simulated: network.is_simulated() })
    }

    /// Waits for the next newcomer; `None` once the endpoint is closed. [`Incoming::answer`] does the
    /// handshake.
    pub async fn accept(&self) -> Option<Incoming> {
        loop {
            let incoming = self.endpoint.accept().await?;
            let crowded = self.endpoint.open_connections() > HANDSHAKES_BEFORE_RETRY;
            if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
                // A real peer returns with a token; one with a forged address never sees it.
                let _ = incoming.retry();
                continue;
            }
            return Some(Incoming(incoming));
        }
    }

    /// Dials a manager, and checks its key if `expect` names one. While it does not answer, it is dialled
    /// again every 250 ms beside the dials under way, five at the most; the first that ends decides.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub async fn dial(&self, address: SocketAddr, alpn: Alpn, expect: Expect) -> Result<Conn, DialError> {
        let failed = |reason: String| DialError::Failed { address, reason };
        let config = self.dial_config(alpn, expect).map_err(failed)?;
        let mut dials = JoinSet::new();
        let connection = loop {
            if dials.len() < DIALS_AT_ONCE {
                let dial = self.endpoint.connect_with(config.clone(), address, "manager.invalid");
                dials.spawn(dial.map_err(|error| failed(error.to_string()))?);
            }
            match timeout(DIAL_INTERVAL, dials.join_next()).await {
                Err(_) => {}
                Ok(Some(Ok(ended))) => break ended,
                Ok(Some(Err(error))) => return Err(failed(error.to_string())),
                Ok(None) => return Err(failed("no dial is under way".to_owned())),
            }
        };
        let connection = connection.map_err(|error| match (explain(error), expect) {
            (CloseReason::Silent, _) => DialError::Silent { address },
            (CloseReason::Transport { reason }, Expect::Key(expected)) => match tls::wrong_key(&reason) {
                Some(shown) => DialError::WrongKey { address, expected, shown },
                None => failed(reason),
            },
            (reason, _) => failed(reason.to_string()),
        })?;
        Conn::from_quic(connection).map_err(|error| failed(error.to_string()))
    }

    fn dial_config(&self, alpn: Alpn, expect: Expect) -> Result<quinn::ClientConfig, String> {
        let provider = tls::provider(self.simulated);
        let crypto =
            tls::client_config(&self.key, alpn, expect, provider).map_err(|error| error.to_string())?;
        let crypto = QuicClientConfig::try_from(crypto).map_err(|error| error.to_string())?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        if self.simulated {
            config.initial_dst_cid_provider(Arc::new(|| SeededIds.generate_cid()));
        }
        // The dialler knows whom it dials, so the manager may send as much as a client's mail needs.
        config.transport_config(Arc::new(transport(ConnLimits::CLIENT, self.timing)));
        Ok(config)
    }

    /// The endpoint's own key, which peers see.
    pub fn key(&self) -> PublicKey {
        self.key.public()
    }

    /// The address that the socket is bound to, with the port that the system chose.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Moves to another system socket, as a laptop changes networks; connections continue.
    ///
    /// # Errors
    ///
    /// [`BindError`]: the old socket stays in use.
    pub fn rebind(&self, bind: SocketAddr) -> Result<(), BindError> {
        let rebound = socket(bind).and_then(driven).and_then(|socket| self.endpoint.rebind_abstract(socket));
        rebound.map_err(|error| BindError { bind, error })
    }

    /// Closes every connection, tells the peers why, and accepts no more.
    pub fn close(&self, code: u32, reason: &str) {
        self.endpoint.close(VarInt::from_u32(code), reason.as_bytes());
    }

    /// Waits until every peer knows that its connection is closed, at most `patience`.
    pub async fn wait_idle(&self, patience: Duration) {
        // Peers that do not answer notice by themselves.
        let _ = timeout(patience, self.endpoint.wait_idle()).await;
    }
}

/// A newcomer that has not proved anything yet.
#[derive(Debug)]
pub struct Incoming(quinn::Incoming);

impl Incoming {
    /// The address that the newcomer sends from; an allegation.
    pub fn from(&self) -> SocketAddr {
        self.0.remote_address()
    }

    /// Does the handshake, within a time limit. The connection starts with [`ConnLimits::STRANGER`].
    ///
    /// # Errors
    ///
    /// [`IncomingError`]: the newcomer failed; the caller need not do anything.
    pub async fn answer(self) -> Result<Conn, IncomingError> {
        let from = self.from();
        let failed = |reason: String| IncomingError { from, reason };
        let connecting = self.0.accept().map_err(|error| failed(error.to_string()))?;
        let connection = timeout(HANDSHAKE_TIME_MAX, connecting)
            .await
            .map_err(|_| failed("the handshake took too long".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        Conn::from_quic(connection).map_err(|error| failed(error.to_string()))
    }
}

/// A handshake that failed.
#[derive(Debug, thiserror::Error)]
#[error("no handshake with {from}: {reason}")]
pub struct IncomingError {
    /// The address of the newcomer.
    pub from: SocketAddr,
    /// The reason.
    pub reason: String,
}

/// The socket cannot be opened; the operator must act.
#[derive(Debug, thiserror::Error)]
#[error("cannot use UDP address {bind}: {}", explain_bind(.error))]
pub struct BindError {
    /// The address that was asked for.
    pub bind: SocketAddr,
    /// The system's error.
    pub error: io::Error,
}

impl BindError {
    fn tls<E: std::error::Error + Send + Sync + 'static>(bind: SocketAddr) -> impl FnOnce(E) -> Self {
        move |error| Self { bind, error: io::Error::other(error) }
    }
}

fn explain_bind(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program uses it".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "the system does not allow it; ports below 1024 are for root".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    }
}

/// A manager cannot be reached, or has an unexpected key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Nobody answers at the address.
    #[error("nobody answers at {address}")]
    Silent {
        /// The address that was dialled.
        address: SocketAddr,
    },
    /// A manager with another key answers at the address.
    #[error(
        "the manager at {address} has another key: {} was expected and {} was shown",
        expected.fingerprint(), shown.fingerprint()
    )]
    WrongKey {
        /// The address that was dialled.
        address: SocketAddr,
        /// The key that was expected.
        expected: PublicKey,
        /// The key that was shown.
        shown: PublicKey,
    },
    /// The handshake failed.
    #[error("no connection to {address}: {reason}")]
    Failed {
        /// The address that was dialled.
        address: SocketAddr,
        /// The reason.
        reason: String,
    },
}

fn transport(allowance: ConnLimits, timing: Timing) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(MTU_SOUGHT);
    transport
        .initial_mtu(MTU_INITIAL)
        .mtu_discovery_config(Some(discovery))
        .max_idle_timeout(timing.idle.try_into().ok())
        .keep_alive_interval(Some(timing.keep_alive))
        .initial_rtt(INITIAL_RTT)
        .receive_window(VarInt::from_u32(allowance.window_bytes))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .max_concurrent_bidi_streams(VarInt::from_u32(allowance.streams))
        .max_concurrent_uni_streams(VarInt::from_u32(allowance.streams))
        .datagram_receive_buffer_size(None);
    transport
}

/// A socket that the present runtime drives.
#[cfg(unix)]
fn driven(socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    Ok(Arc::new(crate::udp_socket::SystemSocket::new(socket)?))
}

#[cfg(not(unix))]
use driven_by_quinn as driven;

fn driven_by_quinn(socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    quinn::TokioRuntime.wrap_udp_socket(socket)
}

fn socket(bind: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
    if bind.is_ipv6() {
        // An all-zero IPv6 address then accepts IPv4 as well; a system that cannot do this fails at the bind.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&bind.into())?;
    // The system may grant less, which only costs speed under load.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
