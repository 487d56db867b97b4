//! Takes steps of one kind, so that their instructions and allocations can be counted: numbers that nothing else on the
//! machine changes. `counts KIND STEPS`; `cargo xtask counts` runs it under valgrind, twice, and takes the difference.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a mistake in a measurement may stop it")]
#![expect(clippy::indexing_slicing, reason = "as above")]

mod steady_grid;

use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;

use bytes::Bytes;
use grid_protocol::frame::Splitter;
use grid_protocol::id::WorkerId;
use grid_protocol::limits::{MAIL_FRAME_BYTES_MAX, MAIL_STREAMS};
use grid_protocol::link::{Link, MessageKind};
use grid_protocol::mail::{BulkHead, MailFrame};
use grid_protocol::session::MailSession;
use steady_grid::{BenchGrid, key};

/// Bytes of a message.
const MESSAGE: [u8; 64] = [7; 64];

/// Messages that are written together.
const BATCH: u32 = 64;

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let (kind, steps) = (words[0].as_str(), words[1].parse::<usize>().unwrap());
    match kind {
        "encode" => encode(steps),
        "decode" => decode(steps),
        "session" => session(steps),
        "schedule-2" => schedule(2, steps),
        "schedule-500" => schedule(500, steps),
        other => panic!("{other}: encode, decode, session, schedule-2 or schedule-500"),
    }
}

/// A step: a frame with a message, written behind others.
fn encode(steps: usize) {
    let mut lane = Vec::with_capacity(1 << 16);
    for seq in 0..steps as u64 {
        if lane.len() > 1 << 15 {
            lane.clear();
        }
        frame(seq, &MESSAGE).encode_into(black_box(&mut lane));
    }
}

/// A step: a frame with a message, read.
fn decode(steps: usize) {
    let mut body = Vec::new();
    frame(1 << 20, &MESSAGE).encode_into(&mut body);
    for _ in 0..steps {
        black_box(MailFrame::decode(black_box(&body)).unwrap());
    }
}

fn frame(seq: u64, payload: &[u8]) -> MailFrame<'_> {
    let worker = WorkerId::new(1, 1);
    MailFrame::Inline { worker, seq, settled: 1, kind: MessageKind::Message, payload }
}

/// A step: a message from one end to the other, and back, each end answering what it has read of a batch at once.
fn session(steps: usize) {
    let (mut one, mut other) = (MailEnd::new(), MailEnd::new());
    for _ in 0..steps.div_ceil(BATCH as usize) {
        for number in 0..BATCH {
            one.send(WorkerId::new(1, number), Bytes::from_static(&MESSAGE));
        }
        other.read(one.written());
        for (worker, payload) in other.take() {
            other.send(worker, payload);
        }
        one.read(other.written());
        assert_eq!(one.take().count(), BATCH as usize);
    }
}

/// One end of the mail of [`BATCH`] workers.
struct MailEnd {
    session: MailSession,
    links: BTreeMap<WorkerId, Link>,
    splitters: [Splitter; MAIL_STREAMS],
    lanes: [Vec<u8>; MAIL_STREAMS],
    bulk: VecDeque<(BulkHead, Bytes)>,
    arrived: VecDeque<WorkerId>,
}

impl MailEnd {
    fn new() -> Self {
        let mut links: BTreeMap<_, _> =
            (0..BATCH).map(|number| (WorkerId::new(1, number), Link::default())).collect();
        let mut session = MailSession::default();
        session.connect(&mut links, &[]);
        let splitters = std::array::from_fn(|_| Splitter::new(MAIL_FRAME_BYTES_MAX));
        let (lanes, bulk, arrived) = Default::default();
        Self { session, links, splitters, lanes, bulk, arrived }
    }

    fn send(&mut self, worker: WorkerId, payload: Bytes) {
        let link = self.links.get_mut(&worker).unwrap();
        self.session.send(worker, link, MessageKind::Message, payload, ());
    }

    /// What is to be written, as the other end reads it: a chunk a stream.
    fn written(&mut self) -> [Bytes; MAIL_STREAMS] {
        self.lanes.iter_mut().for_each(Vec::clear);
        self.session.take(&mut self.lanes, &mut self.bulk);
        std::array::from_fn(|lane| Bytes::copy_from_slice(&self.lanes[lane]))
    }

    fn read(&mut self, chunks: [Bytes; MAIL_STREAMS]) {
        for (splitter, chunk) in self.splitters.iter_mut().zip(chunks) {
            splitter.feed(chunk);
            let Some(batch) = splitter.next_batch().unwrap() else { continue };
            for body in batch.bodies() {
                let frame = MailFrame::decode(body).unwrap();
                let worker = frame.worker();
                drop(frame.deliver(batch.buffer(), self.links.get_mut(&worker).unwrap()).unwrap());
                self.arrived.push_back(worker);
            }
        }
    }

    /// Takes and finishes the messages that have arrived.
    fn take(&mut self) -> impl Iterator<Item = (WorkerId, Bytes)> + use<> {
        let mut taken = Vec::with_capacity(BATCH as usize);
        for worker in self.arrived.drain(..) {
            let link = self.links.get_mut(&worker).unwrap();
            let delivery = link.take_arrival().unwrap();
            link.finish(delivery.seq);
            taken.push((worker, delivery.payload));
        }
        taken.into_iter()
    }
}

/// A step: a task ends at one of so many hosts, another is submitted, and one is handed out.
fn schedule(hosts: usize, steps: usize) {
    let keys: Vec<_> = (0..hosts as u64 + 1).map(key).collect();
    BenchGrid::new(&keys, hosts, 1, 10_000).run(steps);
}
