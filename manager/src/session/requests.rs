//! Requests of clients, each on a stream of its own; long bodies follow on the same stream.

use std::sync::Arc;

use grid_net::{RecvStream, SendStream};
use grid_protocol::client::{DenialCode, Reply, Request};
use grid_protocol::id::WorkerId;
use grid_protocol::job::{BlobRef, JobId};
use grid_protocol::limits::{CONTROL_FRAME_BYTES_MAX, INLINE_BYTES_MAX, MODULE_BYTES_MAX};
use grid_protocol::role::Role;
use grid_protocol::submission::JobSubmission;
use grid_protocol::wire::Wire;
use tokio::time::timeout;

use crate::api::denials::{deny, not_allowed};
use crate::api::{self, jobs, messages};
use crate::asker::Asker;
use crate::blobs::transfer_slots::time_for;
use crate::context::Context;
use crate::session::handshake::SessionError;

/// Reads one request from its stream and answers it.
pub(crate) async fn serve(
    context: Arc<Context>,
    asker: Asker,
    mut send: SendStream,
    mut recv: RecvStream,
) -> Result<(), SessionError> {
    let body = recv.read_frame(CONTROL_FRAME_BYTES_MAX).await?;
    if let Some(submission) = JobSubmission::from_frame(&body) {
        let reply = jobs::submit(&context, asker, submission).await.unwrap_or_else(Reply::Denied);
        send.write_frame(&reply.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
        send.finish().await;
        return Ok(());
    }
    let reply = match Request::from_body(&body) {
        Ok(Request::ModuleUpload { manifest, length }) => {
            receive_module(&context, asker, manifest, length, &mut recv).await?
        }
        Ok(Request::PayloadKeep { job, payload }) => {
            receive_payload(&context, asker, job, payload, &mut recv).await?
        }
        Ok(Request::MessageSend { worker, length }) => {
            receive_message(&context, asker, worker, length, &mut recv).await?
        }
        Ok(Request::PayloadFetch { job, payload }) => {
            return send_payload(&context, asker, job, payload, send).await;
        }
        Ok(request @ (Request::WorkerPing { .. } | Request::JobResults { .. } | Request::Feed { .. })) => {
            tokio::select! {
                biased;
                reply = api::handle(&context, asker, request, None) => reply,
                // These wait for others. A client that waits no longer makes room for its next requests.
                () = send.given_up() => return Ok(()),
            }
        }
        Ok(request) => api::handle(&context, asker, request, None).await,
        Err(error) => {
            Reply::Denied(deny(DenialCode::BadRequest, "request", error, "upgrade the older program"))
        }
    };
    let pages = reply.into_pages(CONTROL_FRAME_BYTES_MAX).unwrap_or_else(|too_long| {
        vec![Reply::Denied(deny(DenialCode::NoCapacity, "the answer is too long", too_long, "")).to_body()]
    });
    for page in pages {
        send.write_frame(&page, CONTROL_FRAME_BYTES_MAX).await?;
    }
    send.finish().await;
    Ok(())
}

async fn receive_payload(
    context: &Arc<Context>,
    asker: Asker,
    job: JobId,
    payload: BlobRef,
    recv: &mut RecvStream,
) -> Result<Reply, SessionError> {
    // Checked first: nobody else may make the manager hold the bytes.
    if let Err(denial) = jobs::check_owner(context, asker, job) {
        return Ok(Reply::Denied(denial));
    }
    let length = match jobs::check_payload(&payload) {
        Ok(length) => length,
        Err(denial) => return Ok(Reply::Denied(denial)),
    };
    // Held until the bytes are on disk.
    let _slot = context.payloads.slots.take(asker.key).await;
    let Ok(bytes) = timeout(time_for(length), recv.read_body(length)).await else {
        let why = format!("its bytes did not come within {:?}", time_for(length));
        return Ok(Reply::Denied(deny(DenialCode::BadRequest, "payload", why, "bring it again")));
    };
    let bytes = bytes?;
    Ok(jobs::keep(context, asker, job, payload, bytes).await.unwrap_or_else(Reply::Denied))
}

async fn send_payload(
    context: &Arc<Context>,
    asker: Asker,
    job: JobId,
    payload: BlobRef,
    mut send: SendStream,
) -> Result<(), SessionError> {
    let _slot = context.payloads.slots.take(asker.key).await;
    match jobs::fetch(context, asker, job, payload).await {
        Ok(bytes) => {
            let reply = Reply::Payload { length: bytes.len() as u64 };
            let length = bytes.len();
            let write = async {
                send.write_frame(&reply.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
                send.write_chunk(bytes).await
            };
            // A client that does not read: the stream is reset when `send` is dropped.
            let Ok(written) = timeout(time_for(length), write).await else { return Ok(()) };
            written?;
        }
        Err(denial) => {
            send.write_frame(&Reply::Denied(denial).to_body(), CONTROL_FRAME_BYTES_MAX).await?;
        }
    }
    send.finish().await;
    Ok(())
}

async fn receive_module(
    context: &Arc<Context>,
    asker: Asker,
    manifest: Vec<u8>,
    length: u64,
    recv: &mut RecvStream,
) -> Result<Reply, SessionError> {
    // Checked first: a key that may not publish must not make the manager hold the bytes.
    if !asker.roles(context).has(Role::Publisher) {
        return Ok(Reply::Denied(not_allowed("upload a module", asker.key, Role::Publisher)));
    }
    let max = MODULE_BYTES_MAX;
    let bounded = usize::try_from(length).ok().filter(|length| *length <= max);
    let Some(bounded) = bounded else {
        let why = format!("it has {length} bytes and the limit is {max}");
        return Ok(Reply::Denied(deny(
            DenialCode::ModuleRejected,
            "module",
            why,
            "make it smaller; strip debug information",
        )));
    };
    // Held until the module is on disk.
    let _slot = context.payloads.slots.take(asker.key).await;
    let Ok(wasm) = timeout(time_for(bounded), recv.read_body(bounded)).await else {
        let why = format!("its bytes did not come within {:?}", time_for(bounded));
        return Ok(Reply::Denied(deny(DenialCode::BadRequest, "module", why, "upload it again")));
    };
    let wasm = wasm?;
    Ok(api::handle(context, asker, Request::ModuleUpload { manifest, length }, Some(wasm)).await)
}

/// Reads a message from the stream and sends it to the worker.
async fn receive_message(
    context: &Arc<Context>,
    asker: Asker,
    worker: WorkerId,
    length: u64,
    recv: &mut RecvStream,
) -> Result<Reply, SessionError> {
    // Checked first: nobody else may make the manager hold the bytes.
    if let Err(denial) = api::check_owner(context, asker, worker) {
        return Ok(Reply::Denied(denial));
    }
    let length = match messages::bounded(length) {
        Ok(length) => length,
        Err(denial) => return Ok(Reply::Denied(denial)),
    };
    // Held until the message is in the worker's window, which is bounded. Short messages need no slot.
    let _slot =
        if length > INLINE_BYTES_MAX { Some(context.payloads.slots.take(asker.key).await) } else { None };
    let Ok(message) = timeout(time_for(length), recv.read_body(length)).await else {
        let why = format!("its bytes did not come within {:?}", time_for(length));
        return Ok(Reply::Denied(deny(DenialCode::BadRequest, "message", why, "send it again")));
    };
    Ok(messages::send(context, asker, worker, message?).await.unwrap_or_else(Reply::Denied))
}
