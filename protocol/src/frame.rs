//! Frames: a length of four bytes, little-endian, then that many bytes.

use bytes::{Buf, Bytes, BytesMut};

/// Length of the length prefix, in bytes.
pub const HEAD_BYTES: usize = 4;

/// Cuts a stream of bytes into frames. It buffers what it was fed at once, and one unfinished frame of bounded length.
#[derive(Debug)]
pub struct Splitter {
    max: usize,
    whole: Bytes,
    rest: BytesMut,
}

impl Splitter {
    /// A splitter that refuses frames of more than `max` bytes.
    pub fn new(max: usize) -> Self {
        Self { max, whole: Bytes::new(), rest: BytesMut::new() }
    }

    /// Adds bytes of the stream. What is added before every frame is taken ([`Self::next_frame`], [`Self::next_batch`]), the
    /// caller bounds.
    pub fn feed(&mut self, chunk: Bytes) {
        if self.rest.is_empty() && self.whole.is_empty() {
            // The common case: complete frames in one chunk are cut out of it without a copy.
            self.whole = chunk;
        } else {
            self.rest.extend_from_slice(&self.whole);
            self.rest.extend_from_slice(&chunk);
            self.whole = Bytes::new();
        }
    }

    /// The next complete frame, if there is one.
    ///
    /// # Errors
    ///
    /// [`TooLong`] as soon as the length is known, before anything is allocated for the frame; the caller
    /// must disconnect the peer.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, TooLong> {
        let from = if self.rest.is_empty() { &self.whole[..] } else { &self.rest[..] };
        let Some((head, body)) = from.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*head) as usize;
        if length > self.max {
            return Err(TooLong { length, max: self.max });
        }
        if body.len() < length {
            return Ok(None);
        }
        let mut frame = self.cut(HEAD_BYTES + length);
        frame.advance(HEAD_BYTES);
        Ok(Some(frame))
    }

    /// Every frame that is complete, together; `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`Self::next_frame`], once the frames before the one that is too long were taken.
    pub fn next_batch(&mut self) -> Result<Option<FrameBatch>, TooLong> {
        let from = if self.rest.is_empty() { &self.whole[..] } else { &self.rest[..] };
        let (mut left, mut count) = (from, 0);
        while let Some((head, body)) = left.split_first_chunk::<HEAD_BYTES>() {
            let length = u32::from_le_bytes(*head) as usize;
            if length > self.max && count == 0 {
                return Err(TooLong { length, max: self.max });
            }
            let Some(after) = body.get(length..).filter(|_| length <= self.max) else {
                break;
            };
            (left, count) = (after, count + 1);
        }
        let complete = from.len() - left.len();
        Ok((count > 0).then(|| FrameBatch { buffer: self.cut(complete), count }))
    }

    /// Takes so many bytes of what was fed.
    fn cut(&mut self, length: usize) -> Bytes {
        if self.rest.is_empty() {
            self.whole.split_to(length)
        } else if self.rest.len() == length {
            // An empty `rest` would go on sharing the memory of what was cut out of it.
            core::mem::take(&mut self.rest).freeze()
        } else {
            self.rest.split_to(length).freeze()
        }
    }

    /// True between two frames, where a stream may end.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.whole.is_empty()
    }
}

/// Complete frames that arrived together, in one buffer: what is cut out of it keeps all of it.
#[derive(Debug, Clone)]
pub struct FrameBatch {
    /// Each body behind its length prefix.
    buffer: Bytes,
    count: usize,
}

impl FrameBatch {
    /// The bodies of the frames, in order. They borrow from [`Self::buffer`].
    pub fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        let mut left = &self.buffer[..];
        core::iter::from_fn(move || {
            let (head, rest) = left.split_first_chunk::<HEAD_BYTES>()?;
            let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*head) as usize)?;
            left = rest;
            Some(body)
        })
    }

    /// What the bodies borrow from.
    pub fn buffer(&self) -> &Bytes {
        &self.buffer
    }

    /// Number of frames, at least 1.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of all bodies.
    pub fn body_bytes(&self) -> usize {
        self.buffer.len() - self.count * HEAD_BYTES
    }
}

/// The length prefix of a frame with `body`, for a peer that accepts `max` bytes.
///
/// # Errors
///
/// [`TooLong`]: our own message is over the limit and must not be sent.
pub fn head(body: &[u8], max: usize) -> Result<[u8; HEAD_BYTES], TooLong> {
    head_of_length(body.len(), max)
}

/// As [`head`], for a body of `length` bytes.
///
/// # Errors
///
/// As [`head`].
pub fn head_of_length(length: usize, max: usize) -> Result<[u8; HEAD_BYTES], TooLong> {
    match u32::try_from(length) {
        Ok(prefix) if length <= max => Ok(prefix.to_le_bytes()),
        _ => Err(TooLong { length, max }),
    }
}

/// A frame over the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {length} bytes is over the limit of {max}")]
pub struct TooLong {
    /// Length of the frame, in bytes.
    pub length: usize,
    /// The limit, in bytes.
    pub max: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn framed(bodies: &[&[u8]]) -> Vec<u8> {
        bodies.iter().flat_map(|body| [&head(body, 100).unwrap()[..], body].concat()).collect()
    }

    #[test]
    fn frames_come_out_whole_wherever_the_stream_is_cut() {
        let stream = framed(&[b"one", b"", b"three"]);
        for size in 1..=stream.len() {
            let mut splitter = Splitter::new(100);
            let mut frames = Vec::new();
            for chunk in stream.chunks(size) {
                splitter.feed(Bytes::copy_from_slice(chunk));
                while let Some(frame) = splitter.next_frame().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, [&b"one"[..], b"", b"three"], "chunks of {size}");
            assert!(splitter.is_empty());
        }
    }

    #[test]
    fn batches_hold_the_same_frames_wherever_the_stream_is_cut_and_however_many_chunks_come_together() {
        let stream = framed(&[b"one", b"", b"three", b"four"]);
        for (size, together) in (1..=stream.len()).flat_map(|size| [(size, 1), (size, 2), (size, 5)]) {
            let mut splitter = Splitter::new(100);
            let (mut frames, mut bytes) = (Vec::new(), 0);
            let chunks: Vec<_> = stream.chunks(size).collect();
            for chunks in chunks.chunks(together) {
                chunks.iter().for_each(|chunk| splitter.feed(Bytes::copy_from_slice(chunk)));
                if let Some(batch) = splitter.next_batch().unwrap() {
                    assert_eq!(batch.bodies().count(), batch.count());
                    bytes += batch.body_bytes();
                    frames.extend(batch.bodies().map(|body| batch.buffer().slice_ref(body)));
                }
                assert!(splitter.next_batch().unwrap().is_none(), "a batch holds all that are complete");
            }
            assert_eq!(frames, [&b"one"[..], b"", b"three", b"four"], "{together} chunks of {size}");
            assert_eq!(bytes, 12);
            assert!(splitter.is_empty());
        }
    }

    #[test]
    fn frames_before_one_that_is_too_long_are_taken_and_then_it_is_refused() {
        let mut splitter = Splitter::new(100);
        splitter.feed([&framed(&[b"one", b"two"])[..], &[101, 0, 0, 0]].concat().into());
        assert_eq!(splitter.next_batch().unwrap().unwrap().count(), 2);
        for _ in 0..2 {
            assert_eq!(splitter.next_batch().unwrap_err(), TooLong { length: 101, max: 100 });
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_bytes_come() {
        let mut splitter = Splitter::new(100);
        splitter.feed(Bytes::from_static(&[101, 0, 0, 0]));
        assert_eq!(splitter.next_frame(), Err(TooLong { length: 101, max: 100 }));
    }
}
