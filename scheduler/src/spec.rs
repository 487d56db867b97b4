//! What clients ask for: the specification that workers share, and deployments.

use alloc::sync::Arc;
use alloc::vec::Vec;

use grid_protocol::client::Channel;
use grid_protocol::digest::Digest;
use grid_protocol::host::Label;
use grid_protocol::id::DeploymentId;
use grid_protocol::key::PublicKey;
use grid_protocol::worker::{LimitsAsked, Restart};

pub use grid_protocol::client::Placement;

/// The owner of workers, who gets their messages: a client's key, and one of its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The client's key.
    pub key: PublicKey,
    /// The channel, which tells the client's programs apart.
    pub channel: Channel,
}

/// What the workers of one request have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The owner.
    pub owner: Owner,
    /// The module that they run.
    pub module: Digest,
    /// The bytes that their `init` receives.
    pub arguments: Vec<u8>,
    /// Labels that a host must have.
    pub labels: Vec<Label>,
    /// Memory that a host must set aside for each worker, in bytes.
    pub memory_bytes: u64,
    /// The limits that the client asked for.
    pub limits: LimitsAsked,
    /// Whether a worker that fails is restarted.
    pub restart: Restart,
    /// Time to live, in milliseconds: a worker that owes an answer and is silent for longer is dead. 0 for no limit.
    pub ttl_ms: u64,
}

/// A deployment: one worker for each slot of every host that fits, present and future.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The deployment's id.
    pub id: DeploymentId,
    /// The specification of its workers.
    pub spec: Arc<Spec>,
}
