//! The driver with a made-up process: its end of the rings is in the test, and a program that waits stands for it.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use grid_protocol::link::MessageKind;
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};

use super::super::handover;
use super::super::shared_memory::{Direction, SharedMemory};
use super::super::spare::readable;
use super::*;
use crate::mailbox::{Delivery, MessagePort, Received};
use crate::sandbox::{GuestStart, Limits};

/// A mailbox that has a next message as soon as the last one is answered.
#[derive(Debug, Default)]
struct Chatty {
    handed: AtomicU64,
    answered: AtomicU64,
    driver: Mutex<Option<Waker>>,
}

impl MessagePort for Chatty {
    fn poll_incoming(&self, cx: &mut Context<'_>) -> Poll<Received> {
        let answered = self.answered.load(Ordering::Relaxed);
        if self.handed.load(Ordering::Relaxed) > answered {
            *self.driver.lock() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let seq = answered + 1;
        self.handed.store(seq, Ordering::Relaxed);
        let payload = Bytes::from_static(b"1");
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

    fn done(&self, seq: u64, _: Option<Duration>) {
        self.answered.store(seq, Ordering::Relaxed);
        if let Some(driver) = self.driver.lock().take() {
            driver.wake();
        }
    }

    fn flush(&self) {}

    fn log(&self, _: u8, _: &str, _: bool) {}
}

#[tokio::test]
async fn an_executor_that_always_answers_at_once_does_not_keep_its_host_from_others() {
    let (memory, _file) = SharedMemory::new().unwrap();
    let process = Arc::new(Process::new(GuestKind::Task, memory, Arc::default()));
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
    let (socket, theirs) = handover::pair().unwrap();
    let child = tokio::process::Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
    let its_bell = bell.as_fd().try_clone_to_owned().unwrap();
    let events = ProcessEvents::new(readable(its_bell).unwrap(), readable(socket).unwrap());
    let driver = Driver::new(process.clone(), child, events, Box::new(|_| ()));
    let mailbox = Arc::<Chatty>::default();
    let start = GuestStart {
        arguments: Bytes::new(),
        limits: Limits::default(),
        mailbox: mailbox.clone(),
        on_start: Box::new(|| ()),
        on_end: Box::new(|_| ()),
    };
    assert!(process.start(Box::new(start)).is_ok());
    let over = Arc::new(AtomicBool::new(false));
    // It says that it sleeps, whatever it does.
    let (its_memory, until) = (process.memory().clone(), over.clone());
    let executor = std::thread::spawn(move || {
        let mut writer = RingWriter::new(its_memory.clone(), Direction::ToHost);
        let mut reader = RingReader::new(its_memory.clone(), Direction::ToExecutor);
        writer.push(Frame::new(FrameKind::Started, 1, 0, NOTHING)).unwrap();
        let began = std::time::Instant::now();
        while !until.load(Ordering::Relaxed) {
            if began.elapsed() > Duration::from_secs(60) {
                return false;
            }
            its_memory.ring(Direction::ToExecutor).0.reader_sleeps.store(1, Ordering::Relaxed);
            its_memory.header().beats.fetch_add(1, Ordering::Relaxed);
            while let Some(frame) = reader.next().unwrap() {
                if frame.head.kind == FrameKind::Message {
                    writer.push(Frame::done(1, frame.head.number, 0, Some(NOTHING))).unwrap();
                }
            }
            reader.release();
            writer.advance().unwrap();
            if writer.publish() {
                rustix::io::write(&bell, &1u64.to_ne_bytes()).unwrap();
            }
            std::thread::yield_now();
        }
        true
    });
    let driven = tokio::spawn(driver.run());
    // Each turn of this task is one that the driver has left to others.
    let (mut seen, mut most) = (0, 0);
    while seen < 1_000 || most < 2 {
        let came = mailbox.answered.load(Ordering::Relaxed);
        most = most.max(came - seen);
        // The runtime may give the driver several rows of turns if it was woken meanwhile.
        assert!(most <= 4 * u64::from(TURNS_IN_A_ROW), "{most} at once");
        seen = came;
        assert!(!executor.is_finished() && !driven.is_finished(), "60 s are over, or a rule was broken");
        tokio::task::yield_now().await;
    }
    over.store(true, Ordering::Relaxed);
    assert!(executor.join().unwrap(), "60 s are over");
    driven.abort();
    drop(theirs);
}
