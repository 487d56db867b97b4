//! Frames: whatever a peer sends, cut anywhere, is a frame within its limit or an error.
#![no_main]

use bytes::Bytes;
use grid_protocol::client::{ClientGreeting, ClientHello, Reply, Request};
use grid_protocol::frame::Splitter;
use grid_protocol::host::{Greeting, Hello, ModuleOffered, Transfer, Transferred};
use grid_protocol::mail::{BulkHead, MailFrame};
use grid_protocol::wire::Wire;

libfuzzer_sys::fuzz_target!(|input: (Vec<u8>, u8)| {
    let (bytes, size) = input;
    let mut splitter = Splitter::new(4096);
    for chunk in bytes.chunks(usize::from(size).max(1)) {
        splitter.feed(Bytes::copy_from_slice(chunk));
        loop {
            match splitter.next_frame() {
                Ok(Some(frame)) => decode(&frame),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    decode(&bytes);
});

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
