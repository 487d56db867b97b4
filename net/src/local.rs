//! Connections between two parts of this process, with the same streams but no socket.

use std::sync::Arc;

use grid_protocol::key::PublicKey;
use parking_lot::Mutex;
use tokio::io::DuplexStream;
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};

use crate::close_reason::CloseReason;
use crate::stream::{Receiver, RecvStream, SendStream, Sender, StreamError};

/// One end of a local connection.
#[derive(Debug)]
pub(crate) struct LocalConn {
    pub(crate) peer: PublicKey,
    uni_out: mpsc::Sender<DuplexStream>,
    bi_out: mpsc::Sender<DuplexStream>,
    uni_in: AsyncMutex<mpsc::Receiver<DuplexStream>>,
    bi_in: AsyncMutex<mpsc::Receiver<DuplexStream>>,
    closed: Arc<watch::Sender<Option<(u32, String)>>>,
    closed_by_us: Mutex<bool>,
}

/// Bytes that a stream buffers before its writer waits.
const PIPE_BYTES: usize = 1 << 20;

/// Streams of one kind that may wait to be accepted.
const BACKLOG: usize = 100;

/// Makes both ends of a connection; each end sees the other's key.
pub(crate) fn pair(a: PublicKey, b: PublicKey) -> (LocalConn, LocalConn) {
    let (uni_to_b, uni_from_a) = mpsc::channel(BACKLOG);
    let (uni_to_a, uni_from_b) = mpsc::channel(BACKLOG);
    let (bi_to_b, bi_from_a) = mpsc::channel(BACKLOG);
    let (bi_to_a, bi_from_b) = mpsc::channel(BACKLOG);
    let closed = Arc::new(watch::Sender::new(None));
    let end = |peer, uni_out, bi_out, uni_in, bi_in| LocalConn {
        peer,
        uni_out,
        bi_out,
        uni_in: AsyncMutex::new(uni_in),
        bi_in: AsyncMutex::new(bi_in),
        closed: closed.clone(),
        closed_by_us: Mutex::new(false),
    };
    (end(b, uni_to_b, bi_to_b, uni_from_b, bi_from_b), end(a, uni_to_a, bi_to_a, uni_from_a, bi_from_a))
}

impl LocalConn {
    pub(crate) async fn open_uni(&self) -> Result<SendStream, StreamError> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        self.guard(self.uni_out.send(far)).await?;
        // The reading half of a one-way stream is never used.
        let (_, send) = tokio::io::split(near);
        Ok(SendStream(Sender::Local(send)))
    }

    pub(crate) async fn open_bi(&self) -> Result<(SendStream, RecvStream), StreamError> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        self.guard(self.bi_out.send(far)).await?;
        Ok(both(near))
    }

    pub(crate) async fn accept_uni(&self) -> Result<RecvStream, StreamError> {
        let mut waiting = self.uni_in.lock().await;
        let far = self.unless_closed(waiting.recv()).await?;
        let (recv, _) = tokio::io::split(far);
        Ok(RecvStream(Receiver::Local(recv)))
    }

    pub(crate) async fn accept_bi(&self) -> Result<(SendStream, RecvStream), StreamError> {
        let mut waiting = self.bi_in.lock().await;
        self.unless_closed(waiting.recv()).await.map(both)
    }

    pub(crate) fn close(&self, code: u32, reason: &str) {
        let first = self.closed.send_if_modified(|closed| {
            let first = closed.is_none();
            closed.get_or_insert_with(|| (code, reason.to_owned()));
            first
        });
        if first {
            *self.closed_by_us.lock() = true;
        }
    }

    pub(crate) async fn closed(&self) -> CloseReason {
        let mut watcher = self.closed.subscribe();
        // Our own sender is alive, so the wait ends only with a value.
        let _ = watcher.wait_for(Option::is_some).await;
        self.close_reason().unwrap_or(CloseReason::Here)
    }

    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        let (code, reason) = self.closed.borrow().clone()?;
        let ours = *self.closed_by_us.lock();
        Some(if ours { CloseReason::Here } else { CloseReason::Peer { code, reason } })
    }

    async fn guard<E>(&self, sent: impl Future<Output = Result<(), E>>) -> Result<(), StreamError> {
        self.unless_closed(async { sent.await.ok() }).await
    }

    async fn unless_closed<T>(&self, wait: impl Future<Output = Option<T>>) -> Result<T, StreamError> {
        let gone = || StreamError::Broken { reason: "the connection is closed".to_owned() };
        tokio::select! {
            biased;
            _ = self.closed() => Err(gone()),
            got = wait => got.ok_or_else(gone),
        }
    }
}

fn both(stream: DuplexStream) -> (SendStream, RecvStream) {
    let (recv, send) = tokio::io::split(stream);
    (SendStream(Sender::Local(send)), RecvStream(Receiver::Local(recv)))
}

impl Drop for LocalConn {
    fn drop(&mut self) {
        self.close(0, "dropped");
    }
}
