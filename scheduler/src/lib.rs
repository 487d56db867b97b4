//! Decides where workers run; never acts.
//!
//! The [`Scheduler`] is told what happened (`handle_*`, or a request by name), and says what to do about it
//! ([`Scheduler::poll_decision`]). It reads no clock: every call brings the [`Moment`] at which its cause
//! happened, and [`Scheduler::poll_timeout`] says when [`Scheduler::handle_timeout`] is due.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod jobs;
mod placement;
mod roster;
mod scheduler;
mod spec;

pub use placement::{NoRoom, PlacementError};
pub use roster::{Presence, RosterHost};
pub use scheduler::{Decision, PlacedWorker, Scheduler, SchedulerConfig, WorkerPhase};
pub use spec::{Deployment, Owner, Placement, Spec};

#[doc(no_inline)]
pub use grid_protocol::time::Moment;
