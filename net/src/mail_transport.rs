//! Mail transport: moves mail between a connection and a [`MailHandler`].
//!
//! Both ends of every connection with mail do the same: write waiting frames to the lanes, send large
//! messages on streams of their own, and hand over what arrives. Reading never waits for writing, so two ends
//! with full windows cannot block each other.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use grid_protocol::frame::{self, FrameBatch};
use grid_protocol::limits::{MAIL_FRAME_BYTES_MAX, MAIL_STREAMS, MESSAGE_BYTES_MAX};
use grid_protocol::mail::BulkHead;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::conn::Conn;
use crate::stream::{FrameReader, RecvStream, StreamError};

/// Supplies outgoing mail to a mail transport, and handles incoming mail.
pub trait MailHandler: Send + Sync + 'static {
    /// Swaps the waiting frames of each lane with the empty buffers in `lanes`, and appends the waiting large
    /// messages to `bulk`.
    fn take(&self, lanes: &mut [Vec<u8>; MAIL_STREAMS], bulk: &mut VecDeque<(BulkHead, Bytes)>);

    /// Handles frames that arrived on one lane, in order.
    ///
    /// # Errors
    ///
    /// What the peer did wrong; the transport stops.
    fn handle_frames(&self, frames: &FrameBatch) -> Result<(), String>;

    /// Handles a large message that has arrived completely; the frame that announces it may still be in
    /// transit.
    ///
    /// # Errors
    ///
    /// What the peer did wrong; the transport stops.
    fn handle_bulk(&self, head: BulkHead, payload: Bytes) -> Result<(), String>;
}

/// Why a mail transport stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CarryError {
    /// The connection is lost.
    #[error("the connection is lost: {0}")]
    Lost(StreamError),
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
}

/// Large messages that one end sends on a connection at the same time.
const BULK_STREAMS_MAX: usize = 8;

/// Memory for large messages that are arriving on one connection, in units of 1 MiB: four of the largest.
const BULK_UNITS_MAX: usize = 4 * (MESSAGE_BYTES_MAX >> 20);

/// The first byte of a stream that carries one large message. A lane's stream begins with the lane's number.
const BULK_STREAM: u8 = 0x40;

/// Moves mail until the connection is lost or the peer breaks the protocol. The handler notifies `wake` when
/// it has something to send. Does not close the connection; the caller does.
///
/// # Errors
///
/// Always returns the reason why it stopped.
pub async fn carry(conn: &Conn, keeper: Arc<dyn MailHandler>, wake: Arc<Notify>) -> CarryError {
    let mut tasks = JoinSet::new();
    tasks.spawn(write(conn.clone(), keeper.clone(), wake));
    tasks.spawn(accept(conn.clone(), keeper));
    // The other task is ended when the set is dropped.
    match tasks.join_next().await {
        Some(Ok(error)) => error,
        Some(Err(panic)) => CarryError::Protocol(panic.to_string()),
        None => CarryError::Protocol("no mail_transport".to_owned()),
    }
}

async fn write(conn: Conn, keeper: Arc<dyn MailHandler>, wake: Arc<Notify>) -> CarryError {
    let Err(error) = write_lanes(&conn, &*keeper, &wake).await;
    CarryError::Lost(error)
}

async fn write_lanes(
    conn: &Conn,
    keeper: &dyn MailHandler,
    wake: &Notify,
) -> Result<std::convert::Infallible, StreamError> {
    let mut streams = Vec::new();
    for lane in 0..MAIL_STREAMS {
        let mut stream = conn.open_uni().await?;
        stream.write_all(&[u8::try_from(lane).unwrap_or(u8::MAX)]).await?;
        streams.push(stream);
    }
    let mut lanes: [Vec<u8>; MAIL_STREAMS] = Default::default();
    let mut waiting = VecDeque::new();
    let mut bulk = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = wake.notified() => {}
            Some(_) = bulk.join_next() => {}
        }
        keeper.take(&mut lanes, &mut waiting);
        while bulk.try_join_next().is_some() {}
        // Frames do not wait for large messages, so one worker's large messages do not delay another's mail.
        let room = BULK_STREAMS_MAX - bulk.len();
        for (head, payload) in waiting.drain(..room.min(waiting.len())) {
            bulk.spawn(send_bulk(conn.clone(), head, payload));
        }
        // What is queued meanwhile notifies `wake` again.
        for (lane, stream) in lanes.iter_mut().zip(&mut streams).filter(|(lane, _)| !lane.is_empty()) {
            stream.write_all(lane).await?;
            lane.clear();
        }
    }
}

async fn send_bulk(conn: Conn, head: BulkHead, payload: Bytes) {
    let sent = async {
        let mut stream = conn.open_uni().await?;
        let body = head.encode();
        let length = frame::head(&body, BulkHead::BYTES_MAX)?;
        let head = [&[BULK_STREAM], &length[..], &body].concat();
        stream.write_chunks(&mut [head.into(), payload]).await?;
        stream.finish().await;
        Ok::<(), StreamError>(())
    };
    // If the stream breaks, so has the connection, and the message is sent again on the next one.
    if let Err(error) = sent.await {
        tracing::debug!(%error, worker = %head.worker, "a large message stopped half-way");
    }
}

async fn accept(conn: Conn, keeper: Arc<dyn MailHandler>) -> CarryError {
    let room = Arc::new(Semaphore::new(BULK_UNITS_MAX));
    let mut readers = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            stream = conn.accept_uni() => match stream {
                Ok(stream) => {
                    readers.spawn(read(stream, keeper.clone(), room.clone()));
                }
                Err(error) => return CarryError::Lost(error),
            },
            Some(ended) = readers.join_next() => match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(panic) => return CarryError::Protocol(panic.to_string()),
            },
        }
    }
}

async fn read(
    mut stream: RecvStream,
    keeper: Arc<dyn MailHandler>,
    room: Arc<Semaphore>,
) -> Result<(), CarryError> {
    let mut kind = [0];
    stream.read_exact(&mut kind).await.map_err(CarryError::Lost)?;
    match kind {
        [BULK_STREAM] => read_bulk(stream, &*keeper, &room).await,
        [lane] if usize::from(lane) < MAIL_STREAMS => read_lane(stream, &*keeper).await,
        [other] => Err(CarryError::Protocol(format!("a stream of unknown kind {other}"))),
    }
}

async fn read_lane(stream: RecvStream, keeper: &dyn MailHandler) -> Result<(), CarryError> {
    let mut reader = FrameReader::new(stream, MAIL_FRAME_BYTES_MAX);
    while let Some(frames) = reader.next_batch().await.map_err(blame)? {
        keeper.handle_frames(&frames).map_err(CarryError::Protocol)?;
    }
    Err(CarryError::Protocol("a lane was ended".to_owned()))
}

async fn read_bulk(
    mut stream: RecvStream,
    keeper: &dyn MailHandler,
    room: &Semaphore,
) -> Result<(), CarryError> {
    let body = stream.read_frame(BulkHead::BYTES_MAX).await.map_err(blame)?;
    let head = BulkHead::decode(&body).map_err(|error| CarryError::Protocol(error.to_string()))?;
    let length = usize::try_from(head.length).unwrap_or(usize::MAX);
    if length > MESSAGE_BYTES_MAX {
        return Err(CarryError::Protocol(format!("a message of {length} bytes")));
    }
    let units = u32::try_from(length.div_ceil(1 << 20)).unwrap_or(u32::MAX);
    // The semaphore is never closed.
    let Ok(_room) = room.acquire_many(units).await else {
        return Ok(());
    };
    let payload = stream.read_body(length).await.map_err(blame)?;
    keeper.handle_bulk(head, payload).map_err(CarryError::Protocol)
}

fn blame(error: StreamError) -> CarryError {
    match error {
        StreamError::Broken { .. } => CarryError::Lost(error),
        other => CarryError::Protocol(other.to_string()),
    }
}
