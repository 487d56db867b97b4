//! The handshake: which peers are let in, and with which roles.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grid_net::{Conn, FrameReader, SendStream};
use grid_protocol::activity::GridEvent;
use grid_protocol::extensions::Extensions;
use grid_protocol::host::{HostCapacity, JoinRefusal, PROTOCOL_VERSION};
use grid_protocol::limits::{CONTROL_FRAME_BYTES_MAX, HOST_WORKERS_MAX, LABELS_MAX, NAME_BYTES_MAX};
use grid_protocol::name::{check_name, is_obeyed};
use grid_protocol::role::{Role, Roles};
use grid_protocol::ticket::Proof;
use grid_protocol::wire::{Wire, version};
use tokio::time::timeout;

use crate::catalog::CatalogError;
use crate::cluster::newcomers::Newcomer;
use crate::context::Context;

/// Longest wait for the first frame of a peer that is connected; the peer is then refused.
const HELLO_TIME_MAX: Duration = Duration::from_secs(5);

/// Why a peer was not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("{0}")]
    Refused(JoinRefusal),
    #[error("it said no hello within {HELLO_TIME_MAX:?}")]
    Mute,
    #[error(transparent)]
    Stream(#[from] grid_net::StreamError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// Bytes of the first frame of an unknown peer: a name, some labels, a proof. A known peer may send more, because it
/// lists its workers.
const STRANGERS_HELLO_BYTES_MAX: usize = 64 << 10;

/// Waits for the control stream and its first frame, after which the peer no longer counts as a newcomer.
pub(crate) async fn first_frame<Hello: Wire>(
    context: &Arc<Context>,
    conn: &Conn,
    newcomer: Option<Newcomer>,
) -> Result<(SendStream, FrameReader, Result<Hello, JoinRefusal>), SessionError> {
    let peer = conn.peer();
    let first = async {
        let roles = context.catalog(move |catalog| Ok::<_, CatalogError>(catalog.roles(&peer))).await?;
        let known = conn.is_local() || roles != Roles::NONE;
        let max = if known { CONTROL_FRAME_BYTES_MAX } else { STRANGERS_HELLO_BYTES_MAX };
        let (send, mut recv) = conn.accept_bi().await?;
        send.go_first();
        let body: Bytes = recv.read_frame(max).await?;
        let reader = FrameReader::new(recv, CONTROL_FRAME_BYTES_MAX);
        let hello = check_version(&body).and_then(|()| {
            Hello::from_body(&body).map_err(|error| JoinRefusal::Malformed { why: error.to_string() })
        });
        Ok((send, reader, hello))
    };
    let frame = timeout(HELLO_TIME_MAX, first).await.map_err(|_| SessionError::Mute)?;
    drop(newcomer);
    frame
}

/// Returns the roles of the peer's key, after it has redeemed the ticket it brought, if any.
///
/// A key that has the role `asked` already is let in even if its ticket cannot be redeemed, for example because it was
/// deleted since the key used it.
pub(crate) async fn roles(
    context: &Arc<Context>,
    conn: &Conn,
    proof: Option<Proof>,
    asked: Role,
) -> Result<Roles, SessionError> {
    let (peer, exporter, now) = (conn.peer(), conn.exporter(), context.unix_now());
    let checked = context
        .catalog(move |catalog| {
            if catalog.is_revoked(&peer) {
                return Ok(Err(JoinRefusal::Revoked { key: peer }));
            }
            if let Some(proof) = proof
                && let Err(refusal) = catalog.redeem(&proof, peer, &exporter, now)?
                && !catalog.roles(&peer).has(asked)
            {
                return Ok(Err(refusal));
            }
            Ok::<_, CatalogError>(Ok(catalog.roles(&peer)))
        })
        .await?;
    checked.map_err(SessionError::Refused)
}

/// Tells those who look that a peer was not let in.
pub(crate) fn note_refusal(context: &Context, conn: &Conn, error: &SessionError) {
    let reason = match error {
        SessionError::Refused(refusal) => refusal.label(),
        SessionError::Mute => "mute",
        SessionError::Stream(_) => "connection",
        SessionError::Catalog(_) => "manager-fault",
    };
    context.activity.metrics.refused(reason);
    if matches!(error, SessionError::Refused(_)) {
        context.activity.note(GridEvent::Refused {
            key: conn.peer(),
            from: conn.remote(),
            why: error.to_string(),
        });
    }
}

/// Gives the peer's key a role without a ticket.
pub(crate) async fn grant(context: &Arc<Context>, conn: &Conn, role: Role) -> Result<(), SessionError> {
    let peer = conn.peer();
    Ok(context.catalog(move |catalog| catalog.grant(peer, role)).await?)
}

/// What this manager says beyond a welcome: its version, and its time, by which tickets and manifests expire, and that
/// it knows traces.
pub(crate) fn extensions(context: &Context) -> Extensions {
    let extensions = Extensions::default().with_software(env!("CARGO_PKG_VERSION"));
    extensions.with_unix_time(context.unix_now()).with_traces()
}

/// Checks the version that a hello begins with, before the rest of it is read.
fn check_version(hello: &[u8]) -> Result<(), JoinRefusal> {
    match version(hello) {
        Some(peer) if peer != PROTOCOL_VERSION => {
            Err(JoinRefusal::Version { manager: PROTOCOL_VERSION, peer })
        }
        _ => Ok(()),
    }
}

/// Checks the form of a host's capacity. The figures are believed: a host that overstates them only harms itself.
pub(crate) fn check_capacity(capacity: &HostCapacity) -> Result<(), JoinRefusal> {
    let plain = |text: &str| text.len() <= NAME_BYTES_MAX && !text.chars().any(is_obeyed);
    let why = if let Err(error) = check_name(&capacity.name) {
        format!("its name: {error}")
    } else if !plain(&capacity.platform) || !plain(&capacity.software) {
        "what it says of its platform is too long or cannot be shown".to_owned()
    } else if capacity.labels.len() > LABELS_MAX {
        "too many labels".to_owned()
    } else if let Some(error) = capacity.labels.iter().find_map(|label| check_name(&label.name).err()) {
        format!("a label's name: {error}")
    } else if !capacity.labels.iter().all(|label| plain(&label.value)) {
        "a label's value is too long or cannot be shown".to_owned()
    } else if usize::try_from(capacity.slots).is_ok_and(|slots| slots > HOST_WORKERS_MAX) {
        "too many slots".to_owned()
    } else {
        return Ok(());
    };
    Err(JoinRefusal::Malformed { why })
}

/// Tells a peer why it is not let in, and waits a moment for it to read that: it closes the connection then, and closing it
/// here could lose the reason.
pub(crate) async fn refuse(conn: &Conn, mut send: SendStream, greeting: &[u8]) -> Result<(), SessionError> {
    send.write_frame(greeting, CONTROL_FRAME_BYTES_MAX).await?;
    send.finish().await;
    let _ = timeout(Duration::from_secs(1), conn.closed()).await;
    Ok(())
}
