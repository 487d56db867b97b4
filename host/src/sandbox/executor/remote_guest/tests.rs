use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use grid_protocol::id::WorkerId;
use grid_protocol::link::MessageKind;
use grid_protocol::mail::MailFrame;
use grid_protocol::worker::FailureKind;
use parking_lot::Mutex;

use super::super::process::Process;
use super::super::shared_memory::SharedMemory;
use super::*;
use crate::mailbox::{Delivery, Mailbox};
use crate::sandbox::GuestKind;

/// A mailbox with messages without end, of so many bytes, and room for all.
#[derive(Debug)]
struct Endless {
    bytes: usize,
    handed: AtomicU64,
}

impl MessagePort for Endless {
    fn poll_incoming(&self, _: &mut Context<'_>) -> Poll<Received> {
        let seq = self.handed.fetch_add(1, Ordering::Relaxed) + 1;
        let payload = vec![0; self.bytes].into();
        Poll::Ready(Received::Message(Delivery { seq, kind: MessageKind::Message, payload }))
    }

    fn send(&self, _: Bytes) {}

    fn has_room(&self) -> bool {
        true
    }

    fn poll_room(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn fail(&self, _: u64, _: Failure) {}

    fn done(&self, _: u64, _: Option<Duration>) {}

    fn flush(&self) {}

    fn log(&self, _: u8, _: &str, _: bool) {}
}

/// A guest that has started, and how it ended, once it has.
fn guest(bytes: usize) -> (RemoteGuest, Arc<Mutex<Option<GuestEnd>>>) {
    let process = Arc::new(Process::new(GuestKind::Worker, SharedMemory::new().unwrap().0, Arc::default()));
    let ended = Arc::<Mutex<Option<GuestEnd>>>::default();
    let tell = ended.clone();
    let start = GuestStart {
        arguments: Bytes::new(),
        limits: Limits::default(),
        mailbox: Arc::new(Endless { bytes, handed: AtomicU64::new(0) }),
        on_start: Box::new(|| ()),
        on_end: Box::new(move |end| *tell.lock() = Some(end)),
    };
    let mut guest = RemoteGuest::new(Arc::new(GuestRef::new(1, process)), start);
    says(&mut guest, FrameKind::Started, 0, Bytes::new()).unwrap();
    (guest, ended)
}

fn says(guest: &mut RemoteGuest, kind: FrameKind, number: u64, payload: Bytes) -> Result<bool, BrokenRing> {
    guest.handle(Frame::new(kind, 1, number, payload))
}

fn failure(bytes: usize) -> Failure {
    Failure { kind: FailureKind::Trap, message: "x".repeat(bytes), backtrace: Vec::new() }
}

#[test]
fn a_message_is_done_once_and_none_that_was_not_handed_over() {
    let (mut guest, _) = guest(1);
    let mut out = Vec::new();
    guest.attend(&mut out, true);
    assert_eq!(out.len(), unhandled_max(false));
    assert!(says(&mut guest, FrameKind::Done, 2, NOTHING).is_ok());
    assert!(says(&mut guest, FrameKind::Done, 2, NOTHING).is_err());
    assert!(says(&mut guest, FrameKind::Done, 0, NOTHING).is_err());
    assert!(says(&mut guest, FrameKind::Done, unhandled_max(false) as u64 + 1, NOTHING).is_err());
    assert_eq!(guest.handled, 1);
}

#[test]
fn an_answer_counts_as_a_message_and_as_the_word_that_its_question_was_handled() {
    let (mut guest, _) = guest(1);
    let mut out = Vec::new();
    guest.attend(&mut out, true);
    assert!(says(&mut guest, FrameKind::Answered, 0, NOTHING).is_err(), "nobody asked");
    assert!(says(&mut guest, FrameKind::Answered, 1, vec![0; 10].into()).is_ok());
    assert_eq!((guest.handled, guest.used_room), (1, message_cost(10)));
    let too_long = vec![0; guest.limits.message_bytes + 1];
    assert!(says(&mut guest, FrameKind::Answered, 2, too_long.into()).is_err());
}

#[test]
fn a_guest_whose_mailbox_wakes_its_process_is_not_looked_after_for_an_answer_alone() {
    let (mut guest, _) = guest(1);
    let mut out = Vec::new();
    guest.attend(&mut out, true);
    assert_eq!(says(&mut guest, FrameKind::Done, 1, NOTHING), Ok(true), "more waits for it");
    guest.mailbox = Arc::new(Mailbox::new(WorkerId::new(1, 1), Arc::default()));
    guest.attend(&mut out, true);
    assert_eq!(says(&mut guest, FrameKind::Done, 2, NOTHING), Ok(false));
    assert_eq!(says(&mut guest, FrameKind::Sent, 0, NOTHING), Ok(true), "it is to be flushed");
    guest.attend(&mut out, true);
    let end = End::Stopped.to_body();
    assert_eq!(says(&mut guest, FrameKind::Ended, 0, end.into()), Ok(true));
}

#[test]
fn answers_wait_in_order_while_the_managers_window_is_full_and_are_counted_once() {
    let (mut guest, _) = guest(1);
    let mut out = Vec::new();
    guest.attend(&mut out, true);
    let mailbox = Arc::new(Mailbox::new(WorkerId::new(1, 1), Arc::default()));
    while mailbox.has_room() {
        mailbox.send(NOTHING);
    }
    guest.mailbox = mailbox.clone();
    let sent =
        || mailbox.with_link(|link| link.unsettled().map(|sent| sent.payload.clone()).collect::<Vec<_>>());
    let full = sent().len();
    says(&mut guest, FrameKind::Answered, 1, "one".into()).unwrap();
    says(&mut guest, FrameKind::Sent, 0, "two".into()).unwrap();
    says(&mut guest, FrameKind::Answered, 2, "three".into()).unwrap();
    guest.attend(&mut out, true);
    assert_eq!((sent().len(), guest.owed_room), (full, 0), "there is no room");
    let settled = MailFrame::Settled { worker: mailbox.worker(), settled: 3 };
    mailbox.handle_frame(settled, &NOTHING).unwrap();
    assert!(guest.reference.is_queued.load(Ordering::Relaxed), "the process is woken");
    guest.attend(&mut out, true);
    assert_eq!(sent()[full - 3..], ["one", "two", "three"]);
    assert_eq!(guest.owed_room, message_cost(3) * 2 + message_cost(5));
    assert_eq!(mailbox.with_link(|link| link.unsettled().len()), full);
}

#[test]
fn a_guest_whose_ring_is_full_is_handed_nothing_until_there_is_room() {
    let (mut guest, _) = guest(100 << 10);
    let mut out = Vec::new();
    assert!(!guest.attend(&mut out, false) && out.is_empty());
    guest.attend(&mut out, true);
    assert_eq!(out.len(), 3);
}

#[test]
fn texts_of_an_executor_are_cut_to_what_a_report_may_have() {
    let (mut guest, ended) = guest(1);
    let end = End::Failed(failure(2 << 20)).to_body();
    says(&mut guest, FrameKind::Ended, 0, end.into()).unwrap();
    guest.finish(GuestEnd::Ended(End::Stopped));
    let Some(GuestEnd::Ended(End::Failed(told))) = ended.lock().take() else {
        panic!("it has not failed");
    };
    let mut cut = failure(2 << 20);
    cut.clamp();
    assert_eq!(told, cut);
}

#[test]
fn an_executor_tells_no_end_but_its_own_and_no_line_longer_than_any() {
    let (mut guest, _) = guest(1);
    assert!(says(&mut guest, FrameKind::Ended, 0, End::HostRemoved.to_body().into()).is_err());
    let line = vec![0xff; LOG_BYTES_MAX + 1];
    assert!(says(&mut guest, FrameKind::Log, 1, line.into()).is_err());
    assert!(says(&mut guest, FrameKind::Log, 1, vec![0xff; LOG_BYTES_MAX].into()).is_ok());
}
