//! Runs guests in a sandbox, on behalf of a manager.
//!
//! A [`Host`] keeps one connection to its manager (`driver`), the workers, which outlive it (`worker_supervisor`), the
//! attempts at tasks (`task_runner`), the modules that it has fetched (`module_loader`, [`cache`], [`compiled`]), and
//! the [`sandbox`] that runs them. What happens is counted (`metrics`), and shown to whoever may look ([`HostMonitor`]). A worker and the network meet in the worker's [`mailbox`] and nowhere else.

pub mod cache;
mod child_process;
pub mod command;
pub mod compile;
pub mod compiled;
mod driver;
mod host;
mod lockdown;
pub mod log;
pub mod mailbox;
mod metrics;
mod module_loader;
mod monitor;
mod needs;
pub mod outbox;
mod payload_transfer;
pub mod sandbox;
mod signal;
mod task_runner;
mod trust;
mod worker_supervisor;

pub use child_process::{WallsError, told_walls};
pub use driver::{HostEnded, HostProgress};
pub use grid_net::Timing;
pub use host::{Drain, Host, HostConfig, HostError};
pub use lockdown::{LandlockWall, NamespaceWall, Walls};
pub use monitor::HostMonitor;
pub use needs::{HostNeeds, HostRoom, SLOT_MEMORY_BYTES, room_for};
pub use signal::terminated;
pub use trust::TrustError;
