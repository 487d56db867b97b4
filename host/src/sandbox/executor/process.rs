//! An executor process, as others see it: whether it takes guests, and how it is told something.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::shared_memory::{SharedMemory, WITHDRAWN};
use crate::mailbox::WakerSlot;
use crate::sandbox::simulated::GuestHandle;
use crate::sandbox::{GuestKind, GuestStart};

/// What others know of a process: whether it takes guests, and how it is told something.
#[derive(Debug)]
pub(super) struct Process {
    kind: GuestKind,
    memory: Arc<SharedMemory>,
    /// Messages on their way to guests of all processes of this host.
    unanswered: Arc<AtomicUsize>,
    inner: Mutex<ProcessState>,
}

#[derive(Debug, Default)]
struct ProcessState {
    work: ProcessWork,
    /// Something has changed since the driver last took its work.
    has_changed: bool,
    driver: WakerSlot,
    /// Guests that were started and have not ended.
    guests: usize,
    /// When the last guest ended.
    idle_since: Option<Instant>,
    started: u32,
    /// It is ending, and takes no guests.
    closed: bool,
}

impl ProcessState {
    /// Has the driver look at what was changed.
    fn note_change(&mut self) {
        self.has_changed = true;
        self.driver.wake();
    }
}

/// What a process's driver is to do.
#[derive(Debug, Default)]
pub(super) struct ProcessWork {
    pub(super) commands: Vec<GuestCommand>,
    /// Guests whose mailboxes have something for them.
    pub(super) attend: Vec<u32>,
}

pub(super) enum GuestCommand {
    Start(Arc<GuestRef>, Box<GuestStart>),
    /// End the guest, whatever it is doing.
    End(u32),
    /// The guest's time is over.
    Expire(u32),
    /// The guest's messages after `begun`, up to `upto`, were withdrawn.
    Withdrawn {
        guest: u32,
        begun: u64,
        upto: u64,
    },
}

impl fmt::Debug for GuestCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start(..) => "Start",
            Self::End(_) => "End",
            Self::Expire(_) => "Expire",
            Self::Withdrawn { .. } => "Withdrawn",
        })
    }
}

impl Process {
    pub(super) fn new(kind: GuestKind, memory: SharedMemory, unanswered: Arc<AtomicUsize>) -> Self {
        Self { kind, memory: Arc::new(memory), unanswered, inner: Mutex::default() }
    }

    pub(super) fn memory(&self) -> &Arc<SharedMemory> {
        &self.memory
    }

    /// Number of messages on their way to guests of all processes of this host.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Ready when there is something to do for the driver, which alone asks.
    pub(super) fn poll_changed(&self, cx: &Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock();
        if inner.has_changed {
            return Poll::Ready(());
        }
        inner.driver.register(cx);
        Poll::Pending
    }

    /// Swaps what is to be done with `done`, which is empty.
    pub(super) fn take_work(&self, done: &mut ProcessWork) {
        let mut inner = self.inner.lock();
        inner.has_changed = false;
        std::mem::swap(&mut inner.work, done);
    }

    /// Changes something that the driver is to look at.
    fn change(&self, change: impl FnOnce(&mut ProcessState)) {
        let mut inner = self.inner.lock();
        change(&mut inner);
        inner.note_change();
    }

    /// Notes that a guest has ended.
    pub(super) fn guest_ended(&self) {
        let mut inner = self.inner.lock();
        inner.guests = inner.guests.saturating_sub(1);
        inner.idle_since = Some(Instant::now());
    }

    /// Since when it has had no guest; `None` if it has one, or has had none yet, or is ending.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let inner = self.inner.lock();
        inner.idle_since.filter(|_| inner.guests == 0 && !inner.closed)
    }

    /// Ends the process if it has no guest.
    pub(super) fn end_if_idle(&self) {
        if self.close(true) {
            self.change(|_| ());
        }
    }

    /// True if it takes no guests any more.
    pub(super) fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }

    pub(super) fn kind(&self) -> GuestKind {
        self.kind
    }

    /// Memory of its guests, in bytes, as the process tells.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory.header().memory_bytes.load(Ordering::Relaxed)
    }

    /// Starts a guest in this process. `None`, with what it was to start with, if it is ending, or has a guest and is for
    /// one alone.
    pub(super) fn start(
        self: &Arc<Self>,
        start: Box<GuestStart>,
    ) -> Result<Arc<dyn GuestHandle>, Box<GuestStart>> {
        let mut inner = self.inner.lock();
        if inner.closed || self.kind == GuestKind::Task && inner.guests > 0 {
            return Err(start);
        }
        inner.guests += 1;
        inner.started += 1;
        let reference = Arc::new(GuestRef::new(inner.started, self.clone()));
        inner.work.commands.push(GuestCommand::Start(reference.clone(), start));
        inner.note_change();
        Ok(reference)
    }

    pub(super) fn command(&self, command: GuestCommand) {
        self.change(|inner| {
            if !inner.closed {
                inner.work.commands.push(command);
            }
        });
    }

    /// Takes back the messages up to `upto` that its only guest has not begun with; returns the number of the last that it
    /// has. `None` if it shares the process, has not heard yet what was taken back before, or has not begun with the
    /// message `first`, which stays with it.
    pub(super) fn withdraw(&self, guest: u32, first: u64, upto: u64) -> Option<u64> {
        if self.kind != GuestKind::Task {
            return None;
        }
        let word = &self.memory.header().begun;
        let begun = word.load(Ordering::Acquire);
        if begun & WITHDRAWN != 0 || begun < first {
            return None;
        }
        // If it begins with another meanwhile, the caller asks again later.
        word.compare_exchange(begun, begun | WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).ok()?;
        self.command(GuestCommand::Withdrawn { guest, begun, upto });
        Some(begun)
    }

    /// Has a guest looked after.
    fn attend(&self, guest: u32) {
        self.change(|inner| inner.work.attend.push(guest));
    }

    /// Takes no guests any more, unless one was started and `if_empty`.
    pub(super) fn close(&self, if_empty: bool) -> bool {
        let mut inner = self.inner.lock();
        if if_empty && inner.guests > 0 {
            return false;
        }
        inner.closed = true;
        true
    }
}

/// Refers to a guest of a process: wakes the process when the guest's mailbox has something for it, and ends the guest.
pub(super) struct GuestRef {
    pub(super) guest: u32,
    process: Arc<Process>,
    /// It was put into the process's list of guests to be looked after, and was not looked after since.
    pub(super) is_queued: AtomicBool,
}

impl GuestRef {
    pub(super) fn new(guest: u32, process: Arc<Process>) -> Self {
        Self { guest, process, is_queued: AtomicBool::new(false) }
    }

    /// True if it runs tasks, and is no worker that is spoken to.
    pub(super) fn runs_tasks(&self) -> bool {
        self.process.kind() == GuestKind::Task
    }

    /// The count of messages on their way to guests of all processes of the host.
    pub(super) fn unanswered(&self) -> Arc<AtomicUsize> {
        self.process.unanswered.clone()
    }
}

impl Wake for GuestRef {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            self.process.attend(self.guest);
        }
    }
}

impl GuestHandle for GuestRef {
    fn end(&self) {
        self.process.command(GuestCommand::End(self.guest));
    }

    fn expire(&self, over: bool) {
        // A guest that shares its process is measured there; one that has it alone ends with it.
        if over && self.runs_tasks() {
            self.process.command(GuestCommand::Expire(self.guest));
        }
    }

    fn withdraw(&self, first: u64, upto: u64) -> Option<u64> {
        self.process.withdraw(self.guest, first, upto)
    }

    fn is_stuck(&self) -> bool {
        // Its process would have been ended.
        false
    }
}

impl fmt::Debug for GuestRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestRef").field("guest", &self.guest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_a_guest_has_not_begun_with_is_not_taken_from_under_those_behind_it() {
        let process = Process::new(GuestKind::Task, SharedMemory::new().unwrap().0, Arc::default());
        let begun = |number| process.memory().header().begun.store(number, Ordering::Release);
        begun(4);
        // The fifth is on its way, and would be dropped where it arrives.
        assert_eq!(process.withdraw(1, 5, 8), None);
        begun(5);
        assert_eq!(process.withdraw(1, 5, 8), Some(5));
        assert_eq!(process.withdraw(1, 5, 8), None, "it has not heard of it yet");
        let mut work = ProcessWork::default();
        process.take_work(&mut work);
        assert_eq!(work.commands.len(), 1);
    }
}
