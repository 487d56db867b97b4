//! Simulated guests: for a simulation in which no guest code runs and the rest of the host is real.

use std::fmt::Debug;
use std::sync::Arc;

use grid_protocol::digest::Digest;
use grid_protocol::worker::End;

use crate::mailbox::MessagePort;

/// What runs in place of guests.
pub trait SimulatedGuests: Debug + Send + Sync {
    /// Starts a guest. Must call `on_start` when the guest is ready for messages, and `on_end` once when it has ended.
    fn start(
        &self,
        module: Digest,
        mail: Arc<dyn MessagePort>,
        on_start: Box<dyn FnOnce() + Send>,
        on_end: Box<dyn FnOnce(End) + Send>,
    ) -> Arc<dyn GuestHandle>;

    /// True if every thread that runs guests hangs.
    fn are_wedged(&self) -> bool;
}

/// Controls a running guest.
pub trait GuestHandle: Debug + Send + Sync {
    /// Ends the guest, at its next tick if it computes.
    fn end(&self);

    /// If `over`, makes the current call trap at its next tick; if not, takes that back.
    fn expire(&self, over: bool);

    /// Takes back the messages up to `upto` that were handed over and that the guest has not begun with; returns the number
    /// of the last that it has begun with. `None` if nothing can be taken back, or not yet, because it has not begun with
    /// the message `first`.
    fn withdraw(&self, first: u64, upto: u64) -> Option<u64> {
        let _ = (first, upto);
        None
    }

    /// The budget of the current call, if it has taken longer on the processor.
    fn overdue(&self) -> Option<std::time::Duration> {
        None
    }

    /// True if the guest has not yielded for so long that its thread must hang.
    fn is_stuck(&self) -> bool;
}
