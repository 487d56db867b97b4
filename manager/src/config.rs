//! Configuration of a manager.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use grid_disk::Machine;
use grid_net::{Network, Timing};

use crate::store::Store;

/// Configuration of a manager.
#[derive(Debug, Clone)]
pub struct ManagerConfig {
    /// Where it keeps its key, its store and its modules.
    pub state_folder: PathBuf,
    /// Where it listens; `None` if it only serves this process.
    pub listen: Option<SocketAddr>,
    /// Addresses to write into tickets, as `host:port`; empty for the one that it listens on.
    pub advertise: Vec<String>,
    /// Lets hosts in that nobody approved. Only for a manager that strangers cannot reach.
    pub open_join: bool,
    /// How long a lost connection may stay lost before the workers behind it are given up: 10 s, which
    /// with the transport's own 10 s makes 20 s of silence.
    pub away_grace: Duration,
    /// How soon the transport notices silence.
    pub timing: Timing,
    /// The network that it listens on.
    pub network: Network,
    /// Where it takes time and randomness from.
    pub machine: Machine,
    /// The store to use, not a file in the state folder.
    pub store: Option<Arc<dyn Store>>,
    /// A promise to break on purpose.
    #[cfg(feature = "fault-injection")]
    pub sabotage: Option<FaultInjection>,
}

impl ManagerConfig {
    /// A manager that keeps its state in `state_folder` and serves this process only.
    pub fn new(state_folder: PathBuf) -> Self {
        Self {
            state_folder,
            listen: None,
            advertise: Vec::new(),
            open_join: false,
            away_grace: Duration::from_secs(10),
            timing: Timing::default(),
            network: Network::default(),
            machine: Machine::default(),
            store: None,
            #[cfg(feature = "fault-injection")]
            sabotage: None,
        }
    }
}

#[cfg(feature = "fault-injection")]
/// A promise to break on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultInjection {
    /// A result is taken from an attempt whose lease has ended.
    NeverFence,
    /// Clients and hosts are told that something is on disk before it is.
    AcknowledgeEarly,
}
