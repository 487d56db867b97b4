//! Transfers with hosts, each on a stream of its own: modules and long inputs to them, long results from them.

use std::sync::Arc;

use bytes::Bytes;
use grid_net::{CarryError, Conn, RecvStream, SendStream};
use grid_protocol::digest::Digest;
use grid_protocol::host::{JoinRefusal, ModuleOffered, Transfer, Transferred};
use grid_protocol::job::{BlobRef, JobId};
use grid_protocol::key::PublicKey;
use grid_protocol::limits::CONTROL_FRAME_BYTES_MAX;
use grid_protocol::wire::Wire;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::blobs::store;
use crate::blobs::transfer_slots::time_for;
use crate::catalog::CatalogError;
use crate::context::Context;
use crate::session::handshake::SessionError;

/// Serves a host's transfers until its connection ends.
pub(crate) async fn serve(context: &Arc<Context>, conn: &Conn) -> CarryError {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            opened = conn.accept_bi() => match opened {
                Ok((send, recv)) => {
                    under_way.spawn(transfer(context.clone(), conn.peer(), send, recv));
                }
                Err(error) => return CarryError::Lost(error),
            },
            Some(done) = under_way.join_next() => {
                if let Ok(Err(error)) = done {
                    tracing::warn!(host = %conn.peer().fingerprint(), %error, "a transfer with a host did not come to its end");
                }
            }
        }
    }
}

async fn transfer(
    context: Arc<Context>,
    host: PublicKey,
    send: SendStream,
    mut recv: RecvStream,
) -> Result<(), SessionError> {
    let asked = recv.read_frame(CONTROL_FRAME_BYTES_MAX).await?;
    let asked = Transfer::from_body(&asked)
        .map_err(|error| SessionError::Refused(JoinRefusal::Malformed { why: error.to_string() }))?;
    match asked {
        Transfer::Module { module } => send_module(&context, host, module, send).await,
        Transfer::Fetch { job, payload } => send_payload(&context, host, job, payload, send).await,
        Transfer::Keep { job, payload } => receive_payload(&context, host, job, payload, send, recv).await,
        _ => Err(SessionError::Refused(JoinRefusal::Malformed { why: "an unknown transfer".to_owned() })),
    }
}

/// Sends a host a blob of a job, if the host holds a task of the job.
async fn send_payload(
    context: &Arc<Context>,
    host: PublicKey,
    job: JobId,
    payload: BlobRef,
    mut send: SendStream,
) -> Result<(), SessionError> {
    let _slot = context.payloads.slots.take(host).await;
    let found = if context.cluster().coordinator.works_on(job, host) {
        context.payloads(move |payloads| payloads.fetch(job, &payload)).await?
    } else {
        None
    };
    let answer = match &found {
        Some(_) => Transferred::Follows,
        None => Transferred::Refused { why: "the job has no such payload".to_owned() },
    };
    let length = found.as_ref().map_or(0, Bytes::len);
    let write = async {
        send.write_frame(&answer.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
        if let Some(bytes) = found {
            send.write_chunk(bytes).await?;
        }
        send.finish().await;
        Ok(())
    };
    timeout(time_for(length), write).await.unwrap_or_else(|_| Err(too_slow(length)))
}

/// The error of a transfer of `length` bytes that exceeded its time limit.
fn too_slow(length: usize) -> SessionError {
    let why = format!("a payload of {length} bytes took longer than {:?}", time_for(length));
    SessionError::Refused(JoinRefusal::Malformed { why })
}

/// Receives a long result from a host, if the host holds a task of the job.
async fn receive_payload(
    context: &Arc<Context>,
    host: PublicKey,
    job: JobId,
    payload: BlobRef,
    mut send: SendStream,
    mut recv: RecvStream,
) -> Result<(), SessionError> {
    let bounded = store::bounded(&payload).map_err(|error| error.to_string());
    let allowed = bounded.and_then(|length| {
        let works = context.cluster().coordinator.works_on(job, host);
        if works { Ok(length) } else { Err("the host has no task of the job".to_owned()) }
    });
    let answer = match allowed {
        Ok(length) => {
            let _slot = context.payloads.slots.take(host).await;
            let bytes = timeout(time_for(length), recv.read_body(length)).await;
            let bytes = bytes.map_err(|_| too_slow(length))??;
            keep(context, job, payload, bytes).await
        }
        Err(why) => Transferred::Refused { why },
    };
    send.write_frame(&answer.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
    send.finish().await;
    Ok(())
}

/// Stores a result. While the disk is full it waits; the host keeps the result meanwhile.
async fn keep(context: &Arc<Context>, job: JobId, payload: BlobRef, bytes: Bytes) -> Transferred {
    loop {
        context.out_of_trouble().await;
        let bytes = bytes.clone();
        match context.payloads(move |payloads| payloads.keep(job, payload, &bytes)).await {
            Ok(()) => return Transferred::Kept,
            Err(error @ (CatalogError::Disk(_) | CatalogError::Store(_))) => {
                let mut cluster = context.cluster();
                cluster.coordinator.turn_trouble(Some(error.to_string()));
                cluster.coordinator.wake.notify_one();
            }
            Err(error) => return Transferred::Refused { why: error.to_string() },
        }
    }
}

async fn send_module(
    context: &Arc<Context>,
    host: PublicKey,
    module: Digest,
    mut send: SendStream,
) -> Result<(), SessionError> {
    let found =
        if context.cluster().runs_on(&module, host) { find_module(context, module).await? } else { None };
    let Some((manifest, wasm)) = found else {
        send.write_frame(&ModuleOffered::Unknown.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
        send.finish().await;
        return Ok(());
    };
    let length = wasm.len() as u64;
    let offered = ModuleOffered::Found { manifest, length };
    send.write_frame(&offered.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
    send.write_chunk(wasm).await?;
    send.finish().await;
    if let Some(session) = context.cluster().sessions.get_mut(&host) {
        session.module_bytes_sent += length;
        context.activity.metrics.module_bytes_sent.inc_by(length);
    }
    Ok(())
}

async fn find_module(
    context: &Arc<Context>,
    module: Digest,
) -> Result<Option<(Vec<u8>, Bytes)>, CatalogError> {
    context
        .catalog(move |catalog| {
            let Some(manifest) = catalog.module(&module).map(|module| module.signed.clone()) else {
                return Ok(None);
            };
            let path = catalog.module_path(&module);
            let wasm =
                std::fs::read(&path).map_err(|error| grid_disk::DiskError { doing: "read", path, error })?;
            Ok(Some((manifest, wasm.into())))
        })
        .await
}
