//! Messages sent by request, for clients that have no mail of their own.

use std::time::Duration;

use bytes::Bytes;
use grid_protocol::client::{Denial, DenialCode, Reply};
use grid_protocol::id::WorkerId;
use grid_protocol::limits::MESSAGE_BYTES_MAX;
use tokio::time::timeout;

use crate::api::denials::deny;
use crate::asker::Asker;
use crate::context::Context;
use grid_protocol::event::SendError;

/// Longest wait for room in the worker's window; the client then asks again.
const PATIENCE: Duration = Duration::from_secs(10);

/// The length of a message, checked against [`MESSAGE_BYTES_MAX`].
pub(crate) fn bounded(length: u64) -> Result<usize, Denial> {
    let bounded = usize::try_from(length).ok().filter(|length| *length <= MESSAGE_BYTES_MAX);
    let why = || format!("it has {length} bytes; {MESSAGE_BYTES_MAX} is the limit");
    bounded.ok_or_else(|| deny(DenialCode::BadRequest, "message", why(), ""))
}

/// Sends a message as soon as the worker's window has room; denied if it has none within [`PATIENCE`].
pub(crate) async fn send(
    context: &Context,
    asker: Asker,
    worker: WorkerId,
    message: Bytes,
) -> Result<Reply, Denial> {
    bounded(message.len() as u64)?;
    let freed = context.cluster().router.room.clone();
    let sent = async {
        loop {
            let room = freed.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            match context.change(|cluster, _| cluster.router.send_for(asker.key, worker, message.clone())) {
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
