//! What the driver of a process waits for.

use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, Sleep, sleep_until};

use super::process::Process;

/// Something has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProcessEvent {
    /// There may be something to do for either side.
    Work,
    /// The process is gone.
    Gone,
    /// The time is there.
    Time,
}

/// The sources of events, each of which keeps the driver's waker from one wait to the next.
pub(super) struct ProcessEvents {
    /// Rung when the process has something to say.
    bell: AsyncFd<OwnedFd>,
    /// Readable once the process is gone.
    socket: AsyncFd<OwnedFd>,
    timer: Pin<Box<Sleep>>,
}

impl ProcessEvents {
    /// Must be called in a runtime.
    pub(super) fn new(bell: AsyncFd<OwnedFd>, socket: AsyncFd<OwnedFd>) -> Self {
        Self { bell, socket, timer: Box::pin(sleep_until(Instant::now())) }
    }

    /// Waits for an event of `process`, until `deadline` at most; and tells if it had to wait.
    pub(super) async fn next(&mut self, process: &Process, deadline: Instant) -> (ProcessEvent, bool) {
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        let mut has_waited = false;
        let event = poll_fn(|cx| {
            let event = self.poll(process, cx);
            has_waited |= event.is_pending();
            event
        });
        (event.await, has_waited)
    }

    fn poll(&mut self, process: &Process, cx: &mut Context<'_>) -> Poll<ProcessEvent> {
        if process.poll_changed(cx).is_ready() {
            return Poll::Ready(ProcessEvent::Work);
        }
        if let Poll::Ready(rung) = self.bell.poll_read_ready(cx) {
            // The counter is not read: each write is an event of its own.
            if let Ok(mut ready) = rung {
                ready.clear_ready();
            }
            return Poll::Ready(ProcessEvent::Work);
        }
        if self.socket.poll_read_ready(cx).is_ready() {
            return Poll::Ready(ProcessEvent::Gone);
        }
        self.timer.as_mut().poll(cx).map(|()| ProcessEvent::Time)
    }
}
