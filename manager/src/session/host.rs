//! Sessions of hosts: one connection of one host, from its hello to its end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use grid_net::{CarryError, Conn, ConnLimits, FrameReader, MailHandler, SendStream, carry, code};
use grid_protocol::activity::{GridEvent, HostActivity};
use grid_protocol::digest::Digest;
use grid_protocol::frame::FrameBatch;
use grid_protocol::host::{Greeting, Hello, JoinRefusal, Resume, Welcome};
use grid_protocol::id::SessionId;
use grid_protocol::key::PublicKey;
use grid_protocol::limits::{CONTROL_FRAME_BYTES_MAX, MAIL_STREAMS};
use grid_protocol::mail::{BulkHead, MailFrame};
use grid_protocol::role::Role;
use grid_protocol::time::Moment;
use grid_protocol::wire::Wire;
use grid_protocol::worker::End;
use grid_scheduler::HostChange;
use tokio::sync::Notify;

use crate::catalog::CatalogError;
use crate::cluster::connection::Ending;
use crate::cluster::newcomers::{Newcomer, PeerSource};
use crate::cluster::peer_queue::PeerQueueId;
use crate::cluster::{Cluster, HostSession, PendingHost};
use crate::context::Context;
use crate::session;
use crate::session::handshake::{self, SessionError};
use crate::session::transfers;

/// Serves a host until its connection ends.
pub(crate) async fn serve(context: Arc<Context>, conn: Conn, newcomer: Option<Newcomer>) {
    let peer = conn.peer();
    match enter(&context, &conn, newcomer).await {
        Ok(entered) => {
            tracing::info!(host = %peer.fingerprint(), from = conn.remote(), resumed = entered.attached.resumed, "a host is in");
            let generation = entered.attached.conn_id;
            let error = run(&context, &conn, entered).await;
            tracing::info!(host = %peer.fingerprint(), %error, "a host's connection ended");
            leave(&context, &conn, peer, generation);
        }
        Err(error) => {
            tracing::info!(host = %peer.fingerprint(), from = conn.remote(), %error, "a host was not let in");
            handshake::note_refusal(&context, &conn, &error);
            conn.close(code::REFUSED, &error.to_string());
        }
    }
}

/// A host that was let in.
struct AdmittedHost {
    send: SendStream,
    reader: FrameReader,
    attached: HostAttached,
}

async fn enter(
    context: &Arc<Context>,
    conn: &Conn,
    newcomer: Option<Newcomer>,
) -> Result<AdmittedHost, SessionError> {
    let (mut send, reader, hello) = handshake::first_frame::<Hello>(context, conn, newcomer).await?;
    let hello = match admit(context, conn, &mut send, hello).await {
        Err(SessionError::Refused(refusal)) => {
            let refused = Greeting::Refused(refusal.clone());
            handshake::refuse(conn, send, &refused.to_body()).await?;
            return Err(SessionError::Refused(refusal));
        }
        other => other?,
    };
    conn.allow(ConnLimits::HOST);
    let (capacity, peer) = (hello.capacity.clone(), conn.peer());
    let (publishers, revoked) = context
        .catalog(move |catalog| {
            catalog.note_host(peer, &capacity)?;
            Ok::<_, CatalogError>(catalog.publishers())
        })
        .await?;
    let fresh = SessionId(context.config.machine.random().map_err(CatalogError::from)?);
    let attached = context.change(|cluster, now| cluster.session(conn, &hello, fresh, now));
    let attached = attached.map_err(SessionError::Refused)?;
    let (state, resumed) = (attached.state.clone(), attached.resumed);
    let extensions = handshake::extensions(context);
    let welcome = Greeting::Welcome(Welcome { state, resumed, publishers, revoked, extensions });
    send.write_frame(&welcome.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
    Ok(AdmittedHost { send, reader, attached })
}

/// Lets the host in, or makes it wait until an admin approves or revokes it or the connection ends.
async fn admit(
    context: &Arc<Context>,
    conn: &Conn,
    send: &mut SendStream,
    hello: Result<Hello, JoinRefusal>,
) -> Result<Hello, SessionError> {
    let hello = hello.map_err(SessionError::Refused)?;
    handshake::check_capacity(&hello.capacity).map_err(SessionError::Refused)?;
    let peer = conn.peer();
    if handshake::roles(context, conn, hello.proof, Role::Host).await?.has(Role::Host) {
        return Ok(hello);
    }
    if context.config.open_join || conn.is_local() {
        handshake::grant(context, conn, Role::Host).await?;
        return Ok(hello);
    }
    // A host that waits for approval resumes nothing; holding its list of workers would only take memory.
    let hello = Hello { resume: None, ..hello };
    let decided = Arc::new(Notify::new());
    let waiting = PendingHost {
        capacity: hello.capacity.clone(),
        address: conn.remote(),
        source: conn.remote_address().map(PeerSource::of),
        decided: decided.clone(),
        conn: session::handle(conn),
    };
    {
        let mut cluster = context.cluster();
        if let Some(what) = cluster.no_room_to_wait(&peer, &waiting) {
            return Err(SessionError::Refused(JoinRefusal::Full { what: what.to_owned() }));
        }
        // Only a key's newest connection waits: the older ones may be dead, and there may be hundreds.
        if let Some(older) = cluster.pending.insert(peer, waiting) {
            older.conn.end(Ending::Replaced("a newer connection of this host waits"));
        }
    }
    tracing::info!(host = %peer.fingerprint(), key = %peer, from = conn.remote(), "a host waits for approval");
    let (name, change) = (hello.capacity.name.clone(), HostActivity::Pending);
    context.activity.note(GridEvent::Host { host: peer, name, change });
    let waited = async {
        send.write_frame(&Greeting::Pending.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
        tokio::select! {
            biased;
            () = decided.notified() => handshake::roles(context, conn, None, Role::Host).await,
            reason = conn.closed() => Err(SessionError::Stream(grid_net::StreamError::Broken { reason: reason.to_string() })),
        }
    };
    let roles = waited.await;
    {
        let mut cluster = context.cluster();
        if cluster.pending.get(&peer).is_some_and(|waiting| Arc::ptr_eq(&waiting.decided, &decided)) {
            cluster.pending.remove(&peer);
        }
    }
    if roles?.has(Role::Host) {
        Ok(hello)
    } else {
        Err(SessionError::Refused(JoinRefusal::NotAllowed { key: peer, role: Role::Host }))
    }
}

/// What the driver of a host's new connection works with.
struct HostAttached {
    state: Resume,
    resumed: bool,
    queue: PeerQueueId,
    mail_wake: Arc<Notify>,
    control_wake: Arc<Notify>,
    conn_id: u64,
}

impl Cluster {
    /// Gives a host its session: the old one if both ends remember it, otherwise a new one.
    fn session(
        &mut self,
        conn: &Conn,
        hello: &Hello,
        fresh: SessionId,
        now: Moment,
    ) -> Result<HostAttached, JoinRefusal> {
        let key = conn.peer();
        if self.banned.has(&key) {
            // The key was revoked during the handshake.
            return Err(JoinRefusal::Revoked { key });
        }
        let known =
            self.sessions.get(&key).filter(|session| !session.forsaken).map(|session| session.session);
        let resume = hello
            .resume
            .as_ref()
            .filter(|resume| known == Some(resume.session) && self.scheduler.hosts().contains_key(&key));
        let wrong = |why: String| JoinRefusal::Malformed { why };
        if let (Some(resume), Some(session)) = (resume, self.sessions.get(&key)) {
            session.control.check_position(resume.control).map_err(|error| wrong(error.to_string()))?;
            let checked = self.router.check_host(session.queue, &resume.workers);
            checked.map_err(|error| wrong(error.to_string()))?;
        }
        if let Some(older) = self.sessions.get_mut(&key).and_then(|session| session.conn.take()) {
            older.end(Ending::Replaced("this key has connected again"));
        }
        if resume.is_none() {
            // Workers of the host's earlier session end first, under that session.
            // The host is assigned no tasks before it has said what it holds and how many it wants.
            self.handle_host(now, key, HostChange::Restarted);
            self.carry_out(now);
        }
        let queue = match self.sessions.get(&key) {
            Some(session) => session.queue,
            None => self.router.queues.add(),
        };
        let positions = resume.map(|resume| resume.workers.as_slice()).unwrap_or_default();
        let connected = self.router.host_connected(queue, positions);
        let (mail_wake, workers) = connected.map_err(|error| wrong(error.to_string()))?;
        let session = self.sessions.entry(key).or_insert_with(|| HostSession::new(queue, fresh));
        match resume {
            Some(resume) => {
                session.control.resume(resume.control).map_err(|error| wrong(error.to_string()))?
            }
            None => {
                session.session = fresh;
                session.forsaken = false;
                session.drop_commands();
                self.coordinator.session_begins(key);
            }
        }
        session.conn_id += 1;
        session.conn = Some(session::handle(conn));
        session.address = conn.remote();
        session.traces = hello.extensions.traces();
        session.control_wake = Arc::default();
        // Commands from before the connection may wait; nothing else announces them.
        session.control_wake.notify_one();
        let state = Resume { session: session.session, control: session.control.position(), workers };
        let (control_wake, conn_id) = (session.control_wake.clone(), session.conn_id);
        let joined = HostChange::Joined { capacity: &hello.capacity, resumed: resume.is_some() };
        self.handle_host(now, key, joined);
        Ok(HostAttached { state, resumed: resume.is_some(), queue, mail_wake, control_wake, conn_id })
    }
}

impl HostSession {
    fn new(queue: PeerQueueId, session: SessionId) -> Self {
        Self {
            queue,
            session,
            forsaken: false,
            control: Default::default(),
            control_wake: Arc::default(),
            conn: None,
            conn_id: 0,
            module_bytes_sent: 0,
            compilations: 0,
            compile_us: 0,
            pings: Default::default(),
            address: String::new(),
            traces: false,
        }
    }
}

/// Runs the connection's streams until one of them fails; returns why.
async fn run(context: &Arc<Context>, conn: &Conn, entered: AdmittedHost) -> CarryError {
    let AdmittedHost { send, reader, attached } = entered;
    let HostAttached { queue, mail_wake, control_wake, conn_id, .. } = attached;
    let host = conn.peer();
    let keeper = Arc::new(HostMailHandler { context: context.clone(), queue });
    tokio::select! {
        biased;
        Err(error) = write_control(context, host, conn_id, send, &control_wake) => error,
        Err(error) = read_control(context, host, &control_wake, reader) => error,
        error = carry(conn, keeper, mail_wake) => error,
        error = transfers::serve(context, conn) => error,
    }
}

async fn write_control(
    context: &Context,
    host: PublicKey,
    conn_id: u64,
    mut send: SendStream,
    wake: &Notify,
) -> Result<Infallible, CarryError> {
    loop {
        wake.notified().await;
        loop {
            let Some(frame) = context.cluster().next_command(host, conn_id) else {
                break;
            };
            send.write_frame_parts(frame, CONTROL_FRAME_BYTES_MAX).await.map_err(CarryError::Lost)?;
        }
    }
}

impl Cluster {
    /// The next frame for the host's control stream; `None` if there is none or `conn_id` is not the newest
    /// connection.
    fn next_command(&mut self, host: PublicKey, conn_id: u64) -> Option<[Bytes; 2]> {
        self.sessions
            .get_mut(&host)
            .filter(|session| session.conn_id == conn_id)?
            .control
            .poll_transmit_parts()
    }
}

async fn read_control(
    context: &Context,
    host: PublicKey,
    wake: &Notify,
    mut reader: FrameReader,
) -> Result<Infallible, CarryError> {
    while let Some(frame) = reader.next().await.map_err(CarryError::Lost)? {
        let handled = context.change(|cluster, now| {
            let Some(session) = cluster.sessions.get_mut(&host) else {
                return Ok(());
            };
            let report = session.control.handle_frame(&frame)?;
            if let Some(report) = report {
                cluster.handle_event(host, report, now);
            }
            Ok::<_, grid_protocol::control::ControlError>(())
        });
        handled.map_err(|error| CarryError::Protocol(error.to_string()))?;
        context.room_in_the_journal().await;
        // At least the acknowledgement of the frame is to be written.
        wake.notify_one();
    }
    Err(CarryError::Protocol("the control stream was ended".to_owned()))
}

impl Cluster {
    /// True if a worker on `host`, or a job that it was told of, runs `module`: a host may download no other module.
    pub(crate) fn runs_on(&self, module: &Digest, host: PublicKey) -> bool {
        if self.coordinator.runs_on(module, host) {
            return true;
        }
        let Some(known) = self.scheduler.hosts().get(&host) else {
            return false;
        };
        let workers = self.scheduler.workers();
        known.workers.iter().any(|id| workers.get(id).is_some_and(|worker| worker.spec.module == *module))
    }
}

/// Ends a host's connection in the cluster. Changes nothing there if a newer connection has replaced it.
fn leave(context: &Context, conn: &Conn, host: PublicKey, conn_id: u64) {
    let left_for_good =
        matches!(conn.close_reason(), Some(grid_net::CloseReason::Peer { code: code::DONE, .. }));
    conn.close(code::PROTOCOL, "the connection makes no sense any more");
    context.change(|cluster, now| {
        let Some(session) = cluster.sessions.get_mut(&host).filter(|session| session.conn_id == conn_id)
        else {
            return;
        };
        session.conn = None;
        let queue = session.queue;
        cluster.router.disconnected(queue);
        let change = if left_for_good { HostChange::Gone { end: &End::HostLost } } else { HostChange::Away };
        cluster.handle_host(now, host, change);
    });
}

/// Moves frames between a host's connection and the router.
struct HostMailHandler {
    context: Arc<Context>,
    queue: PeerQueueId,
}

impl MailHandler for HostMailHandler {
    fn take(&self, lanes: &mut [Vec<u8>; MAIL_STREAMS], bulk: &mut VecDeque<(BulkHead, Bytes)>) {
        let mut cluster = self.context.cluster();
        if let Some(queue) = cluster.router.queues.up(self.queue) {
            queue.mail.take(lanes, bulk);
        }
    }

    fn handle_frames(&self, frames: &FrameBatch) -> Result<(), String> {
        let now = self.context.now();
        self.context.activity.metrics.mail(frames);
        let mut cluster = self.context.cluster();
        let handled = frames.bodies().try_for_each(|body| {
            let frame = MailFrame::decode(body).map_err(|error| error.to_string())?;
            let handled = cluster.router.handle_host_frame(self.queue, frame, frames.buffer(), now);
            handled.map_err(|error| error.to_string())
        });
        cluster.router.announce_room();
        handled
    }

    fn handle_bulk(&self, head: BulkHead, payload: Bytes) -> Result<(), String> {
        let fulfilled =
            self.context.cluster().router.fulfil_from_host(self.queue, head.worker, head.seq, payload);
        fulfilled.map_err(|error| error.to_string())
    }
}
