//! The manager: clock, disk and network around the scheduler.
//!
//! Hosts and clients come through their doors ([`Manager::start`] opens them), and everything that they share is
//! in one hub: the *registry* is what is true for good, on disk; the *state* is what is true while the
//! manager lives, in memory.

#![forbid(unsafe_code)]

#[cfg(feature = "rehearsal")]
mod audit;
mod client_door;
mod committer;
mod desk;
mod desk_here;
mod explain;
mod foreman;
mod greeting;
mod host_door;
mod hub;
mod job_requests;
mod ledger;
mod line;
mod mail;
mod mailroom;
mod message_requests;
mod newcomers;
mod payloads;
mod registry;
#[cfg(test)]
mod rehearsals;
mod requests;
mod resumption;
mod server;
mod state;
mod store;
mod told;
mod transfer_slots;
mod transfers;
mod trust;

#[cfg(feature = "rehearsal")]
pub use audit::Sabotage;
pub use desk::Event;
pub use desk_here::DeskHere;
pub use hub::Settings;
pub use mailroom::SendError;
pub use registry::RegistryError;
pub use server::{Manager, StartError};
#[cfg(any(test, feature = "rehearsal"))]
pub use store::rehearsal::RehearsalDisk;
pub use store::{Change, FileStore, Record, Store, StoreError, Table};
