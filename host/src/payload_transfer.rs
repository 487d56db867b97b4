//! Payload transfer: fetches long inputs from the manager and sends it long results, each on a stream of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grid_net::{Conn, StreamError};
use grid_protocol::host::{Transfer, Transferred};
use grid_protocol::job::{Assignment, AttemptEnd, AttemptResult, BlobRef, JobId, Payload};
use grid_protocol::limits::{CONTROL_FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX};
use grid_protocol::wire::Wire;
use grid_protocol::worker::{Failure, FailureKind};
use tokio::sync::mpsc;

use crate::worker_supervisor::WorkerSupervisor;

/// Pause between two attempts at a transfer. While there is no connection, also the interval at which the attempt at
/// the task is checked for still being wanted.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a payload was not transferred.
#[derive(Debug)]
enum TransferError {
    /// The stream broke; the transfer is retried.
    Broken,
    /// The manager refused, or its answer or the payload is invalid; the transfer is not retried.
    Refused(String),
}

impl From<StreamError> for TransferError {
    fn from(_: StreamError) -> Self {
        Self::Broken
    }
}

impl WorkerSupervisor {
    /// Fetches the input of an attempt and gives it to the task runner. Gives up once the attempt is not held any more.
    pub(crate) async fn fetch_input(self: Arc<Self>, job: JobId, task: Assignment, payload: BlobRef) {
        let input = self.keep_trying(&task.attempt, |conn| fetch(conn, job, payload)).await;
        let Some(input) = input else {
            return;
        };
        self.runner.fetched(job, task, input.map_err(|why| failure(FailureKind::HostFault, why)));
    }

    /// Sends long results to the manager, those of several attempts concurrently. Runs as long as the host does.
    pub(crate) async fn carry_results(
        self: &Arc<Self>,
        mut long: mpsc::UnboundedReceiver<(JobId, AttemptEnd)>,
    ) -> std::convert::Infallible {
        while let Some((job, end)) = long.recv().await {
            let supervisor = self.clone();
            tokio::spawn(async move { supervisor.send_results(job, end).await });
        }
        std::future::pending().await
    }

    async fn send_results(self: Arc<Self>, job: JobId, mut end: AttemptEnd) {
        let AttemptResult::Done(results) = &mut end.result else {
            return self.runner.sent(end);
        };
        let mut here: usize = results.iter().map(Payload::frame_bytes).sum();
        let mut by_length: Vec<_> = results.iter_mut().collect();
        by_length.sort_by_key(|result| std::cmp::Reverse(result.length()));
        for result in by_length {
            if here <= PAYLOAD_BYTES_MAX {
                break;
            }
            let Payload::Here(bytes) = result else { continue };
            here -= bytes.len();
            let bytes = std::mem::take(bytes);
            let stored = BlobRef::of(&bytes);
            let kept = self.keep_trying(&end.attempt, |conn| keep(conn, job, stored, bytes.clone())).await;
            match kept {
                // The attempt was abandoned.
                None => break,
                Some(Ok(())) => *result = Payload::Blob(stored),
                Some(Err(why)) => {
                    let failure = failure(FailureKind::HostFault, why);
                    end.result = AttemptResult::Failed { failure, log: Vec::new() };
                    break;
                }
            }
        }
        self.runner.sent(end);
    }

    /// Retries a transfer, across connections, until it succeeds or is refused; `None` once the host no longer holds
    /// the attempt.
    async fn keep_trying<T, F>(
        &self,
        attempt: &grid_protocol::job::AttemptId,
        transfer: impl Fn(Conn) -> F,
    ) -> Option<Result<T, String>>
    where
        F: Future<Output = Result<T, TransferError>>,
    {
        let mut conns = self.conns.subscribe();
        while self.runner.holds(*attempt) {
            let Ok(Ok(conn)) = tokio::time::timeout(PAUSE, conns.wait_for(Option::is_some))
                .await
                .map(|conn| conn.map(|conn| conn.clone()))
            else {
                continue;
            };
            match transfer(conn?).await {
                Ok(moved) => return Some(Ok(moved)),
                Err(TransferError::Refused(why)) => return Some(Err(why)),
                Err(TransferError::Broken) => tokio::time::sleep(PAUSE).await,
            }
        }
        None
    }
}

fn failure(kind: FailureKind, message: String) -> Failure {
    Failure { kind, message, backtrace: Vec::new() }
}

async fn fetch(conn: Conn, job: JobId, payload: BlobRef) -> Result<Bytes, TransferError> {
    let bounded = usize::try_from(payload.length).ok().filter(|length| *length <= MESSAGE_BYTES_MAX);
    let length = bounded.ok_or_else(|| TransferError::Refused("the input is too long".to_owned()))?;
    let (mut send, mut recv) = conn.open_bi().await?;
    send.write_frame(&Transfer::Fetch { job, payload }.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
    send.finish().await;
    let answer = recv.read_frame(CONTROL_FRAME_BYTES_MAX).await?;
    match Transferred::from_body(&answer) {
        Ok(Transferred::Follows) => {
            let bytes = recv.read_body(length).await?;
            let right = BlobRef::of(&bytes) == payload;
            if right { Ok(bytes) } else { Err(TransferError::Refused("the input is damaged".to_owned())) }
        }
        Ok(Transferred::Refused { why }) => Err(TransferError::Refused(why)),
        _ => Err(TransferError::Refused("the manager's answer makes no sense".to_owned())),
    }
}

async fn keep(conn: Conn, job: JobId, payload: BlobRef, bytes: Bytes) -> Result<(), TransferError> {
    let (mut send, mut recv) = conn.open_bi().await?;
    let bringing = async {
        send.write_frame(&Transfer::Keep { job, payload }.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
        send.write_chunk(bytes).await?;
        send.finish().await;
        Ok::<_, StreamError>(())
    };
    // A manager that refuses may answer before it has read all of the payload.
    let (_, answer) = tokio::join!(bringing, recv.read_frame(CONTROL_FRAME_BYTES_MAX));
    match Transferred::from_body(&answer?) {
        Ok(Transferred::Kept) => Ok(()),
        Ok(Transferred::Refused { why }) => Err(TransferError::Refused(why)),
        _ => Err(TransferError::Refused("the manager's answer makes no sense".to_owned())),
    }
}
