//! The driver: makes the connection, makes it again whenever it is lost, and serves it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use grid_disk::Machine;
use grid_net::{
    Alpn, Backoff, CarryError, CloseReason, Conn, Endpoint, FrameReader, KnownManagers, Network, SendStream,
    StreamError, Timing, carry, code,
};
use grid_protocol::client::{Attach, ClientGreeting, ClientHello, Denial, DenialCode};
use grid_protocol::extensions::Extensions;
use grid_protocol::host::PROTOCOL_VERSION;
use grid_protocol::key::SecretKey;
use grid_protocol::limits::CONTROL_FRAME_BYTES_MAX;
use grid_protocol::ticket::ManagerAddress;
use grid_protocol::wire::Wire;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connection::ConnectError;
use crate::connection::shared::{ConnectionShared, RemoteMailHandler};

/// The manager to dial, and what to dial it with.
pub(crate) struct Dialer {
    pub(crate) manager: ManagerAddress,
    pub(crate) key: SecretKey,
    pub(crate) known_managers: KnownManagers,
    pub(crate) machine: Machine,
    pub(crate) network: Network,
}

/// Called once, with the result of the first attempt to connect.
pub(super) type AdmissionCallback = Box<dyn FnOnce(Result<(), ConnectError>) + Send>;

pub(super) async fn run(
    shared: Arc<ConnectionShared>,
    mut dialer: Dialer,
    mut stopped: watch::Receiver<bool>,
    ready: AdmissionCallback,
) {
    let any = SocketAddr::from(([0u8; 4], 0));
    let v6 = SocketAddr::from(([0u16; 8], 0));
    let timing = Timing::default();
    let bind = |address| Endpoint::dialer_on(&dialer.network, address, &dialer.key, timing);
    let endpoint = bind(v6).or_else(|_| bind(any));
    let endpoint = match endpoint {
        Ok(endpoint) => endpoint,
        Err(error) => {
            ready(Err(error.into()));
            return;
        }
    };
    let mut ready = Some(ready);
    let work = async {
        let mut backoff = Backoff::default();
        loop {
            match enter(&shared, &mut dialer, &endpoint).await {
                Ok(entered) => {
                    let since = Instant::now();
                    if let Some(ready) = ready.take() {
                        ready(Ok(()));
                    }
                    let conn = entered.0.clone();
                    let error = serve(&shared, entered).await;
                    shared.disconnected();
                    tracing::debug!(%error, "the connection to the manager ended");
                    if let Some(denial) = conn.close_reason().and_then(final_word) {
                        shared.sent_away(denial);
                        return;
                    }
                    conn.close(code::PROTOCOL, &error.to_string());
                    let pause = backoff.after(since.elapsed(), dialer.machine.dice());
                    tokio::time::sleep(pause).await;
                }
                Err(error) => {
                    if let Some(ready) = ready.take() {
                        ready(Err(error));
                        return;
                    }
                    tracing::debug!(%error, "the manager is not reached");
                    tokio::time::sleep(backoff.next(dialer.machine.dice())).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        _ = stopped.changed() => {
            shared.flushed().await;
        }
        () = work => {}
    }
    endpoint.close(code::DONE, "the client is done");
    endpoint.wait_idle(LEAVE_TIME).await;
}

/// Time in which the end of the connection is sent. To stay until it is answered for sure takes three probe timeouts, some
/// 90 ms of each command; a manager that did not hear of the end notices it as it does a client that was killed.
const LEAVE_TIME: Duration = Duration::from_millis(10);

/// The denial of every request once the manager has disconnected the client for good; `None` for a reason after which
/// the client connects again.
fn final_word(reason: CloseReason) -> Option<Denial> {
    let CloseReason::Peer { code, reason } = reason else {
        return None;
    };
    let (code, help) = match code {
        code::REVOKED => (DenialCode::NotAllowed, "ask whoever runs the manager for a new ticket"),
        code::REPLACED => (DenialCode::Conflict, "use another channel for each program that runs at once"),
        _ => return None,
    };
    let what = "the manager has sent this client away".to_owned();
    Some(Denial { code, what, why: reason, help: help.to_owned() })
}

type AdmittedConn = (Conn, SendStream, FrameReader);

async fn enter(
    shared: &ConnectionShared,
    dialer: &mut Dialer,
    endpoint: &Endpoint,
) -> Result<AdmittedConn, ConnectError> {
    let conn = dialer.known_managers.reach(endpoint, &dialer.manager, Alpn::Client).await?.0;
    let lost = |error: StreamError| ConnectError::Unreachable(error.to_string());
    let proof = match &dialer.manager {
        ManagerAddress::Ticket(ticket) => Some(ticket.prove(&dialer.key.public(), &conn.exporter())),
        _ => None,
    };
    let attach = shared.channel.map(|channel| Attach { channel, resume: shared.lock().offer() });
    let (mut send, recv) = conn.open_bi().await.map_err(lost)?;
    send.go_first();
    let extensions = Extensions::default().with_software(env!("CARGO_PKG_VERSION"));
    let hello = ClientHello { version: PROTOCOL_VERSION, proof, attach, extensions };
    send.write_frame(&hello.to_body(), CONTROL_FRAME_BYTES_MAX).await.map_err(lost)?;
    let mut reader = FrameReader::new(recv, CONTROL_FRAME_BYTES_MAX);
    let nonsense = || ConnectError::Unreachable("the manager's greeting makes no sense".to_owned());
    let frame = reader.next().await.map_err(lost)?.ok_or_else(nonsense)?;
    match ClientGreeting::from_body(&frame).map_err(|_| nonsense())? {
        ClientGreeting::Welcome { state, resumed, roles, extensions } => {
            tracing::debug!(version = extensions.software(), "a manager lets this client in");
            *shared.roles.lock() = roles;
            shared.knows_traces.store(extensions.traces(), Relaxed);
            shared.connected(&conn, state, resumed).map_err(ConnectError::Unreachable)?;
            Ok((conn, send, reader))
        }
        ClientGreeting::Refused(refusal) => {
            conn.close(code::DONE, "understood");
            Err(ConnectError::Refused(refusal))
        }
        _ => Err(nonsense()),
    }
}

async fn serve(shared: &Arc<ConnectionShared>, (conn, send, reader): AdmittedConn) -> CarryError {
    if shared.channel.is_none() {
        let reason = conn.closed().await;
        drop((send, reader));
        return CarryError::Lost(StreamError::Broken { reason: reason.to_string() });
    }
    let keeper = Arc::new(RemoteMailHandler(shared.clone()));
    tokio::select! {
        biased;
        Err(error) = write_control(shared, send) => error,
        Err(error) = read_control(shared, reader) => error,
        error = carry(&conn, keeper, shared.mail_ready.clone()) => error,
        reason = conn.closed() => CarryError::Lost(StreamError::Broken { reason: reason.to_string() }),
    }
}

async fn write_control(shared: &ConnectionShared, mut send: SendStream) -> Result<Infallible, CarryError> {
    loop {
        shared.control_ready.notified().await;
        loop {
            let Some(frame) = shared.lock().control.poll_transmit() else {
                break;
            };
            send.write_frame(&frame, CONTROL_FRAME_BYTES_MAX).await.map_err(CarryError::Lost)?;
        }
    }
}

async fn read_control(shared: &ConnectionShared, mut reader: FrameReader) -> Result<Infallible, CarryError> {
    while let Some(frame) = reader.next().await.map_err(CarryError::Lost)? {
        shared.handle_control(&frame).map_err(CarryError::Protocol)?;
    }
    Err(CarryError::Protocol("the control stream was ended".to_owned()))
}
