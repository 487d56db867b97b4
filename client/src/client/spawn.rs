//! Spawning: what the workers that a client asks for are to be.

use std::time::Duration;

use grid_protocol::client::{Denial, Placement, Reply, Request, SpawnRequest};
use grid_protocol::host::Label;
use grid_protocol::id::{DeploymentId, WorkerId};
use grid_protocol::key::PublicKey;
use grid_protocol::time::millis;
use grid_protocol::wall::Wall;
use grid_protocol::worker::{LimitsAsked, Restart};

use crate::client::{Client, Liveness};
use crate::denial::unexpected;

/// Default of [`SpawnBuilder::ttl`]: one hour, as in the ancestor.
pub const DEFAULT_TTL: Duration = Duration::from_secs(3600);

/// Describes workers to start; made by [`Client::spawn`].
#[must_use = "nothing is spawned before `anywhere`, `on` or `every_slot`"]
pub struct SpawnBuilder {
    pub(super) client: Client,
    pub(super) request: SpawnRequest,
}

impl SpawnBuilder {
    /// Bytes that each worker's `init` receives, at most 512 KiB; none by default.
    pub fn arguments(mut self, arguments: impl Into<Vec<u8>>) -> Self {
        self.request.arguments = arguments.into();
        self
    }

    /// Adds a label that the workers' hosts must carry; up to 64.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.request.labels.push(Label { name: name.to_owned(), value: value.to_owned() });
        self
    }

    /// Only hosts with the [usual walls](Wall::USUAL) around guests, as they say.
    pub fn require_walls(self) -> Self {
        Wall::USUAL.into_iter().fold(self, Self::require_wall)
    }

    /// Only hosts with this wall around guests, as they say.
    pub fn require_wall(mut self, wall: Wall) -> Self {
        self.request.labels.push(wall.label());
        self
    }

    /// Memory that a host must set aside for each worker, in bytes; 0, the default, leaves it to the slots.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.request.memory_bytes = bytes;
        self
    }

    /// Limits of each worker; the host applies the smallest of these, the manifest's and its own.
    pub fn limits(mut self, limits: LimitsAsked) -> Self {
        self.request.limits = limits;
        self
    }

    /// What the manager does when a worker dies; by default it starts another only for [`Self::every_slot`].
    pub fn restart(mut self, restart: Restart) -> Self {
        self.request.restart = restart;
        self
    }

    /// How long a worker that owes an answer may be silent before the manager takes it for dead; zero for ever.
    /// [`DEFAULT_TTL`] by default.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.request.ttl_ms = millis(ttl);
        self
    }

    /// Starts `count` workers, 1 to 65 536, on hosts that have room.
    ///
    /// They may still be starting when this returns; [`Event::Joined`](crate::Event::Joined) tells when each runs.
    ///
    /// # Errors
    ///
    /// [`Denial`], with [`NoCapacity`](crate::DenialCode::NoCapacity) if not all of them fit; then none is started.
    pub async fn anywhere(mut self, count: u32) -> Result<Vec<WorkerId>, Denial> {
        self.request.place = Placement::Anywhere { count };
        self.ask().await.map(|(workers, _)| workers)
    }

    /// Starts one worker on each of these hosts.
    ///
    /// # Errors
    ///
    /// As [`Self::anywhere`].
    pub async fn on(mut self, hosts: &[PublicKey]) -> Result<Vec<WorkerId>, Denial> {
        self.request.place = Placement::On(hosts.to_vec());
        self.ask().await.map(|(workers, _)| workers)
    }

    /// Starts a deployment: one worker in every slot of every host that fits, now and whenever a host joins, until the
    /// deployment is removed. The restart policy [`Restart::Never`] counts as [`Restart::Always`] here: another worker
    /// replaces one that dies.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn every_slot(mut self) -> Result<DeploymentId, Denial> {
        self.request.place = Placement::EverySlot;
        if self.request.restart == Restart::Never {
            self.request.restart = Restart::Always;
        }
        match self.ask().await? {
            (_, Some(deployment)) => Ok(deployment),
            (_, None) => Err(unexpected(&Reply::Done)),
        }
    }

    async fn ask(self) -> Result<(Vec<WorkerId>, Option<DeploymentId>), Denial> {
        match self.client.request(Request::Spawn(self.request)).await? {
            Reply::Spawned { workers, deployment } => {
                let mut seen = self.client.lock();
                for worker in &workers {
                    // The worker may have joined before the reply came.
                    seen.workers.entry(*worker).or_insert(Liveness::Unconfirmed);
                }
                drop(seen);
                self.client.access.expect(&workers);
                Ok((workers, deployment))
            }
            other => Err(unexpected(&other)),
        }
    }
}
