//! The manager: clock, disk and network around the scheduler.
//!
//! Each connection of a host or a client is a session; [`ManagerServer::start`] begins to listen for them. Sessions
//! share one context: the *catalog*, on disk, is what outlives the manager; the *cluster*, in memory, is what is true
//! while it runs.

#![forbid(unsafe_code)]

mod activity;
mod api;
mod asker;
mod audit;
mod blobs;
mod catalog;
mod cluster;
mod config;
mod context;
#[cfg(test)]
mod crash_tests;
#[cfg(feature = "fault-injection")]
mod fault_injection;
#[cfg(feature = "fault-injection")]
mod invariants;
mod jobs;
mod page_links;
mod server;
mod session;
mod store;

pub use activity::TraceRecord;
pub use asker::{Asker, Via};
pub use catalog::CatalogError;
pub use config::ManagerConfig;
#[cfg(feature = "fault-injection")]
pub use fault_injection::FaultInjection;
pub use server::{ManagerServer, StartError};
pub use session::http::HttpAccess;
pub use session::local::LocalClient;
#[cfg(any(test, feature = "fault-injection"))]
pub use store::faulty_disk::FaultyDisk;
pub use store::{Change, FileStore, Record, Store, StoreError, Table};
