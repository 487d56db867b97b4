//! Tests of both ends of a ring.

use std::sync::Arc;

use bytes::Bytes;

use super::reader::SHORT_BYTES_MAX;
use super::writer::WAITING_BYTES_MAX;
use super::*;
use crate::sandbox::executor::frame::{FRAME_BYTES_MAX, Frame, FrameHead, FrameKind, PART_BYTES_MAX, Part};
use crate::sandbox::executor::shared_memory::{Direction, SharedMemory};

fn ring() -> (RingWriter, RingReader) {
    let memory = Arc::new(SharedMemory::new().unwrap().0);
    let (to, from) = (memory.clone(), memory);
    (RingWriter::new(to, Direction::ToHost), RingReader::new(from, Direction::ToHost))
}

fn frame(number: u64, length: usize) -> Frame {
    let payload: Vec<u8> = (0..length).map(|at| (at * 31).to_le_bytes()[0]).collect();
    Frame::new(FrameKind::Sent, 1, number, Bytes::from(payload))
}

#[test]
fn frames_of_every_length_come_out_as_they_were_put_in() {
    every_length(ring());
}

#[test]
fn payloads_of_a_few_bytes_that_share_their_memory_are_the_same_and_others_do_not_share_it() {
    let (writer, reader) = ring();
    every_length((writer, reader.gathering(FrameKind::Sent, 960)));
    let (mut writer, reader) = ring();
    let mut reader = reader.gathering(FrameKind::Sent, 960);
    let mut read = |frame: Frame| {
        writer.push(frame).unwrap();
        writer.publish();
        reader.next().unwrap().unwrap().payload
    };
    let [one, other] = [1, 2].map(|number| read(frame(number, 128)));
    assert!(!one.is_unique() && !other.is_unique());
    let kinds = [FrameKind::Sent, FrameKind::Log];
    let apart = kinds
        .map(|kind| Frame::new(kind, 1, 3, frame(3, if kind == FrameKind::Sent { 129 } else { 8 }).payload));
    assert!(apart.into_iter().all(|frame| read(frame).is_unique()));
}

fn every_length((mut writer, mut reader): (RingWriter, RingReader)) {
    let lengths = [
        0,
        1,
        7,
        8,
        9,
        127,
        128,
        129,
        SHORT_BYTES_MAX,
        SHORT_BYTES_MAX + 1,
        PART_BYTES_MAX,
        PART_BYTES_MAX + 1,
        5 << 20,
        3,
        (5 << 20) + 3,
        0,
    ];
    let frames: Vec<_> = lengths.iter().enumerate().map(|(at, length)| frame(at as u64, *length)).collect();
    let mut came = Vec::new();
    frames.iter().for_each(|frame| writer.push(frame.clone()).unwrap());
    while came.len() < frames.len() {
        writer.advance().unwrap();
        writer.publish();
        came.extend(std::iter::from_fn(|| reader.next().unwrap()));
        reader.release();
    }
    assert!(came == frames);
    assert!(reader.is_empty() && !writer.is_waiting());
}

#[test]
fn short_frames_fill_a_quarter_of_the_ring_and_a_long_one_all_of_it() {
    let filled = |length| {
        let (mut writer, _) = ring();
        while !writer.is_waiting() {
            writer.push(frame(1, length)).unwrap();
        }
        usize::try_from(writer.written).unwrap()
    };
    assert!(filled(100) <= RING_WORDS / 4 && filled(100) > RING_WORDS / 5);
    assert!(filled(8 << 20) > RING_WORDS / 10 * 9);
}

#[test]
fn a_ring_whose_reader_does_not_read_is_full_until_it_does() {
    let (mut writer, mut reader) = ring();
    for _ in 0..2 * WAITING_BYTES_MAX / 1000 {
        writer.push(frame(1, 1000)).unwrap();
    }
    assert!(writer.is_full());
    while writer.is_waiting() {
        while reader.next().unwrap().is_some() {}
        reader.release();
        writer.advance().unwrap();
        writer.publish();
    }
    assert_eq!(writer.waiting_bytes, 0);
}

#[test]
fn half_of_a_long_frame_is_read_while_the_other_half_is_written() {
    let (mut writer, mut reader) = ring();
    writer.push(frame(1, 3 << 20)).unwrap();
    assert!(writer.wait_for_room().unwrap());
    writer.publish();
    assert_eq!(reader.next(), Ok(None));
    assert!(!reader.is_empty(), "all was read before the writer got room");
    assert!(reader.release(), "the writer waits, and is not woken");
    assert!(!writer.wait_for_room().unwrap());
}

#[test]
fn a_part_that_does_not_continue_its_frame_breaks_the_ring() {
    let head = frame(1, 0).head;
    let first = Part { head, bytes: 8, later: 16 };
    let other = FrameHead { number: 2, ..head };
    for part in [
        Part { head, bytes: 8, later: 0 },
        Part { head, bytes: 8, later: 16 },
        Part { head: other, bytes: 8, later: 8 },
        Part { head, bytes: 8, later: FRAME_BYTES_MAX },
    ] {
        let (mut writer, mut reader) = ring();
        writer.put_part(first, &[0; 8]);
        writer.put_part(part, &[0; 8]);
        writer.publish();
        assert!(reader.next().is_err(), "{part:?}");
    }
}
