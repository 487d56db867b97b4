//! The driver: keeps a host connected to its manager, and moves control frames and mail over the connection.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grid_net::{
    Alpn, Backoff, CarryError, CloseReason, Conn, DialError, Endpoint, FrameReader, MailHandler, Pace,
    SendStream, StreamError, carry, code,
};
use grid_protocol::extensions::Extensions;
use grid_protocol::frame::FrameBatch;
use grid_protocol::host::{Greeting, Hello, HostCapacity, JoinRefusal, PROTOCOL_VERSION, Welcome};
use grid_protocol::limits::{CONTROL_FRAME_BYTES_MAX, MAIL_STREAMS};
use grid_protocol::mail::{BulkHead, MailFrame};
use grid_protocol::ticket::{ManagerAddress, Ticket};
use grid_protocol::wire::Wire;

use crate::sandbox::gather;
use crate::worker_supervisor::WorkerSupervisor;
use grid_net::{KnownManagers, KnownManagersError, ReachError};

/// How a host reaches the manager that it serves.
pub(crate) enum Upstream {
    /// Over the network; a lost connection is dialled again.
    Dial(Box<Dial>),
    /// A manager in this process; when the connection ends, so does the host. `None` once the connection is used.
    Local(Option<Conn>),
}

/// What is needed to dial a manager over the network.
pub(crate) struct Dial {
    pub(crate) endpoint: Endpoint,
    pub(crate) manager: ManagerAddress,
    pub(crate) known_managers: KnownManagers,
}

/// Why a host ended. The operator must act on all but [`HostEnded::Drained`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostEnded {
    /// The host was told to drain, and its workers and tasks have ended.
    #[error("the host was drained")]
    Drained,
    /// The connection to the manager in this process has ended.
    #[error("the manager is gone: {0}")]
    ManagerGone(CloseReason),
    /// The manager does not admit the host.
    #[error("the manager refuses this host: {0}")]
    Refused(JoinRefusal),
    /// The host's key was revoked.
    #[error("this host's key was revoked")]
    Revoked,
    /// Another program has connected with this host's key.
    #[error("another program has connected with this host's key")]
    Replaced,
    /// The known managers do not admit the key that answers at the manager's address, or cannot be stored.
    #[error(transparent)]
    Stranger(#[from] KnownManagersError),
    /// The manager's key is not the one that the operator gave.
    #[error("{0}")]
    WrongKey(DialError),
}

/// Progress of a host's connection, reported to the program that runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostProgress {
    /// A manager answered for the first time at an address given without a key; its key is now trusted there.
    FirstUse {
        /// The key of the manager.
        key: grid_protocol::key::PublicKey,
        /// The address at which it answered.
        address: String,
    },
    /// The manager could not be joined; the host will retry.
    Waiting {
        /// Why it could not be joined.
        reason: String,
    },
    /// The host waits for its key to be approved at the manager.
    Pending,
    /// The manager has admitted the host.
    Joined {
        /// True if the session and its workers continue; false if a new session has begun.
        resumed: bool,
        /// The version of the manager's software, if it is another than this host's.
        other_version: Option<String>,
    },
    /// The connection was lost; workers continue to run, and the host will reconnect.
    Lost {
        /// Why it was lost.
        reason: String,
    },
}

/// Serves the manager until the host has drained, or must not connect again.
pub(crate) async fn run(
    supervisor: &Arc<WorkerSupervisor>,
    route: Upstream,
    capacity: &HostCapacity,
    progress: &(dyn Fn(HostProgress) + Send + Sync),
) -> HostEnded {
    tokio::select! {
        biased;
        ended = keep_connected(supervisor, route, capacity, progress) => ended,
        never = supervisor.runner.run_timer() => match never {},
        never = carry_results(supervisor) => match never {},
    }
}

async fn carry_results(supervisor: &Arc<WorkerSupervisor>) -> Infallible {
    match supervisor.take_long_results() {
        Some(long) => supervisor.carry_results(long).await,
        None => std::future::pending().await,
    }
}

async fn keep_connected(
    supervisor: &Arc<WorkerSupervisor>,
    mut route: Upstream,
    capacity: &HostCapacity,
    progress: &(dyn Fn(HostProgress) + Send + Sync),
) -> HostEnded {
    let mut backoff = Backoff::default();
    loop {
        let joined = match join(supervisor, &mut route, capacity, progress).await {
            Ok(joined) => joined,
            Err(Setback::Final(ended)) => return ended,
            Err(Setback::Passing(reason)) => {
                progress(HostProgress::Waiting { reason });
                if wait_or_drained(supervisor, backoff.next(supervisor.machine.dice())).await {
                    return HostEnded::Drained;
                }
                continue;
            }
        };
        let since = tokio::time::Instant::now();
        let (conn, error) = serve(supervisor, joined).await;
        supervisor.disconnected();
        if supervisor.is_drained() {
            conn.close(code::DONE, "the host is drained");
            if let Upstream::Dial(dial) = &route {
                dial.endpoint.wait_idle(Duration::from_secs(1)).await;
            }
            return HostEnded::Drained;
        }
        match (conn.close_reason(), &route) {
            (Some(CloseReason::Peer { code: code::REVOKED, .. }), _) => return HostEnded::Revoked,
            (Some(CloseReason::Peer { code: code::REPLACED, .. }), _) => return HostEnded::Replaced,
            (reason, Upstream::Local(_)) => {
                return HostEnded::ManagerGone(reason.unwrap_or(CloseReason::Here));
            }
            _ => {}
        }
        conn.close(code::PROTOCOL, &error.to_string());
        progress(HostProgress::Lost { reason: error.to_string() });
        let pause = backoff.after(since.elapsed(), supervisor.machine.dice());
        if !pause.is_zero() && wait_or_drained(supervisor, pause).await {
            return HostEnded::Drained;
        }
    }
}

/// Why joining the manager failed: for the moment, or for good.
enum Setback {
    Passing(String),
    Final(HostEnded),
}

impl From<StreamError> for Setback {
    fn from(error: StreamError) -> Self {
        Self::Passing(error.to_string())
    }
}

impl From<ReachError> for Setback {
    fn from(error: ReachError) -> Self {
        match error {
            ReachError::Silent(reason) => Self::Passing(reason),
            ReachError::WrongKey(error) => Self::Final(HostEnded::WrongKey(error)),
            ReachError::Stranger(error) => Self::Final(error.into()),
        }
    }
}

struct Joined {
    conn: Conn,
    send: SendStream,
    reader: FrameReader,
}

async fn join(
    supervisor: &Arc<WorkerSupervisor>,
    route: &mut Upstream,
    capacity: &HostCapacity,
    progress: &(dyn Fn(HostProgress) + Send + Sync),
) -> Result<Joined, Setback> {
    let (conn, ticket) = match route {
        Upstream::Local(conn) => match conn.take() {
            Some(conn) => (conn, None),
            None => return Err(Setback::Final(HostEnded::ManagerGone(CloseReason::Here))),
        },
        Upstream::Dial(dial) => {
            let Dial { endpoint, manager, known_managers } = &mut **dial;
            let (conn, new) = known_managers.reach(endpoint, manager, Alpn::Host).await?;
            if let Some(address) = new {
                progress(HostProgress::FirstUse { key: conn.peer(), address });
            }
            let ticket = if let ManagerAddress::Ticket(ticket) = &*manager { Some(ticket) } else { None };
            (conn, ticket.map(|ticket| (ticket, endpoint.key())))
        }
    };
    let proof = ticket.map(|(ticket, key): (&Ticket, _)| ticket.prove(&key, &conn.exporter()));
    let (mut send, recv) = conn.open_bi().await?;
    send.go_first();
    let hello = Hello {
        version: PROTOCOL_VERSION,
        capacity: capacity.clone(),
        proof,
        resume: supervisor.resume_offer(),
        extensions: Extensions::default().with_traces(),
    };
    send.write_frame(&hello.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
    let mut reader = FrameReader::new(recv, CONTROL_FRAME_BYTES_MAX);
    let welcome = greeted(&mut reader, &conn, progress).await?;
    supervisor.trust.hear(welcome.publishers, welcome.revoked);
    supervisor.connected(&conn, &welcome.state, welcome.resumed).map_err(Setback::Passing)?;
    let version = welcome.extensions.software();
    let other_version = version.filter(|version| *version != capacity.software);
    progress(HostProgress::Joined { resumed: welcome.resumed, other_version });
    Ok(Joined { conn, send, reader })
}

async fn greeted(
    reader: &mut FrameReader,
    conn: &Conn,
    progress: &(dyn Fn(HostProgress) + Send + Sync),
) -> Result<Welcome, Setback> {
    loop {
        let Some(frame) = reader.next().await? else {
            return Err(Setback::Passing("the manager ended the greeting".to_owned()));
        };
        match Greeting::from_body(&frame) {
            Ok(Greeting::Pending) => progress(HostProgress::Pending),
            Ok(Greeting::Welcome(welcome)) => return Ok(welcome),
            Ok(Greeting::Refused(refusal)) => {
                conn.close(code::DONE, "understood");
                return Err(Setback::Final(HostEnded::Refused(refusal)));
            }
            Ok(_) | Err(_) => {
                return Err(Setback::Passing("the manager's greeting makes no sense".to_owned()));
            }
        }
    }
}

/// Moves control frames and mail until the connection ends or the host is drained.
async fn serve(supervisor: &Arc<WorkerSupervisor>, joined: Joined) -> (Conn, CarryError) {
    let Joined { conn, send, reader } = joined;
    let keeper = Arc::new(SupervisorMail(supervisor.clone()));
    let error = tokio::select! {
        biased;
        Err(error) = write_control(supervisor, send) => error,
        Err(error) = read_control(supervisor, reader) => error,
        error = carry(&conn, keeper, supervisor.outbox.mail_ready.clone()) => error,
        reason = conn.closed() => CarryError::Lost(StreamError::Broken { reason: reason.to_string() }),
        () = drained(supervisor) => CarryError::Protocol("the host is drained".to_owned()),
    };
    (conn, error)
}

/// Rounds of reports follow each other no faster on average: a thousand a second, however many lines the workers write.
const REPORT_PACE: Duration = Duration::from_millis(1);

async fn write_control(
    supervisor: &WorkerSupervisor,
    mut send: SendStream,
) -> Result<Infallible, CarryError> {
    let (began, mut pace) = (tokio::time::Instant::now(), Pace::new(REPORT_PACE));
    loop {
        let ready = supervisor.outbox.control_ready.notified();
        match supervisor.runner.take_due() {
            // Whether it is ready or due, there is something to look for.
            Some(due) => drop(tokio::time::timeout_at(due, ready).await),
            None => ready.await,
        }
        let mut says = false;
        while let Some(frame) = supervisor.next_report() {
            says = true;
            send.write_frame_parts(frame, CONTROL_FRAME_BYTES_MAX).await.map_err(CarryError::Lost)?;
        }
        if says && let Some(pause) = pace.after_turn(began.elapsed()) {
            // Log lines and starts of workers are collected meanwhile.
            tokio::time::sleep(pause).await;
        }
    }
}

async fn read_control(
    supervisor: &Arc<WorkerSupervisor>,
    mut reader: FrameReader,
) -> Result<Infallible, CarryError> {
    while let Some(frame) = reader.next().await.map_err(CarryError::Lost)? {
        supervisor.handle_control(&frame).map_err(CarryError::Protocol)?;
        supervisor.emptied.notify_one();
    }
    Err(CarryError::Protocol("the control stream was ended".to_owned()))
}

async fn drained(supervisor: &WorkerSupervisor) {
    while !supervisor.is_drained() {
        supervisor.emptied.notified().await;
    }
}

/// Waits for up to `wait`; true as soon as the host drains and runs nothing.
async fn wait_or_drained(supervisor: &WorkerSupervisor, wait: Duration) -> bool {
    let drained = async {
        while !supervisor.is_drained_alone() {
            supervisor.emptied.notified().await;
        }
    };
    tokio::time::timeout(wait, drained).await.is_ok()
}

/// Connects the mail transport to the outbox and the mailboxes of a host's workers.
struct SupervisorMail(Arc<WorkerSupervisor>);

impl MailHandler for SupervisorMail {
    fn take(&self, lanes: &mut [Vec<u8>; MAIL_STREAMS], bulk: &mut VecDeque<(BulkHead, Bytes)>) {
        self.0.outbox.take(lanes, bulk);
    }

    fn handle_frames(&self, frames: &FrameBatch) -> Result<(), String> {
        gather(|| self.hand_out(frames))
    }

    fn handle_bulk(&self, head: BulkHead, payload: Bytes) -> Result<(), String> {
        // Mail for a worker that this host has forgotten may still arrive.
        let Some(entry) = self.0.entry(head.worker) else {
            return Ok(());
        };
        entry.mailbox.fulfil(head.seq, payload).map_err(|error| error.to_string())
    }
}

impl SupervisorMail {
    fn hand_out(&self, frames: &FrameBatch) -> Result<(), String> {
        let mut ended = Vec::new();
        let handled = self.0.with_workers(|workers| {
            frames.bodies().try_for_each(|body| {
                let frame = MailFrame::decode(body).map_err(|error| error.to_string())?;
                let worker = frame.worker();
                // Mail for a worker that this host has forgotten may still arrive.
                let Some(mailbox) = workers.get(&worker).map(|entry| &entry.mailbox) else { return Ok(()) };
                mailbox.handle_frame(frame, frames.buffer()).map_err(|error| error.to_string())?;
                // After the frame: a worker that ends meanwhile may owe nothing any more by it.
                if mailbox.has_ended() {
                    ended.push(worker);
                }
                Ok(())
            })
        });
        ended.into_iter().for_each(|worker| self.0.forget_if_over(worker));
        handled
    }
}
