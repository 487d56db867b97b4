//! Sessions of clients: one connection of one client, from its hello to its end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use grid_net::{CarryError, Conn, ConnLimits, FrameReader, MailHandler, SendStream, carry, code};
use grid_protocol::client::{ClientGreeting, ClientHello, ClientNote};
use grid_protocol::frame::FrameBatch;
use grid_protocol::host::JoinRefusal;
use grid_protocol::id::SessionId;
use grid_protocol::limits::{CONTROL_FRAME_BYTES_MAX, MAIL_STREAMS};
use grid_protocol::mail::{BulkHead, MailFrame};
use grid_protocol::role::{Role, Roles};
use grid_protocol::wire::Wire;
use grid_scheduler::Owner;
use tokio::task::JoinSet;

use crate::asker::Asker;
use crate::catalog::CatalogError;
use crate::cluster::client_session::ClientSession;
use crate::cluster::newcomers::Newcomer;
use crate::cluster::resume::ClientAttached;
use crate::context::Context;
use crate::session;
use crate::session::handshake::{self, SessionError};
use crate::session::requests;

/// Serves a client until its connection ends.
pub(crate) async fn serve(context: Arc<Context>, conn: Conn, newcomer: Option<Newcomer>) {
    let peer = conn.peer();
    let number = context.cluster().add_client(session::handle(&conn));
    match enter(&context, &conn, newcomer).await {
        Ok((send, reader, attached)) => {
            let requests = serve_requests(&context, &conn);
            let error = match attached {
                Some((owner, attached)) => {
                    let generation = attached.generation;
                    let error = tokio::select! {
                        biased;
                        error = serve_mail(&context, &conn, owner, attached, send, reader) => error,
                        error = requests => error,
                    };
                    if !context.change(|cluster, now| cluster.router.client_detached(owner, generation, now))
                    {
                        conn.close(code::REPLACED, "a newer client has the mail of this channel");
                    }
                    error
                }
                // The stream stays open for as long as the client is let in.
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
            handshake::note_refusal(&context, &conn, &error);
            conn.close(code::REFUSED, &error.to_string());
        }
    }
    conn.close(code::PROTOCOL, "the connection makes no sense any more");
    context.cluster().clients.remove(&number);
}

type AdmittedClient = (SendStream, FrameReader, Option<(Owner, ClientAttached)>);

async fn enter(
    context: &Arc<Context>,
    conn: &Conn,
    newcomer: Option<Newcomer>,
) -> Result<AdmittedClient, SessionError> {
    let (mut send, reader, hello) = handshake::first_frame::<ClientHello>(context, conn, newcomer).await?;
    let (roles, attached) = match admit(context, conn, hello).await {
        Err(SessionError::Refused(refusal)) => {
            let refused = ClientGreeting::Refused(refusal.clone());
            handshake::refuse(conn, send, &refused.to_body()).await?;
            return Err(SessionError::Refused(refusal));
        }
        other => other?,
    };
    conn.allow(ConnLimits::CLIENT);
    let welcome = ClientGreeting::Welcome {
        state: attached.as_ref().map(|(_, attached)| attached.state.clone()),
        resumed: attached.as_ref().is_some_and(|(_, attached)| attached.resumed),
        roles,
        extensions: handshake::extensions(context),
    };
    send.write_frame(&welcome.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
    Ok((send, reader, attached))
}

async fn admit(
    context: &Arc<Context>,
    conn: &Conn,
    hello: Result<ClientHello, JoinRefusal>,
) -> Result<(Roles, Option<(Owner, ClientAttached)>), SessionError> {
    let hello = hello.map_err(SessionError::Refused)?;
    let key = conn.peer();
    let roles = handshake::roles(context, conn, hello.proof, Role::Client).await?;
    if !roles.has(Role::Client) && !roles.sees_all() {
        return Err(SessionError::Refused(JoinRefusal::NotAllowed { key, role: Role::Client }));
    }
    context.activity.note_login(key, conn.remote());
    // A viewer has no workers, so no mail comes for it.
    let Some(attach) = hello.attach.filter(|_| roles.has(Role::Client)) else {
        return Ok((roles, None));
    };
    let owner = Owner { key, channel: attach.channel };
    let fresh = SessionId(context.config.machine.random().map_err(CatalogError::from)?);
    let attached = context
        .change(|cluster, now| cluster.router.client_attached(owner, fresh, attach.resume.as_ref(), now));
    let malformed = |why: String| SessionError::Refused(JoinRefusal::Malformed { why });
    let attached = attached.map_err(|error| malformed(error.to_string()))?;
    let attached =
        attached.ok_or_else(|| malformed("the channel belongs to the manager itself".to_owned()))?;
    Ok((roles, Some((owner, attached))))
}

async fn serve_mail(
    context: &Arc<Context>,
    conn: &Conn,
    owner: Owner,
    attached: ClientAttached,
    send: SendStream,
    reader: FrameReader,
) -> CarryError {
    let keeper = Arc::new(ClientMailHandler { context: context.clone(), owner, queue: attached.queue });
    attached.control_wake.notify_one();
    attached.mail_wake.notify_one();
    tokio::select! {
        biased;
        Err(error) = write_control(context, owner, &attached, send) => error,
        Err(error) = read_control(context, owner, &attached, reader) => error,
        error = carry(conn, keeper, attached.mail_wake.clone()) => error,
    }
}

async fn write_control(
    context: &Context,
    owner: Owner,
    attached: &ClientAttached,
    mut send: SendStream,
) -> Result<Infallible, CarryError> {
    loop {
        attached.control_wake.notified().await;
        loop {
            let frame = match context.cluster().router.client_sessions.get_mut(&owner) {
                Some(ClientSession::Remote(client)) if client.generation == attached.generation => {
                    client.control.poll_transmit()
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
    context: &Context,
    owner: Owner,
    attached: &ClientAttached,
    mut reader: FrameReader,
) -> Result<Infallible, CarryError> {
    while let Some(frame) = reader.next().await.map_err(CarryError::Lost)? {
        let handled = context.change(|cluster, _| {
            let Some(ClientSession::Remote(client)) = cluster.router.client_sessions.get_mut(&owner) else {
                return Ok(());
            };
            if let Some(ClientNote::Goodbye { grace_ms }) = client.control.handle_frame(&frame)? {
                cluster.scheduler.stop_owner(owner, grace_ms)
            }
            Ok::<_, grid_protocol::control::ControlError>(())
        });
        handled.map_err(|error| CarryError::Protocol(error.to_string()))?;
        attached.control_wake.notify_one();
    }
    Err(CarryError::Protocol("the control stream was ended".to_owned()))
}

/// Requests of one connection served at a time; the number of its streams is limited as well.
const REQUESTS_MAX: usize = 64;

async fn serve_requests(context: &Arc<Context>, conn: &Conn) -> CarryError {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            opened = conn.accept_bi(), if under_way.len() < REQUESTS_MAX => match opened {
                Ok((send, recv)) => {
                    under_way.spawn(requests::serve(context.clone(), Asker::client(conn.peer()), send, recv));
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

/// Moves frames between a client's connection and the router.
struct ClientMailHandler {
    context: Arc<Context>,
    owner: Owner,
    queue: crate::cluster::peer_queue::PeerQueueId,
}

impl MailHandler for ClientMailHandler {
    fn take(&self, lanes: &mut [Vec<u8>; MAIL_STREAMS], bulk: &mut VecDeque<(BulkHead, Bytes)>) {
        let mut cluster = self.context.cluster();
        if let Some(queue) = cluster.router.queues.up(self.queue) {
            queue.mail.take(lanes, bulk);
        }
    }

    fn handle_frames(&self, frames: &FrameBatch) -> Result<(), String> {
        self.context.activity.metrics.mail(frames);
        let mut cluster = self.context.cluster();
        for body in frames.bodies() {
            let frame = MailFrame::decode(body).map_err(|error| error.to_string())?;
            let handled = cluster.router.handle_client_frame(self.owner, frame, frames.buffer());
            handled.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn handle_bulk(&self, head: BulkHead, payload: Bytes) -> Result<(), String> {
        let fulfilled =
            self.context.cluster().router.fulfil_from_client(self.owner, head.worker, head.seq, payload);
        fulfilled.map_err(|error| error.to_string())
    }
}
