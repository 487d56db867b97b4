//! Endpoints: a UDP socket that peers are reached through.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use grid_protocol::key::{PublicKey, SecretKey};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{EndpointConfig, TransportConfig, VarInt};
use quinn_proto::{ConnectionIdGenerator as _, HashedConnectionIdGenerator};
use ring::hkdf::{HKDF_SHA256, Salt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::timeout;

use crate::close_reason::CloseReason;
use crate::conn::{Conn, ConnLimits, explain};
use crate::network::{Network, SimulatedSocket};
use crate::simulated::{self, SeededIds};
use crate::tls::{self, Alpn, Expect};

/// A socket with its QUIC state. Clones are the same endpoint; it closes when it is told to.
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
    /// Something is sent at least so often: 3 s, so that an idle path stays open through a NAT.
    pub keep_alive: Duration,
    /// Silence of this length ends a connection: 10 s, three lost keep-alives and some patience.
    pub idle: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { keep_alive: Duration::from_secs(3), idle: Duration::from_secs(10) }
    }
}

/// A handshake that takes longer is given up by the server, so that half-open ones do not pile up.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);

/// Handshakes under way at which a newcomer must first show that its address is its own.
const HANDSHAKES_BEFORE_RETRY: usize = 32;

/// Handshakes under way at which newcomers are turned away.
const HANDSHAKES_MAX: usize = 1024;

/// Socket buffers: with the system's default of 208 KiB, 32 hosts that arrive at once lose each other's
/// packets and wait a second; with 8 MiB they do not.
const SOCKET_BUFFER_BYTES: usize = 8 << 20;

/// Unsent bytes that one connection may hold, beyond which writers wait.
const SEND_WINDOW_BYTES: u64 = 8 << 20;

/// The window of one stream, within that of the connection.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

impl Endpoint {
    /// Listens for hosts and clients.
    ///
    /// Its stateless resets, connection ids and tokens come from `key`, so that peers notice at once when a manager
    /// with the same key takes the place of a dead one.
    ///
    /// # Errors
    ///
    /// [`BindError`]: the operator must act.
    pub fn serve(bind: SocketAddr, key: &SecretKey, timing: Timing) -> Result<Self, BindError> {
        Self::serve_on(&Network::default(), bind, key, timing)
    }

    /// As [`Self::serve`], on any network.
    ///
    /// # Errors
    ///
    /// [`BindError`]: the operator must act.
    pub fn serve_on(
        network: &Network,
        bind: SocketAddr,
        key: &SecretKey,
        timing: Timing,
    ) -> Result<Self, BindError> {
        let crypto =
            tls::server_config(key, tls::provider(network.is_made_up())).map_err(BindError::tls(bind))?;
        let crypto = QuicServerConfig::try_from(crypto).map_err(BindError::tls(bind))?;
        let tokens = Salt::new(HKDF_SHA256, &[]).extract(key.derive("quic tokens").as_slice());
        let mut config = quinn::ServerConfig::new(Arc::new(crypto), Arc::new(tokens));
        config
            .transport_config(Arc::new(transport(ConnLimits::STRANGER, timing)))
            .migration(true)
            .max_incoming(HANDSHAKES_MAX);
        Self::open(network, bind, Some(config), key, timing)
    }

    /// An endpoint that only dials.
    ///
    /// # Errors
    ///
    /// [`BindError`]: the operator must act.
    pub fn dialer(bind: SocketAddr, key: &SecretKey, timing: Timing) -> Result<Self, BindError> {
        Self::dialer_on(&Network::default(), bind, key, timing)
    }

    /// As [`Self::dialer`], on any network.
    ///
    /// # Errors
    ///
    /// [`BindError`]: the operator must act.
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
        if server.is_some() {
            let [a, b, c, d, e, f, g, h, ..] = *key.derive("quic connection ids");
            let cid_key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
            config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(cid_key)));
        }
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = match &network.0 {
            None => quinn::Endpoint::new(config, server, socket(bind).map_err(failed)?, runtime),
            Some(network) => {
                let seed = network.seed();
                simulated::begin(seed);
                config.rng_seed(Some(seed)).cid_generator(|| Box::new(SeededIds));
                let socket = SimulatedSocket(network.bind(bind).map_err(failed)?);
                quinn::Endpoint::new_with_abstract_socket(config, server, Arc::new(socket), runtime)
            }
        }
        .map_err(failed)?;
        Ok(Self { endpoint, key: key.clone(), timing, simulated: network.is_made_up() })
    }

    /// The next peer that knocks; `None` once the endpoint is closed. [`Incoming::answer`] does the handshake.
    pub async fn accept(&self) -> Option<Incoming> {
        loop {
            let incoming = self.endpoint.accept().await?;
            let crowded = self.endpoint.open_connections() > HANDSHAKES_BEFORE_RETRY;
            if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
                // It comes back with a token, or never had that address.
                let _ = incoming.retry();
                continue;
            }
            return Some(Incoming(incoming));
        }
    }

    /// Dials a manager.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub async fn dial(&self, address: SocketAddr, alpn: Alpn, expect: Expect) -> Result<Conn, DialError> {
        let failed = |reason: String| DialError::Failed { address, reason };
        let provider = tls::provider(self.simulated);
        let crypto = tls::client_config(&self.key, alpn, expect, provider)
            .map_err(|error| failed(error.to_string()))?;
        let crypto = QuicClientConfig::try_from(crypto).map_err(|error| failed(error.to_string()))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        if self.simulated {
            config.initial_dst_cid_provider(Arc::new(|| SeededIds.generate_cid()));
        }
        // The dialler knows whom it dials, and lets it send what a client's mail may need.
        config.transport_config(Arc::new(transport(ConnLimits::CLIENT, self.timing)));
        let connecting = self
            .endpoint
            .connect_with(config, address, "manager.invalid")
            .map_err(|error| failed(error.to_string()))?;
        let connection = connecting.await.map_err(|error| match (explain(error), expect) {
            (CloseReason::Silent, _) => DialError::Silent { address },
            (CloseReason::Transport { reason }, Expect::Key(expected)) => match tls::wrong_key(&reason) {
                Some(shown) => DialError::WrongKey { address, expected, shown },
                None => failed(reason),
            },
            (reason, _) => failed(reason.to_string()),
        })?;
        Conn::from_quic(connection).map_err(|error| failed(error.to_string()))
    }

    /// The key that peers see.
    pub fn key(&self) -> PublicKey {
        self.key.public()
    }

    /// The address that it is bound to, with the port that the system chose.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Moves to another socket, as a laptop does between networks; connections go on.
    ///
    /// # Errors
    ///
    /// [`BindError`]: the old socket stays.
    pub fn rebind(&self, bind: SocketAddr) -> Result<(), BindError> {
        let rebound = socket(bind).and_then(|socket| self.endpoint.rebind(socket));
        rebound.map_err(|error| BindError { bind, error })
    }

    /// Closes every connection, and tells the peers why.
    pub fn close(&self, code: u32, reason: &str) {
        self.endpoint.close(VarInt::from_u32(code), reason.as_bytes());
    }

    /// Waits until peers know that their connections are closed, `patience` at most.
    pub async fn wait_idle(&self, patience: Duration) {
        // Peers that do not answer will find out by themselves.
        let _ = timeout(patience, self.endpoint.wait_idle()).await;
    }
}

/// A peer that wants in and has shown nothing yet.
#[derive(Debug)]
pub struct Incoming(quinn::Incoming);

impl Incoming {
    /// Where it knocks from; an allegation.
    pub fn from(&self) -> SocketAddr {
        self.0.remote_address()
    }

    /// Does the handshake, bounded in time. The connection that comes out has the allowance of a stranger.
    ///
    /// # Errors
    ///
    /// [`IncomingError`]: the peer failed, and nothing more need be done.
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

/// A handshake that came to nothing.
#[derive(Debug, thiserror::Error)]
#[error("no handshake with {from}: {reason}")]
pub struct IncomingError {
    /// Where the peer knocked from.
    pub from: SocketAddr,
    /// Why.
    pub reason: String,
}

/// The socket cannot be had: the operator must act.
#[derive(Debug, thiserror::Error)]
#[error("cannot use UDP address {bind}: {}", explain_bind(.error))]
pub struct BindError {
    /// Which address.
    pub bind: SocketAddr,
    /// The system's reason.
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

/// A manager that could not be reached, or was not who it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Nobody answers there.
    #[error("nobody answers at {address}")]
    Silent {
        /// Where.
        address: SocketAddr,
    },
    /// Somebody else answers there.
    #[error(
        "the manager at {address} has another key: {} was expected and {} was shown",
        expected.fingerprint(), shown.fingerprint()
    )]
    WrongKey {
        /// Where.
        address: SocketAddr,
        /// The key that was expected.
        expected: PublicKey,
        /// The key that was shown.
        shown: PublicKey,
    },
    /// The handshake failed.
    #[error("no connection to {address}: {reason}")]
    Failed {
        /// Where.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
}

fn transport(allowance: ConnLimits, timing: Timing) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(timing.idle.try_into().ok())
        .keep_alive_interval(Some(timing.keep_alive))
        .receive_window(VarInt::from_u32(allowance.window_bytes))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .max_concurrent_bidi_streams(VarInt::from_u32(allowance.streams))
        .max_concurrent_uni_streams(VarInt::from_u32(allowance.streams))
        .datagram_receive_buffer_size(None);
    transport
}

fn socket(bind: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
    if bind.is_ipv6() {
        // An address of all zeros then takes IPv4 as well; systems that cannot, say so at the bind.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&bind.into())?;
    // The system may give less; that costs speed under load and nothing else.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
