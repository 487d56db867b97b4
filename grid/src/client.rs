//! A client: spawns workers and talks to them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use grid_disk::Machine;
use grid_manager::{Event, LocalClient, SendError};
use grid_protocol::client::{
    Channel, Denial, DenialCode, ModuleInfo, Placement, Reply, Request, SpawnRequest, WorkerInfo, WorkerState,
};
use grid_protocol::digest::Digest;
use grid_protocol::host::{Label, WorkerStatus};
use grid_protocol::id::{DeploymentId, WorkerId};
use grid_protocol::job::{BlobRef, JobId};
use grid_protocol::key::{PublicKey, SecretKey};
use grid_protocol::worker::{LimitsAsked, Restart};

use crate::connection::Connection;
use crate::denial::unexpected;
use crate::publish::{Publication, PublishError};

/// Spawns workers and talks to them, from the manager's own process or from anywhere else.
///
/// Everything that a worker sends, and everything that happens to it, waits here until it is taken: one at
/// a time with [`Self::next_event`], or all at once with [`Self::collect`].
pub struct Client {
    path: ManagerAccess,
    key: SecretKey,
    pub(crate) machine: Machine,
    seen: Mutex<CollectedState>,
}

enum ManagerAccess {
    Here(LocalClient),
    Remote(Connection),
}

/// What a program that asks for things one at a time has not asked for yet.
#[derive(Default)]
struct CollectedState {
    events: std::collections::VecDeque<Event>,
    workers: BTreeMap<WorkerId, Liveness>,
}

/// How a worker stands, as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Liveness {
    Unconfirmed,
    Active,
    Dead,
}

impl Liveness {
    /// It has joined, and may have ended since.
    fn confirm(&mut self) {
        if *self == Self::Unconfirmed {
            *self = Self::Active;
        }
    }
}

/// Events that are taken over at once.
const EVENTS_AT_ONCE: usize = 1024;

/// Ended workers that [`Client::dead_workers`] remembers.
const DEAD_KEPT_MAX: usize = 100_000;

impl Client {
    pub(crate) fn here(local: LocalClient, key: SecretKey) -> Self {
        Self { path: ManagerAccess::Here(local), key, machine: Machine::default(), seen: Mutex::default() }
    }

    pub(crate) fn remote(remote: Connection, key: SecretKey, machine: Machine) -> Self {
        Self { path: ManagerAccess::Remote(remote), key, machine, seen: Mutex::default() }
    }

    /// This client's key.
    pub fn key(&self) -> PublicKey {
        self.key.public()
    }

    pub(crate) fn remote_roles(&self) -> Option<grid_protocol::role::Roles> {
        match &self.path {
            ManagerAccess::Here(_) => None,
            ManagerAccess::Remote(remote) => Some(remote.roles()),
        }
    }

    /// Which of its key's programs this client is.
    pub fn channel(&self) -> Channel {
        match &self.path {
            ManagerAccess::Here(local) => local.channel(),
            ManagerAccess::Remote(remote) => remote.channel(),
        }
    }

    /// Asks the manager something.
    ///
    /// # Errors
    ///
    /// The manager's [`Denial`], or that it could not be asked.
    pub async fn request(&self, request: Request) -> Result<Reply, Denial> {
        self.request_with(request, None).await
    }

    pub(crate) async fn request_with(
        &self,
        request: Request,
        module: Option<Bytes>,
    ) -> Result<Reply, Denial> {
        let reply = match &self.path {
            ManagerAccess::Here(local) => local.request(request, module).await,
            ManagerAccess::Remote(remote) => remote.request(request, module).await,
        };
        match reply {
            Reply::Denied(denial) => Err(denial),
            reply => Ok(reply),
        }
    }

    /// The bytes of a payload that the manager keeps for a job.
    pub(crate) async fn fetch(&self, job: JobId, payload: BlobRef) -> Result<Bytes, Denial> {
        match &self.path {
            ManagerAccess::Here(local) => local.fetch(job, payload).await,
            ManagerAccess::Remote(remote) => remote.fetch(job, payload).await,
        }
    }

    /// Signs a module with this client's key and uploads it, if the manager does not have it.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: the module or its publisher is refused.
    pub async fn upload(&self, name: &str, wasm: impl Into<Bytes>) -> Result<ModuleInfo, PublishError> {
        let wasm = wasm.into();
        let mut publication = Publication::new(name, &wasm)?;
        publication.manifest.serial = self.machine.unix_now();
        self.raise_serial(&mut publication, self.key.public()).await?;
        self.upload_signed(publication.sign(&self.key), wasm).await
    }

    /// As [`Self::upload`], for a command that is to have files: [`Publication::with_files`].
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    pub async fn upload_with_files(
        &self,
        name: &str,
        wasm: impl Into<Bytes>,
    ) -> Result<ModuleInfo, PublishError> {
        let (mut publication, wasm) = Publication::with_files(name, wasm.into())?;
        publication.manifest.serial = self.machine.unix_now();
        self.raise_serial(&mut publication, self.key.public()).await?;
        self.upload_signed(publication.sign(&self.key), wasm).await
    }

    /// Raises the serial of a publication above those that `publisher` gave to its name before. The time is enough, unless a
    /// clock was ahead once.
    ///
    /// # Errors
    ///
    /// [`Denial`], but none from a manager that does not know the question: the serial then stays as it is.
    pub async fn raise_serial(
        &self,
        publication: &mut Publication,
        publisher: PublicKey,
    ) -> Result<(), Denial> {
        let name = publication.manifest.name.clone();
        match self.request(Request::ModuleSerial { publisher, name }).await {
            Ok(Reply::Serial { seen }) if seen >= publication.manifest.serial => {
                publication.manifest.serial = seen.saturating_add(1);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(denial) if denial.code == DenialCode::BadRequest => Ok(()),
            Err(denial) => Err(denial),
        }
    }

    /// Uploads a module under a manifest that was signed elsewhere.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    pub async fn upload_signed(&self, manifest: Vec<u8>, wasm: Bytes) -> Result<ModuleInfo, PublishError> {
        let request = Request::ModuleUpload { manifest, length: wasm.len() as u64 };
        match self.request_with(request, Some(wasm)).await? {
            Reply::Module(info) => Ok(info),
            other => Err(PublishError::Denied(unexpected(&other))),
        }
    }

    /// Begins to describe workers of a module; nothing happens before one of its last calls.
    pub fn spawn(&self, module: Digest) -> SpawnBuilder<'_> {
        SpawnBuilder {
            client: self,
            request: SpawnRequest {
                channel: self.channel(),
                module,
                arguments: Vec::new(),
                place: Placement::EverySlot,
                labels: Vec::new(),
                memory_bytes: 0,
                limits: LimitsAsked::default(),
                restart: Restart::Never,
                ttl_ms: u64::try_from(DEFAULT_TTL.as_millis()).unwrap_or(u64::MAX),
            },
        }
    }

    /// Sends a message, waiting while the worker owes too many answers; the message's number.
    ///
    /// The worker may still be starting: the message waits for it.
    ///
    /// # Errors
    ///
    /// [`SendError::Gone`] and [`SendError::TooLong`].
    pub async fn send(&self, worker: WorkerId, message: impl Into<Bytes>) -> Result<u64, SendError> {
        match &self.path {
            ManagerAccess::Here(local) => local.send(worker, message.into()).await,
            ManagerAccess::Remote(remote) => remote.send(worker, message.into()).await,
        }
    }

    /// Sends a message by a request, as a client without mail must: returns once the manager has the message. Its answers
    /// go to the channel that the worker belongs to.
    ///
    /// # Errors
    ///
    /// [`Denial`]: `NotFound` if no such worker of this key runs, `NoCapacity` if its window had no room for ten seconds;
    /// after `ManagerFault` the message may have been sent.
    pub async fn post(&self, worker: WorkerId, message: impl Into<Bytes>) -> Result<(), Denial> {
        let message = message.into();
        let request = Request::MessageSend { worker, length: message.len() as u64 };
        match self.request_with(request, Some(message)).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Sends a message if the worker's window has room.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub fn try_send(&self, worker: WorkerId, message: impl Into<Bytes>) -> Result<u64, SendError> {
        match &self.path {
            ManagerAccess::Here(local) => local.try_send(worker, message.into()),
            ManagerAccess::Remote(remote) => remote.try_send(worker, message.into()),
        }
    }

    /// Sends a message to every active worker; whether each took it.
    pub async fn broadcast(&self, message: impl Into<Bytes>) -> BTreeMap<WorkerId, Result<u64, SendError>> {
        let message = message.into();
        let mut sent = BTreeMap::new();
        for worker in self.active_workers() {
            sent.insert(worker, self.send(worker, message.clone()).await);
        }
        sent
    }

    /// Sends each worker its messages, in order; whether each worker took all of them.
    pub async fn spread<M: Into<Bytes>>(
        &self,
        messages: BTreeMap<WorkerId, Vec<M>>,
    ) -> BTreeMap<WorkerId, Result<(), SendError>> {
        let mut sent = BTreeMap::new();
        for (worker, messages) in messages {
            let mut outcome = Ok(());
            for message in messages {
                outcome = outcome.and(self.send(worker, message).await.map(drop));
            }
            sent.insert(worker, outcome);
        }
        sent
    }

    /// The next event, as soon as there is one. Cancel-safe.
    pub async fn next_event(&self) -> Event {
        loop {
            if let Some(event) = self.lock().events.pop_front() {
                return event;
            }
            let mut events = Vec::new();
            match &self.path {
                ManagerAccess::Here(local) => local.collect(EVENTS_AT_ONCE, &mut events).await,
                ManagerAccess::Remote(remote) => remote.collect(EVENTS_AT_ONCE, &mut events).await,
            }
            self.take_over(events);
        }
    }

    /// Waits for events and takes all that have come, many at a time. Cancel-safe.
    pub async fn next_events(&self, events: &mut Vec<Event>) {
        let first = self.next_event().await;
        events.push(first);
        events.extend(self.lock().events.drain(..));
    }

    /// The messages that have come, by worker, without waiting; other events stay.
    pub fn collect(&self) -> BTreeMap<WorkerId, Vec<Bytes>> {
        self.look();
        let mut messages: BTreeMap<WorkerId, Vec<Bytes>> = BTreeMap::new();
        self.lock().events.retain(|event| match event {
            Event::Message { worker, payload } => {
                messages.entry(*worker).or_default().push(payload.clone());
                false
            }
            _ => true,
        });
        messages
    }

    /// Drops every message that has come.
    pub fn flush(&self) {
        drop(self.collect());
    }

    /// The next worker that has joined, without waiting. Messages that have come stay uncollected.
    pub fn try_accept(&self) -> Option<WorkerId> {
        let mut seen = self.lock();
        let collected = seen.events.iter().position(|event| matches!(event, Event::Joined { .. }));
        let joined = match collected {
            Some(place) => seen.events.remove(place),
            None => match &self.path {
                ManagerAccess::Here(local) => local.take_joined(),
                ManagerAccess::Remote(remote) => remote.take_joined(),
            },
        };
        let Some(Event::Joined { worker, .. }) = joined else { return None };
        // It may have ended meanwhile.
        seen.workers.entry(worker).and_modify(Liveness::confirm).or_insert(Liveness::Active);
        Some(worker)
    }

    /// Workers that run and take messages.
    pub fn active_workers(&self) -> Vec<WorkerId> {
        self.workers_that_are(Liveness::Active)
    }

    /// Workers that were asked for and have not been heard of.
    pub fn unconfirmed_workers(&self) -> Vec<WorkerId> {
        self.workers_that_are(Liveness::Unconfirmed)
    }

    /// Workers that have ended.
    pub fn dead_workers(&self) -> Vec<WorkerId> {
        self.workers_that_are(Liveness::Dead)
    }

    /// What a worker does, as its host sees it.
    ///
    /// # Errors
    ///
    /// [`Denial`]: there is no such worker, or its host does not answer.
    pub async fn ping(&self, worker: WorkerId) -> Result<WorkerStatus, Denial> {
        match self.request(Request::WorkerPing { worker }).await? {
            Reply::WorkerStatus(worker_status) => Ok(worker_status),
            other => Err(unexpected(&other)),
        }
    }

    /// This client's workers that have not ended, as the manager sees them.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, Denial> {
        match self.request(Request::WorkerList { everyones: false, ended: false }).await? {
            Reply::Workers(mut workers) => {
                workers.retain(|worker| worker.channel == self.channel());
                Ok(workers)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Asks workers to stop: each may finish the message at hand, for `grace` at the most.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn stop_workers(&self, workers: &[WorkerId], grace: Duration) -> Result<(), Denial> {
        let grace_ms = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
        self.request(Request::WorkerStop { workers: workers.to_vec(), grace_ms }).await.map(drop)
    }

    /// Ends a deployment and its workers.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn remove_deployment(&self, deployment: DeploymentId) -> Result<(), Denial> {
        self.request(Request::DeploymentRemove { deployment }).await.map(drop)
    }

    /// Stops all workers of this client and waits until they have ended, `grace` and a little more at most.
    pub async fn stop_all(&self, grace: Duration) {
        let Ok(workers) = self.workers().await else {
            return;
        };
        let stopping = |state: &WorkerState| !matches!(state, WorkerState::Ended(_));
        let ids: Vec<_> =
            workers.iter().filter(|worker| stopping(&worker.state)).map(|worker| worker.id).collect();
        if ids.is_empty() || self.stop_workers(&ids, grace).await.is_err() {
            return;
        }
        let all_left = async {
            while ids.iter().any(|id| self.lock().workers.get(id) != Some(&Liveness::Dead)) {
                let mut events = Vec::new();
                match &self.path {
                    ManagerAccess::Here(local) => local.collect(EVENTS_AT_ONCE, &mut events).await,
                    ManagerAccess::Remote(remote) => remote.collect(EVENTS_AT_ONCE, &mut events).await,
                }
                self.take_over(events);
            }
        };
        // Who does not stop in time is ended with the manager, or by its own host.
        let _ = tokio::time::timeout(grace + Duration::from_secs(1), all_left).await;
    }

    /// True if `worker` is through with everything that it was sent, and everything that it sent is here, or if it has
    /// ended. Only a client of a manager elsewhere can tell; another says that it is.
    pub fn is_quiet(&self, worker: WorkerId) -> bool {
        match &self.path {
            ManagerAccess::Here(_) => true,
            ManagerAccess::Remote(remote) => remote.is_quiet(worker),
        }
    }

    /// Why the manager has sent this client away, if it has: its key was revoked, or another program has the mail of its
    /// channel. No event comes any more.
    pub fn sent_away(&self) -> Option<&Denial> {
        match &self.path {
            ManagerAccess::Here(_) => None,
            ManagerAccess::Remote(remote) => remote.sent_away(),
        }
    }

    /// Waits until something has come or was settled. Cancel-safe.
    pub async fn settled(&self) {
        match &self.path {
            ManagerAccess::Here(_) => {}
            ManagerAccess::Remote(remote) => remote.settled().await,
        }
    }

    /// Tells the manager that this client is done: its workers stop.
    pub fn goodbye(&self, grace: Duration) {
        if let ManagerAccess::Remote(remote) = &self.path {
            remote.goodbye(u32::try_from(grace.as_millis()).unwrap_or(u32::MAX));
        }
    }

    /// Workers that are `wanted`, by what was collected and by what waits to be: it stays there.
    fn workers_that_are(&self, wanted: Liveness) -> Vec<WorkerId> {
        let seen = self.lock();
        let waiting = match &self.path {
            ManagerAccess::Here(local) => local.changes(),
            ManagerAccess::Remote(remote) => remote.changes(),
        };
        let alive = |alive| if alive { Liveness::Active } else { Liveness::Dead };
        let waiting: BTreeMap<_, _> = waiting.into_iter().map(|(worker, is)| (worker, alive(is))).collect();
        let collected = seen.workers.iter().filter(|(worker, _)| !waiting.contains_key(worker));
        let all = collected.chain(&waiting);
        all.filter(|(_, liveness)| **liveness == wanted).map(|(worker, _)| *worker).collect()
    }

    /// Takes over what has come, without waiting.
    fn look(&self) {
        let mut events = Vec::new();
        match &self.path {
            ManagerAccess::Here(local) => local.try_collect(EVENTS_AT_ONCE, &mut events),
            ManagerAccess::Remote(remote) => remote.try_collect(EVENTS_AT_ONCE, &mut events),
        }
        self.take_over(events);
    }

    fn take_over(&self, events: Vec<Event>) {
        let mut seen = self.lock();
        for event in &events {
            match event {
                Event::Joined { worker, .. } => seen.workers.insert(*worker, Liveness::Active),
                Event::Left { worker, .. } => seen.workers.insert(*worker, Liveness::Dead),
                _ => None,
            };
        }
        if seen.workers.len() > DEAD_KEPT_MAX {
            seen.workers.retain(|_, standing| *standing != Liveness::Dead);
        }
        seen.events.extend(events);
    }

    fn lock(&self) -> MutexGuard<'_, CollectedState> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker that owes an answer and is silent for an hour is dead, as in the ancestor.
pub const DEFAULT_TTL: Duration = Duration::from_secs(3600);

/// Workers that are about to be asked for.
#[must_use = "nothing is spawned before `anywhere`, `on` or `every_slot`"]
pub struct SpawnBuilder<'a> {
    client: &'a Client,
    request: SpawnRequest,
}

impl SpawnBuilder<'_> {
    /// What the workers' `init` receives.
    pub fn arguments(mut self, arguments: impl Into<Vec<u8>>) -> Self {
        self.request.arguments = arguments.into();
        self
    }

    /// A label that their hosts must carry.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.request.labels.push(Label { name: name.to_owned(), value: value.to_owned() });
        self
    }

    /// Memory that their hosts must set aside for each, in bytes.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.request.memory_bytes = bytes;
        self
    }

    /// Limits for them; a host takes the smaller of these, the manifest's and its own.
    pub fn limits(mut self, limits: LimitsAsked) -> Self {
        self.request.limits = limits;
        self
    }

    /// What to do when one dies.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.request.restart = restart;
        self
    }

    /// A worker that owes an answer and is silent for longer is dead; zero for never.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.request.ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Starts so many, wherever there is room.
    ///
    /// # Errors
    ///
    /// [`Denial`], with [`DenialCode::NoCapacity`] if not all of them fit; then none is started.
    pub async fn anywhere(mut self, count: u32) -> Result<Vec<WorkerId>, Denial> {
        self.request.place = Placement::Anywhere { count };
        self.ask().await.map(|(workers, _)| workers)
    }

    /// Starts one on each of these hosts.
    ///
    /// # Errors
    ///
    /// [`Denial`]; then none is started.
    pub async fn on(mut self, hosts: &[PublicKey]) -> Result<Vec<WorkerId>, Denial> {
        self.request.place = Placement::On(hosts.to_vec());
        self.ask().await.map(|(workers, _)| workers)
    }

    /// Starts one in every slot of every host, now and whenever a host joins, until the deployment is removed. A
    /// worker that dies is started again, unless a restart policy was given.
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
                    // It may have joined before the answer came.
                    seen.workers.entry(*worker).or_insert(Liveness::Unconfirmed);
                }
                drop(seen);
                if let ManagerAccess::Remote(remote) = &self.client.path {
                    remote.expect(&workers);
                }
                Ok((workers, deployment))
            }
            other => Err(unexpected(&other)),
        }
    }
}
