//! Messages that a client without mail sends, each by a request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grid_net::RecvStream;
use grid_protocol::client::{Denial, DenialCode, Reply};
use grid_protocol::id::WorkerId;
use grid_protocol::key::PublicKey;
use grid_protocol::limits::{INLINE_BYTES_MAX, MESSAGE_BYTES_MAX};
use tokio::time::timeout;

use crate::api::{check_owner, deny};
use crate::blobs::transfer_slots::time_for;
use crate::cluster::router::SendError;
use crate::context::Context;
use crate::session::handshake::SessionError;

/// A client waits so long for room, and then asks again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads the message from the stream, and sends it.
pub(crate) async fn receive(
    context: &Arc<Context>,
    asker: PublicKey,
    worker: WorkerId,
    length: u64,
    recv: &mut RecvStream,
) -> Result<Reply, SessionError> {
    // Nothing is taken into memory for a stranger to the worker.
    if let Err(denial) = check_owner(context, asker, worker) {
        return Ok(Reply::Denied(denial));
    }
    let Some(length) = usize::try_from(length).ok().filter(|length| *length <= MESSAGE_BYTES_MAX) else {
        let why = format!("it has {length} bytes; {MESSAGE_BYTES_MAX} is the limit");
        return Ok(Reply::Denied(deny(DenialCode::BadRequest, "message", why, "")));
    };
    // Held until the message is in the window, which is bounded. Short ones may wait beside one another.
    let _slot = if length > INLINE_BYTES_MAX { Some(context.payloads.slots.take(asker).await) } else { None };
    let Ok(message) = timeout(time_for(length), recv.read_body(length)).await else {
        let why = format!("its bytes did not come within {:?}", time_for(length));
        return Ok(Reply::Denied(deny(DenialCode::BadRequest, "message", why, "send it again")));
    };
    Ok(send(context, asker, worker, message?).await.unwrap_or_else(Reply::Denied))
}

/// Sends a message, once there is room for it.
pub(crate) async fn send(
    context: &Context,
    asker: PublicKey,
    worker: WorkerId,
    message: Bytes,
) -> Result<Reply, Denial> {
    let freed = context.cluster().router.room.clone();
    let sent = async {
        loop {
            let room = freed.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            match context.change(|cluster, _| cluster.router.send_for(asker, worker, message.clone())) {
                Err(SendError::Full(_)) => room.await,
                other => return other,
            }
        }
    };
    let refused = |code, why: String| Err(deny(code, "message", why, "`grid worker ls` shows the worker"));
    match timeout(PATIENCE, sent).await {
        Ok(Ok(())) => Ok(Reply::Done),
        Ok(Err(error)) => refused(DenialCode::NotFound, error.to_string()),
        Err(_) => refused(DenialCode::NoCapacity, SendError::Full(worker).to_string()),
    }
}
