//! Frames: whatever a peer sends, cut anywhere, is a frame within its limit or an error, whether frames are taken alone or
//! together.
#![no_main]

use bytes::Bytes;
use grid_protocol::client::{ClientGreeting, ClientHello, Reply, Request};
use grid_protocol::frame::{Splitter, TooLong};
use grid_protocol::host::{Greeting, Hello, ModuleOffered, Transfer, Transferred};
use grid_protocol::mail::{BulkHead, MailFrame};
use grid_protocol::wire::Wire;

libfuzzer_sys::fuzz_target!(|input: (Vec<u8>, u8)| {
    let (bytes, size) = input;
    let alone = frames(&bytes, size, 1, |splitter| Ok(splitter.next_frame()?.map(|frame| vec![frame])));
    let together = frames(&bytes, size, 3, |splitter| {
        let batch = splitter.next_batch()?;
        Ok(batch.map(|batch| batch.bodies().map(|body| batch.buffer().slice_ref(body)).collect()))
    });
    assert_eq!(alone, together);
    alone.iter().for_each(|frame| decode(frame));
    decode(&bytes);
});

/// The frames before the first that is too long, from chunks of this size, so many at a time.
fn frames(
    bytes: &[u8],
    size: u8,
    chunks_at_once: usize,
    mut take: impl FnMut(&mut Splitter) -> Result<Option<Vec<Bytes>>, TooLong>,
) -> Vec<Bytes> {
    let (mut splitter, mut frames) = (Splitter::new(4096), Vec::new());
    let chunks: Vec<_> = bytes.chunks(usize::from(size).max(1)).collect();
    for chunks in chunks.chunks(chunks_at_once) {
        chunks.iter().for_each(|chunk| splitter.feed(Bytes::copy_from_slice(chunk)));
        loop {
            match take(&mut splitter) {
                Ok(Some(taken)) => frames.extend(taken),
                Ok(None) => break,
                Err(_) => return frames,
            }
        }
    }
    frames
}

fn decode(body: &[u8]) {
    let _ = Hello::from_body(body);
    let _ = Greeting::from_body(body);
    let _ = Transfer::from_body(body);
    let _ = Transferred::from_body(body);
    let _ = ModuleOffered::from_body(body);
    let _ = ClientHello::from_body(body);
    let _ = ClientGreeting::from_body(body);
    let _ = Request::from_body(body);
    let _ = Reply::from_body(body);
    let _ = MailFrame::decode(body);
    let _ = BulkHead::decode(body);
}
