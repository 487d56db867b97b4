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

    /// True if the guest has not yielded for so long that its thread must hang.
    fn is_stuck(&self) -> bool;
}
