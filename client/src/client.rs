//! A client: spawns workers and exchanges messages with them.

mod spawn;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grid_disk::Machine;
use grid_protocol::client::{
    Channel, Denial, DenialCode, ModuleInfo, Placement, Reply, Request, SpawnRequest, WorkerInfo, WorkerState,
};
use grid_protocol::digest::Digest;
use grid_protocol::event::{Event, SendError};
use grid_protocol::host::WorkerStatus;
use grid_protocol::id::{DeploymentId, WorkerId};
use grid_protocol::job::{BlobRef, JobId};
use grid_protocol::key::{PublicKey, SecretKey};
use grid_protocol::time::millis;
use grid_protocol::worker::{LimitsAsked, Restart};
use parking_lot::{Mutex, MutexGuard};

pub use spawn::{DEFAULT_TTL, SpawnBuilder};

use crate::access::Access;
use crate::denial::unexpected;
use crate::publish::{Publication, PublishError};

/// Spawns workers and exchanges messages with them, from the manager's own process or over the network.
///
/// The client queues its workers' messages and the events about them until the program takes them: one at a
/// time with [`Self::next_event`], or the queued messages together with [`Self::collect`].
#[derive(Clone)]
pub struct Client {
    access: Arc<dyn Access>,
    key: SecretKey,
    pub(crate) machine: Machine,
    seen: Arc<Mutex<CollectedState>>,
}

/// Events that the program has not taken yet, and the last known state of each worker.
#[derive(Default)]
struct CollectedState {
    events: std::collections::VecDeque<Event>,
    workers: BTreeMap<WorkerId, Liveness>,
}

/// The state of a worker, as its client sees it.
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

/// Events that one look at the manager or the connection takes over.
const EVENTS_AT_ONCE: usize = 1024;

/// Longest wait for a settlement.
const SETTLED_PAUSE: Duration = Duration::from_millis(50);

/// Workers that a client remembers, whatever their state; above this it forgets all that have ended.
const DEAD_KEPT_MAX: usize = 100_000;

impl Client {
    /// A client of the key with this access to its manager.
    pub fn new(access: Arc<dyn Access>, key: SecretKey, machine: Machine) -> Self {
        Self { access, key, machine, seen: Arc::default() }
    }

    /// This client's public key.
    pub fn key(&self) -> PublicKey {
        self.key.public()
    }

    pub(crate) fn remote_roles(&self) -> Option<grid_protocol::role::Roles> {
        self.access.roles()
    }

    /// The channel that this client's workers belong to. It tells the programs of one key apart.
    pub fn channel(&self) -> Channel {
        self.access.channel()
    }

    /// Sends a request to the manager and returns its reply.
    ///
    /// Over the network a request may take up to 30 s, and another second per 64 KiB of bytes that go with it. When the
    /// connection is lost, only requests that are safe to repeat are repeated.
    ///
    /// # Errors
    ///
    /// The manager's [`Denial`]; [`DenialCode::ManagerFault`] also if no reply came.
    pub async fn request(&self, request: Request) -> Result<Reply, Denial> {
        self.request_with(request, None).await
    }

    pub(crate) async fn request_with(
        &self,
        request: Request,
        module: Option<Bytes>,
    ) -> Result<Reply, Denial> {
        let reply = self.access.request(request, module).await;
        match reply {
            Reply::Denied(denial) => Err(denial),
            reply => Ok(reply),
        }
    }

    /// Fetches the bytes of a payload that the manager stores for a job.
    pub(crate) async fn fetch(&self, job: JobId, payload: BlobRef) -> Result<Bytes, Denial> {
        self.access.fetch(job, payload).await
    }

    /// Signs a module with this client's key and uploads it as `name`.
    ///
    /// # Errors
    ///
    /// [`PublishError::Module`] if the grid does not run such a module; [`PublishError::Denied`] if the manager refuses
    /// the module or its publisher, or does not answer.
    pub async fn upload(&self, name: &str, wasm: impl Into<Bytes>) -> Result<ModuleInfo, PublishError> {
        let wasm = wasm.into();
        self.publish(Publication::new(name, &wasm)?, wasm).await
    }

    /// As [`Self::upload`], for a command that gets files; see [`Publication::with_files`].
    ///
    /// # Errors
    ///
    /// As [`Self::upload`]; [`PublishError::FilesWithoutCommand`] if the module is not a WASI command.
    pub async fn upload_with_files(
        &self,
        name: &str,
        wasm: impl Into<Bytes>,
    ) -> Result<ModuleInfo, PublishError> {
        let (publication, wasm) = Publication::with_files(name, wasm.into())?;
        self.publish(publication, wasm).await
    }

    /// Signs a publication with this client's key, and uploads it with the bytes that it was made for, which
    /// [`Publication::with_files`] returns. Its serial becomes the time, or what comes after the highest that the manager has seen.
    ///
    /// # Errors
    ///
    /// [`PublishError::Denied`].
    pub async fn publish(
        &self,
        mut publication: Publication,
        wasm: impl Into<Bytes>,
    ) -> Result<ModuleInfo, PublishError> {
        publication.manifest.serial = self.machine.unix_now();
        self.raise_serial(&mut publication, self.key.public()).await?;
        self.upload_signed(publication.sign(&self.key), wasm.into()).await
    }

    /// Raises the serial of a publication above every serial that `publisher` has used for its name.
    ///
    /// A serial taken from the clock needs no raising, unless an earlier one came from a clock that was ahead.
    ///
    /// # Errors
    ///
    /// The manager's [`Denial`], except [`DenialCode::BadRequest`]: a manager too old to know the request leaves the
    /// serial as it is.
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
    /// [`PublishError::Denied`].
    pub async fn upload_signed(&self, manifest: Vec<u8>, wasm: Bytes) -> Result<ModuleInfo, PublishError> {
        let request = Request::ModuleUpload { manifest, length: wasm.len() as u64 };
        match self.request_with(request, Some(wasm)).await? {
            Reply::Module(info) => Ok(info),
            other => Err(PublishError::Denied(unexpected(&other))),
        }
    }

    /// Describes workers of a module; nothing is sent before [`SpawnBuilder::anywhere`], [`SpawnBuilder::on`] or
    /// [`SpawnBuilder::every_slot`].
    pub fn spawn(&self, module: Digest) -> SpawnBuilder {
        SpawnBuilder {
            client: self.clone(),
            request: SpawnRequest {
                channel: self.channel(),
                module,
                arguments: Vec::new(),
                place: Placement::EverySlot,
                labels: Vec::new(),
                memory_bytes: 0,
                limits: LimitsAsked::default(),
                restart: Restart::Never,
                ttl_ms: millis(DEFAULT_TTL),
            },
        }
    }

    /// Sends a message to a worker; returns the message's number, by which [`Event::Failed`] refers to it.
    ///
    /// Waits while the worker's window is full: 4096 messages or 4 MiB that the worker has not handled yet, but for a single
    /// message of up to 8 MiB. A worker that is still starting gets the message once it runs.
    ///
    /// # Errors
    ///
    /// [`SendError::Gone`] if the worker has ended; [`SendError::TooLong`] above 64 MiB.
    pub async fn send(&self, worker: WorkerId, message: impl Into<Bytes>) -> Result<u64, SendError> {
        self.access.send(worker, message.into()).await
    }

    /// Sends a message as a request, the only way for a client without mail. Returns once the manager has the message;
    /// the worker's answers go to the worker's own channel.
    ///
    /// # Errors
    ///
    /// [`Denial`]: `NotFound` if no such worker of this key runs, `NoCapacity` if its window had no room for ten
    /// seconds; after `ManagerFault` the message may have been sent.
    pub async fn post(&self, worker: WorkerId, message: impl Into<Bytes>) -> Result<(), Denial> {
        let message = message.into();
        let request = Request::MessageSend { worker, length: message.len() as u64 };
        match self.request_with(request, Some(message)).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// As [`Self::send`], without waiting.
    ///
    /// # Errors
    ///
    /// As [`Self::send`]; [`SendError::Full`] if the worker's window has no room.
    pub fn try_send(&self, worker: WorkerId, message: impl Into<Bytes>) -> Result<u64, SendError> {
        self.access.try_send(worker, message.into())
    }

    /// Sends a message to every active worker, one after the other, each as [`Self::send`] does; returns each result.
    pub async fn broadcast(&self, message: impl Into<Bytes>) -> BTreeMap<WorkerId, Result<u64, SendError>> {
        let message = message.into();
        let mut sent = BTreeMap::new();
        for worker in self.active_workers() {
            sent.insert(worker, self.send(worker, message.clone()).await);
        }
        sent
    }

    /// Sends each worker its messages, in order, each as [`Self::send`] does; returns the first error of each worker.
    ///
    /// A message that cannot be sent does not hold back those after it.
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

    /// Waits for the next event and takes it. Cancel-safe: a dropped call loses no event.
    pub async fn next_event(&self) -> Event {
        loop {
            if let Some(event) = self.lock().events.pop_front() {
                return event;
            }
            let mut events = Vec::new();
            self.access.collect(EVENTS_AT_ONCE, &mut events).await;
            self.take_over(events);
        }
    }

    /// Waits for an event and takes all that are queued then. Cancel-safe: a dropped call loses no event.
    pub async fn next_events(&self, events: &mut Vec<Event>) {
        let first = self.next_event().await;
        events.push(first);
        events.extend(self.lock().events.drain(..));
    }

    /// Takes the messages that have come, by worker, without waiting; other events stay queued.
    ///
    /// One call takes over at most 1024 new events from the manager.
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

    /// Drops the messages that [`Self::collect`] would return.
    pub fn flush(&self) {
        drop(self.collect());
    }

    /// Takes the next [`Event::Joined`], without waiting, and returns its worker.
    pub fn try_accept(&self) -> Option<WorkerId> {
        let mut seen = self.lock();
        let collected = seen.events.iter().position(|event| matches!(event, Event::Joined { .. }));
        let joined = match collected {
            Some(place) => seen.events.remove(place),
            None => self.access.take_joined(),
        };
        let Some(Event::Joined { worker, .. }) = joined else { return None };
        // It may have ended meanwhile.
        seen.workers.entry(worker).and_modify(Liveness::confirm).or_insert(Liveness::Active);
        Some(worker)
    }

    /// Workers that have joined and have not ended.
    pub fn active_workers(&self) -> Vec<WorkerId> {
        self.workers_that_are(Liveness::Active)
    }

    /// Workers that this client started and that have neither joined nor ended.
    pub fn unconfirmed_workers(&self) -> Vec<WorkerId> {
        self.workers_that_are(Liveness::Unconfirmed)
    }

    /// Workers that have ended. The client forgets them once it knows more than 100 000 workers.
    pub fn dead_workers(&self) -> Vec<WorkerId> {
        self.workers_that_are(Liveness::Dead)
    }

    /// Asks a worker's host what the worker does; [`WorkerStatus::Absent`] if it has ended.
    ///
    /// # Errors
    ///
    /// [`Denial`]: `NotFound` if this key has no such worker, `Conflict` if its host does not answer within 5 s.
    pub async fn ping(&self, worker: WorkerId) -> Result<WorkerStatus, Denial> {
        match self.request(Request::WorkerPing { worker }).await? {
            Reply::WorkerStatus(worker_status) => Ok(worker_status),
            other => Err(unexpected(&other)),
        }
    }

    /// The workers of this client's channel that have not ended, as the manager sees them.
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

    /// Asks workers to stop; each may take up to `grace` to finish the message that it handles.
    ///
    /// Does not wait until they have ended: [`Event::Left`] tells.
    ///
    /// # Errors
    ///
    /// [`Denial`]: `NotFound` if one of them is unknown, or is another key's and this one is not an admin; then none is
    /// stopped.
    pub async fn stop_workers(&self, workers: &[WorkerId], grace: Duration) -> Result<(), Denial> {
        let grace_ms = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
        self.request(Request::WorkerStop { workers: workers.to_vec(), grace_ms }).await.map(drop)
    }

    /// Ends a deployment and stops its workers, which may take up to 10 s to finish.
    ///
    /// # Errors
    ///
    /// [`Denial`]: `NotFound` if there is no such deployment; `NotAllowed` if it belongs to another key, unless this
    /// one is an admin.
    pub async fn remove_deployment(&self, deployment: DeploymentId) -> Result<(), Denial> {
        self.request(Request::DeploymentRemove { deployment }).await.map(drop)
    }

    /// Stops all workers of this client's channel and waits until they have ended, for up to `grace` and 1 s.
    ///
    /// Does nothing if the manager does not answer or denies it.
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
                self.access.collect(EVENTS_AT_ONCE, &mut events).await;
                self.take_over(events);
            }
        };
        // A worker that does not stop in time is ended by its host, or with the manager.
        let _ = tokio::time::timeout(grace + Duration::from_secs(1), all_left).await;
    }

    /// True if `worker` has ended, or has handled everything that it was sent and everything that it sent has arrived.
    pub fn is_quiet(&self, worker: WorkerId) -> bool {
        self.access.is_quiet(worker)
    }

    /// Why the manager disconnected this client for good, if it did: its key was revoked, or another client took over
    /// its channel. No more events come then.
    pub fn sent_away(&self) -> Option<&Denial> {
        self.access.sent_away()
    }

    /// Waits until something comes from the manager, for up to 50 ms; then [`Self::is_quiet`] is worth another look.
    ///
    /// Cancel-safe.
    pub async fn settled(&self) {
        // Bounded, because what was settled before the wait is not announced again.
        let _ = tokio::time::timeout(SETTLED_PAUSE, self.access.settled()).await;
    }

    /// Tells the manager that this client's channel is no longer needed: the manager stops its workers, which may take
    /// up to `grace` to finish. Does not wait for them. Has no effect without mail.
    pub fn goodbye(&self, grace: Duration) {
        self.access.goodbye(u32::try_from(grace.as_millis()).unwrap_or(u32::MAX));
    }

    /// Workers that are `wanted`, by what was collected and by what waits to be: it stays there.
    fn workers_that_are(&self, wanted: Liveness) -> Vec<WorkerId> {
        let seen = self.lock();
        let waiting = self.access.changes();
        let alive = |alive| if alive { Liveness::Active } else { Liveness::Dead };
        let waiting: BTreeMap<_, _> = waiting.into_iter().map(|(worker, is)| (worker, alive(is))).collect();
        let collected = seen.workers.iter().filter(|(worker, _)| !waiting.contains_key(worker));
        let all = collected.chain(&waiting);
        all.filter(|(_, liveness)| **liveness == wanted).map(|(worker, _)| *worker).collect()
    }

    /// Takes over events that have come, without waiting.
    fn look(&self) {
        let mut events = Vec::new();
        self.access.try_collect(EVENTS_AT_ONCE, &mut events);
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
        self.seen.lock()
    }
}
