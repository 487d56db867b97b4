//! A hostile executor, for tests: what it may write, from bytes, and the host's side that has to bear it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::id::WorkerId;
use grid_protocol::link::MessageKind;
use grid_protocol::mail::MailFrame;

use super::frame::{Frame, FrameKind};
use super::process::{GuestRef, Process, ProcessWork};
use super::remote_guest::RemoteGuest;
use super::ring::{BrokenRing, RingReader, RingWriter};
use super::shared_memory::{Direction, RING_WORDS, SharedMemory};
use crate::mailbox::Mailbox;
use crate::sandbox::{GuestEnd, GuestKind, GuestStart, Limits};

/// Lets an executor do what the bytes say, and the host's side read it, until that finds that a rule was broken; returns how
/// many frames it took.
///
/// Each step is nine bytes: what is changed, and a word. The executor changes positions and contents of both rings at will,
/// and well-formed frames are as likely as others.
///
/// # Panics
///
/// If the system provides no memory, or the host's side does something that it never may.
pub fn read_hostile_executor(bytes: &[u8]) -> usize {
    let Ok((memory, _file)) = SharedMemory::new() else {
        return 0;
    };
    let process = Arc::new(Process::new(GuestKind::Worker, memory, Arc::default()));
    let memory = process.memory().clone();
    let mut reader = RingReader::new(memory.clone(), Direction::ToHost);
    let mut writer = RingWriter::new(memory.clone(), Direction::ToExecutor);
    let mailbox = Arc::new(Mailbox::new(WorkerId::new(1, 1), Arc::default()));
    let mut guest = Some(guest(&process, mailbox.clone()));
    let mut given = 0;
    let (mut taken, mut at) = (0, 0u64);
    for step in bytes.chunks_exact(9) {
        let (what, word) = step.split_at(1);
        let (what, word) = (
            what.first().copied().unwrap_or_default(),
            u64::from_le_bytes(word.try_into().unwrap_or_default()),
        );
        let (to_host, words) = memory.ring(Direction::ToHost);
        match what % 8 {
            0 => to_host.written.store(word, Ordering::Release),
            1 => {
                at = word;
            }
            2 => memory.ring(Direction::ToExecutor).0.read.0.store(word, Ordering::Release),
            3 => to_host.written.store(at, Ordering::Release),
            // A frame such as executors send, with a small number and a short payload; or a part of a longer one.
            step @ (4 | 5) => {
                let kinds = [
                    FrameKind::Started,
                    FrameKind::Sent,
                    FrameKind::Log,
                    FrameKind::Done,
                    FrameKind::Answered,
                    FrameKind::Failed,
                    FrameKind::Ended,
                ];
                let kind = kinds.get(usize::from(what >> 3) % kinds.len()).map_or(0, |kind| *kind as u64);
                // Parts with others behind them are as often whole words as not.
                let later = if step == 5 { word >> 16 & 0x3f } else { 0 };
                let length = if word >> 24 & 1 == 0 { word & 0x3f } else { word & 0x38 };
                for value in [kind | length << 8 | later << 32, 1, word >> 8 & 0xff, word] {
                    put(words, &mut at, value);
                }
                (0..length.div_ceil(8)).for_each(|_| put(words, &mut at, word));
            }
            _ => put(words, &mut at, word),
        }
        // Now and then another message waits for it, so that some of what it says is handled was given to it.
        if what >= 0x80 && given < MESSAGES {
            given += 1;
            deliver(&mailbox, given);
        }
        match take(&process, &mut reader, &mut writer, &mut guest) {
            Ok(frames) => taken += frames,
            // The process is killed.
            Err(_) => break,
        }
    }
    if let Some(guest) = guest {
        guest.finish(GuestEnd::Lost { reason: String::new() });
    }
    taken
}

fn put(words: &[std::sync::atomic::AtomicU64], at: &mut u64, value: u64) {
    let place = usize::try_from(*at % RING_WORDS as u64).unwrap_or_default();
    if let Some(word) = words.get(place) {
        word.store(value, Ordering::Relaxed);
    }
    *at = at.wrapping_add(1);
}

/// Messages that the guest is given.
const MESSAGES: u64 = 40;

/// The manager sends the guest a message.
fn deliver(mailbox: &Mailbox, seq: u64) {
    let (worker, kind) = (mailbox.worker(), MessageKind::Message);
    let mut body = Vec::new();
    MailFrame::Inline { worker, seq, settled: 0, kind, payload: b"work" }.encode_into(&mut body);
    let body = Bytes::from(body);
    let refused = MailFrame::decode(&body).map(|frame| mailbox.handle_frame(frame, &body).is_err());
    assert_eq!(refused, Ok(false), "fewer messages than a link has room for");
}

fn guest(process: &Arc<Process>, mailbox: Arc<Mailbox>) -> RemoteGuest {
    let start = GuestStart {
        arguments: Bytes::new(),
        limits: Limits { call: Duration::from_secs(1), ..Limits::default() },
        mailbox,
        on_start: Box::new(|| ()),
        on_end: Box::new(|_| ()),
    };
    RemoteGuest::new(Arc::new(GuestRef::new(1, process.clone())), start)
}

/// Takes what there is, as the driver of a process does.
fn take(
    process: &Process,
    reader: &mut RingReader,
    writer: &mut RingWriter,
    guest: &mut Option<RemoteGuest>,
) -> Result<usize, BrokenRing> {
    let mut work = ProcessWork::default();
    process.take_work(&mut work);
    let (mut taken, mut is_touched) = (0, !work.attend.is_empty());
    while taken < RING_WORDS
        && let Some(frame) = reader.next()?
    {
        taken += 1;
        let known = guest.as_mut().filter(|_| frame.head.guest == 1);
        let known = known.ok_or(BrokenRing("a guest that is not there"))?;
        is_touched |= known.handle(frame)?;
    }
    reader.release();
    let mut out: Vec<Frame> = Vec::new();
    if is_touched
        && let Some(touched) = guest.as_mut()
        && touched.attend(&mut out, true)
        && let Some(ended) = guest.take()
    {
        ended.finish(GuestEnd::Lost { reason: String::new() });
    }
    for frame in out {
        writer.push(frame)?;
    }
    writer.advance()?;
    writer.publish();
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look random, from a seed.
    fn random(mut seed: u64, length: usize) -> Vec<u8> {
        let next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        std::iter::repeat_with(next).map(|word| (word >> 24 & 0xff) as u8).take(length).collect()
    }

    /// Nine bytes that put a frame of this kind into the ring.
    fn step(kind: u8, number: u8) -> [u8; 9] {
        [4 | kind << 3, 0, number, 0, 0, 0, 0, 0, 0]
    }

    #[test]
    fn an_executor_that_handles_what_it_was_given_is_no_hostile_one() {
        // Shows what was put in so far, when another message waits for the guest.
        let show = [3 | 0x80, 0, 0, 0, 0, 0, 0, 0, 0];
        let (started, done, answered) = (step(0, 0), step(3, 1), step(4, 2));
        let bytes = [started, show, done, show, answered, show].concat();
        assert_eq!(read_hostile_executor(&bytes), 3);
        // Nine were not given to it.
        let bytes = [bytes, step(4, 9).to_vec(), show.to_vec(), done.to_vec(), show.to_vec()].concat();
        assert_eq!(read_hostile_executor(&bytes), 3);
    }

    #[test]
    fn a_hostile_executor_is_read_without_harm_whatever_it_writes() {
        let mut taken = 0;
        for seed in 1..2000 {
            let mut bytes = random(seed, 9 * 60);
            // Frames and their positions alone, half of the time, so that something is taken.
            if seed % 2 == 0 {
                for step in bytes.chunks_exact_mut(9) {
                    step[0] = if step[0] % 4 < 2 { step[0] / 8 * 8 + 4 } else { 3 };
                }
            }
            taken += read_hostile_executor(&bytes);
        }
        assert!(taken > 200, "only {taken} frames were taken: the test tries little");
    }
}
