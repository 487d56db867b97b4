//! The door for clients: one connection of one client, from its hello to its end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use grid_net::{CarryError, Conn, ConnLimits, FrameReader, MailHandler, SendStream, carry, code};
use grid_protocol::client::{ClientGreeting, ClientHello, ClientNote};
use grid_protocol::host::JoinRefusal;
use grid_protocol::id::SessionId;
use grid_protocol::limits::{CONTROL_FRAME_BYTES_MAX, MAIL_STREAMS};
use grid_protocol::mail::{BulkHead, MailFrame};
use grid_protocol::role::{Role, Roles};
use grid_protocol::wire::Wire;
use grid_scheduler::Owner;
use tokio::task::JoinSet;

use crate::desk::Desk;
use crate::greeting::{self, DoorError};
use crate::hub::Hub;
use crate::newcomers::Newcomer;
use crate::registry::RegistryError;
use crate::requests;
use crate::resumption::ClientAttached;

/// Serves a client until its connection ends.
pub(crate) async fn serve(hub: Arc<Hub>, conn: Conn, newcomer: Option<Newcomer>) {
    let peer = conn.peer();
    hub.state().clients.push(conn.clone());
    match enter(&hub, &conn, newcomer).await {
        Ok((send, reader, attached)) => {
            let requests = serve_requests(&hub, &conn);
            let error = match attached {
                Some((owner, attached)) => {
                    let generation = attached.generation;
                    let error = tokio::select! {
                        biased;
                        error = serve_mail(&hub, &conn, owner, attached, send, reader) => error,
                        error = requests => error,
                    };
                    if !hub.change(|state, now| state.mailroom.client_detached(owner, generation, now)) {
                        conn.close(code::REPLACED, "a newer client has the mail of this channel");
                    }
                    error
                }
                // The stream stays open, as a sign that the client is in.
                None => {
                    let error = requests.await;
                    drop((send, reader));
                    error
                }
            };
            tracing::debug!(client = %peer.fingerprint(), %error, "a client's connection ended");
        }
        Err(error) => {
            tracing::info!(client = %peer.fingerprint(), from = conn.remote(), %error, "a client was not let in");
            conn.close(code::REFUSED, &error.to_string());
        }
    }
    conn.close(code::PROTOCOL, "the connection makes no sense any more");
    hub.state().clients.retain(|other| other.close_reason().is_none());
}

type Entered = (SendStream, FrameReader, Option<(Owner, ClientAttached)>);

async fn enter(hub: &Arc<Hub>, conn: &Conn, newcomer: Option<Newcomer>) -> Result<Entered, DoorError> {
    let (mut send, reader, hello) = greeting::first_frame::<ClientHello>(hub, conn, newcomer).await?;
    let (roles, attached) = match admit(hub, conn, hello).await {
        Err(DoorError::Refused(refusal)) => {
            let refused = ClientGreeting::Refused(refusal.clone());
            send.write_frame(&refused.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
            send.finish().await;
            // The reason must arrive before the end of the connection does: the client closes it.
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), conn.closed()).await;
            return Err(DoorError::Refused(refusal));
        }
        other => other?,
    };
    conn.allow(ConnLimits::CLIENT);
    let welcome = ClientGreeting::Welcome {
        state: attached.as_ref().map(|(_, attached)| attached.state.clone()),
        resumed: attached.as_ref().is_some_and(|(_, attached)| attached.resumed),
        roles,
    };
    send.write_frame(&welcome.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
    Ok((send, reader, attached))
}

async fn admit(
    hub: &Arc<Hub>,
    conn: &Conn,
    hello: Result<ClientHello, JoinRefusal>,
) -> Result<(Roles, Option<(Owner, ClientAttached)>), DoorError> {
    let hello = hello.map_err(DoorError::Refused)?;
    greeting::check_version(hello.version).map_err(DoorError::Refused)?;
    let key = conn.peer();
    let roles = greeting::roles(hub, conn, hello.proof, Role::Client).await?;
    if !roles.has(Role::Client) {
        return Err(DoorError::Refused(JoinRefusal::NotAllowed { key, role: Role::Client }));
    }
    let Some(attach) = hello.attach else {
        return Ok((roles, None));
    };
    let owner = Owner { key, channel: attach.channel };
    let fresh = SessionId(hub.settings.machine.random().map_err(RegistryError::from)?);
    let attached =
        hub.change(|state, now| state.mailroom.client_attached(owner, fresh, attach.resume.as_ref(), now));
    let malformed = |why: String| DoorError::Refused(JoinRefusal::Malformed { why });
    let attached = attached.map_err(|error| malformed(error.to_string()))?;
    let attached =
        attached.ok_or_else(|| malformed("the channel belongs to the manager itself".to_owned()))?;
    Ok((roles, Some((owner, attached))))
}

async fn serve_mail(
    hub: &Arc<Hub>,
    conn: &Conn,
    owner: Owner,
    attached: ClientAttached,
    send: SendStream,
    reader: FrameReader,
) -> CarryError {
    let keeper = Arc::new(ClientMail { hub: hub.clone(), owner, line: attached.line });
    attached.control_wake.notify_one();
    attached.mail_wake.notify_one();
    tokio::select! {
        biased;
        Err(error) = write_control(hub, owner, &attached, send) => error,
        Err(error) = read_control(hub, owner, &attached, reader) => error,
        error = carry(conn, keeper, attached.mail_wake.clone()) => error,
    }
}

async fn write_control(
    hub: &Hub,
    owner: Owner,
    attached: &ClientAttached,
    mut send: SendStream,
) -> Result<Infallible, CarryError> {
    loop {
        attached.control_wake.notified().await;
        loop {
            let frame = match hub.state().mailroom.desks.get_mut(&owner) {
                Some(Desk::Remote(desk)) if desk.generation == attached.generation => {
                    desk.control.poll_transmit()
                }
                _ => {
                    return Err(CarryError::Protocol("a newer connection took the channel".to_owned()));
                }
            };
            let Some(frame) = frame else { break };
            send.write_frame(&frame, CONTROL_FRAME_BYTES_MAX).await.map_err(CarryError::Lost)?;
        }
    }
}

async fn read_control(
    hub: &Hub,
    owner: Owner,
    attached: &ClientAttached,
    mut reader: FrameReader,
) -> Result<Infallible, CarryError> {
    while let Some(frame) = reader.next().await.map_err(CarryError::Lost)? {
        let handled = hub.change(|state, _| {
            let Some(Desk::Remote(desk)) = state.mailroom.desks.get_mut(&owner) else {
                return Ok(());
            };
            if let Some(ClientNote::Goodbye { grace_ms }) = desk.control.handle_frame(&frame)? {
                state.scheduler.stop_owner(owner, grace_ms)
            }
            Ok::<_, grid_protocol::control::ControlError>(())
        });
        handled.map_err(|error| CarryError::Protocol(error.to_string()))?;
        attached.control_wake.notify_one();
    }
    Err(CarryError::Protocol("the control stream was ended".to_owned()))
}

/// Requests of one client under way at once; its streams are bounded as well.
const REQUESTS_MAX: usize = 64;

async fn serve_requests(hub: &Arc<Hub>, conn: &Conn) -> CarryError {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            opened = conn.accept_bi(), if under_way.len() < REQUESTS_MAX => match opened {
                Ok((send, recv)) => {
                    under_way.spawn(requests::serve(hub.clone(), conn.peer(), send, recv));
                }
                Err(error) => return CarryError::Lost(error),
            },
            Some(done) = under_way.join_next() => {
                if let Ok(Err(error)) = done {
                    tracing::debug!(client = %conn.peer().fingerprint(), %error, "a request was not answered");
                }
            }
        }
    }
}

/// A client's mail.
struct ClientMail {
    hub: Arc<Hub>,
    owner: Owner,
    line: crate::line::LineId,
}

impl MailHandler for ClientMail {
    fn take(&self, lanes: &mut [Vec<u8>; MAIL_STREAMS], bulk: &mut VecDeque<(BulkHead, Bytes)>) {
        let mut state = self.hub.state();
        if let Some(line) = state.mailroom.lines.up(self.line) {
            line.post.take_lanes(lanes);
            bulk.extend(std::iter::from_fn(|| line.post.take_bulk()));
        }
    }

    fn handle_frames(&self, frames: &mut VecDeque<Bytes>) -> Result<(), String> {
        let mut state = self.hub.state();
        for body in frames.drain(..) {
            let frame = MailFrame::decode(&body).map_err(|error| error.to_string())?;
            let handled = state.mailroom.handle_client_frame(self.owner, frame, &body);
            handled.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn handle_bulk(&self, head: BulkHead, payload: Bytes) -> Result<(), String> {
        let fulfilled =
            self.hub.state().mailroom.fulfil_from_client(self.owner, head.worker, head.seq, payload);
        fulfilled.map_err(|error| error.to_string())
    }
}
