//! A host: takes workers from a manager and runs them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use grid_disk::{DiskError, FolderLock, KeyFileError, LockError, Machine, load_or_make_key, use_folder};
use grid_net::{BindError, Conn, Endpoint, Network, Timing};
use grid_protocol::host::{HostCapacity, Label};
use grid_protocol::key::{PublicKey, SecretKey};
use grid_protocol::ticket::ManagerAddress;

use crate::cache::{CACHE_BYTES_MAX, CacheError, ModuleCache};
use crate::compile::Compiler;
use crate::compiled::{CompiledCache, SHARED_BYTES_MAX};
use crate::driver::{self, Dial, HostEnded, HostProgress, Upstream};
use crate::known_managers::{KnownManagers, KnownManagersError};
use crate::module_loader::ModuleLoader;
use crate::sandbox::engine::Reservation;
use crate::sandbox::{Policy, Sandbox, SandboxError, SimulatedGuests};
use crate::trust::{HostTrust, SerialsError};
use crate::worker_supervisor::WorkerSupervisor;

/// How a host shall be.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// What people call it.
    pub name: String,
    /// Where it keeps its key, its modules and what it has seen.
    pub state_folder: PathBuf,
    /// Whether it keeps modules on its disk, so that it fetches each once. A host in its manager's process has no need of a
    /// second copy.
    pub keeps_modules: bool,
    /// Where compiled modules are that the programs of this user share, 2 GiB of them at most; `None` keeps them with
    /// the modules. A folder that cannot be used is the same as none.
    pub shared_compiled: Option<PathBuf>,
    /// Workers that it runs at once.
    pub slots: u32,
    /// Memory that it sets aside for them, in bytes.
    pub memory_bytes: u64,
    /// What placements may ask for.
    pub labels: Vec<Label>,
    /// Publishers that it believes, whatever its manager says; empty to believe its manager.
    pub pins: Vec<PublicKey>,
    /// What it allows its workers.
    pub policy: Policy,
    /// Where modules are compiled.
    pub compiler: Compiler,
    /// How soon the transport notices silence.
    pub timing: Timing,
    /// The network that it dials on.
    pub network: Network,
    /// Where it takes time and randomness from.
    pub machine: Machine,
    /// What runs in place of guests, for a simulation.
    pub guests: Option<Arc<dyn SimulatedGuests>>,
}

impl HostConfig {
    /// A host of one slot that keeps its state in `state_folder`, on this machine and its network.
    pub fn new(state_folder: PathBuf) -> Self {
        Self {
            name: "host".to_owned(),
            state_folder,
            keeps_modules: true,
            shared_compiled: None,
            slots: 1,
            memory_bytes: 256 << 20,
            labels: Vec::new(),
            pins: Vec::new(),
            policy: Policy::default(),
            compiler: Compiler::InProcess,
            timing: Timing::default(),
            network: Network::default(),
            machine: Machine::default(),
            guests: None,
        }
    }
}

/// A host that could not be set up: its operator must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Its state folder.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Its state folder is another program's.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Its key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Its socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Its sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Its cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The serials that it has seen.
    #[error(transparent)]
    Serials(#[from] SerialsError),
    /// The managers that it knows.
    #[error(transparent)]
    KnownManagers(#[from] KnownManagersError),
}

/// A host that is set up.
#[derive(Debug)]
pub struct Host {
    config: HostConfig,
    key: SecretKey,
    supervisor: Arc<WorkerSupervisor>,
    /// Two hosts on one folder would have one key, and take the manager from each other for ever.
    _folder: FolderLock,
}

/// Asks a host to drain. Clones ask the same host.
#[derive(Debug, Clone)]
pub struct Drain(Arc<WorkerSupervisor>);

impl Drain {
    /// Takes no more workers, lets those that run finish, and ends the host then.
    pub fn begin(&self) {
        self.0.drain();
    }
}

impl Host {
    /// Sets a host up: its key, its sandbox, its cache.
    ///
    /// # Errors
    ///
    /// [`HostError`].
    pub fn new(mut config: HostConfig) -> Result<Self, HostError> {
        use_folder(&config.state_folder)?;
        let folder = FolderLock::take(&config.state_folder)?;
        let key = load_or_make_key(&config.state_folder.join("host.key"))?;
        let wanted = usize::try_from(config.slots).unwrap_or(usize::MAX).min(config.policy.workers_max);
        let sandbox = match &config.guests {
            Some(guests) => Sandbox::simulated(guests.clone(), config.policy),
            None => Sandbox::new(config.policy, wanted)?,
        };
        let slots = wanted.min(sandbox.policy().workers_max);
        tell_room(wanted, slots, &sandbox);
        config.slots = u32::try_from(slots).unwrap_or(u32::MAX);
        let open = || ModuleCache::open(&config.state_folder.join("modules"), CACHE_BYTES_MAX);
        let modules = config.keeps_modules.then(open).transpose()?;
        let compiled = open_compiled(&config, sandbox.compatibility())?;
        let trust = Arc::new(HostTrust::open(&config.state_folder, &config.pins, config.machine.clone())?);
        let module_loader =
            ModuleLoader::new(modules, compiled, config.compiler.clone(), trust.clone(), sandbox.clone());
        let supervisor = Arc::new(WorkerSupervisor::new(
            sandbox,
            module_loader,
            trust,
            slots,
            config.memory_bytes,
            config.machine.clone(),
        ));
        Ok(Self { config, key, supervisor, _folder: folder })
    }

    /// The host's key.
    pub fn key(&self) -> PublicKey {
        self.key.public()
    }

    /// Workers that it offers to run at once: what was asked for, or what fits in one process.
    pub fn slots(&self) -> u32 {
        self.config.slots
    }

    /// For whoever wants to end it.
    pub fn drain(&self) -> Drain {
        Drain(self.supervisor.clone())
    }

    /// Serves a manager over the network until it is drained or not wanted.
    ///
    /// # Errors
    ///
    /// [`HostError`], if it cannot begin.
    pub async fn serve(
        &self,
        manager: ManagerAddress,
        progress: impl Fn(HostProgress) + Send + Sync,
    ) -> Result<HostEnded, HostError> {
        let known_managers = KnownManagers::open(&self.config.state_folder.join("known-managers"))?;
        let endpoint = self.endpoint()?;
        let route = Upstream::Dial(Box::new(Dial { endpoint, manager, known_managers }));
        Ok(driver::run(&self.supervisor, route, &self.capacity(), &progress).await)
    }

    /// Serves a manager in this process.
    pub async fn serve_local(&self, conn: Conn, progress: impl Fn(HostProgress) + Send + Sync) -> HostEnded {
        driver::run(&self.supervisor, Upstream::Local(Some(conn)), &self.capacity(), &progress).await
    }

    fn endpoint(&self) -> Result<Endpoint, BindError> {
        let (any_v6, any_v4) = (SocketAddr::from(([0u16; 8], 0)), SocketAddr::from(([0u8; 4], 0)));
        let HostConfig { network, timing, .. } = &self.config;
        Endpoint::dialer_on(network, any_v6, &self.key, *timing)
            .or_else(|_| Endpoint::dialer_on(network, any_v4, &self.key, *timing))
    }

    fn capacity(&self) -> HostCapacity {
        HostCapacity {
            name: self.config.name.clone(),
            slots: self.config.slots,
            memory_bytes: self.config.memory_bytes,
            labels: self.config.labels.clone(),
            platform: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            software: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Says what little address space means for those who run workers here.
fn tell_room(wanted: usize, slots: usize, sandbox: &Sandbox) {
    if slots < wanted {
        tracing::warn!("address space is limited: this host offers {slots} of the {wanted} slots asked for");
    }
    if sandbox.reservation() != Reservation::WHOLE {
        tracing::warn!(
            "address space is limited: workers run with bounds checks, which takes longer; `ulimit -v unlimited`, or \
             `vm.overcommit_memory` below 2, lifts the limit"
        );
    }
}

/// The compiled modules that are shared, or the host's own.
fn open_compiled(config: &HostConfig, compatibility: u64) -> Result<CompiledCache, CacheError> {
    if let Some(shared) = &config.shared_compiled {
        match CompiledCache::open(shared, compatibility, SHARED_BYTES_MAX) {
            Ok(cache) => return Ok(cache),
            Err(error) => tracing::warn!(%error, "compiled modules are not shared with other programs"),
        }
    }
    CompiledCache::open(&config.state_folder.join("modules"), compatibility, CACHE_BYTES_MAX)
}
