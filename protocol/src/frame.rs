//! Frames: a length of four bytes, little-endian, then that many bytes.

use bytes::{Buf, Bytes, BytesMut};

/// Length of the length prefix, in bytes.
pub const HEAD_BYTES: usize = 4;

/// Cuts a stream of bytes into frames. It buffers at most one chunk and one unfinished frame of bounded
/// length.
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

    /// Adds bytes of the stream. The caller takes every frame ([`Self::next_frame`]) before it adds more.
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
        if self.rest.is_empty() {
            self.whole.advance(HEAD_BYTES);
            return Ok(Some(self.whole.split_to(length)));
        }
        self.rest.advance(HEAD_BYTES);
        Ok(Some(self.rest.split_to(length).freeze()))
    }

    /// True between two frames, where a stream may end.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.whole.is_empty()
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
    fn a_length_over_the_limit_is_refused_before_its_bytes_come() {
        let mut splitter = Splitter::new(100);
        splitter.feed(Bytes::from_static(&[101, 0, 0, 0]));
        assert_eq!(splitter.next_frame(), Err(TooLong { length: 101, max: 100 }));
    }
}
