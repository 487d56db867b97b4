//! The listener: accepts connections within bounds, and serves a router on each.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::certificate::{Certificate, CertificateError};
use crate::guard::PeerAddress;
use crate::stall::Stalling;

/// Connections that are served at a time; others wait in the system's queue.
const CONNECTIONS_MAX: usize = 512;

/// Connections of one address; others are closed at once.
const CONNECTIONS_OF_AN_ADDRESS_MAX: usize = 64;

/// Longest time for a TLS handshake.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// Longest time for the head of a request; a connection that sends none for so long is closed.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// Pause after the system gave no connection, for example because it has no descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens for HTTP.
pub struct HttpListener {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

/// The server cannot listen: the operator must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpBindError {
    /// The address cannot be had.
    #[error("cannot listen on {address} (TCP): {error}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl HttpListener {
    /// Listens on an address; with port 0 the system chooses the port.
    ///
    /// # Errors
    ///
    /// [`HttpBindError::Address`].
    pub async fn bind(address: SocketAddr) -> Result<Self, HttpBindError> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| HttpBindError::Address { address, error })?;
        Ok(Self { listener, tls: None })
    }

    /// Speaks TLS with this certificate.
    ///
    /// # Errors
    ///
    /// [`HttpBindError::Certificate`].
    pub fn with_tls(mut self, certificate: Certificate) -> Result<Self, HttpBindError> {
        self.tls = Some(certificate.acceptor()?);
        Ok(self)
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves the router on every connection; never returns. Connections end when this future is dropped.
    pub async fn serve(self, router: Router) {
        let mut serving = JoinSet::new();
        let by_address = Arc::<Mutex<HashMap<IpAddr, usize>>>::default();
        loop {
            tokio::select! {
                biased;
                Some(_) = serving.join_next() => {}
                accepted = self.listener.accept(), if serving.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, peer)) => {
                        let Some(place) = Place::take(&by_address, peer.ip()) else { continue };
                        serving.spawn(serve_one(stream, peer, self.tls.clone(), router.clone(), place));
                    }
                    Err(error) => {
                        tracing::debug!(%error, "no connection was accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

/// One of the connections that an address may have; given back when it is dropped.
struct Place {
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Place {
    fn take(by_address: &Arc<Mutex<HashMap<IpAddr, usize>>>, address: IpAddr) -> Option<Self> {
        let mut counts = by_address.lock();
        let count = counts.entry(address).or_default();
        if *count >= CONNECTIONS_OF_AN_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Self { by_address: by_address.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.by_address.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

async fn serve_one(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    _place: Place,
) {
    // A delayed line of a stream would be read late.
    let _ = stream.set_nodelay(true);
    let router = router.layer(axum::Extension(PeerAddress(peer)));
    match tls {
        None => speak(stream, router).await,
        Some(tls) => match timeout(HANDSHAKE_TIME_MAX, tls.accept(stream)).await {
            Ok(Ok(stream)) => speak(stream, router).await,
            _ => tracing::debug!(%peer, "a TLS handshake failed"),
        },
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router) {
    let service = TowerToHyperService::new(router);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Stalling::new(stream)), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an HTTP connection failed");
    }
}
