//! What the manager tells of what it keeps and of what is there.

use alloc::string::String;

use crate::client::{Channel, SpawnRequest};
use crate::codec::{Decode, Encode};
use crate::digest::Digest;
use crate::host::HostCapacity;
use crate::id::{DeploymentId, WorkerId};
use crate::key::PublicKey;
use crate::role::{Role, Roles};
use crate::worker::End;

/// A summary of the grid.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Status {
    /// The manager's key.
    pub manager: PublicKey,
    /// Version of the manager's software.
    pub software: String,
    /// How long the manager has been up, in milliseconds.
    pub uptime_ms: u64,
    /// Number of connected hosts, without those that are pending.
    pub hosts: u32,
    /// Number of hosts that wait for approval.
    pub pending_hosts: u32,
    /// Slots of all hosts that are connected or expected back.
    pub slots: u32,
    /// Number of workers that have not ended.
    pub workers: u32,
    /// Number of modules that the manager keeps.
    pub modules: u32,
    /// Number of deployments.
    pub deployments: u32,
    /// Why the manager's store refuses writes, or should be spared them; `None` if it works.
    pub store_trouble: Option<String>,
}

/// A ticket, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TicketInfo {
    /// The ticket's id.
    pub id: [u8; 16],
    /// The role that the ticket grants.
    pub role: Role,
    /// When the ticket expires, in seconds since 1970.
    pub expires: u64,
    /// The key that used the ticket, if any.
    pub used_by: Option<PublicKey>,
}

/// The state of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum HostState {
    /// Connected; its key is not approved yet.
    Pending,
    /// Connected and working.
    Ready,
    /// Connected; takes no more work.
    Draining,
    /// Disconnected; the manager keeps its workers and expects it back.
    Away,
    /// Known from an earlier session; disconnected and not expected back.
    Gone,
}

impl HostState {
    /// The state in a word, as people and scripts read it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Away => "away",
            Self::Gone => "gone",
        }
    }
}

/// A host, as the manager sees it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HostInfo {
    /// The host's key.
    pub key: PublicKey,
    /// The host's state.
    pub state: HostState,
    /// What the host offers.
    pub capacity: HostCapacity,
    /// The host's address as the manager sees it; empty if the host is gone.
    pub address: String,
    /// Number of workers on the host.
    pub workers: u32,
    /// Bytes of modules sent to the host. Like the next two, counted until the manager gives the host up.
    pub module_bytes_sent: u64,
    /// Number of modules that the host compiled.
    pub compilations: u32,
    /// Time that the host spent compiling, in microseconds.
    pub compile_us: u64,
}

/// A module that the manager keeps.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ModuleInfo {
    /// The module's digest, which is its id.
    pub digest: Digest,
    /// The module's name.
    pub name: String,
    /// The serial of the release.
    pub serial: u64,
    /// The version, for people.
    pub version: String,
    /// The key that signed the manifest.
    pub publisher: PublicKey,
    /// Length of the module, in bytes.
    pub length: u64,
    /// When the manifest expires, in seconds since 1970; 0 for never.
    pub expires: u64,
    /// The kind of entry point, for people: `core`, `command`, `command with files` or `component`.
    pub entry_point: String,
    /// True if the manager already had the module when it was uploaded.
    pub known: bool,
}

/// The state of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum WorkerState {
    /// Placed on a host, not yet running.
    Starting,
    /// Running.
    Running,
    /// Its host is disconnected and expected back.
    Away,
    /// Asked to stop, not yet ended.
    Stopping,
    /// Ended.
    Ended(End),
}

impl WorkerState {
    /// The state in a word, as people and scripts read it; how a worker ended says [`End::label`].
    pub fn label(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Away => "away",
            Self::Stopping => "stopping",
            Self::Ended(_) => "ended",
        }
    }
}

/// A worker, as the manager sees it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WorkerInfo {
    /// The worker's id.
    pub id: WorkerId,
    /// The module that it runs.
    pub module: Digest,
    /// The host that it was placed on.
    pub host: PublicKey,
    /// The worker's state.
    pub state: WorkerState,
    /// The key of the client that it belongs to.
    pub owner: PublicKey,
    /// The channel that it belongs to.
    pub channel: Channel,
    /// Number of messages that were sent to it and that it has not settled.
    pub unanswered: u32,
    /// Number of messages from it that its client has not taken.
    pub uncollected: u32,
    /// The deployment that it belongs to, if any.
    pub deployment: Option<DeploymentId>,
}

/// A deployment, as the manager keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DeploymentInfo {
    /// The deployment's id.
    pub id: DeploymentId,
    /// The request that created it.
    pub request: SpawnRequest,
    /// The key that requested it.
    pub owner: PublicKey,
    /// Number of workers that it has now.
    pub workers: u32,
}

/// A key and its roles.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyInfo {
    /// The key.
    pub key: PublicKey,
    /// The roles of the key.
    pub roles: Roles,
    /// True if the key was revoked.
    pub revoked: bool,
}
