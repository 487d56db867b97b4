//! The driver with a made-up process: its end of the rings is in the test, and a program that waits stands for it.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64};

use bytes::Bytes;
use grid_protocol::link::MessageKind;
use rustix::event::{EventfdFlags, eventfd};

use super::super::credit::{ROOM_BYTES, message_cost};
use super::super::handover;
use super::super::shared_memory::{Direction, SharedMemory};
use super::super::spare::readable;
use super::*;
use crate::mailbox::{Delivery, MessagePort, Received};
use crate::sandbox::Limits;

/// A mailbox with one message, and room for whatever is sent.
#[derive(Debug, Default)]
struct One {
    handed: AtomicBool,
    came: AtomicU64,
}

impl MessagePort for One {
    fn poll_incoming(&self, _: &mut std::task::Context<'_>) -> std::task::Poll<Received> {
        if self.handed.swap(true, Ordering::Relaxed) {
            return std::task::Poll::Pending;
        }
        let payload = Bytes::from_static(b"1");
        std::task::Poll::Ready(Received::Message(Delivery { seq: 1, kind: MessageKind::Message, payload }))
    }

    fn send(&self, _: Bytes) {
        self.came.fetch_add(1, Ordering::Relaxed);
    }

    fn has_room(&self) -> bool {
        true
    }

    fn poll_room(&self, _: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        std::task::Poll::Ready(())
    }

    fn fail(&self, _: u64, _: Failure) {}

    fn done(&self, _: u64, _: Option<Duration>) {}

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
    let mailbox = Arc::<One>::default();
    let start = GuestStart {
        arguments: Bytes::new(),
        limits: Limits::default(),
        mailbox: mailbox.clone(),
        on_start: Box::new(|| ()),
        on_end: Box::new(|_| ()),
    };
    assert!(process.start(Box::new(start)).is_ok());
    let over = Arc::new(AtomicBool::new(false));
    // It says that it sleeps, whatever it does, and never stops to send.
    let (its_memory, until) = (process.memory().clone(), over.clone());
    let executor = std::thread::spawn(move || {
        let mut writer = RingWriter::new(its_memory.clone(), Direction::ToHost);
        let mut reader = RingReader::new(its_memory.clone(), Direction::ToExecutor);
        let mut room = ROOM_BYTES;
        writer.push(Frame::new(FrameKind::Started, 1, 0, NOTHING)).unwrap();
        let began = std::time::Instant::now();
        while !until.load(Ordering::Relaxed) {
            if began.elapsed() > Duration::from_secs(60) {
                return false;
            }
            its_memory.ring(Direction::ToExecutor).0.reader_sleeps.store(1, Ordering::Relaxed);
            its_memory.header().beats.fetch_add(1, Ordering::Relaxed);
            while let Some(frame) = reader.next().unwrap() {
                let given = if frame.head.kind == FrameKind::Room { frame.head.number } else { 0 };
                room += i64::try_from(given).unwrap();
            }
            reader.release();
            writer.advance().unwrap();
            if !writer.is_waiting() && room > 0 {
                room -= message_cost(512);
                writer.push(Frame::new(FrameKind::Sent, 1, 0, vec![0; 512].into())).unwrap();
            }
            writer.show();
        }
        true
    });
    let driven = tokio::spawn(driver.run());
    rustix::io::write(&bell, &1u64.to_ne_bytes()).unwrap();
    // Each turn of this task is one that the driver has left to others.
    let mut seen = 0;
    while seen < 10_000 {
        let came = mailbox.came.load(Ordering::Relaxed);
        assert!(came - seen <= u64::from(TURNS_IN_A_ROW) * FRAMES_AT_ONCE as u64, "{} at once", came - seen);
        seen = came;
        assert!(!driven.is_finished(), "it has kept to the rules");
        tokio::task::yield_now().await;
    }
    over.store(true, Ordering::Relaxed);
    assert!(executor.join().unwrap(), "nobody else had a turn for 60 s");
    driven.abort();
    drop(theirs);
}
