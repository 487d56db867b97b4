//! The door for hosts: one connection of one host, from its hello to its end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use grid_net::{CarryError, Conn, ConnLimits, FrameReader, MailHandler, SendStream, carry, code};
use grid_protocol::digest::Digest;
use grid_protocol::host::{Greeting, Hello, JoinRefusal, Resume, Welcome};
use grid_protocol::id::SessionId;
use grid_protocol::key::PublicKey;
use grid_protocol::limits::{CONTROL_FRAME_BYTES_MAX, MAIL_STREAMS};
use grid_protocol::mail::{BulkHead, MailFrame};
use grid_protocol::role::Role;
use grid_protocol::time::Moment;
use grid_protocol::wire::Wire;
use grid_protocol::worker::End;
use tokio::sync::Notify;

use crate::greeting::{self, DoorError};
use crate::hub::Hub;
use crate::line::LineId;
use crate::newcomers::{Newcomer, Source};
use crate::registry::RegistryError;
use crate::state::{PendingHost, Seat, State};
use crate::transfers;

/// Serves a host until its connection ends.
pub(crate) async fn serve(hub: Arc<Hub>, conn: Conn, newcomer: Option<Newcomer>) {
    let peer = conn.peer();
    match enter(&hub, &conn, newcomer).await {
        Ok(entered) => {
            tracing::info!(host = %peer.fingerprint(), from = conn.remote(), resumed = entered.resumed, "a host is in");
            let generation = entered.conn_id;
            let error = run(&hub, &conn, entered).await;
            tracing::info!(host = %peer.fingerprint(), %error, "a host's connection ended");
            leave(&hub, &conn, peer, generation);
        }
        Err(error) => {
            tracing::info!(host = %peer.fingerprint(), from = conn.remote(), %error, "a host was not let in");
            conn.close(code::REFUSED, &error.to_string());
        }
    }
}

/// A host that is in.
struct Entered {
    send: SendStream,
    reader: FrameReader,
    line: LineId,
    mail_wake: Arc<Notify>,
    control_wake: Arc<Notify>,
    resumed: bool,
    conn_id: u64,
}

async fn enter(hub: &Arc<Hub>, conn: &Conn, newcomer: Option<Newcomer>) -> Result<Entered, DoorError> {
    let (mut send, reader, hello) = greeting::first_frame::<Hello>(hub, conn, newcomer).await?;
    let hello = match admit(hub, conn, &mut send, hello).await {
        Err(DoorError::Refused(refusal)) => {
            let refused = Greeting::Refused(refusal.clone());
            send.write_frame(&refused.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
            send.finish().await;
            // The reason must arrive before the end of the connection does: the host closes it.
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), conn.closed()).await;
            return Err(DoorError::Refused(refusal));
        }
        other => other?,
    };
    conn.allow(ConnLimits::HOST);
    let (capacity, peer) = (hello.capacity.clone(), conn.peer());
    let (publishers, revoked) = hub
        .registry(move |registry| {
            registry.note_host(peer, &capacity)?;
            Ok::<_, RegistryError>(registry.publishers())
        })
        .await?;
    let fresh = SessionId(hub.settings.machine.random().map_err(RegistryError::from)?);
    let seated = hub.change(|state, now| state.seat(conn, &hello, fresh, now));
    let (welcome, line, mail_wake, control_wake, conn_id) = match seated {
        Ok(seated) => seated,
        Err(refusal) => return Err(DoorError::Refused(refusal)),
    };
    let resumed = welcome.1;
    let welcome = Greeting::Welcome(Welcome { state: welcome.0, resumed, publishers, revoked });
    send.write_frame(&welcome.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
    Ok(Entered { send, reader, line, mail_wake, control_wake, resumed, conn_id })
}

/// Lets the host in, or makes it wait until somebody does.
async fn admit(
    hub: &Arc<Hub>,
    conn: &Conn,
    send: &mut SendStream,
    hello: Result<Hello, JoinRefusal>,
) -> Result<Hello, DoorError> {
    let hello = hello.map_err(DoorError::Refused)?;
    greeting::check_version(hello.version).map_err(DoorError::Refused)?;
    greeting::check_capacity(&hello.capacity).map_err(DoorError::Refused)?;
    let peer = conn.peer();
    if greeting::roles(hub, conn, hello.proof, Role::Host).await?.has(Role::Host) {
        return Ok(hello);
    }
    if hub.settings.open_join || conn.is_local() {
        greeting::grant(hub, conn, Role::Host).await?;
        return Ok(hello);
    }
    // What it remembers of another life of the grid is nothing to wait with.
    let hello = Hello { resume: None, ..hello };
    let decided = Arc::new(Notify::new());
    let waiting = PendingHost {
        capacity: hello.capacity.clone(),
        address: conn.remote(),
        source: conn.remote_address().map(Source::of),
        decided: decided.clone(),
        conn: conn.clone(),
    };
    {
        let mut state = hub.state();
        if let Some(what) = state.no_room_to_wait(&peer, &waiting) {
            return Err(DoorError::Refused(JoinRefusal::Full { what: what.to_owned() }));
        }
        // One connection of a key waits, the newest: the older may be dead, or one of hundreds.
        if let Some(older) = state.pending.insert(peer, waiting) {
            older.conn.close(code::REPLACED, "a newer connection of this host waits");
        }
    }
    tracing::info!(host = %peer.fingerprint(), key = %peer, from = conn.remote(), "a host waits for approval");
    let waited = async {
        send.write_frame(&Greeting::Pending.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
        tokio::select! {
            biased;
            () = decided.notified() => greeting::roles(hub, conn, None, Role::Host).await,
            reason = conn.closed() => Err(DoorError::Stream(grid_net::StreamError::Broken { reason: reason.to_string() })),
        }
    };
    let roles = waited.await;
    {
        let mut state = hub.state();
        if state.pending.get(&peer).is_some_and(|waiting| Arc::ptr_eq(&waiting.decided, &decided)) {
            state.pending.remove(&peer);
        }
    }
    if roles?.has(Role::Host) {
        Ok(hello)
    } else {
        Err(DoorError::Refused(JoinRefusal::NotAllowed { key: peer, role: Role::Host }))
    }
}

type Seated = ((Resume, bool), LineId, Arc<Notify>, Arc<Notify>, u64);

impl State {
    /// Gives a host its seat, the old one if both ends remember it.
    fn seat(
        &mut self,
        conn: &Conn,
        hello: &Hello,
        fresh: SessionId,
        now: Moment,
    ) -> Result<Seated, JoinRefusal> {
        let key = conn.peer();
        if self.banned.has(&key) {
            // Between its greeting and now.
            return Err(JoinRefusal::Revoked { key });
        }
        let known = self.seats.get(&key).filter(|seat| !seat.forsaken).map(|seat| seat.session);
        let resume = hello
            .resume
            .as_ref()
            .filter(|resume| known == Some(resume.session) && self.scheduler.hosts().contains_key(&key));
        if let Some(older) = self.seats.get_mut(&key).and_then(|seat| seat.conn.take()) {
            older.close(code::REPLACED, "this key has connected again");
        }
        if resume.is_none() {
            // What the host had in an earlier stay ends first, under the old seat.
            self.scheduler.handle_host_gone(now, key, &End::HostLost);
            // It gets nothing before it has said what it holds and what it wants.
            self.foreman.jobs.handle_host_away(key);
            self.carry_out(now);
        }
        let line = match self.seats.get(&key) {
            Some(seat) => seat.line,
            None => self.mailroom.lines.add(),
        };
        let positions = resume.map(|resume| resume.workers.as_slice()).unwrap_or_default();
        let wrong = |why: String| JoinRefusal::Malformed { why };
        let connected = self.mailroom.host_connected(line, positions);
        let (mail_wake, workers) = connected.map_err(|error| wrong(error.to_string()))?;
        let seat = self.seats.entry(key).or_insert_with(|| Seat::new(line, fresh));
        match resume {
            Some(resume) => seat.control.resume(resume.control).map_err(|error| wrong(error.to_string()))?,
            None => {
                seat.session = fresh;
                seat.forsaken = false;
                seat.control = Default::default();
                self.foreman.session_begins(key);
            }
        }
        seat.conn_id += 1;
        seat.conn = Some(conn.clone());
        seat.address = conn.remote();
        seat.control_wake = Arc::default();
        // There may be commands from before, which nobody announces again.
        seat.control_wake.notify_one();
        let state = Resume { session: seat.session, control: seat.control.position(), workers };
        let seated = ((state, resume.is_some()), line, mail_wake, seat.control_wake.clone(), seat.conn_id);
        self.scheduler.handle_host_joined(now, key, hello.capacity.clone(), resume.is_some());
        self.foreman.jobs.handle_host_joined(key, &hello.capacity);
        Ok(seated)
    }
}

impl Seat {
    fn new(line: LineId, session: SessionId) -> Self {
        Self {
            line,
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
        }
    }
}

/// Works until the connection ends; says why it did.
async fn run(hub: &Arc<Hub>, conn: &Conn, entered: Entered) -> CarryError {
    let Entered { send, reader, line, mail_wake, control_wake, conn_id, .. } = entered;
    let host = conn.peer();
    let keeper = Arc::new(HostMail { hub: hub.clone(), line });
    tokio::select! {
        biased;
        Err(error) = write_control(hub, host, conn_id, send, &control_wake) => error,
        Err(error) = read_control(hub, host, &control_wake, reader) => error,
        error = carry(conn, keeper, mail_wake) => error,
        error = transfers::serve(hub, conn) => error,
    }
}

async fn write_control(
    hub: &Hub,
    host: PublicKey,
    conn_id: u64,
    mut send: SendStream,
    wake: &Notify,
) -> Result<Infallible, CarryError> {
    loop {
        wake.notified().await;
        loop {
            let Some(frame) = hub.state().next_command(host, conn_id) else {
                break;
            };
            send.write_frame(&frame, CONTROL_FRAME_BYTES_MAX).await.map_err(CarryError::Lost)?;
        }
    }
}

impl State {
    /// The next frame for a host's control stream, if its connection is still the present one.
    fn next_command(&mut self, host: PublicKey, conn_id: u64) -> Option<Vec<u8>> {
        self.seats.get_mut(&host).filter(|seat| seat.conn_id == conn_id)?.control.poll_transmit()
    }
}

async fn read_control(
    hub: &Hub,
    host: PublicKey,
    wake: &Notify,
    mut reader: FrameReader,
) -> Result<Infallible, CarryError> {
    while let Some(frame) = reader.next().await.map_err(CarryError::Lost)? {
        let handled = hub.change(|state, now| {
            let Some(seat) = state.seats.get_mut(&host) else {
                return Ok(());
            };
            let report = seat.control.handle_frame(&frame)?;
            if let Some(report) = report {
                state.handle_event(host, report, now);
            }
            Ok::<_, grid_protocol::control::ControlError>(())
        });
        handled.map_err(|error| CarryError::Protocol(error.to_string()))?;
        hub.room_in_the_journal().await;
        // The acknowledgement, at least, waits to be written.
        wake.notify_one();
    }
    Err(CarryError::Protocol("the control stream was ended".to_owned()))
}

impl State {
    /// True if a worker of `module` was placed on `host`, or a job's tasks: other modules are none of its business.
    pub(crate) fn runs_on(&self, module: &Digest, host: PublicKey) -> bool {
        if self.foreman.runs_on(module, host) {
            return true;
        }
        let Some(seated) = self.scheduler.hosts().get(&host) else {
            return false;
        };
        let workers = self.scheduler.workers();
        seated.workers.iter().any(|id| workers.get(id).is_some_and(|worker| worker.spec.module == *module))
    }
}

/// The connection of a host has ended; an older one than the present does not matter.
fn leave(hub: &Hub, conn: &Conn, host: PublicKey, conn_id: u64) {
    let left_for_good =
        matches!(conn.close_reason(), Some(grid_net::CloseReason::Peer { code: code::DONE, .. }));
    conn.close(code::PROTOCOL, "the connection makes no sense any more");
    hub.change(|state, now| {
        let Some(seat) = state.seats.get_mut(&host).filter(|seat| seat.conn_id == conn_id) else {
            return;
        };
        seat.conn = None;
        let line = seat.line;
        state.mailroom.disconnected(line);
        if left_for_good {
            state.scheduler.handle_host_gone(now, host, &End::HostLost);
            state.foreman.jobs.handle_host_gone(now, host);
        } else {
            state.foreman.jobs.handle_host_away(host);
            state.scheduler.handle_host_away(now, host);
        }
    });
}

/// A host's mail.
struct HostMail {
    hub: Arc<Hub>,
    line: LineId,
}

impl MailHandler for HostMail {
    fn take(&self, lanes: &mut [Vec<u8>; MAIL_STREAMS], bulk: &mut VecDeque<(BulkHead, Bytes)>) {
        let mut state = self.hub.state();
        if let Some(line) = state.mailroom.lines.up(self.line) {
            line.post.take_lanes(lanes);
            bulk.extend(std::iter::from_fn(|| line.post.take_bulk()));
        }
    }

    fn handle_frames(&self, frames: &mut VecDeque<Bytes>) -> Result<(), String> {
        let now = self.hub.now();
        let mut state = self.hub.state();
        for body in frames.drain(..) {
            let frame = MailFrame::decode(&body).map_err(|error| error.to_string())?;
            let handled = state.mailroom.handle_host_frame(self.line, frame, &body, now);
            handled.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn handle_bulk(&self, head: BulkHead, payload: Bytes) -> Result<(), String> {
        let fulfilled = self.hub.state().mailroom.fulfil_from_host(self.line, head.worker, head.seq, payload);
        fulfilled.map_err(|error| error.to_string())
    }
}
