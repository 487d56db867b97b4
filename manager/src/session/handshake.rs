//! The handshake: who is let in, and as what.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grid_net::{Conn, FrameReader, SendStream};
use grid_protocol::host::{HostCapacity, JoinRefusal, PROTOCOL_VERSION};
use grid_protocol::limits::{CONTROL_FRAME_BYTES_MAX, HOST_WORKERS_MAX, LABELS_MAX, NAME_BYTES_MAX};
use grid_protocol::name::{check_name, is_obeyed};
use grid_protocol::role::{Role, Roles};
use grid_protocol::ticket::Proof;
use grid_protocol::wire::Wire;
use tokio::time::timeout;

use crate::catalog::CatalogError;
use crate::cluster::newcomers::Newcomer;
use crate::context::Context;

/// A peer that says nothing for so long after the handshake is sent away.
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

/// The first frame of a peer that the manager does not know: a name, some labels, a proof. What a known peer remembers of
/// its workers takes more.
const STRANGERS_HELLO_BYTES_MAX: usize = 64 << 10;

/// The control stream that a peer has opened, and its first frame, with which it is no newcomer any more.
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
        let hello =
            Hello::from_body(&body).map_err(|error| JoinRefusal::Malformed { why: error.to_string() });
        Ok((send, reader, hello))
    };
    let frame = timeout(HELLO_TIME_MAX, first).await.map_err(|_| SessionError::Mute)?;
    drop(newcomer);
    frame
}

/// What a key may do here, after the ticket that it may have brought.
///
/// A key that has the role that this session asks for is let in by its key: the ticket that it brings once more may be past, or
/// forgotten, and only gives what it still can.
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

/// Gives a key a role without a ticket: an open grid, or an operator's word.
pub(crate) async fn grant(context: &Arc<Context>, conn: &Conn, role: Role) -> Result<(), SessionError> {
    let peer = conn.peer();
    Ok(context.catalog(move |catalog| catalog.grant(peer, role)).await?)
}

/// Both programs must speak the same version.
pub(crate) fn check_version(peer: u16) -> Result<(), JoinRefusal> {
    if peer == PROTOCOL_VERSION {
        return Ok(());
    }
    Err(JoinRefusal::Version { manager: PROTOCOL_VERSION, peer })
}

/// A host's capacity is an allegation: within its bounds it is believed, for it only binds the host.
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
