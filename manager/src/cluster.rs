//! The cluster: hosts, workers and routes, for as long as the manager runs.

pub(crate) mod client_session;
pub(crate) mod connection;
pub(crate) mod local_mail;
pub(crate) mod newcomers;
pub(crate) mod peer_queue;
pub(crate) mod pings;
pub(crate) mod resume;
pub(crate) mod route;
pub(crate) mod router;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use grid_protocol::activity::{GridEvent, HostActivity};
use grid_protocol::client::{self, DeploymentInfo, HostInfo, HostState, WorkerInfo, WorkerState};
use grid_protocol::control::ManagerEnd;
use grid_protocol::host::{self, HostCapacity};
use grid_protocol::id::{SessionId, WorkerId};
use grid_protocol::key::PublicKey;
use grid_protocol::limits::LOG_LINES_KEPT_MAX;
use grid_protocol::time::{Moment, millis};
use grid_protocol::wall::Wall;
use grid_protocol::worker::{End, LogLine};
use grid_scheduler::{
    Decision, Deployment, HostChange, Owner, Presence, Scheduler, SchedulerConfig, Spec, WorkerPhase,
};
use hashbrown::HashMap;
use tokio::sync::Notify;

use crate::activity::Activity;
use crate::catalog::banned::Banned;
use crate::cluster::connection::{ConnectionHandle, Ending};
use crate::cluster::newcomers::PeerSource;
use crate::cluster::peer_queue::PeerQueueId;
use crate::cluster::pings::Pings;
use crate::cluster::router::MessageRouter;
use crate::jobs::coordinator::{Coordinator, HostRef};

/// State that is lost when the manager ends. One lock guards all of it.
pub(crate) struct Cluster {
    pub(crate) scheduler: Scheduler,
    pub(crate) router: MessageRouter,
    pub(crate) coordinator: Coordinator,
    pub(crate) sessions: HashMap<PublicKey, HostSession>,
    pub(crate) pending: HashMap<PublicKey, PendingHost>,
    /// Connections of clients, by number, so that a revocation can close them.
    pub(crate) clients: HashMap<u64, ConnectionHandle>,
    /// Revoked keys, and modules of revoked publishers.
    pub(crate) banned: Banned,
    nonce: u64,
    /// Workers that have ended, newest last, at most [`ENDED_KEPT_MAX`].
    ended: VecDeque<WorkerInfo>,
    logs: HashMap<WorkerId, WorkerLog>,
}

/// A host's session: what outlives its connections.
pub(crate) struct HostSession {
    pub(crate) queue: PeerQueueId,
    pub(crate) session: SessionId,
    /// Too many commands were waiting, and they were dropped: the host must begin a new session.
    pub(crate) forsaken: bool,
    pub(crate) control: ManagerEnd,
    pub(crate) control_wake: Arc<Notify>,
    pub(crate) conn: Option<ConnectionHandle>,
    /// The number of the newest connection, by which an older one finds that it was replaced.
    pub(crate) conn_id: u64,
    pub(crate) module_bytes_sent: u64,
    pub(crate) compilations: u32,
    pub(crate) compile_us: u64,
    pub(crate) pings: Pings,
    pub(crate) address: String,
    /// The host takes the times of attempts if it is asked to.
    pub(crate) traces: bool,
}

/// A host that waits for approval.
pub(crate) struct PendingHost {
    pub(crate) capacity: HostCapacity,
    pub(crate) address: String,
    pub(crate) source: Option<PeerSource>,
    pub(crate) decided: Arc<Notify>,
    pub(crate) conn: ConnectionHandle,
}

/// The newest log lines of a worker, and how many older ones were dropped.
#[derive(Debug, Default, Clone)]
pub(crate) struct WorkerLog {
    pub(crate) lines: VecDeque<LogLine>,
    pub(crate) dropped: u64,
}

/// Ended workers that the manager remembers, with their logs.
const ENDED_KEPT_MAX: usize = 1000;

/// Hosts that may wait for approval at the same time: strangers can make any number of keys.
const PENDING_HOSTS_MAX: usize = 256;

/// Those of one source, so that hosts from elsewhere still find room.
const PENDING_HOSTS_OF_A_SOURCE_MAX: usize = 64;

/// Commands that may wait for a host that is not connected, or does not confirm them; and their bytes.
const COMMANDS_WAITING_MAX: usize = 65_536;
const COMMANDS_BYTES_MAX: usize = 16 << 20;

/// Bytes of waiting commands at which a host that reports workers it was not given must begin a new session.
const UNKNOWN_BYTES_MAX: usize = 1 << 20;

/// Workers that one command to a host names: a frame of 1 MiB holds ten times as many.
const WORKERS_A_FRAME: usize = 8192;

impl Cluster {
    /// Names the limit that keeps this host from waiting for approval, if any. One that waits already may wait again.
    pub(crate) fn no_room_to_wait(&self, peer: &PublicKey, waiting: &PendingHost) -> Option<&'static str> {
        if self.pending.contains_key(peer) {
            return None;
        }
        let neighbours = self.pending.values().filter(|other| other.source == waiting.source).count();
        if neighbours >= PENDING_HOSTS_OF_A_SOURCE_MAX {
            Some("host of your address that waits for approval")
        } else if self.pending.len() >= PENDING_HOSTS_MAX {
            Some("host that waits for approval")
        } else {
            None
        }
    }

    /// A cluster without hosts. Its `deployments` are filled as hosts join.
    pub(crate) fn new<'a>(
        config: SchedulerConfig,
        deployments: impl Iterator<Item = &'a DeploymentInfo>,
        coordinator: Coordinator,
    ) -> Self {
        let mut scheduler = Scheduler::new(config);
        let mut router = MessageRouter::default();
        for deployment in deployments {
            let owner = Owner { key: deployment.owner, channel: deployment.request.channel };
            router.open_remote(owner, SessionId([0; 16]), Moment::ZERO);
            scheduler.add_deployment(standing(deployment));
        }
        Self {
            scheduler,
            router,
            coordinator,
            sessions: HashMap::new(),
            pending: HashMap::new(),
            clients: HashMap::new(),
            banned: Banned::default(),
            nonce: 0,
            ended: VecDeque::new(),
            logs: HashMap::new(),
        }
    }

    /// Carries out the scheduler's decisions, and then the coordinator's.
    pub(crate) fn carry_out(&mut self, now: Moment) {
        while let Some(decision) = self.scheduler.poll_decision() {
            match decision {
                Decision::Start { host, workers, spec } => self.start(host, &workers, &spec, now),
                Decision::Stop { host, workers, grace_ms } => {
                    for workers in workers.chunks(WORKERS_A_FRAME) {
                        self.command(host, &host::HostCommand::Stop { workers: workers.to_vec(), grace_ms });
                    }
                }
                Decision::Left { worker, worker_was, end } => self.left(worker, &worker_was, end),
                Decision::HostGone { host } => {
                    if let Some(queue) = self.sessions.get(&host).map(|session| session.queue) {
                        self.router.host_gone(queue);
                    }
                }
            }
        }
        let Self { coordinator, scheduler, .. } = self;
        let hosts = scheduler.hosts();
        coordinator
            .carry_out(now, |key| hosts.get(&key).map_or("a host that is gone", |host| &host.capacity.name));
    }

    fn start(&mut self, host: PublicKey, workers: &[WorkerId], spec: &Spec, now: Moment) {
        let Some(queue) = self.sessions.get(&host).map(|session| session.queue) else {
            return;
        };
        for worker in workers {
            self.router.open(*worker, spec.owner, queue, Duration::from_millis(spec.ttl_ms), now);
        }
        let known = self.scheduler.hosts().get(&host);
        let has_processes = known.is_some_and(|host| Wall::Process.stands(&host.capacity.labels));
        for workers in workers.chunks(WORKERS_A_FRAME) {
            let spawn = host::SpawnWorker {
                workers: workers.to_vec(),
                module: spec.module,
                arguments: spec.arguments.clone(),
                limits: spec.limits,
            };
            let command = if has_processes {
                host::HostCommand::SpawnFor { owner: spec.owner.key, spawn }
            } else {
                host::HostCommand::Spawn(spawn)
            };
            self.command(host, &command);
        }
    }

    fn left(&mut self, id: WorkerId, worker: &grid_scheduler::PlacedWorker, end: End) {
        self.router.left(id, end.clone());
        self.activity().note(GridEvent::WorkerEnded {
            worker: id,
            host: worker.host,
            owner: worker.spec.owner.key,
            end: end.label().to_owned(),
            accident: end.is_accident(),
        });
        let info = WorkerInfo { state: WorkerState::Ended(end), ..self.worker_info(id, worker) };
        self.ended.push_back(info);
        if self.ended.len() > ENDED_KEPT_MAX
            && let Some(oldest) = self.ended.pop_front()
        {
            self.logs.remove(&oldest.id);
        }
    }

    /// Sends a command to a host, now or when it reconnects.
    pub(crate) fn command(&mut self, host: PublicKey, command: &host::HostCommand) {
        self.send_within(host, command, COMMANDS_BYTES_MAX);
    }

    /// As [`Self::command`]. If `bytes_max` bytes of commands wait already, drops them all and ends the session.
    fn send_within(&mut self, host: PublicKey, command: &host::HostCommand, bytes_max: usize) {
        let Some(session) = self.sessions.get_mut(&host).filter(|session| !session.forsaken) else {
            return;
        };
        if session.control.backlog() < COMMANDS_WAITING_MAX && session.control.backlog_bytes() < bytes_max {
            session.control.send(command);
            session.control_wake.notify_one();
            return;
        }
        tracing::warn!(host = %host.fingerprint(), "a host takes no commands, and must begin anew");
        session.forsaken = true;
        session.drop_commands();
        if let Some(conn) = &session.conn {
            conn.end(Ending::Protocol("this host takes no commands"));
        }
    }

    /// Handles an event that a host reports. About workers that are not on this host, it accepts only log lines that
    /// continue a log; the host is told to stop those that it has started.
    pub(crate) fn handle_event(&mut self, host: PublicKey, mut event: host::HostEvent, now: Moment) {
        event.clamp();
        let Self { coordinator, scheduler, .. } = self;
        let name = scheduler.hosts().get(&host).map_or("", |host| &host.capacity.name);
        let Some(event) = coordinator.handle_event(now, &HostRef { key: host, name }, event) else {
            return;
        };
        match event {
            host::HostEvent::Started { workers } => {
                let (known, unknown): (Vec<_>, Vec<_>) =
                    workers.into_iter().partition(|worker| self.sits_on(*worker, host));
                for worker in known {
                    self.handle_started(host, worker, now);
                }
                if !unknown.is_empty() {
                    // The workers were given up while the host was not connected.
                    let stop = host::HostCommand::Stop { workers: unknown, grace_ms: 0 };
                    self.send_within(host, &stop, UNKNOWN_BYTES_MAX);
                }
            }
            host::HostEvent::Ended { worker, end, sent, settled } if self.sits_on(worker, host) => {
                self.router.ended_at(worker, sent, settled);
                self.scheduler.handle_worker_ended(now, worker, end);
            }
            host::HostEvent::Log { worker, lines, dropped }
                if self.sits_on(worker, host) || self.sat_on(worker, host) =>
            {
                self.logs.entry(worker).or_default().add(lines, dropped);
            }
            host::HostEvent::ModuleReady { module, compile_us, .. } => {
                if let (Some(session), Some(compile_us)) = (self.sessions.get_mut(&host), compile_us) {
                    session.compilations += 1;
                    session.compile_us = session.compile_us.saturating_add(compile_us);
                    let known = self.scheduler.hosts().get(&host);
                    let name = known.map(|host| host.capacity.name.clone()).unwrap_or_default();
                    let change = HostActivity::Compiled { module, us: compile_us };
                    self.activity().note(GridEvent::Host { host, name, change });
                }
            }
            host::HostEvent::Draining => self.handle_host(now, host, HostChange::Draining),
            host::HostEvent::Pong { nonce, worker_status } => {
                if let Some(session) = self.sessions.get_mut(&host) {
                    session.pings.answer(nonce, worker_status);
                }
            }
            _ => {}
        }
    }

    /// Something happened to a host: tells both schedulers, and those who look.
    pub(crate) fn handle_host(&mut self, now: Moment, host: PublicKey, change: HostChange<'_>) {
        self.note_host(host, change);
        self.scheduler.handle_host(now, host, change);
        self.coordinator.jobs.handle_host(now, host, change);
    }

    fn note_host(&self, host: PublicKey, change: HostChange<'_>) {
        let known = self.scheduler.hosts().get(&host);
        let name = known.map(|host| host.capacity.name.clone());
        let (name, change) = match (change, known.map(|host| host.presence)) {
            (HostChange::Joined { capacity, resumed: false }, _) => {
                (Some(capacity.name.clone()), HostActivity::Joined { slots: capacity.slots })
            }
            (HostChange::Joined { .. }, Some(Presence::Away { .. })) => (name, HostActivity::Returned),
            (HostChange::Draining, Some(Presence::Ready)) => (name, HostActivity::Draining),
            (HostChange::Away, Some(Presence::Ready | Presence::Draining)) => (name, HostActivity::Away),
            (HostChange::Gone { .. }, Some(_)) => (name, HostActivity::Gone),
            _ => return,
        };
        if let Some(name) = name {
            self.activity().note(GridEvent::Host { host, name, change });
        }
    }

    fn activity(&self) -> &Activity {
        &self.coordinator.activity
    }

    fn handle_started(&mut self, host: PublicKey, id: WorkerId, now: Moment) {
        self.scheduler.handle_worker_started(now, id);
        if let Some(worker) = self.scheduler.workers().get(&id) {
            let (module, owner) = (worker.spec.module, worker.spec.owner.key);
            self.activity().note(GridEvent::WorkerStarted { worker: id, module, host, owner });
            let event = client::ClientEvent::Joined {
                worker: id,
                host,
                module: worker.spec.module,
                replaces: worker.replaces,
            };
            self.router.started(event, now);
        }
    }

    fn sits_on(&self, worker: WorkerId, host: PublicKey) -> bool {
        self.scheduler.workers().get(&worker).is_some_and(|worker| worker.host == host)
    }

    /// Does everything that is due at `now`.
    pub(crate) fn handle_timeout(&mut self, now: Moment) {
        for (worker, silence) in self.router.silent_workers(now) {
            let ms = millis(silence);
            if let Some(host) = self.scheduler.workers().get(&worker).map(|worker| worker.host) {
                self.command(host, &host::HostCommand::Stop { workers: vec![worker], grace_ms: 0 });
            }
            self.scheduler.handle_worker_ended(now, worker, End::Silent { ms });
        }
        let grace = Duration::from_millis(client::CHANNEL_GRACE_MS);
        for owner in self.router.clear_abandoned(now, grace) {
            self.scheduler.stop_owner(owner, 0);
        }
        self.scheduler.handle_timeout(now);
        self.coordinator.jobs.handle_timeout(now);
        let Self { sessions, scheduler, router, .. } = self;
        // A host that was given up begins a new session when it reconnects.
        sessions.retain(|key, session| {
            let stays = session.conn.is_some() || scheduler.hosts().contains_key(key);
            if !stays {
                router.queues.remove(session.queue);
            }
            stays
        });
    }

    /// Ends all connections of hosts and clients, because the manager shuts down.
    pub(crate) fn hang_up(&self) {
        let hosts = self.sessions.values().filter_map(|session| session.conn.as_ref());
        for conn in hosts.chain(self.clients.values()) {
            conn.end(Ending::Shutdown);
        }
    }

    /// Registers a client's connection; returns the number by which it is removed.
    pub(crate) fn add_client(&mut self, conn: ConnectionHandle) -> u64 {
        let number = self.next_nonce();
        self.clients.insert(number, conn);
        number
    }

    /// A number that no other ping or connection has.
    pub(crate) fn next_nonce(&mut self) -> u64 {
        self.nonce += 1;
        self.nonce
    }

    /// True if `worker` is among those that ended last, and ran on `host`.
    fn sat_on(&self, worker: WorkerId, host: PublicKey) -> bool {
        self.logs.contains_key(&worker)
            && self.ended.iter().any(|ended| ended.id == worker && ended.host == host)
    }

    /// The log of a worker; empty if there is none.
    pub(crate) fn log(&self, worker: WorkerId) -> WorkerLog {
        self.logs.get(&worker).cloned().unwrap_or_default()
    }

    /// Looks up a worker, running or among those that ended last.
    pub(crate) fn find_worker(&self, id: WorkerId) -> Option<WorkerInfo> {
        let running = self.scheduler.workers().get(&id).map(|worker| self.worker_info(id, worker));
        running.or_else(|| self.ended.iter().find(|worker| worker.id == id).cloned())
    }

    /// The workers, ordered by id; with `ended`, also those that ended last.
    pub(crate) fn workers(&self, ended: bool) -> Vec<WorkerInfo> {
        let running = self.scheduler.workers().iter().map(|(id, worker)| self.worker_info(*id, worker));
        let mut workers: Vec<_> = running.collect();
        if ended {
            workers.extend(self.ended.iter().cloned());
        }
        workers.sort_by_key(|worker| worker.id);
        workers
    }

    fn worker_info(&self, id: WorkerId, worker: &grid_scheduler::PlacedWorker) -> WorkerInfo {
        let (unanswered, uncollected) = self.router.counts(id);
        let away = self
            .scheduler
            .hosts()
            .get(&worker.host)
            .is_some_and(|host| matches!(host.presence, Presence::Away { .. }));
        WorkerInfo {
            id,
            module: worker.spec.module,
            host: worker.host,
            state: match worker.phase {
                _ if away => WorkerState::Away,
                WorkerPhase::Starting => WorkerState::Starting,
                WorkerPhase::Running(_) => WorkerState::Running,
                WorkerPhase::Stopping => WorkerState::Stopping,
            },
            owner: worker.spec.owner.key,
            channel: worker.spec.owner.channel,
            unanswered,
            uncollected,
            deployment: worker.deployment,
        }
    }

    /// The hosts that are connected, expected back, or waiting for approval.
    pub(crate) fn hosts(&self) -> Vec<HostInfo> {
        let known = self.scheduler.hosts().iter().map(|(key, host)| {
            let session = self.sessions.get(key);
            HostInfo {
                key: *key,
                state: match host.presence {
                    Presence::Ready => HostState::Ready,
                    Presence::Draining => HostState::Draining,
                    Presence::Away { .. } => HostState::Away,
                },
                capacity: host.capacity.clone(),
                address: session.map(|session| session.address.clone()).unwrap_or_default(),
                workers: u32::try_from(host.workers.len()).unwrap_or(u32::MAX),
                module_bytes_sent: session.map_or(0, |session| session.module_bytes_sent),
                compilations: session.map_or(0, |session| session.compilations),
                compile_us: session.map_or(0, |session| session.compile_us),
            }
        });
        let pending = self.pending.iter().map(|(key, host)| HostInfo {
            key: *key,
            state: HostState::Pending,
            capacity: host.capacity.clone(),
            address: host.address.clone(),
            workers: 0,
            module_bytes_sent: 0,
            compilations: 0,
            compile_us: 0,
        });
        known.chain(pending).collect()
    }
}

impl HostSession {
    /// Drops all commands that the host has not confirmed, and the pings among them.
    pub(crate) fn drop_commands(&mut self) {
        self.control = ManagerEnd::default();
        self.pings.clear();
    }
}

impl WorkerLog {
    fn add(&mut self, lines: Vec<LogLine>, dropped: u64) {
        self.dropped = self.dropped.saturating_add(dropped);
        self.lines.extend(lines);
        while self.lines.len() > LOG_LINES_KEPT_MAX {
            self.lines.pop_front();
            self.dropped += 1;
        }
    }
}

/// Makes the scheduler's deployment from its record.
pub(crate) fn standing(order: &DeploymentInfo) -> Deployment {
    Deployment { id: order.id, spec: Arc::new(spec(order.owner, &order.request)) }
}

/// Makes the specification that all workers of a request share.
pub(crate) fn spec(owner: PublicKey, request: &client::SpawnRequest) -> Spec {
    Spec {
        owner: Owner { key: owner, channel: request.channel },
        module: request.module,
        arguments: request.arguments.clone(),
        labels: request.labels.clone(),
        memory_bytes: request.memory_bytes,
        limits: request.limits,
        restart: request.restart,
        ttl_ms: request.ttl_ms,
    }
}
