//! A host: runs the workers and tasks that a manager gives it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use grid_disk::{DiskError, FolderLock, KeyFileError, LockError, Machine, load_or_make_key, use_folder};
use grid_net::{BindError, Conn, Endpoint, Network, Timing};
use grid_protocol::host::{HostCapacity, Label};
use grid_protocol::key::{PublicKey, SecretKey};
use grid_protocol::ticket::ManagerAddress;
use grid_protocol::wall::Wall;

use crate::cache::{CACHE_BYTES_MAX, CacheError, ModuleCache};
use crate::child_process::{EXECUTOR, told_walls};
use crate::compile::Compiler;
use crate::compiled::{CompiledCache, SHARED_BYTES_MAX};
use crate::driver::{self, Dial, HostEnded, HostProgress, Upstream};
use crate::metrics::HostMetrics;
use crate::module_loader::ModuleLoader;
use crate::monitor::HostMonitor;
use crate::sandbox::engine::Reservation;
use crate::sandbox::{GuestKind, Policy, Sandbox, SandboxError, SimulatedGuests};
use crate::trust::{HostTrust, TrustError};
use crate::worker_supervisor::WorkerSupervisor;
use grid_net::{KnownManagers, KnownManagersError};

/// Configuration of a host.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Display name.
    pub name: String,
    /// Folder of the host's key, modules, known managers, revocations and serials. One host alone may use it.
    pub state_folder: PathBuf,
    /// Whether to keep modules on disk, so that each is fetched once. A host in its manager's process needs no second
    /// copy.
    pub keeps_modules: bool,
    /// Folder of compiled modules, at most 2 GiB, that the programs of this user share. `None`, or a folder that cannot
    /// be used, keeps them with the modules.
    pub shared_compiled: Option<PathBuf>,
    /// Workers and tasks to run concurrently; fewer if the address space does not suffice.
    pub slots: u32,
    /// Memory to offer for workers and tasks, in bytes. `policy` limits what each may take.
    pub memory_bytes: u64,
    /// Labels that placements may ask for.
    pub labels: Vec<Label>,
    /// Publishers to trust, whatever the manager says; if empty, those that the manager vouches for.
    pub pins: Vec<PublicKey>,
    /// What guests are allowed.
    pub policy: Policy,
    /// Where modules are compiled.
    pub compiler: Compiler,
    /// The key under which the program publishes that this host is part of, if it is part of one: its modules share
    /// compiled functions with those that the user's other programs publish. Default: `None`.
    pub own_publisher: Option<PublicKey>,
    /// The program that runs guests in processes of their own, if it is run with
    /// [`EXECUTOR`](crate::command::EXECUTOR). `None` if they run in this process, without walls around it: only for
    /// modules whose publishers are trusted as this program is.
    pub executor: Option<PathBuf>,
    /// Timing of the transport: how soon it notices silence.
    pub timing: Timing,
    /// The network to dial on.
    pub network: Network,
    /// Source of time and randomness.
    pub machine: Machine,
    /// What runs in place of guests in a simulation; `None` for real guests.
    pub guests: Option<Arc<dyn SimulatedGuests>>,
}

impl HostConfig {
    /// A host of one slot and 256 MiB that keeps its state in `state_folder` and compiles modules in this process.
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
            own_publisher: None,
            executor: None,
            timing: Timing::default(),
            network: Network::default(),
            machine: Machine::default(),
            guests: None,
        }
    }
}

/// Why a host could not be set up: its operator must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The state folder could not be made.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The state folder is in use by another program, or could not be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The host's key could not be read or made.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The socket could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The sandbox could not be set up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The cache of modules or of compiled code could not be opened.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// What the host knows of publishers cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The file of known managers cannot be read.
    #[error(transparent)]
    KnownManagers(#[from] KnownManagersError),
}

/// A host that is set up.
#[derive(Debug)]
pub struct Host {
    config: HostConfig,
    key: SecretKey,
    supervisor: Arc<WorkerSupervisor>,
    /// Two hosts on one folder would have one key, and replace each other at the manager for ever.
    _folder: FolderLock,
}

/// Asks a host to drain. Clones refer to the same host.
#[derive(Debug, Clone)]
pub struct Drain(Arc<WorkerSupervisor>);

impl Drain {
    /// Starts draining and returns: the host takes no more work, and ends once its workers and tasks have ended.
    ///
    /// Workers are asked to stop, and are ended after 30 s; tasks that have begun run to their end or timeout.
    pub fn begin(&self) {
        self.0.drain();
    }
}

impl Host {
    /// Sets up a host: key, sandbox, caches and trust. Does not connect; [`Self::serve`] does.
    ///
    /// # Errors
    ///
    /// [`HostError`], whose variant names what could not be set up.
    pub fn new(mut config: HostConfig) -> Result<Self, HostError> {
        use_folder(&config.state_folder)?;
        let folder = FolderLock::take(&config.state_folder)?;
        let key = load_or_make_key(&config.state_folder.join("host.key"))?;
        let wanted = usize::try_from(config.slots).unwrap_or(usize::MAX).min(config.policy.workers_max);
        // Other systems have no executors.
        config.executor = config.executor.filter(|_| cfg!(target_os = "linux"));
        let sandbox = match &config.guests {
            Some(guests) => Sandbox::simulated(guests.clone(), config.policy),
            None => match config.executor.clone() {
                Some(program) => Sandbox::executors(config.policy, wanted, program)?,
                None => Sandbox::in_process(config.policy, wanted)?,
            },
        };
        let slots = wanted.min(sandbox.policy().workers_max);
        notify_room(wanted, slots, &sandbox);
        config.slots = u32::try_from(slots).unwrap_or(u32::MAX);
        let open = || ModuleCache::open(&config.state_folder.join("modules"), CACHE_BYTES_MAX);
        let modules = config.keeps_modules.then(open).transpose()?;
        let compiled = open_compiled(&config)?;
        let trust = Arc::new(HostTrust::open(&config.state_folder, &config.pins, config.machine.clone())?);
        let metrics = Arc::<HostMetrics>::default();
        let module_loader = ModuleLoader::new(
            modules,
            compiled,
            config.compiler.clone(),
            config.own_publisher,
            trust.clone(),
            sandbox.clone(),
            metrics.clone(),
        );
        let supervisor = Arc::new(WorkerSupervisor::new(
            sandbox,
            module_loader,
            trust,
            slots,
            config.memory_bytes,
            config.machine.clone(),
            metrics,
        ));
        Ok(Self { config, key, supervisor, _folder: folder })
    }

    /// The public key of the host.
    pub fn key(&self) -> PublicKey {
        self.key.public()
    }

    /// Number of slots that the host offers: those configured, or fewer if not all fit in one process.
    pub fn slots(&self) -> u32 {
        self.config.slots
    }

    /// A handle by which the host can be asked to drain.
    pub fn drain(&self) -> Drain {
        Drain(self.supervisor.clone())
    }

    /// What shows how this host is doing, over HTTP.
    pub fn monitor(&self) -> HostMonitor {
        let HostConfig { compiler, memory_bytes, .. } = &self.config;
        HostMonitor::new(self.supervisor.clone(), compiler.clone(), *memory_bytes)
    }

    /// Serves a manager over the network, across connections, until the host is drained or must not connect again.
    ///
    /// # Errors
    ///
    /// [`HostError::KnownManagers`] if the file of known managers is malformed; [`HostError::Bind`] if no socket can be
    /// bound.
    pub async fn serve(
        &self,
        manager: ManagerAddress,
        progress: impl Fn(HostProgress) + Send + Sync,
    ) -> Result<HostEnded, HostError> {
        let known_managers = KnownManagers::open(&self.config.state_folder.join("known-managers"))?;
        let endpoint = self.endpoint()?;
        let walls = self.begin().await;
        let route = Upstream::Dial(Box::new(Dial { endpoint, manager, known_managers }));
        let noted = |step: HostProgress| {
            self.supervisor.metrics.set_pending(matches!(step, HostProgress::Pending));
            progress(step);
        };
        Ok(driver::run(&self.supervisor, route, &self.capacity(&walls), &noted).await)
    }

    /// Serves a manager in this process until the host is drained or the connection ends.
    pub async fn serve_local(&self, conn: Conn, progress: impl Fn(HostProgress) + Send + Sync) -> HostEnded {
        let walls = self.begin().await;
        driver::run(&self.supervisor, Upstream::Local(Some(conn)), &self.capacity(&walls), &progress).await
    }

    fn endpoint(&self) -> Result<Endpoint, BindError> {
        let (any_v6, any_v4) = (SocketAddr::from(([0u16; 8], 0)), SocketAddr::from(([0u8; 4], 0)));
        let HostConfig { network, timing, .. } = &self.config;
        Endpoint::dialer_on(network, any_v6, &self.key, *timing)
            .or_else(|_| Endpoint::dialer_on(network, any_v4, &self.key, *timing))
    }

    /// Finds out which walls stand around guests here, and starts the first processes for guests behind them.
    async fn begin(&self) -> Vec<Wall> {
        let mut walls = Vec::new();
        if let Some(program) = &self.config.executor {
            match told_walls(program, EXECUTOR).await {
                Ok(told) => walls = told.around_guests(),
                Err(error) => tracing::warn!(%error, "the walls around guests are not known"),
            }
        }
        self.supervisor.warm_up(&walls);
        walls
    }

    /// What the host offers; its labels are those that the operator gave, and those that tell its walls.
    fn capacity(&self, walls: &[Wall]) -> HostCapacity {
        let labels =
            self.config.labels.iter().cloned().chain(walls.iter().map(|wall| wall.label())).collect();
        HostCapacity {
            name: self.config.name.clone(),
            slots: self.config.slots,
            memory_bytes: self.config.memory_bytes,
            labels,
            platform: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            software: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Warns the operator if a limited address space costs slots or speed.
fn notify_room(wanted: usize, slots: usize, sandbox: &Sandbox) {
    if slots < wanted {
        tracing::warn!("address space is limited: this host offers {slots} of the {wanted} slots asked for");
    }
    if sandbox.form(GuestKind::Worker).reservation != Reservation::WHOLE {
        tracing::warn!(
            "address space is limited: workers run with bounds checks, which takes longer; `ulimit -v unlimited`, or \
             `vm.overcommit_memory` below 2, lifts the limit"
        );
    }
}

/// Opens the shared cache of compiled modules, or the host's own if there is none or it cannot be used.
fn open_compiled(config: &HostConfig) -> Result<CompiledCache, CacheError> {
    if let Some(shared) = &config.shared_compiled {
        match CompiledCache::open(shared, SHARED_BYTES_MAX) {
            Ok(cache) => return Ok(cache),
            Err(error) => tracing::warn!(%error, "compiled modules are not shared with other programs"),
        }
    }
    CompiledCache::open(&config.state_folder.join("modules"), CACHE_BYTES_MAX)
}
