//! Messages sent by request, for clients that have no mail of their own.

use std::time::Duration;

use bytes::Bytes;
use grid_protocol::client::{Denial, DenialCode, Reply};
use grid_protocol::id::WorkerId;
use grid_protocol::key::PublicKey;
use tokio::time::timeout;

use crate::api::denials::deny;
use crate::context::Context;
use grid_protocol::event::SendError;

/// Longest wait for room in the worker's window; the client then asks again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends a message as soon as the worker's window has room; denied if it has none within [`PATIENCE`].
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
