//! What was asked for: the specification that workers share, and deployments.

use alloc::sync::Arc;
use alloc::vec::Vec;

use grid_protocol::client::Channel;
use grid_protocol::digest::Digest;
use grid_protocol::host::Label;
use grid_protocol::id::DeploymentId;
use grid_protocol::key::PublicKey;
use grid_protocol::worker::{LimitsAsked, Restart};

pub use grid_protocol::client::Placement;

/// Whose mail a worker gets: a client's key, and which of its programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The client's key.
    pub key: PublicKey,
    /// Which of its programs.
    pub channel: Channel,
}

/// What the workers of one request have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Whose they are.
    pub owner: Owner,
    /// What they run.
    pub module: Digest,
    /// What their `init` receives.
    pub arguments: Vec<u8>,
    /// Labels that a host must carry.
    pub labels: Vec<Label>,
    /// Memory that a host must set aside for each, in bytes.
    pub memory_bytes: u64,
    /// Limits asked for.
    pub limits: LimitsAsked,
    /// What to do when one dies.
    pub restart: Restart,
    /// A worker that owes an answer and is silent for longer is dead; in milliseconds, 0 for never.
    pub ttl_ms: u64,
}

/// A deployment: one worker for each slot of every host that fits, present and future.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// What each worker is.
    pub spec: Arc<Spec>,
}
