//! SimulatedGuests that are made up: for a simulation, in which no code runs and the rest of the host is real.

use std::fmt::Debug;
use std::sync::Arc;

use grid_protocol::digest::Digest;
use grid_protocol::worker::End;

use crate::mailbox::MessagePort;

/// What runs in place of guests.
pub trait SimulatedGuests: Debug + Send + Sync {
    /// Starts one. `on_start` is called when it takes messages, `on_end` once, when it is gone.
    fn start(
        &self,
        module: Digest,
        mail: Arc<dyn MessagePort>,
        on_start: Box<dyn FnOnce() + Send>,
        on_end: Box<dyn FnOnce(End) + Send>,
    ) -> Arc<dyn GuestHandle>;

    /// True if every thread that guests run on hangs.
    fn are_wedged(&self) -> bool;
}

/// What a guest is held by.
pub trait GuestHandle: Debug + Send + Sync {
    /// Ends it at its next tick.
    fn end(&self);

    /// Its time is over: the call at hand traps at its next tick. Or it is not, again.
    fn expire(&self, over: bool);

    /// True if it has not given way for so long that its thread must hang.
    fn is_stuck(&self) -> bool;
}
