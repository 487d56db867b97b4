//! The overseer: tells the host of a guest that takes longer than it may, where guests are not interrupted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;

use grid_protocol::time::micros;
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::child_port::{ChildPort, ToHost};
use super::frame::{Frame, FrameKind, NOTHING};
use crate::sandbox::engine::EPOCH_TICK;
use crate::sandbox::simulated::GuestHandle;

/// A guest of an executor.
pub(super) struct RunningGuest {
    pub(super) port: Arc<ChildPort>,
    /// `None` for the moment in which it is being started.
    pub(super) abort: Option<Arc<dyn GuestHandle>>,
}

/// The guests of an executor.
pub(super) type Guests = Arc<Mutex<HashMap<u32, RunningGuest>>>;

/// A thread that looks at the guests every 10 ms while one of them works.
pub(super) struct Overseer {
    thread: Thread,
    is_awake: Arc<AtomicBool>,
}

impl Overseer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// If the system starts none.
    pub(super) fn start(guests: &Guests, to_host: &Arc<ToHost>) -> std::io::Result<Self> {
        let is_awake = Arc::new(AtomicBool::new(false));
        let (guests, to_host, awake) = (guests.clone(), to_host.clone(), is_awake.clone());
        let thread = std::thread::Builder::new().name("grid-overseer".to_owned()).spawn(move || {
            loop {
                if !oversee(&guests, &to_host) {
                    awake.store(false, Ordering::SeqCst);
                    // A guest that began to work before that woke nobody.
                    if !oversee(&guests, &to_host) {
                        std::thread::park();
                        continue;
                    }
                    awake.store(true, Ordering::SeqCst);
                }
                std::thread::sleep(EPOCH_TICK);
            }
        })?;
        Ok(Self { thread: thread.thread().clone(), is_awake })
    }

    /// Has it look at the guests, one of which may be about to work.
    pub(super) fn wake(&self) {
        if !self.is_awake.swap(true, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

/// Tells of each guest that takes too long; true if any works.
fn oversee(guests: &Guests, to_host: &ToHost) -> bool {
    let guests = guests.lock();
    for (guest, running) in guests.iter() {
        running.port.put_held();
        if let Some(budget) = running.abort.as_ref().and_then(|abort| abort.overdue()) {
            to_host.send(Frame::new(FrameKind::Overdue, *guest, micros(budget), NOTHING));
        }
    }
    // A guest that works on one message for long has not woken the host for the ones before.
    to_host.publish();
    guests.values().any(|running| running.port.is_at_work())
}
