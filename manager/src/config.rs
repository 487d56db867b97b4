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
    /// Folder of the manager's key, store, modules and blobs.
    pub state_folder: PathBuf,
    /// Address to listen on; `None` to serve this process only. Default `None`.
    pub listen: Option<SocketAddr>,
    /// Addresses to write into tickets, as `host:port`. Default empty: the address that it listens on or, if that is
    /// unspecified, this machine's own addresses.
    pub advertise: Vec<String>,
    /// Lets in every host, without approval. Only for a manager that strangers cannot reach. Default false.
    pub open_join: bool,
    /// How long a host's connection may stay lost before its workers are given up. Default 10 s; together with the
    /// transport's own 10 s, a host may be silent for 20 s.
    pub away_grace: Duration,
    /// How soon the transport notices that a peer is silent.
    pub timing: Timing,
    /// The network to listen on.
    pub network: Network,
    /// The source of time and randomness.
    pub machine: Machine,
    /// A store to use in place of the file in the state folder. Default `None`.
    pub store: Option<Arc<dyn Store>>,
    /// A guarantee to break on purpose, for a test that must find it broken.
    #[cfg(feature = "fault-injection")]
    pub sabotage: Option<crate::fault_injection::FaultInjection>,
}

impl ManagerConfig {
    /// The configuration of a manager that keeps its state in `state_folder` and serves this process only.
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
