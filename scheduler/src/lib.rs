//! Decides where workers run; carries nothing out.
//!
//! The caller tells the [`Scheduler`] what happened (`handle_*`, or a request such as `spawn`) and carries out what
//! [`Scheduler::poll_decision`] returns. The scheduler reads no clock: calls that depend on time bring the [`Moment`]
//! at which their cause happened, and [`Scheduler::poll_timeout`] says when [`Scheduler::handle_timeout`] is due.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod jobs;
mod placement;
mod roster;
mod scheduler;
mod spec;

pub use placement::{NoRoom, PlacementError};
pub use roster::{HostChange, Presence, RosterHost};
pub use scheduler::{Decision, PlacedWorker, Scheduler, SchedulerConfig, WorkerPhase};
pub use spec::{Deployment, Owner, Placement, Spec};

#[doc(no_inline)]
pub use grid_protocol::time::Moment;
