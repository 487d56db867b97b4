//! The manager as a whole: starts it, accepts connections, runs its timers, stops it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use grid_net::{Alpn, BindError, Conn, Endpoint, code, run_as_task};
use grid_protocol::key::{PublicKey, SecretKey};
use grid_protocol::time::Moment;
use tokio::runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::activity::{Activity, TraceRecord};
use crate::api;
use crate::audit::AuditLog;
use crate::blobs::store::BlobStore;
use crate::catalog::{Catalog, CatalogError};
use crate::config::ManagerConfig;
use crate::context::Context;
use crate::context::trust;
use crate::jobs::commit;
use crate::jobs::coordinator::Coordinator;
use crate::jobs::store::{JobStore, RecoverError};
use crate::session;
use crate::session::http::HttpAccess;
use crate::session::local::LocalClient;
use crate::store::Table;

/// A manager that runs until it is stopped or dropped.
pub struct ManagerServer {
    context: Arc<Context>,
    key: SecretKey,
    listening: Option<SocketAddr>,
    local: mpsc::UnboundedSender<Conn>,
    stopping: watch::Sender<bool>,
    /// Its sender is dropped when the manager serves nobody any more.
    serving: watch::Receiver<()>,
    thread: Option<thread::JoinHandle<Result<(), StartError>>>,
}

/// The manager could not be started: the operator must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The state folder cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The manager cannot listen on its address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system refuses to start a thread or a runtime.
    #[error("the system gives no thread: {0}")]
    Thread(std::io::Error),
}

impl StartError {
    /// What the operator can do about it, for the command line.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Catalog(error) => error.help(),
            Self::Bind(_) => "choose another address with --listen; with port 0 the system chooses the port",
            Self::Thread(_) => "the machine is short of something: `ulimit -a` and `free` show of what",
        }
    }
}

impl ManagerServer {
    /// Starts a manager on a thread of its own. When this returns, it listens and has loaded the state folder.
    ///
    /// # Errors
    ///
    /// [`StartError`]: the operator must act.
    pub fn start(config: ManagerConfig) -> Result<Self, StartError> {
        let (begun, has_begun) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("grid-manager".to_owned())
            .spawn(move || run(config, &begun))
            .map_err(StartError::Thread)?;
        match has_begun.recv() {
            Ok(mut manager) => {
                manager.thread = Some(thread);
                Ok(manager)
            }
            Err(_) => Err(match thread.join() {
                Ok(Err(error)) => error,
                _ => StartError::Thread(std::io::Error::other("the manager's thread panicked as it started")),
            }),
        }
    }

    /// Starts a manager on the caller's runtime, which the program must not block from then on.
    ///
    /// Messages between the manager and the program then do not change threads.
    ///
    /// # Errors
    ///
    /// [`StartError`]: the operator must act.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start_here(config: ManagerConfig) -> Result<Self, StartError> {
        let (manager, work) = Self::bind(config)?;
        tokio::spawn(work);
        Ok(manager)
    }

    fn bind(config: ManagerConfig) -> Result<(Self, impl Future<Output = ()> + Send + 'static), StartError> {
        let catalog = Catalog::open(&config.state_folder, config.store.clone())?;
        let key = catalog.key().clone();
        let opened = config.listen.map(|bind| Endpoint::serve_on(&config.network, bind, &key, config.timing));
        let endpoint = opened.transpose()?;
        let listening = endpoint.as_ref().and_then(|endpoint| endpoint.local_address().ok());
        let addresses = advertised(&config, listening);
        let job_store = JobStore::new(catalog.store());
        let recovered =
            job_store.recover(catalog.incarnation(), Moment::ZERO).map_err(|error| match error {
                RecoverError::Store(error) => CatalogError::from(error),
                RecoverError::Record => CatalogError::Record { table: Table::Job },
            })?;
        let payloads = BlobStore::open(&config.state_folder, catalog.store())
            .map_err(|error| CatalogError::Payload { reason: error.to_string() })?;
        let audit = AuditLog::open(catalog.store()).map_err(CatalogError::from)?;
        let activity = Arc::new(Activity::new(config.machine.clone()));
        let coordinator = Coordinator::new(recovered, activity);
        #[cfg(feature = "fault-injection")]
        let coordinator = coordinator.sabotaged(config.sabotage);
        #[cfg(feature = "fault-injection")]
        let sabotage = config.sabotage;
        let context = Arc::new(Context::new(config, addresses, catalog, coordinator, payloads, audit));
        #[cfg(feature = "fault-injection")]
        {
            context.cluster().router.sabotage = sabotage;
        }
        // The manager may have crashed between a revocation and its consequences.
        trust::apply(&context, &context.catalog_now());
        let (local, local_conns) = mpsc::unbounded_channel();
        let (stopping, stopped) = watch::channel(false);
        let work = serve(context.clone(), endpoint, local_conns, stopped);
        let (serves, serving) = watch::channel(());
        let work = async move {
            // Dropped when the work ends, and also when it panics.
            let _serves = serves;
            work.await;
        };
        Ok((Self { context, key, listening, local, stopping, serving, thread: None }, work))
    }

    #[cfg(feature = "fault-injection")]
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// The manager's public key.
    pub fn key(&self) -> PublicKey {
        self.key.public()
    }

    /// The address it listens on, with the port that the system chose; `None` if it does not listen.
    pub fn listening(&self) -> Option<SocketAddr> {
        self.listening
    }

    /// The addresses that are written into tickets.
    pub fn addresses(&self) -> &[String] {
        &self.context.addresses
    }

    /// Opens a client for the program that embeds the manager.
    pub fn local_client(&self, channel: grid_protocol::client::Channel) -> LocalClient {
        LocalClient::open(self.context.clone(), channel, self.serving.clone())
    }

    /// Opens access for the page and the HTTP API, which this process serves.
    pub fn http_access(&self) -> HttpAccess {
        HttpAccess::new(self.context.clone(), self.serving.clone())
    }

    /// What is traced from now on, for whoever hands it on. Whoever is slow misses some.
    ///
    /// `None` if somebody takes it already.
    pub fn traces(&self) -> Option<mpsc::Receiver<TraceRecord>> {
        self.context.activity.take_traces()
    }

    /// Connects a peer in this process, for example a host; returns the peer's end.
    pub fn connect_local(&self, peer: PublicKey, alpn: Alpn) -> Conn {
        let (ours, theirs) = Conn::local_pair(self.key(), peer, alpn);
        // The manager's end is the one whose peer is `peer`.
        let (for_manager, for_peer) = (theirs, ours);
        let (for_manager, for_peer) =
            if for_manager.peer() == peer { (for_manager, for_peer) } else { (for_peer, for_manager) };
        // If the manager has stopped, its end is dropped, which closes the connection.
        let _ = self.local.send(for_manager);
        for_peer
    }

    /// Gives a key a role, as `grid key trust` does: for the operator's own key at the first start. Blocks on the
    /// disk.
    ///
    /// # Errors
    ///
    /// [`CatalogError`]: the change could not be written.
    pub fn grant(&self, key: PublicKey, role: grid_protocol::role::Role) -> Result<(), CatalogError> {
        self.context.with_catalog(|catalog| catalog.grant(key, role))
    }

    /// Waits until the manager serves nobody any more, because it was stopped or its thread panicked. A program that
    /// is only a manager must then exit, so that its supervisor restarts it.
    pub async fn ended(&self) {
        let mut serving = self.serving.clone();
        // Nothing is ever sent; `changed` fails when the sender is dropped.
        while serving.changed().await.is_ok() {}
    }

    /// Stops the manager: closes every connection, and waits for the manager's own thread to end, if it has one.
    pub fn stop(&mut self) {
        let _ = self.stopping.send(true);
        // If the manager shares a runtime that is blocked at present, its own task could not close them.
        self.context.cluster().hang_up();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the manager's thread panicked");
        }
    }
}

impl Drop for ManagerServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a manager on this thread and hands it to `begun`. The runtime is made and dropped on this thread, because
/// the caller of [`ManagerServer::start`] may be on another runtime, where dropping one is not allowed.
fn run(config: ManagerConfig, begun: &SyncSender<ManagerServer>) -> Result<(), StartError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let (manager, work) = {
        let _context = runtime.enter();
        ManagerServer::bind(config)?
    };
    // `start` waits for it.
    let _ = begun.send(manager);
    run_as_task(&runtime, work);
    Ok(())
}

async fn serve(
    context: Arc<Context>,
    endpoint: Option<Endpoint>,
    mut local: mpsc::UnboundedReceiver<Conn>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut peers = JoinSet::new();
    let leaving = context.cluster().coordinator.leaving();
    for job in leaving {
        let context = context.clone();
        peers.spawn(async move {
            // If this fails, the next start tries again.
            let _ = api::jobs::sweep(&context, job).await;
        });
    }
    let timer = run_timer(&context);
    let late = run_late_acknowledgements(&context);
    let committing = commit::run(&context);
    let auditing = context.audit.clone().run(|log| {
        let context = context.clone();
        async move {
            // The manager is going down if the thread fails; nobody is left to be told.
            context.off_thread(move || log.write()).await.unwrap_or(Ok(()))
        }
    });
    tokio::pin!(timer, late, committing, auditing);
    loop {
        tokio::select! {
            biased;
            _ = stopped.changed() => break,
            () = &mut committing => {}
            () = &mut timer => {}
            () = &mut late => {}
            () = &mut auditing => {}
            Some(conn) = local.recv() => {
                peers.spawn(welcome(context.clone(), conn));
            }
            Some(incoming) = next_incoming(endpoint.as_ref()) => {
                let context = context.clone();
                peers.spawn(async move {
                    match incoming.answer().await {
                        Ok(conn) => welcome(context, conn).await,
                        Err(error) => tracing::debug!(%error, "a handshake failed"),
                    }
                });
            }
            Some(_) = peers.join_next() => {}
        }
    }
    drop(peers);
    // Reports of hosts that are not on disk yet are written now, so that the work is not done again.
    commit::finish(&context).await;
    let log = context.audit.clone();
    if let Ok(Err(error)) = context.off_thread(move || log.write()).await {
        tracing::error!(%error, "the end of the audit log is not on disk");
    }
    if let Some(endpoint) = endpoint {
        endpoint.close(code::SHUTDOWN, "the manager shuts down");
        endpoint.wait_idle(Duration::from_secs(1)).await;
    }
}

async fn next_incoming(endpoint: Option<&Endpoint>) -> Option<grid_net::Incoming> {
    match endpoint {
        Some(endpoint) => endpoint.accept().await,
        None => std::future::pending().await,
    }
}

async fn welcome(context: Arc<Context>, conn: Conn) {
    let newcomer = match conn.remote_address().map(|address| context.newcomers.come(address)) {
        Some(None) => {
            tracing::debug!(from = conn.remote(), "too many handshakes of one source");
            conn.close(
                code::REFUSED,
                "too many connections from your address have not said who they are; try again",
            );
            return;
        }
        newcomer => newcomer.flatten(),
    };
    match conn.alpn() {
        Alpn::Host => session::host::serve(context, conn, newcomer).await,
        Alpn::Client => session::client::serve(context, conn, newcomer).await,
    }
}

/// Longest interval between two runs of the cluster's timeouts.
const TICK: Duration = Duration::from_secs(1);

async fn run_timer(context: &Context) {
    let started = context.started;
    let mut tick = Instant::now() + TICK;
    loop {
        let due = {
            let cluster = context.cluster();
            cluster.scheduler.poll_timeout().into_iter().chain(cluster.coordinator.jobs.poll_timeout()).min()
        };
        let machine = &context.config.machine;
        let due = due.map_or(tick, |due| tick.min(started + machine.stretch(due.since(Moment::ZERO))));
        tokio::select! {
            biased;
            () = sleep_until(due) => {
                tick = tick.max(Instant::now() + TICK);
                let now = context.now();
                let mut cluster = context.cluster();
                cluster.handle_timeout(now);
                cluster.carry_out(now);
            }
            () = context.rescheduled.notified() => {}
        }
    }
}

/// Longest wait of an acknowledgement for a message that carries it.
const LATE: Duration = Duration::from_millis(10);

async fn run_late_acknowledgements(context: &Context) {
    let late = context.cluster().router.late.clone();
    loop {
        late.notified().await;
        sleep(LATE).await;
        context.cluster().router.send_late_acknowledgements();
    }
}

/// The addresses to write into tickets.
fn advertised(config: &ManagerConfig, listening: Option<SocketAddr>) -> Vec<String> {
    let Some(listening) = listening else {
        return Vec::new();
    };
    if !config.advertise.is_empty() {
        return config.advertise.clone();
    }
    if !listening.ip().is_unspecified() {
        return vec![listening.to_string()];
    }
    // The local address that packets to the outside would carry; nothing is sent.
    let routes = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    let outside = routes.into_iter().filter_map(|(from, to)| {
        let socket = std::net::UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        let address = socket.local_addr().ok()?.ip();
        (!address.is_unspecified()).then(|| SocketAddr::new(address, listening.port()).to_string())
    });
    let mut addresses: Vec<_> = outside.collect();
    addresses.push(SocketAddr::new([127, 0, 0, 1].into(), listening.port()).to_string());
    addresses
}

#[cfg(test)]
mod ping_tests;
#[cfg(test)]
mod tests;
