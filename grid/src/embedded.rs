//! A manager in the user's own program, with local workers if the program wants them.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use grid_disk::KeyFileError;
use grid_disk::Machine;
use grid_host::compile::Compiler;
use grid_host::sandbox::Policy;
use grid_host::{Drain, Host, HostError, HostProgress};
use grid_manager::{CatalogError, ManagerConfig, StartError, TraceRecord};
use grid_net::{Alpn, Timing, run_as_task};
use grid_protocol::client::{Channel, Denial, Reply, Request};
use grid_protocol::key::PublicKey;
use grid_protocol::role::Role;
use tokio::sync::{mpsc, watch};

use grid_client::{Client, unexpected};

use crate::local;

/// A manager in this process, and a [`Client`] of it: all methods of [`Client`] can be called on it.
///
/// Dropping it stops the manager and its local host, and waits for the threads that they run on.
pub struct Manager {
    client: Client,
    server: grid_manager::ManagerServer,
    hosts: Vec<LocalHost>,
    // Last, so that a temporary state folder outlives everything that works in it.
    _temporary: Option<tempfile::TempDir>,
}

struct LocalHost {
    drain: Drain,
    thread: Option<thread::JoinHandle<()>>,
    /// Closed when the thread has ended.
    serving: watch::Receiver<()>,
}

/// Configuration of a [`Manager`]; made by [`Manager::builder`].
#[must_use = "nothing is started before `start`"]
pub struct ManagerBuilder {
    home: PathBuf,
    state: Option<PathBuf>,
    listen: Option<SocketAddr>,
    advertise: Vec<String>,
    open_join: Option<bool>,
    local_slots: u32,
    away_grace: Duration,
    timing: Timing,
    policy: Policy,
    program: Option<PathBuf>,
}

/// Why a manager could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// The manager itself did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its local host could not be set up.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Its key file could not be read.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Its catalog could not be changed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The system gave no temporary folder or no thread, or the local host did not join.
    #[error("the system gives no folder or no thread: {0}")]
    System(#[from] std::io::Error),
}

impl ManagerError {
    /// What the operator can do about it, as a hint for the command line.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Start(error) => error.help(),
            Self::Catalog(error) => error.help(),
            _ => {
                "choose another folder with --state, if it is the disk; `ulimit -a` shows the limits of a process"
            }
        }
    }
}

impl Manager {
    /// Describes a manager. By default it serves this process only, keeps no state after it ends, and has no local
    /// workers.
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder {
            home: grid_disk::home(),
            state: None,
            listen: None,
            advertise: Vec::new(),
            open_join: None,
            local_slots: 0,
            away_grace: Duration::from_secs(10),
            timing: Timing::default(),
            policy: Policy::default(),
            program: None,
        }
    }

    /// The manager's key, which hosts and clients pin.
    pub fn manager_key(&self) -> PublicKey {
        self.server.key()
    }

    /// The address that it listens on, with the port that the system chose; `None` if it serves this process only.
    pub fn listening(&self) -> Option<SocketAddr> {
        self.server.listening()
    }

    /// Makes a ticket: a line of text that gives one key this role, once, within a day.
    ///
    /// # Errors
    ///
    /// [`Denial`]: `Conflict` if the manager does not listen, `ManagerFault` if its disk fails.
    pub async fn ticket(&self, role: Role) -> Result<String, Denial> {
        match self.client.request(Request::TicketNew { role, ttl_s: TICKET_TTL_S }).await? {
            Reply::Ticket { text } => Ok(text),
            other => Err(unexpected(&other)),
        }
    }

    /// Gives a key a role, as `grid key trust` does.
    ///
    /// # Errors
    ///
    /// [`CatalogError`] if it cannot be written to disk.
    pub fn grant(&self, key: PublicKey, role: Role) -> Result<(), CatalogError> {
        self.server.grant(key, role)
    }

    /// What the manager traces from now on, for whoever hands it on to a collector; whoever is slow misses some. `None` if
    /// somebody takes it already.
    pub fn traces(&self) -> Option<mpsc::Receiver<TraceRecord>> {
        self.server.traces()
    }

    /// Access for a page and an HTTP API that this program serves, as `grid up` does.
    pub fn http_access(&self) -> grid_manager::HttpAccess {
        self.server.http_access()
    }

    /// Waits until the manager or its local host no longer serves. If nobody stopped it, its thread has panicked: a
    /// program whose purpose is the manager must exit then.
    pub async fn ended(&self) {
        let hosts = self.hosts.iter().map(|host| host.serving.clone());
        let (ended, mut has_ended) = mpsc::channel::<()>(1);
        for mut serving in hosts {
            let ended = ended.clone();
            tokio::spawn(async move {
                while serving.changed().await.is_ok() {}
                // The caller may have dropped the wait.
                let _ = ended.send(()).await;
            });
        }
        tokio::select! {
            () = self.server.ended() => {}
            _ = has_ended.recv() => {}
        }
    }

    /// Stops this program's workers as [`Client::stop_all`] does, then the manager and its local host.
    pub async fn stop(self, grace: Duration) {
        self.client.stop_all(grace).await;
        drop(self);
    }
}

/// How long a ticket is valid, in seconds: one day.
pub const TICKET_TTL_S: u64 = 24 * 3600;

impl Deref for Manager {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.server.stop();
        for host in &mut self.hosts {
            host.drain.begin();
            if let Some(thread) = host.thread.take()
                && thread.join().is_err()
            {
                tracing::error!("a local host's thread panicked");
            }
        }
    }
}

impl ManagerBuilder {
    /// The folder that the programs of this user share: the local host caches compiled modules in `folder/compiled` (up
    /// to 2 GiB, the least recently used are removed first). Default: that of the command line, `GRID_HOME` or else a
    /// folder in the user's home.
    pub fn home(mut self, folder: impl AsRef<Path>) -> Self {
        self.home = folder.as_ref().to_path_buf();
        self
    }

    /// Keeps key, store and modules in `folder`, for the next start. By default they are in a temporary folder, which
    /// is removed when the manager is dropped.
    pub fn state(mut self, folder: impl AsRef<Path>) -> Self {
        self.state = Some(folder.as_ref().to_path_buf());
        self
    }

    /// Listens on this UDP address for hosts and clients; with port 0 the system chooses the port. By default the
    /// manager serves this process only.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Adds an address, as `host:port`, that tickets name instead of the one that the manager listens on.
    pub fn advertise(mut self, address: &str) -> Self {
        self.advertise.push(address.to_owned());
        self
    }

    /// Whether hosts may join without approval: only for a manager that strangers cannot reach. True by default if the
    /// manager listens on a loopback address.
    pub fn open_join(mut self, open: bool) -> Self {
        self.open_join = Some(open);
        self
    }

    /// Runs a local host with this number of slots in this process, without a socket and without a ticket; none by
    /// default.
    pub fn local_slots(mut self, slots: u32) -> Self {
        self.local_slots = slots;
        self
    }

    /// What the local host allows all of its workers together, and each of them.
    pub fn local_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Compiles modules and runs guests of the local host in locked-down child processes: `program`, which must be `grid`
    /// or `grid-host`, or call `grid_host::command::child` first. By default both happen in this process, which is meant
    /// for a program that runs only its own modules.
    pub fn local_program(mut self, program: PathBuf) -> Self {
        self.program = Some(program);
        self
    }

    /// How long a host's connection may stay lost before the manager gives up its workers: 10 s by default, after the
    /// time in which [`Timing`] notices the loss.
    pub fn away_grace(mut self, grace: Duration) -> Self {
        self.away_grace = grace;
        self
    }

    /// How soon the manager and its local host notice a silent connection.
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Starts the manager on a thread of its own; when this returns it listens, and its local host has joined.
    ///
    /// # Errors
    ///
    /// [`ManagerError`], each variant with its cause.
    pub fn start(self) -> Result<Manager, ManagerError> {
        let (manager, local) = self.start_with(grid_manager::ManagerServer::start)?;
        if let Some(local) = local {
            local.recv().map_err(|_| host_did_not_join())?;
        }
        Ok(manager)
    }

    /// Starts the manager on the tokio runtime of the caller; when this returns it listens, and its local host has
    /// joined.
    ///
    /// A message then needs no change of threads between manager and program, which halves its time. But a program that
    /// blocks its runtime for seconds blocks the manager as well, and hosts take the manager for dead.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub async fn start_here(self) -> Result<Manager, ManagerError> {
        let (manager, local) = self.start_with(grid_manager::ManagerServer::start_here)?;
        if let Some(local) = local {
            let joined = tokio::task::spawn_blocking(move || local.recv()).await;
            joined.ok().and_then(Result::ok).ok_or_else(host_did_not_join)?;
        }
        Ok(manager)
    }

    fn start_with(
        self,
        start: impl FnOnce(ManagerConfig) -> Result<grid_manager::ManagerServer, StartError>,
    ) -> Result<(Manager, Option<Receiver<()>>), ManagerError> {
        let (folder, temporary) = match self.state {
            Some(folder) => (folder, None),
            None => {
                let temporary = tempfile::Builder::new().prefix("grid-").tempdir()?;
                (temporary.path().to_path_buf(), Some(temporary))
            }
        };
        let loopback = self.listen.is_some_and(|address| address.ip().is_loopback());
        let server = start(ManagerConfig {
            listen: self.listen,
            advertise: self.advertise,
            open_join: self.open_join.unwrap_or(loopback),
            away_grace: self.away_grace,
            timing: self.timing,
            ..ManagerConfig::new(folder.clone())
        })?;
        // The program that the manager is part of publishes under the manager's own key.
        let key = grid_disk::load_key(&folder.join("manager.key"))?;
        server.grant(key.public(), Role::Admin)?;
        let (mut hosts, mut joined) = (Vec::new(), None);
        if self.local_slots > 0 {
            let (host, has_joined) = local_host(
                &server,
                grid_host::HostConfig {
                    name: "local".to_owned(),
                    keeps_modules: false,
                    shared_compiled: Some(self.home.join(COMPILED_FOLDER)),
                    slots: self.local_slots,
                    memory_bytes: u64::from(self.local_slots)
                        .saturating_mul(self.policy.limits.memory_bytes as u64),
                    policy: self.policy,
                    compiler: Compiler::by(self.program.clone()),
                    own_publisher: Some(key.public()),
                    executor: self.program,
                    timing: self.timing,
                    ..grid_host::HostConfig::new(folder.join("local-host"))
                },
            )?;
            hosts.push(host);
            joined = Some(has_joined);
        }
        let client = Client::new(
            Arc::new(local::Local(server.local_client(EMBEDDED_CHANNEL))),
            key,
            Machine::default(),
        );
        Ok((Manager { client, server, hosts, _temporary: temporary }, joined))
    }
}

fn host_did_not_join() -> ManagerError {
    std::io::Error::other("the local host did not join").into()
}

/// The channel of the program that the manager runs in.
const EMBEDDED_CHANNEL: Channel = Channel(1);

/// The folder of compiled modules within a user's home folder of the grid.
pub const COMPILED_FOLDER: &str = "compiled";

fn local_host(
    server: &grid_manager::ManagerServer,
    config: grid_host::HostConfig,
) -> Result<(LocalHost, Receiver<()>), ManagerError> {
    let host = Host::new(config)?;
    let conn = server.connect_local(host.key(), Alpn::Host);
    let drain = host.drain();
    let (joined, has_joined) = std::sync::mpsc::sync_channel(1);
    let (serves, serving) = watch::channel(());
    let work = move || {
        // Dropped when the thread ends, however it does.
        let _serves = serves;
        // Made and dropped on this thread: a runtime must not be dropped inside another, where the caller may be.
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, "the system gives the local host no runtime"),
        };
        let progress = move |progress| {
            if matches!(progress, HostProgress::Joined { .. }) {
                // `start` waits for the first join only.
                let _ = joined.try_send(());
            }
        };
        let ended = run_as_task(&runtime, async move { host.serve_local(conn, progress).await });
        tracing::debug!(%ended, "the local host has ended");
    };
    let thread = thread::Builder::new().name("grid-local-host".to_owned()).spawn(work)?;
    // The caller waits for the join, so that the slots can be used when `start` returns.
    Ok((LocalHost { drain, thread: Some(thread), serving }, has_joined))
}
