//! The scheduler: workers from their placement to their end, their restarts, and deployments.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use grid_protocol::host::HostCapacity;
use grid_protocol::id::{DeploymentId, WorkerId};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;
use grid_protocol::worker::{End, Restart};
use hashbrown::HashMap;

use crate::placement::{self, NoRoom, PlacementError};
use crate::roster::{HostChange, Presence, RosterHost};
use crate::spec::{Deployment, Owner, Placement, Spec};

/// What the caller decides for the scheduler.
#[derive(Debug, Clone, Copy)]
pub struct SchedulerConfig {
    /// Number of this run of the manager. It must never be used twice, because worker ids contain it.
    pub incarnation: u32,
    /// How long a host's connection may stay lost before its workers are given up.
    pub away_grace: Duration,
}

/// The phase of a worker's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerPhase {
    /// Placed; its host has not reported that it runs.
    Starting,
    /// Running since that moment.
    Running(Moment),
    /// Asked to stop.
    Stopping,
}

/// A worker that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedWorker {
    /// What the client asked for.
    pub spec: Arc<Spec>,
    /// The host that it was placed on.
    pub host: PublicKey,
    /// The phase of its life.
    pub phase: WorkerPhase,
    /// The deployment that it belongs to, if any.
    pub deployment: Option<DeploymentId>,
    /// The worker that it replaces, if it is a restart.
    pub replaces: Option<WorkerId>,
    restarts: u32,
    pinned: bool,
}

/// What the caller must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Tell `host` to start workers.
    Start {
        /// The host.
        host: PublicKey,
        /// The workers.
        workers: Vec<WorkerId>,
        /// The specification that they share.
        spec: Arc<Spec>,
    },
    /// Tell `host` to stop workers.
    Stop {
        /// The host.
        host: PublicKey,
        /// The workers.
        workers: Vec<WorkerId>,
        /// How long they may take to finish, in milliseconds.
        grace_ms: u32,
    },
    /// Tell the owner that a worker has ended.
    Left {
        /// The worker.
        worker: WorkerId,
        /// Its last state.
        worker_was: Box<PlacedWorker>,
        /// How it ended.
        end: End,
    },
    /// Stop waiting for messages from `host`: it is gone for good. Comes after the [`Self::Left`] of its workers.
    HostGone {
        /// The host.
        host: PublicKey,
    },
}

/// Decides where workers run; carries nothing out.
#[derive(Debug)]
pub struct Scheduler {
    settings: SchedulerConfig,
    hosts: BTreeMap<PublicKey, RosterHost>,
    workers: HashMap<WorkerId, PlacedWorker>,
    deployments: BTreeMap<DeploymentId, Deployment>,
    fill_backoffs: BTreeMap<(DeploymentId, PublicKey), FillBackoff>,
    waiting: Vec<PendingRestart>,
    decisions: VecDeque<Decision>,
    next_worker: u32,
}

/// Keeps a deployment from refilling a host's slots immediately after its workers failed there.
#[derive(Debug, Default)]
struct FillBackoff {
    failures: u32,
    until: Moment,
    spent: u32,
}

/// A worker that is to be restarted.
#[derive(Debug)]
struct PendingRestart {
    due: Moment,
    lost: WorkerId,
    worker: PlacedWorker,
}

/// Pause before a restart, after `restarts` earlier ones: 0, 100 ms, 200 ms, 400 ms… up to 30 s, so that a worker
/// that always dies immediately is started only twice a minute in the end.
fn pause(restarts: u32) -> Duration {
    match restarts {
        0 => Duration::ZERO,
        n => Duration::from_millis(50 << n.min(10)).min(PAUSE_MAX),
    }
}

const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Running time after which a worker's count of failures begins again.
const PROVEN: Duration = Duration::from_secs(60);

impl Scheduler {
    /// A scheduler without hosts.
    pub fn new(settings: SchedulerConfig) -> Self {
        Self {
            settings,
            hosts: BTreeMap::new(),
            workers: HashMap::new(),
            deployments: BTreeMap::new(),
            fill_backoffs: BTreeMap::new(),
            waiting: Vec::new(),
            decisions: VecDeque::new(),
            next_worker: 1,
        }
    }

    /// The next decision to carry out; `None` if there is none.
    pub fn poll_decision(&mut self) -> Option<Decision> {
        self.decisions.pop_front()
    }

    /// The moment at which [`Self::handle_timeout`] is due, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let away = self.hosts.values().filter_map(|host| match host.presence {
            Presence::Away { until, .. } => Some(until),
            _ => None,
        });
        let waiting = self.waiting.iter().map(|waiting| waiting.due).filter(|due| *due > Moment::ZERO);
        let fill_backoffs =
            self.fill_backoffs.values().map(|hold| hold.until).filter(|until| *until > Moment::ZERO);
        away.chain(waiting).chain(fill_backoffs).min()
    }

    /// Does everything that is due at `now`: gives up hosts that stayed away, restarts workers after their pause,
    /// refills slots of deployments after theirs.
    pub fn handle_timeout(&mut self, now: Moment) {
        let lost: Vec<_> = self
            .hosts
            .iter()
            .filter(|(_, host)| matches!(host.presence, Presence::Away { until, .. } if until <= now))
            .map(|(key, _)| *key)
            .collect();
        for host in lost {
            self.remove_host(now, host, &End::HostLost);
        }
        let mut over = BTreeSet::new();
        for ((_, host), hold) in &mut self.fill_backoffs {
            if hold.until > Moment::ZERO && hold.until <= now {
                hold.until = Moment::ZERO;
                over.insert(*host);
            }
        }
        for host in over {
            self.fill_host(host);
        }
        self.start_waiting(now);
    }

    /// Something happened to a host.
    pub fn handle_host(&mut self, now: Moment, key: PublicKey, change: HostChange<'_>) {
        match change {
            HostChange::Joined { capacity, resumed } => {
                self.handle_joined(now, key, capacity.clone(), resumed);
            }
            HostChange::Draining => self.handle_draining(key),
            HostChange::Away => self.handle_away(now, key),
            HostChange::Restarted => self.handle_gone(now, key, &End::HostLost),
            HostChange::Gone { end } => self.handle_gone(now, key, end),
        }
    }

    fn handle_joined(&mut self, now: Moment, key: PublicKey, capacity: HostCapacity, resumed: bool) {
        if !resumed {
            self.remove_host(now, key, &End::HostLost);
        }
        match self.hosts.get_mut(&key) {
            Some(host) => {
                host.capacity = capacity;
                host.presence = match host.presence {
                    Presence::Draining | Presence::Away { draining: true, .. } => Presence::Draining,
                    _ => Presence::Ready,
                };
            }
            None => {
                self.hosts.insert(
                    key,
                    RosterHost {
                        capacity,
                        presence: Presence::Ready,
                        workers: BTreeSet::new(),
                        memory_promised: 0,
                    },
                );
            }
        }
        self.fill_host(key);
        self.start_waiting(now);
    }

    fn handle_away(&mut self, now: Moment, key: PublicKey) {
        let until = now + self.settings.away_grace;
        if let Some(host) = self.hosts.get_mut(&key) {
            let draining = host.presence == Presence::Draining;
            host.presence = Presence::Away { until, draining };
        }
    }

    fn handle_gone(&mut self, now: Moment, key: PublicKey, end: &End) {
        self.remove_host(now, key, end);
        self.start_waiting(now);
    }

    fn handle_draining(&mut self, key: PublicKey) {
        if let Some(host) = self.hosts.get_mut(&key) {
            host.presence = match host.presence {
                Presence::Away { until, .. } => Presence::Away { until, draining: true },
                _ => Presence::Draining,
            };
        }
    }

    /// The worker runs. False if it is unknown or has ended; the caller must then tell its host to stop it.
    pub fn handle_worker_started(&mut self, now: Moment, id: WorkerId) -> bool {
        let Some(worker) = self.workers.get_mut(&id) else {
            return false;
        };
        if worker.phase == WorkerPhase::Starting {
            worker.phase = WorkerPhase::Running(now);
        }
        true
    }

    /// The worker has ended, or must be considered dead. It may be restarted, and its slot filled by a deployment.
    pub fn handle_worker_ended(&mut self, now: Moment, id: WorkerId, end: End) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        let host = worker.host;
        self.end_worker(now, id, end);
        self.fill_host(host);
        self.start_waiting(now);
    }

    /// Places workers where the client wants them; returns their ids.
    ///
    /// # Errors
    ///
    /// [`NoRoom`]: not all of them fit, and none was placed.
    pub fn spawn(&mut self, spec: Spec, place: &Placement) -> Result<Vec<WorkerId>, NoRoom> {
        let (hosts, pinned) = match place {
            Placement::Anywhere { count } => (placement::spread(&self.hosts, &spec, *count)?, false),
            Placement::On(keys) => (self.exactly(&spec, keys)?, true),
            Placement::EverySlot => (Vec::new(), false),
        };
        let spec = Arc::new(spec);
        let mut by_host: BTreeMap<PublicKey, u32> = BTreeMap::new();
        for host in hosts {
            *by_host.entry(host).or_default() += 1;
        }
        let mut ids = Vec::new();
        for (host, count) in by_host {
            let template = PlacedWorker {
                spec: spec.clone(),
                host,
                phase: WorkerPhase::Starting,
                deployment: None,
                replaces: None,
                restarts: 0,
                pinned,
            };
            ids.extend(self.start(&template, count));
        }
        Ok(ids)
    }

    /// Adds a deployment and fills the slots that are free for it now; returns the workers placed.
    pub fn add_deployment(&mut self, deployment: Deployment) -> Vec<WorkerId> {
        let id = deployment.id;
        self.deployments.insert(id, deployment);
        let hosts: Vec<_> = self.hosts.keys().copied().collect();
        hosts.into_iter().flat_map(|host| self.fill_deployment(host, id)).collect()
    }

    /// Removes a deployment and asks its workers to stop. `None` if there is no such deployment.
    pub fn remove_deployment(&mut self, id: DeploymentId, grace_ms: u32) -> Option<Deployment> {
        let deployment = self.deployments.remove(&id)?;
        self.fill_backoffs.retain(|(held, _), _| *held != id);
        let of_deployment = self.workers.iter().filter(|(_, worker)| worker.deployment == Some(id));
        let ids: Vec<_> = of_deployment.map(|(id, _)| *id).collect();
        self.stop(&ids, grace_ms);
        Some(deployment)
    }

    /// Asks workers to stop, and drops their pending restarts. They count as running until their hosts report their
    /// end.
    pub fn stop(&mut self, ids: &[WorkerId], grace_ms: u32) {
        let mut by_host: BTreeMap<PublicKey, Vec<WorkerId>> = BTreeMap::new();
        for id in ids {
            self.waiting.retain(|waiting| waiting.lost != *id);
            if let Some(worker) = self.workers.get_mut(id) {
                worker.phase = WorkerPhase::Stopping;
                by_host.entry(worker.host).or_default().push(*id);
            }
        }
        for (host, mut workers) in by_host {
            workers.sort_unstable();
            self.decisions.push_back(Decision::Stop { host, workers, grace_ms });
        }
    }

    /// Stops the workers of an owner, and drops their pending restarts. Its deployments and their workers stay.
    pub fn stop_owner(&mut self, owner: Owner, grace_ms: u32) {
        let theirs = |worker: &PlacedWorker| worker.spec.owner == owner && worker.deployment.is_none();
        let of_owner = self.workers.iter().filter(|(_, worker)| theirs(worker));
        let mut ids: Vec<_> = of_owner.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        self.waiting.retain(|waiting| !theirs(&waiting.worker));
        self.stop(&ids, grace_ms);
    }

    /// Withdraws what `is_out` selects: stops the workers without grace, and removes their pending restarts and the
    /// deployments.
    pub fn withdraw(&mut self, is_out: impl Fn(&Spec) -> bool) {
        self.deployments.retain(|_, deployment| !is_out(&deployment.spec));
        let Self { deployments, fill_backoffs, .. } = self;
        fill_backoffs.retain(|(deployment, _), _| deployments.contains_key(deployment));
        self.waiting.retain(|waiting| !is_out(&waiting.worker.spec));
        let out = self.workers.iter().filter(|(_, worker)| is_out(&worker.spec));
        let mut ids: Vec<_> = out.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        self.stop(&ids, 0);
    }

    /// The hosts that are connected or expected back.
    pub fn hosts(&self) -> &BTreeMap<PublicKey, RosterHost> {
        &self.hosts
    }

    /// The workers that have not ended.
    pub fn workers(&self) -> &HashMap<WorkerId, PlacedWorker> {
        &self.workers
    }

    /// The deployments.
    pub fn deployments(&self) -> &BTreeMap<DeploymentId, Deployment> {
        &self.deployments
    }

    fn exactly(&self, spec: &Spec, keys: &[PublicKey]) -> Result<Vec<PublicKey>, NoRoom> {
        let mut reasons = Vec::new();
        let mut asked: BTreeMap<PublicKey, u32> = BTreeMap::new();
        for key in keys {
            *asked.entry(*key).or_default() += 1;
        }
        for (key, count) in &asked {
            let Some(host) = self.hosts.get(key) else {
                reasons.push((*key, PlacementError::Unknown));
                continue;
            };
            match placement::fit(host, spec) {
                Err(reason) => reasons.push((*key, reason)),
                Ok(()) if placement::capacity(host, spec) < *count => {
                    reasons.push((*key, PlacementError::Few { room: placement::capacity(host, spec) }));
                }
                Ok(()) => {}
            }
        }
        if reasons.is_empty() {
            return Ok(keys.to_vec());
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let useless = reasons.iter().filter_map(|(key, _)| asked.get(key)).sum::<u32>();
        reasons.truncate(NoRoom::REASONS_MAX);
        Err(NoRoom { asked: count(keys.len()), room: count(keys.len()) - useless, reasons })
    }

    fn start(&mut self, template: &PlacedWorker, count: u32) -> Vec<WorkerId> {
        let Some(host) = self.hosts.get_mut(&template.host) else {
            return Vec::new();
        };
        let mut ids = Vec::new();
        for _ in 0..count {
            let id = WorkerId::new(self.settings.incarnation, self.next_worker);
            self.next_worker += 1;
            host.workers.insert(id);
            host.memory_promised += template.spec.memory_bytes;
            self.workers.insert(id, template.clone());
            ids.push(id);
        }
        if !ids.is_empty() {
            self.decisions.push_back(Decision::Start {
                host: template.host,
                workers: ids.clone(),
                spec: template.spec.clone(),
            });
        }
        ids
    }

    fn remove_host(&mut self, now: Moment, key: PublicKey, end: &End) {
        let Some(host) = self.hosts.get(&key) else {
            return;
        };
        for id in host.workers.clone() {
            self.end_worker(now, id, end.clone());
        }
        self.hosts.remove(&key);
        self.fill_backoffs.retain(|(_, host), _| *host != key);
        self.decisions.push_back(Decision::HostGone { host: key });
    }

    fn end_worker(&mut self, now: Moment, id: WorkerId, end: End) {
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        let mut drained = false;
        if let Some(host) = self.hosts.get_mut(&worker.host) {
            host.workers.remove(&id);
            host.memory_promised -= worker.spec.memory_bytes;
            drained = host.presence == Presence::Draining && worker.phase != WorkerPhase::Stopping;
        }
        let accident = end.is_accident() && worker.phase != WorkerPhase::Stopping;
        let worker_was = Box::new(worker.clone());
        self.decisions.push_back(Decision::Left { worker: id, worker_was, end: end.clone() });
        if !accident && !drained {
            return;
        }
        match worker.deployment {
            Some(deployment) => self.hold(now, deployment, &worker, &end),
            None => self.restart(now, id, worker),
        }
    }

    /// Sets when a deployment may refill the slot of a worker that failed.
    fn hold(&mut self, now: Moment, deployment: DeploymentId, worker: &PlacedWorker, end: &End) {
        if !matches!(end, End::Failed(_) | End::Silent { .. }) {
            return;
        }
        let hold = self.fill_backoffs.entry((deployment, worker.host)).or_default();
        if matches!(worker.phase, WorkerPhase::Running(since) if now.since(since) >= PROVEN) {
            hold.failures = 0;
        }
        hold.failures += 1;
        let allowed = match worker.spec.restart {
            Restart::Never => 0,
            Restart::OnFailure { at_most } => at_most,
            Restart::Always => u32::MAX,
        };
        if hold.failures > allowed {
            hold.spent += 1;
        } else {
            hold.until = now + pause(hold.failures);
        }
    }

    fn restart(&mut self, now: Moment, id: WorkerId, worker: PlacedWorker) {
        let proven = matches!(worker.phase, WorkerPhase::Running(since) if now.since(since) >= PROVEN);
        let restarts = if proven { 0 } else { worker.restarts };
        let allowed = match worker.spec.restart {
            Restart::Never => false,
            Restart::OnFailure { at_most } => restarts < at_most,
            Restart::Always => true,
        };
        if allowed {
            let due = now + pause(restarts);
            let worker = PlacedWorker {
                restarts: restarts + 1,
                replaces: Some(id),
                phase: WorkerPhase::Starting,
                ..worker
            };
            self.waiting.push(PendingRestart { due, lost: id, worker });
        }
    }

    /// Restarts the workers that are due, where they fit; the others wait for the next change of the roster.
    fn start_waiting(&mut self, now: Moment) {
        for mut waiting in core::mem::take(&mut self.waiting) {
            if waiting.due > now {
                self.waiting.push(waiting);
                continue;
            }
            let host = if waiting.worker.pinned {
                self.exactly(&waiting.worker.spec, &[waiting.worker.host]).ok()
            } else {
                placement::spread(&self.hosts, &waiting.worker.spec, 1).ok()
            };
            match host.and_then(|hosts| hosts.first().copied()) {
                Some(host) => {
                    self.start(&PlacedWorker { host, ..waiting.worker }, 1);
                }
                None => {
                    // Nothing is free now. Every change that frees something calls this function again.
                    waiting.due = Moment::ZERO;
                    self.waiting.push(waiting);
                }
            }
        }
    }

    fn fill_host(&mut self, host: PublicKey) {
        let deployments: Vec<_> = self.deployments.keys().copied().collect();
        for deployment in deployments {
            self.fill_deployment(host, deployment);
        }
    }

    fn fill_deployment(&mut self, key: PublicKey, id: DeploymentId) -> Vec<WorkerId> {
        let (Some(host), Some(deployment)) = (self.hosts.get(&key), self.deployments.get(&id)) else {
            return Vec::new();
        };
        let hold = self.fill_backoffs.get(&(id, key));
        if hold.is_some_and(|hold| hold.until > Moment::ZERO) {
            return Vec::new();
        }
        let spent = hold.map_or(0, |hold| hold.spent);
        let count = placement::capacity(host, &deployment.spec).saturating_sub(spent);
        let template = PlacedWorker {
            spec: deployment.spec.clone(),
            host: key,
            phase: WorkerPhase::Starting,
            deployment: Some(id),
            replaces: None,
            restarts: 0,
            pinned: true,
        };
        self.start(&template, count)
    }
}
