//! A client over the network: the same mail as a client in the manager's process, over a connection that is made
//! again whenever it is lost.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use grid_disk::Machine;
use grid_net::{
    Alpn, Backoff, BindError, CarryError, CloseReason, Conn, Endpoint, FrameReader, MailHandler, Network,
    SendStream, StreamError, Timing, carry, code,
};
use grid_net::{KnownManagers, ReachError};
use grid_protocol::client::{
    self, Attach, Channel, ClientGreeting, ClientHello, ClientNote, Denial, DenialCode, Reply, Request,
};
use grid_protocol::event::{Event, SendError};
use grid_protocol::host::{JoinRefusal, PROTOCOL_VERSION, Resume};
use grid_protocol::id::WorkerId;
use grid_protocol::job::{BlobRef, JobId};
use grid_protocol::key::SecretKey;
use grid_protocol::limits::{CONTROL_FRAME_BYTES_MAX, MAIL_STREAMS, MESSAGE_BYTES_MAX};
use grid_protocol::link::MessageKind;
use grid_protocol::mail::BulkHead;
use grid_protocol::pages::PAGES_MAX;
use grid_protocol::role::Roles;
use grid_protocol::send_queue::SendQueue;
use grid_protocol::ticket::ManagerAddress;
use grid_protocol::wire::Wire;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use crate::access::{Access, Answer};
use crate::session::{Collectable, EndedWorker, Session};

/// Why no connection to the manager was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The connection was lost, or the manager's greeting made no sense.
    #[error("the manager cannot be reached: {0}")]
    Unreachable(String),
    /// The manager does not let this key in.
    #[error("the manager refuses: {0}")]
    Refused(JoinRefusal),
    /// The manager was not reached, or showed another key than the expected one.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The UDP socket cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system gave no thread.
    #[error("the system gives no thread: {0}")]
    Thread(std::io::Error),
}

/// A client's connection to its manager, kept up until it is dropped.
pub(crate) struct Connection {
    shared: Arc<ConnectionShared>,
    stopping: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<()>>,
}

struct ConnectionShared {
    channel: Option<Channel>,
    inner: Mutex<Session>,
    mail_ready: Arc<Notify>,
    control_ready: Notify,
    arrived: Notify,
    room: Notify,
    conn: watch::Sender<Option<Conn>>,
    /// Why the manager disconnected this client for good, if it did.
    sent_away: OnceLock<Denial>,
    roles: Mutex<Roles>,
}

/// Longest wait for a settlement: one that came before the wait is not announced again.
const SETTLED_PAUSE: Duration = Duration::from_millis(50);

/// How long a request may take, waiting for a connection included and the transfer of its bytes not.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

impl Connection {
    /// Connects, and keeps the connection up from then on. Without a channel the client makes requests only.
    pub(crate) fn connect(dialer: Dialer, channel: Option<Channel>) -> Result<Self, ConnectError> {
        let shared = Arc::new(ConnectionShared::new(channel));
        let (stopping, stopped) = watch::channel(false);
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        // The receiver waits below.
        let ready: AdmissionCallback = Box::new(move |entered| drop(ready.send(entered)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ConnectError::Thread)?;
        let work = {
            let shared = shared.clone();
            move || runtime.block_on(run(shared, dialer, stopped, ready))
        };
        let thread = thread::Builder::new()
            .name("grid-client".to_owned())
            .spawn(work)
            .map_err(ConnectError::Thread)?;
        is_ready.recv().map_err(|_| ended())??;
        Ok(Self { shared, stopping, thread: Some(thread) })
    }

    /// As [`Self::connect`], on the runtime of the caller.
    pub(crate) async fn connect_here(dialer: Dialer, channel: Option<Channel>) -> Result<Self, ConnectError> {
        let shared = Arc::new(ConnectionShared::new(channel));
        let (stopping, stopped) = watch::channel(false);
        let (ready, is_ready) = oneshot::channel();
        let ready: AdmissionCallback = Box::new(move |entered| drop(ready.send(entered)));
        tokio::spawn(run(shared.clone(), dialer, stopped, ready));
        is_ready.await.map_err(|_| ended())??;
        Ok(Self { shared, stopping, thread: None })
    }

    /// Sends a request and the bytes that follow it; returns the reply and the bytes that follow that.
    async fn exchange(&self, request: Request, body: Option<Bytes>) -> (Reply, Bytes) {
        let asked = async {
            loop {
                let mut conns = self.shared.conn.subscribe();
                let decided = |conn: &Option<Conn>| conn.is_some() || self.sent_away().is_some();
                let Ok(conn) = conns.wait_for(decided).await.map(|conn| conn.clone()) else {
                    break;
                };
                let Some(conn) = conn else { break };
                match ask(&conn, &request, body.as_ref()).await {
                    Ok(reply) => return Ok(reply),
                    // The manager may have carried it out: only what is safe to repeat is repeated.
                    Err(error) if !is_question(&request) => return Err(error.to_string()),
                    // The stream broke but the connection did not: the caller decides what to do.
                    Err(error) if conn.close_reason().is_none() => return Err(error.to_string()),
                    Err(_) => {
                        conn.closed().await;
                        // Lets the task that keeps the connection up notice the loss, too.
                        tokio::task::yield_now().await;
                    }
                }
            }
            Err("the client was stopped".to_owned())
        };
        let most = REQUEST_TIME_MAX + transfer_time(&request);
        let answered = tokio::time::timeout(most, asked).await;
        let answered = answered.unwrap_or_else(|_| Err(format!("no answer for {most:?}")));
        answered.unwrap_or_else(|why| {
            if let Some(denial) = self.sent_away() {
                return (Reply::Denied(denial.clone()), Bytes::new());
            }
            let help = "check that the manager runs, and ask again".to_owned();
            let denied = Reply::Denied(Denial {
                code: DenialCode::ManagerFault,
                what: "the manager did not answer".to_owned(),
                why,
                help,
            });
            (denied, Bytes::new())
        })
    }

    /// Why the manager disconnected this client for good, if it did: nothing is sent or received any more.
    pub(crate) fn sent_away(&self) -> Option<&Denial> {
        self.shared.sent_away.get()
    }

    pub(crate) fn try_send(&self, worker: WorkerId, payload: Bytes) -> Result<u64, SendError> {
        if payload.len() > MESSAGE_BYTES_MAX {
            return Err(SendError::TooLong { length: payload.len(), max: MESSAGE_BYTES_MAX });
        }
        let mut inner = self.shared.lock();
        let Session { links, send_queue, up, .. } = &mut *inner;
        let Some(known) = links.get_mut(&worker).filter(|known| known.ending.is_none()) else {
            return Err(SendError::Gone(worker));
        };
        if !known.link.has_room() {
            return Err(SendError::Full(worker));
        }
        let settled = known.link.acknowledge();
        let sent = known.link.push(MessageKind::Message, payload, ());
        let seq = sent.seq;
        if *up {
            send_queue.put(worker, sent, settled);
            self.shared.mail_ready.notify_one();
        }
        Ok(seq)
    }

    pub(crate) async fn send(&self, worker: WorkerId, payload: Bytes) -> Result<u64, SendError> {
        loop {
            let room = self.shared.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            match self.try_send(worker, payload.clone()) {
                Err(SendError::Full(_)) => room.await,
                other => return other,
            }
        }
    }

    pub(crate) fn try_collect(&self, most: usize, events: &mut Vec<Event>) {
        self.shared.lock().collect(most, events);
        self.shared.mail_ready.notify_one();
    }

    pub(crate) async fn collect(&self, most: usize, events: &mut Vec<Event>) {
        loop {
            let before = events.len();
            self.try_collect(before + most, events);
            if events.len() > before {
                return;
            }
            self.shared.arrived.notified().await;
        }
    }

    /// True if the worker has settled every message and everything that it sent has arrived, or if it has ended.
    pub(crate) fn is_quiet(&self, worker: WorkerId) -> bool {
        let shared = self.shared.lock();
        shared.links.get(&worker).is_none_or(|known| {
            let link = &known.link;
            known.is_over() || link.unsettled().len() == 0 && link.has_arrived(link.last_accepted())
        })
    }

    /// Waits until something comes from the manager, for up to [`SETTLED_PAUSE`].
    pub(crate) async fn settled(&self) {
        // Bounded, because what was settled before the wait is not announced again.
        let _ = tokio::time::timeout(SETTLED_PAUSE, self.shared.room.notified()).await;
    }

    /// Tells the manager that the channel is no longer needed.
    pub(crate) fn goodbye(&self, grace_ms: u32) {
        self.shared.lock().control.send(&ClientNote::Goodbye { grace_ms });
        self.shared.control_ready.notify_one();
    }
}

impl Access for Connection {
    fn channel(&self) -> Channel {
        self.shared.channel.unwrap_or(Channel::COMMAND)
    }

    fn request(&self, request: Request, body: Option<Bytes>) -> Answer<'_, Reply> {
        Box::pin(async { self.exchange(request, body).await.0 })
    }

    fn fetch(&self, job: JobId, payload: BlobRef) -> Answer<'_, Result<Bytes, Denial>> {
        Box::pin(async move {
            match self.exchange(Request::PayloadFetch { job, payload }, None).await {
                (Reply::Payload { .. }, bytes) => Ok(bytes),
                (Reply::Denied(denial), _) => Err(denial),
                (other, _) => Err(crate::denial::unexpected(&other)),
            }
        })
    }

    fn try_send(&self, worker: WorkerId, message: Bytes) -> Result<u64, SendError> {
        Self::try_send(self, worker, message)
    }

    fn send(&self, worker: WorkerId, message: Bytes) -> Answer<'_, Result<u64, SendError>> {
        Box::pin(Self::send(self, worker, message))
    }

    fn try_collect(&self, most: usize, events: &mut Vec<Event>) {
        Self::try_collect(self, most, events);
    }

    fn collect<'a>(&'a self, most: usize, events: &'a mut Vec<Event>) -> Answer<'a, ()> {
        Box::pin(Self::collect(self, most, events))
    }

    fn take_joined(&self) -> Option<Event> {
        self.shared.lock().take_joined()
    }

    fn changes(&self) -> Vec<(WorkerId, bool)> {
        self.shared.lock().changes().collect()
    }

    fn expect(&self, workers: &[WorkerId]) {
        let mut session = self.shared.lock();
        workers.iter().for_each(|worker| session.expect(*worker));
    }

    fn is_quiet(&self, worker: WorkerId) -> bool {
        Self::is_quiet(self, worker)
    }

    fn sent_away(&self) -> Option<&Denial> {
        Self::sent_away(self)
    }

    fn settled(&self) -> Answer<'_, ()> {
        Box::pin(Self::settled(self))
    }

    fn goodbye(&self, grace_ms: u32) {
        Self::goodbye(self, grace_ms);
    }

    fn roles(&self) -> Option<Roles> {
        Some(*self.shared.roles.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn ended() -> ConnectError {
    ConnectError::Unreachable("the client was ended before it was let in".to_owned())
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.stopping.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the client's thread panicked");
        }
    }
}

fn is_question(request: &Request) -> bool {
    match request {
        // Repeated, they would find another state: more dead tasks, or no job.
        Request::JobRetry { .. } | Request::JobForget { .. } => false,
        Request::Status
        | Request::TicketList
        | Request::HostList
        | Request::ModuleList
        | Request::ModuleSerial { .. }
        | Request::ModuleUpload { .. }
        | Request::WorkerList { .. }
        | Request::WorkerLogs { .. }
        | Request::WorkerPing { .. }
        | Request::DeploymentList
        | Request::KeyList
        | Request::PayloadKeep { .. }
        | Request::PayloadFetch { .. } => true,
        // The client numbers jobs and tasks, so that repeating these changes nothing.
        other => other.is_about_jobs(),
    }
}

/// How long the bytes that follow a request or its reply may take, in addition.
fn transfer_time(request: &Request) -> Duration {
    let length = match request {
        // The manager answers when there is an outcome, or after as long as it was asked to wait.
        Request::JobResults { wait_ms, .. } => return Duration::from_millis(u64::from(*wait_ms)),
        Request::ModuleUpload { length, .. } => *length,
        Request::PayloadKeep { payload, .. } | Request::PayloadFetch { payload, .. } => payload.length,
        Request::MessageSend { length, .. } => *length,
        _ => 0,
    };
    Duration::from_secs(length / SLOW_BYTES_A_SECOND)
}

/// The slowest line that a transfer is given time for.
const SLOW_BYTES_A_SECOND: u64 = 64 << 10;

async fn ask(conn: &Conn, request: &Request, body: Option<&Bytes>) -> Result<(Reply, Bytes), StreamError> {
    let (mut send, mut recv) = conn.open_bi().await?;
    let asking = async {
        send.write_frame(&request.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
        if let Some(body) = body {
            send.write_chunk(body.clone()).await?;
        }
        send.finish().await;
        Ok::<_, StreamError>(())
    };
    // A manager that refuses an upload answers before it has read all of it.
    let (_, reply) = tokio::join!(asking, recv.read_frame(CONTROL_FRAME_BYTES_MAX));
    let reply = reply?;
    let broken = |error: grid_protocol::DecodeError| StreamError::Broken { reason: error.to_string() };
    let mut reply = Reply::from_body(&reply).map_err(broken)?;
    if reply.is_list() {
        let mut pages = FrameReader::new(recv, CONTROL_FRAME_BYTES_MAX);
        let mut count = 1;
        while let Some(page) = pages.next().await? {
            count += 1;
            let page = Reply::from_body(&page).map_err(broken)?;
            if count > PAGES_MAX || reply.append(page).is_err() {
                return Err(StreamError::Broken { reason: "the pages of a list make no sense".to_owned() });
            }
        }
        return Ok((reply, Bytes::new()));
    }
    let length = if let Reply::Payload { length } = reply { length } else { 0 };
    let bounded = usize::try_from(length).ok().filter(|length| *length <= MESSAGE_BYTES_MAX);
    let bounded = bounded.ok_or(StreamError::Truncated)?;
    Ok((reply, recv.read_body(bounded).await?))
}

/// The manager to dial, and what to dial it with.
pub(crate) struct Dialer {
    pub(crate) manager: ManagerAddress,
    pub(crate) key: SecretKey,
    pub(crate) known_managers: KnownManagers,
    pub(crate) machine: Machine,
    pub(crate) network: Network,
}

/// Called once, with the result of the first attempt to connect.
type AdmissionCallback = Box<dyn FnOnce(Result<(), ConnectError>) + Send>;

async fn run(
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
    endpoint.wait_idle(Duration::from_secs(1)).await;
}

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
    let hello = ClientHello { version: PROTOCOL_VERSION, proof, attach };
    send.write_frame(&hello.to_body(), CONTROL_FRAME_BYTES_MAX).await.map_err(lost)?;
    let mut reader = FrameReader::new(recv, CONTROL_FRAME_BYTES_MAX);
    let nonsense = || ConnectError::Unreachable("the manager's greeting makes no sense".to_owned());
    let frame = reader.next().await.map_err(lost)?.ok_or_else(nonsense)?;
    match ClientGreeting::from_body(&frame).map_err(|_| nonsense())? {
        ClientGreeting::Welcome { state, resumed, roles } => {
            *shared.roles.lock().unwrap_or_else(PoisonError::into_inner) = roles;
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

impl ConnectionShared {
    fn new(channel: Option<Channel>) -> Self {
        Self {
            channel,
            inner: Mutex::default(),
            mail_ready: Arc::default(),
            control_ready: Notify::new(),
            arrived: Notify::new(),
            room: Notify::new(),
            conn: watch::Sender::new(None),
            sent_away: OnceLock::new(),
            roles: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Session> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connected(&self, conn: &Conn, state: Option<Resume>, resumed: bool) -> Result<(), String> {
        self.lock().connected(state.as_ref(), resumed)?;
        self.conn.send_replace(Some(conn.clone()));
        self.arrived.notify_one();
        self.mail_ready.notify_one();
        self.control_ready.notify_one();
        Ok(())
    }

    fn sent_away(&self, denial: Denial) {
        let _ = self.sent_away.set(denial);
        // Wakes the requests that wait for a connection.
        self.conn.send_replace(None);
    }

    fn disconnected(&self) {
        self.conn.send_replace(None);
        let mut inner = self.lock();
        inner.up = false;
        inner.send_queue = SendQueue::default();
    }

    /// Waits until the manager has acknowledged every note, for up to 1 s.
    async fn flushed(&self) {
        let taken = async {
            while self.lock().control.backlog() > 0 {
                self.arrived.notified().await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), taken).await;
    }

    fn handle_control(&self, frame: &[u8]) -> Result<(), String> {
        let mut inner = self.lock();
        let event = inner.control.handle_frame(frame).map_err(|error| error.to_string())?;
        match event {
            Some(client::ClientEvent::Joined { worker, host, module, replaces }) => {
                inner.links.entry(worker).or_default();
                inner.waiting.push_back(Collectable::Joined(Event::Joined {
                    worker,
                    host,
                    module,
                    replaces,
                }));
            }
            Some(client::ClientEvent::Left { worker, end, sent, settled }) => {
                let known = inner.links.entry(worker).or_default();
                known.ending = Some(EndedWorker { end: Some(end), sent, settled });
                inner.check_end(worker);
            }
            Some(_) | None => {}
        }
        drop(inner);
        self.arrived.notify_one();
        self.room.notify_waiters();
        self.control_ready.notify_one();
        Ok(())
    }
}

struct RemoteMailHandler(Arc<ConnectionShared>);

impl MailHandler for RemoteMailHandler {
    fn take(&self, lanes: &mut [Vec<u8>; MAIL_STREAMS], bulk: &mut VecDeque<(BulkHead, Bytes)>) {
        let mut inner = self.0.lock();
        inner.send_queue.take_lanes(lanes);
        bulk.extend(std::iter::from_fn(|| inner.send_queue.take_bulk()));
    }

    fn handle_frames(&self, frames: &mut VecDeque<Bytes>) -> Result<(), String> {
        let mut inner = self.0.lock();
        for body in frames.drain(..) {
            inner.handle_frame(&body)?;
        }
        drop(inner);
        self.0.arrived.notify_one();
        self.0.room.notify_waiters();
        Ok(())
    }

    fn handle_bulk(&self, head: BulkHead, payload: Bytes) -> Result<(), String> {
        let mut inner = self.0.lock();
        let known = inner.links.entry(head.worker).or_default();
        known.link.fulfil(head.seq, payload).map_err(|error| error.to_string())?;
        inner.arrivals(head.worker);
        drop(inner);
        self.0.arrived.notify_one();
        Ok(())
    }
}
