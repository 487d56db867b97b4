//! Streams: bytes in order, over QUIC or inside this process, and frames on them.

use std::ops::Range;

use bytes::Bytes;
use grid_protocol::frame::{self, FrameBatch, Splitter, TooLong};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};

/// The sending end of a stream.
#[derive(Debug)]
pub struct SendStream(pub(crate) Sender);

#[derive(Debug)]
pub(crate) enum Sender {
    Quic(quinn::SendStream),
    Local(WriteHalf<DuplexStream>),
}

/// The receiving end of a stream.
#[derive(Debug)]
pub struct RecvStream(pub(crate) Receiver);

#[derive(Debug)]
pub(crate) enum Receiver {
    Quic(quinn::RecvStream),
    Local(ReadHalf<DuplexStream>),
}

/// A stream cannot be used any more, or carried something that it must not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The connection is lost, or the peer reset the stream.
    #[error("the stream broke: {reason}")]
    Broken {
        /// The transport's reason.
        reason: String,
    },
    /// A frame is over the limit, the peer's or our own.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The stream ended inside a frame, or before the announced bytes.
    #[error("the stream ended too early")]
    Truncated,
}

fn broken(error: impl std::fmt::Display) -> StreamError {
    StreamError::Broken { reason: error.to_string() }
}

/// Bytes that are rather copied than written on their own.
const JOINED_BYTES_MAX: usize = 4 << 10;

/// Bytes of one chunk that is read alone.
const CHUNK_BYTES_MAX: usize = 256 << 10;

impl SendStream {
    /// Gives this stream priority when there is more to send than the path takes: for heartbeats, commands
    /// and events.
    ///
    /// All other streams take turns, one packet each. None of them may have priority: on a lossy path,
    /// messages alone use all the capacity, and streams behind them would never send.
    pub fn go_first(&self) {
        if let Sender::Quic(stream) = &self.0 {
            // A stream that is already closed has nothing to send.
            let _ = stream.set_priority(1);
        }
    }

    /// Writes all of `bytes`; waits for the peer's window. Not cancel-safe.
    ///
    /// # Errors
    ///
    /// [`StreamError::Broken`].
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        match &mut self.0 {
            Sender::Quic(stream) => stream.write_all(bytes).await.map_err(broken),
            Sender::Local(stream) => stream.write_all(bytes).await.map_err(broken),
        }
    }

    /// Writes all of `bytes` without a copy where the transport allows it. Not cancel-safe.
    ///
    /// # Errors
    ///
    /// [`StreamError::Broken`].
    pub async fn write_chunk(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        match &mut self.0 {
            Sender::Quic(stream) => stream.write_chunk(bytes).await.map_err(broken),
            Sender::Local(stream) => stream.write_all(&bytes).await.map_err(broken),
        }
    }

    /// Writes all of `chunks`, each as [`Self::write_chunk`] does. Not cancel-safe.
    ///
    /// # Errors
    ///
    /// [`StreamError::Broken`].
    pub async fn write_chunks(&mut self, chunks: &mut [Bytes]) -> Result<(), StreamError> {
        match &mut self.0 {
            Sender::Quic(stream) => stream.write_all_chunks(chunks).await.map_err(broken),
            Sender::Local(stream) => {
                for chunk in chunks {
                    stream.write_all(chunk).await.map_err(broken)?;
                }
                Ok(())
            }
        }
    }

    /// Writes one frame of at most `max` bytes. Not cancel-safe.
    ///
    /// # Errors
    ///
    /// [`StreamError`]; [`StreamError::TooLong`] before anything is written.
    pub async fn write_frame(&mut self, body: &[u8], max: usize) -> Result<(), StreamError> {
        let head = frame::head(body, max)?;
        self.write_all(&[&head, body].concat()).await
    }

    /// Writes one frame of at most `max` bytes whose body comes in two parts; the second, if it is long, without a copy
    /// where the transport allows it. Not cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`Self::write_frame`].
    pub async fn write_frame_parts(
        &mut self,
        [first, rest]: [Bytes; 2],
        max: usize,
    ) -> Result<(), StreamError> {
        let head = frame::head_of_length(first.len() + rest.len(), max)?;
        if rest.len() <= JOINED_BYTES_MAX {
            return self.write_all(&[&head[..], &first, &rest].concat()).await;
        }
        self.write_chunks(&mut [[&head[..], &first].concat().into(), rest]).await
    }

    /// Waits until the peer wants nothing more of this stream, or the connection is lost; inside this process, forever.
    pub async fn given_up(&self) {
        match &self.0 {
            Sender::Quic(stream) => drop(stream.stopped().await),
            Sender::Local(_) => std::future::pending().await,
        }
    }

    /// Ends the stream; what was written still arrives.
    pub async fn finish(&mut self) {
        match &mut self.0 {
            Sender::Quic(stream) => drop(stream.finish()),
            Sender::Local(stream) => drop(stream.shutdown().await),
        }
    }
}

impl RecvStream {
    /// Reads the bytes that have arrived, after waiting for at least one; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`StreamError::Broken`].
    pub async fn read_chunk(&mut self) -> Result<Option<Bytes>, StreamError> {
        match &mut self.0 {
            Receiver::Quic(stream) => {
                let chunk = stream.read_chunk(CHUNK_BYTES_MAX, true).await.map_err(broken)?;
                Ok(chunk.map(|chunk| chunk.bytes))
            }
            Receiver::Local(stream) => {
                let mut bytes = bytes::BytesMut::with_capacity(LOCAL_READ_BYTES);
                let read = stream.read_buf(&mut bytes).await.map_err(broken)?;
                Ok((read > 0).then(|| bytes.freeze()))
            }
        }
    }

    /// Reads the bytes that have arrived into `chunks`, which has room for one at least, after waiting for the first of
    /// them; returns how many chunks there were, none at the end. A chunk is as long as it came. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`StreamError::Broken`].
    async fn read_chunks(&mut self, chunks: &mut [Bytes]) -> Result<usize, StreamError> {
        match (&mut self.0, chunks) {
            (Receiver::Quic(stream), chunks) => {
                Ok(stream.read_chunks(chunks).await.map_err(broken)?.unwrap_or(0))
            }
            (Receiver::Local(_), [first, ..]) => match self.read_chunk().await? {
                Some(chunk) => {
                    *first = chunk;
                    Ok(1)
                }
                None => Ok(0),
            },
            (Receiver::Local(_), []) => Ok(0),
        }
    }

    /// Reads exactly `buffer.len()` bytes.
    ///
    /// # Errors
    ///
    /// [`StreamError`].
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), StreamError> {
        match &mut self.0 {
            Receiver::Quic(stream) => stream.read_exact(buffer).await.map_err(|error| match error {
                quinn::ReadExactError::FinishedEarly(_) => StreamError::Truncated,
                quinn::ReadExactError::ReadError(error) => broken(error),
            }),
            Receiver::Local(stream) => {
                stream.read_exact(buffer).await.map(drop).map_err(|_| StreamError::Truncated)
            }
        }
    }

    /// Reads exactly `length` bytes, which the caller has bounded. Their addresses are reserved at once, so that nothing is
    /// copied twice; the system gives the memory behind them as the bytes arrive.
    ///
    /// # Errors
    ///
    /// [`StreamError`]; [`StreamError::Broken`], too, if the system has no such room.
    pub async fn read_body(&mut self, length: usize) -> Result<Bytes, StreamError> {
        let mut body = Vec::new();
        body.try_reserve_exact(length).map_err(broken)?;
        while body.len() < length {
            let chunk = self.read_chunk().await?.ok_or(StreamError::Truncated)?;
            let wanted = chunk.len().min(length - body.len());
            if wanted < chunk.len() {
                return Err(StreamError::TooLong(TooLong { length: body.len() + chunk.len(), max: length }));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    /// Reads one frame from a stream on which other bytes may follow.
    ///
    /// # Errors
    ///
    /// [`StreamError`]; [`StreamError::TooLong`] before anything is allocated for the frame.
    pub async fn read_frame(&mut self, max: usize) -> Result<Bytes, StreamError> {
        let mut head = [0; frame::HEAD_BYTES];
        self.read_exact(&mut head).await?;
        let length = u32::from_le_bytes(head) as usize;
        if length > max {
            return Err(TooLong { length, max }.into());
        }
        let mut body = vec![0; length];
        self.read_exact(&mut body).await?;
        Ok(body.into())
    }
}

/// Bytes that one read inside this process returns at most.
const LOCAL_READ_BYTES: usize = 64 << 10;

/// Reads frames from a stream that carries only frames.
#[derive(Debug)]
pub struct FrameReader {
    stream: RecvStream,
    splitter: Splitter,
    /// What was read of the stream; empty where it was passed on.
    chunks: [Bytes; CHUNKS_AT_ONCE],
    /// The first of them that was not, and their number.
    unread: Range<usize>,
    /// A part of that one was passed on.
    in_parts: bool,
}

/// Chunks that are read together, of a packet each if no packet was late.
const CHUNKS_AT_ONCE: usize = 8;

/// Bytes that the splitter is fed before its frames are taken.
const FED_BYTES_MAX: usize = 64 << 10;

impl FrameReader {
    /// A reader of frames of at most `max` bytes.
    pub fn new(stream: RecvStream, max: usize) -> Self {
        let chunks = [const { Bytes::new() }; CHUNKS_AT_ONCE];
        Self { stream, splitter: Splitter::new(max), chunks, unread: 0..0, in_parts: false }
    }

    /// Waits for at least one frame; returns all that have arrived, 64 KiB at a time, so that the caller can handle them
    /// together, or `None` at the end of the stream. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`StreamError`].
    pub async fn next_batch(&mut self) -> Result<Option<FrameBatch>, StreamError> {
        loop {
            if let Some(batch) = self.splitter.next_batch()? {
                return Ok(Some(batch));
            }
            if !self.read_on().await? {
                return Ok(None);
            }
        }
    }

    /// Waits for the next frame; `None` at the end of the stream. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`StreamError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, StreamError> {
        loop {
            if let Some(frame) = self.splitter.next_frame()? {
                return Ok(Some(frame));
            }
            if !self.read_on().await? {
                return Ok(None);
            }
        }
    }

    /// Passes on to the splitter, of which every frame was taken, what has arrived, after waiting for it; false at the end of
    /// the stream.
    async fn read_on(&mut self) -> Result<bool, StreamError> {
        if self.unread.is_empty() {
            self.unread = 0..self.stream.read_chunks(&mut self.chunks).await?;
        }
        if self.unread.is_empty() {
            return if self.splitter.is_empty() { Ok(false) } else { Err(StreamError::Truncated) };
        }
        let mut room = FED_BYTES_MAX;
        for chunk in self.chunks.get_mut(self.unread.clone()).unwrap_or_default() {
            if room == 0 {
                break;
            }
            let part = chunk.split_to(chunk.len().min(room));
            room -= part.len();
            let is_rest = std::mem::replace(&mut self.in_parts, !chunk.is_empty());
            // Packets that came before their turn may have been joined to a chunk of megabytes, all of which would be kept with
            // each message that is cut out of it.
            let copied = is_rest || self.in_parts;
            self.splitter.feed(if copied { Bytes::copy_from_slice(&part) } else { part });
            self.unread.start += usize::from(!self.in_parts);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a stream that has ended, of which these chunks were read: the frames of each batch.
    async fn batches(chunks: &[&[u8]]) -> (Vec<Vec<Bytes>>, Result<Option<()>, StreamError>) {
        let (end, _) = tokio::io::duplex(1);
        let stream = RecvStream(Receiver::Local(tokio::io::split(end).0));
        let mut reader = FrameReader::new(stream, 200 << 10);
        for (place, chunk) in reader.chunks.iter_mut().zip(chunks) {
            *place = Bytes::copy_from_slice(chunk);
        }
        reader.unread = 0..chunks.len();
        let mut batches = Vec::new();
        loop {
            match reader.next_batch().await {
                Ok(Some(batch)) => {
                    assert!(batch.buffer().len() <= 2 * FED_BYTES_MAX, "{} bytes", batch.buffer().len());
                    batches.push(batch.bodies().map(|body| batch.buffer().slice_ref(body)).collect());
                }
                end => return (batches, end.map(|end| end.map(drop))),
            }
        }
    }

    fn framed(count: usize, length: usize) -> Vec<u8> {
        let length = length - frame::HEAD_BYTES;
        let head = u32::try_from(length).unwrap().to_le_bytes();
        [&head[..], &vec![7; length]].concat().repeat(count)
    }

    #[tokio::test]
    async fn long_chunks_are_passed_on_in_parts_and_what_is_left_of_them_before_the_streams_end() {
        let long = framed(2000, 100);
        let (frames, end) = batches(&[&long]).await;
        assert_eq!((frames.concat().len(), frames.len()), (2000, 4));
        assert_eq!(end, Ok(None));
        // A chunk that takes all the room, and one behind it.
        let exact = framed(64, 1 << 10);
        let (frames, end) = batches(&[&exact, &framed(3, 50), &long, &framed(1, 10)]).await;
        assert_eq!(frames.concat().len(), 64 + 3 + 2000 + 1);
        assert_eq!(frames.first().map(Vec::len), Some(64));
        assert_eq!(end, Ok(None));
    }

    #[tokio::test]
    async fn a_stream_that_ends_inside_a_frame_is_an_error_after_all_that_was_read_is_passed_on() {
        let whole = framed(2, 70 << 10);
        let (frames, end) = batches(&[&whole, &[5, 0, 0, 0, 1]]).await;
        assert_eq!(frames.concat().len(), 2);
        assert_eq!(end, Err(StreamError::Truncated));
    }

    #[tokio::test]
    async fn what_is_cut_out_of_a_chunk_of_megabytes_does_not_keep_it() {
        let (end, _) = tokio::io::duplex(1);
        let stream = RecvStream(Receiver::Local(tokio::io::split(end).0));
        let mut reader = FrameReader::new(stream, 100);
        let chunk = Bytes::from(framed(20_000, 100));
        let within = chunk.as_ptr_range();
        reader.chunks[0] = chunk.clone();
        reader.unread = 0..1;
        while let Some(batch) = reader.next_batch().await.unwrap() {
            assert!(!within.contains(&batch.buffer().as_ptr()), "it is a part of the chunk");
        }
    }
}
