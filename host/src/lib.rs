//! Runs guests in a sandbox, on behalf of a manager.
//!
//! A [`Host`] keeps one connection to its manager (`driver`), a table of workers that outlives it (`station`),
//! the modules that it has fetched (`library`, [`cache`]), and the [`sandbox`] that runs them. A worker and the network
//! meet in the worker's [`mailbox`] and nowhere else.

mod acquaintance;
pub mod cache;
pub mod command;
pub mod compile;
pub mod compiled;
mod driver;
mod freight;
mod host;
mod library;
mod lockdown;
pub mod log;
pub mod mailbox;
pub mod outbox;
pub mod sandbox;
mod signal;
mod station;
mod trust;
mod workbench;

pub use acquaintance::{AcquaintanceError, Acquaintances, ReachError};
pub use driver::{HostEnded, Progress};
pub use grid_net::Timing;
pub use host::{Drain, Host, HostError, Settings};
pub use signal::terminated;
pub use trust::SerialsError;
