//! Decides which host attempts which task; never acts.
//!
//! [`Jobs`] is told what happened (`handle_*`) and asked to hand out work ([`Jobs::dispatch`]); what is to be done
//! comes from [`Jobs::poll_decision`], and the driver makes each decision durable before it takes effect. A task that
//! was acknowledged is, at every moment, exactly one of: waiting, leased, done, dead. Inputs and results are never
//! here: only numbers are, and of tasks that were never tried not even those.

mod dispatch;
mod host;
mod job;
mod lease;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use grid_protocol::digest::Digest;
use grid_protocol::host::Offer;
use grid_protocol::job::{AttemptId, JobId, JobState};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;
use grid_protocol::worker::{Blame, FailureKind};

pub use dispatch::Obstacle;
pub use host::WorkHost;
pub use job::{Job, Trial};
use lease::LeaseTable;
pub use lease::{LEASE_TERM, Lease};

/// Decides which host attempts which task.
#[derive(Debug)]
pub struct Jobs {
    incarnation: u32,
    attempts: u64,
    jobs: BTreeMap<JobId, Job>,
    made: u64,
    hosts: BTreeMap<PublicKey, WorkHost>,
    clients: BTreeMap<PublicKey, Client>,
    leases: LeaseTable,
    decisions: VecDeque<JobDecision>,
    /// When tasks that wait for a better time, and hosts in quarantine, are next looked at.
    pause_ends: Option<Moment>,
    /// When second attempts are next thought about.
    extras_due: Moment,
}

/// A client's share.
#[derive(Debug, Default)]
struct Client {
    /// Attempts under way.
    live: u64,
    /// When it was last given a slot, as a count.
    served: u64,
    /// Its jobs with tasks that wait, best first.
    hungry: BTreeSet<Rank>,
}

type Rank = (Reverse<i32>, u64, JobId);

/// What the driver must do, after it made it durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobDecision {
    /// Give `host` these attempts.
    Lease {
        /// Where.
        host: PublicKey,
        /// Whose tasks.
        job: JobId,
        /// Each attempt and the task's number.
        attempts: Vec<(AttemptId, u64)>,
    },
    /// An attempt is lost: its lease ended, or its host has forgotten it.
    Lost {
        /// Which.
        attempt: AttemptId,
        /// Who had it.
        host: PublicKey,
        /// What becomes of the task.
        verdict: Verdict,
    },
    /// Tell `host` to drop these, whose leases are gone.
    Abandon {
        /// Where.
        host: PublicKey,
        /// Which.
        attempts: Vec<AttemptId>,
    },
    /// A job has come to this state.
    Turned {
        /// Which.
        job: JobId,
        /// Which state.
        state: JobState,
    },
    /// A host gets nothing for a while.
    Quarantined {
        /// Which.
        host: PublicKey,
        /// For how long.
        pause: Duration,
    },
}

/// What becomes of a task whose attempt has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The attempt had no right to an outcome any more: nothing changes.
    Fenced,
    /// Done: record its results under this number.
    Done {
        /// Whose task.
        job: JobId,
        /// Its number.
        task: u64,
        /// The number of the outcome.
        seq: u64,
    },
    /// Dead: record its failures under this number.
    Dead {
        /// Whose task.
        job: JobId,
        /// Its number.
        task: u64,
        /// The number of the outcome.
        seq: u64,
        /// Why it is not tried again.
        why: String,
    },
    /// It will be tried again, and the failure is kept.
    Again {
        /// Whose task.
        job: JobId,
        /// Its number.
        task: u64,
        /// What it has been through.
        trial: Trial,
    },
    /// It goes back as if it had never left.
    Back {
        /// Whose task.
        job: JobId,
        /// Its number.
        task: u64,
    },
}

/// How an attempt ended, as its host says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptFate {
    /// With results.
    Done,
    /// With a failure of this kind.
    Failed(FailureKind),
}

/// Attempts by hosts' faults before a task is dead: free for its client, and still bounded.
const HOST_FAULTS_MAX: u32 = 5;

/// A pause before a task whose host was at fault goes again: 200 ms, doubled each time.
const HOST_FAULT_PAUSE: Duration = Duration::from_millis(200);

impl Jobs {
    /// Nothing to do, for the manager's life number `incarnation`.
    pub fn new(incarnation: u32) -> Self {
        Self {
            incarnation,
            attempts: 0,
            jobs: BTreeMap::new(),
            made: 0,
            hosts: BTreeMap::new(),
            clients: BTreeMap::new(),
            leases: LeaseTable::default(),
            decisions: VecDeque::new(),
            pause_ends: None,
            extras_due: Moment::ZERO,
        }
    }

    /// What to do next, until there is nothing.
    pub fn poll_decision(&mut self) -> Option<JobDecision> {
        self.decisions.pop_front()
    }

    /// When [`Self::handle_timeout`] is due, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let pause = self.pause_ends.into_iter();
        pause.chain(self.leases.due()).min()
    }

    /// Does what is due at `now`: ends leases, quarantines and pauses.
    pub fn handle_timeout(&mut self, now: Moment) {
        for (attempt, lease) in self.leases.take_expired(now) {
            self.lose(now, attempt, lease);
            self.decisions
                .push_back(JobDecision::Abandon { host: lease.host, attempts: alloc::vec![attempt] });
        }
        if self.pause_ends.is_some_and(|due| due <= now) {
            for host in self.hosts.values_mut() {
                host.quarantine = host.quarantine.filter(|until| *until > now);
            }
            let quarantines = self.hosts.values().filter_map(|host| host.quarantine);
            let pauses = self.jobs.values().flat_map(|job| job.again.values().copied());
            self.pause_ends = quarantines.chain(pauses.filter(|due| *due > now)).min();
        }
        self.dispatch(now);
    }

    /// Adds a job, new or as it was before a restart.
    pub fn add_job(&mut self, id: JobId, mut job: Job) {
        self.made += 1;
        job.order = self.made;
        self.jobs.insert(id, job);
        self.note_hunger(id);
    }

    /// A lease from before a restart: the host has its whole term to come back and renew it.
    pub fn resume_lease(&mut self, now: Moment, attempt: AttemptId, job: JobId, task: u64, host: PublicKey) {
        let Some(known) = self.jobs.get_mut(&job) else {
            return;
        };
        known.live.entry(task).or_default().push(attempt);
        self.clients.entry(known.owner).or_default().live += 1;
        self.hosts.entry(host).or_default().held += 1;
        let until = now + LEASE_TERM;
        // Whether it ran is not known; a host that was lost with the manager is blamed on nobody.
        self.leases.grant(attempt, Lease { job, task, host, until, executing: None, extra: false });
    }

    /// Tasks were acknowledged: the job has them up to `submitted`, exclusive.
    pub fn handle_submitted(&mut self, id: JobId, submitted: u64) {
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| submitted > job.submitted) {
            job.submitted = submitted;
            self.note_hunger(id);
        }
    }

    /// The job takes no more tasks.
    pub fn close(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| job.state == JobState::Open) {
            job.state = JobState::Closed;
            self.decisions.push_back(JobDecision::Turned { job: id, state: JobState::Closed });
            self.check_finished(id);
        }
    }

    /// Ends a job: what waits is never handed out, what runs is stopped.
    pub fn end(&mut self, now: Moment, id: JobId, state: JobState) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.state.is_over()) else {
            return;
        };
        job.state = state.clone();
        let live: Vec<_> = job.live.values().flatten().copied().collect();
        let mut by_host: BTreeMap<PublicKey, Vec<AttemptId>> = BTreeMap::new();
        for attempt in live {
            if let Some(lease) = self.release(attempt) {
                by_host.entry(lease.host).or_default().push(attempt);
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.put_back(lease.task, now);
                }
            }
        }
        let abandon = by_host.into_iter().map(|(host, attempts)| JobDecision::Abandon { host, attempts });
        self.decisions.extend(abandon);
        self.decisions.push_back(JobDecision::Turned { job: id, state });
        self.note_hunger(id);
    }

    /// Dead tasks of a job shall be tried again, as if they never had been.
    pub fn retry(&mut self, now: Moment, id: JobId, tasks: &[u64]) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        for task in tasks {
            job.dead = job.dead.saturating_sub(1);
            job.trials.remove(task);
            job.put_back(*task, now);
        }
        if job.state.is_over() {
            job.state = JobState::Closed;
            self.decisions.push_back(JobDecision::Turned { job: id, state: JobState::Closed });
        }
        self.note_hunger(id);
        self.check_finished(id);
    }

    /// Forgets a job that is over.
    pub fn forget(&mut self, id: JobId) {
        if self.jobs.get(&id).is_some_and(|job| job.state.is_over()) {
            self.jobs.remove(&id);
            for host in self.hosts.values_mut() {
                host.health.forget(id);
            }
        }
    }

    /// A host is connected and let in.
    pub fn handle_host_joined(&mut self, key: PublicKey, offer: &Offer) {
        let host = self.hosts.entry(key).or_default();
        host.labels.clone_from(&offer.labels);
        host.memory_bytes = offer.memory_bytes;
        host.slots = offer.slots;
        host.present = true;
        // It says how much it wants on each connection.
        host.window = 0;
    }

    /// A host's connection is lost. Its leases decide what becomes of its attempts.
    pub fn handle_host_away(&mut self, key: PublicKey) {
        if let Some(host) = self.hosts.get_mut(&key) {
            host.present = false;
            host.window = 0;
        }
    }

    /// A host has left for good, or was sent away: it will renew nothing.
    pub fn handle_host_gone(&mut self, now: Moment, key: PublicKey) {
        self.handle_host_away(key);
        self.keep_only(now, key, &BTreeSet::new());
    }

    /// A host that starts a new session says which attempts it has: the others are lost, and what it has no right
    /// to it must drop.
    pub fn handle_holding(&mut self, now: Moment, key: PublicKey, attempts: &[AttemptId]) {
        let held: BTreeSet<_> = attempts.iter().copied().collect();
        self.keep_only(now, key, &held);
        self.handle_renewal(now, key, attempts);
    }

    /// A host is ready to hold so many attempts at once.
    pub fn handle_window(&mut self, key: PublicKey, window: u32) {
        if let Some(host) = self.hosts.get_mut(&key) {
            host.window = window;
        }
    }

    /// A host has a module.
    pub fn handle_module(&mut self, key: PublicKey, module: Digest) {
        if let Some(host) = self.hosts.get_mut(&key) {
            host.modules.insert(module);
        }
    }

    /// A host vouches for these attempts. Those that it has no right to any more it must drop.
    pub fn handle_renewal(&mut self, now: Moment, key: PublicKey, attempts: &[AttemptId]) {
        let mut stale = Vec::new();
        for attempt in attempts {
            match self.leases.valid(now, key, *attempt) {
                Some(lease) => lease.until = now + LEASE_TERM,
                None => stale.push(*attempt),
            }
        }
        if !stale.is_empty() {
            self.decisions.push_back(JobDecision::Abandon { host: key, attempts: stale });
        }
    }

    /// A host has begun these attempts.
    pub fn handle_executing(&mut self, now: Moment, key: PublicKey, attempts: &[AttemptId]) {
        for attempt in attempts {
            if let Some(lease) = self.leases.valid(now, key, *attempt) {
                lease.executing.get_or_insert(now);
            }
        }
    }

    /// A host gives attempts back that it has not begun.
    pub fn handle_returned(&mut self, now: Moment, key: PublicKey, attempts: &[AttemptId]) {
        for attempt in attempts {
            if self.leases.valid(now, key, *attempt).is_none() {
                continue;
            }
            if let Some(lease) = self.release(*attempt) {
                let verdict = self.settle_back(now, lease);
                self.decisions.push_back(JobDecision::Lost { attempt: *attempt, host: key, verdict });
            }
        }
    }

    /// An attempt has ended at its host; what becomes of the task. The caller makes it durable, and then tells the host.
    pub fn handle_end(
        &mut self,
        now: Moment,
        key: PublicKey,
        attempt: AttemptId,
        fate: AttemptFate,
        ran_us: u64,
    ) -> Verdict {
        if self.leases.valid(now, key, attempt).is_none() {
            return Verdict::Fenced;
        }
        let Some(lease) = self.release(attempt) else {
            return Verdict::Fenced;
        };
        let verdict = match fate {
            AttemptFate::Done => self.settle_done(lease, ran_us),
            AttemptFate::Failed(kind) => self.settle_failed(now, lease, kind),
        };
        self.check_finished(lease.job);
        verdict
    }

    /// The jobs.
    pub fn jobs(&self) -> &BTreeMap<JobId, Job> {
        &self.jobs
    }

    /// The hosts, connected or remembered.
    pub fn hosts(&self) -> &BTreeMap<PublicKey, WorkHost> {
        &self.hosts
    }

    /// A lease.
    pub fn lease(&self, attempt: AttemptId) -> Option<&Lease> {
        self.leases.get(attempt)
    }

    /// All leases.
    pub fn leases(&self) -> impl Iterator<Item = (AttemptId, &Lease)> {
        self.leases.iter()
    }

    fn settle_done(&mut self, lease: Lease, ran_us: u64) -> Verdict {
        if let Some(host) = self.hosts.get_mut(&lease.host) {
            host.health.succeeded(lease.job);
        }
        let Some(job) = self.jobs.get_mut(&lease.job) else {
            return Verdict::Fenced;
        };
        job.done += 1;
        job.recorded += 1;
        job.ran_us = job.ran_us.saturating_add(ran_us);
        job.trials.remove(&lease.task);
        let seq = job.recorded;
        let others = job.live.get(&lease.task).cloned().unwrap_or_default();
        self.abandon(&others);
        Verdict::Done { job: lease.job, task: lease.task, seq }
    }

    fn settle_failed(&mut self, now: Moment, lease: Lease, kind: FailureKind) -> Verdict {
        let by_host = kind.blame() == Blame::Host;
        let Some(job) = self.jobs.get_mut(&lease.job) else {
            return Verdict::Fenced;
        };
        let trial = job.trials.entry(lease.task).or_default();
        trial.blame(lease.host);
        let (count, most) = if by_host {
            trial.host += 1;
            (trial.host, HOST_FAULTS_MAX)
        } else {
            trial.guest += 1;
            (trial.guest, job.spec.attempts_max)
        };
        let why = if kind.is_permanent() {
            Some("it would fail again on any host".into())
        } else if count >= most {
            Some(alloc::format!("it failed {count} times"))
        } else {
            None
        };
        let due = if by_host { now + HOST_FAULT_PAUSE * (1 << count.min(6)) } else { now };
        let done = job.done;
        let verdict = self.settle_trial(lease, why, due);
        let pause =
            self.hosts.get_mut(&lease.host).and_then(|host| host.health.failed(lease.job, done, by_host));
        if let Some(pause) = pause {
            self.quarantine(now, lease.host, pause);
        }
        verdict
    }

    /// A module that a host refuses is no fault of the task: the host gets no more of the job.
    pub fn handle_unfit(&mut self, now: Moment, key: PublicKey, attempt: AttemptId, why: &str) -> Verdict {
        if self.leases.valid(now, key, attempt).is_none() {
            return Verdict::Fenced;
        }
        let Some(lease) = self.release(attempt) else {
            return Verdict::Fenced;
        };
        let verdict = self.settle_back(now, lease);
        let Some(job) = self.jobs.get_mut(&lease.job) else {
            return verdict;
        };
        job.unfit.insert(key, why.into());
        let spec = job.spec.clone();
        let unfit: BTreeSet<_> = job.unfit.keys().copied().collect();
        let hope =
            |(key, host): (&PublicKey, &WorkHost)| host.present && host.suits(&spec) && !unfit.contains(key);
        if !self.hosts.iter().any(hope) {
            let why = alloc::format!("no host can run the module: {why}");
            self.end(now, lease.job, JobState::GivenUp { why });
        }
        verdict
    }

    /// After a failure: dead, or waiting again, unless another attempt is under way.
    fn settle_trial(&mut self, lease: Lease, why: Option<String>, due: Moment) -> Verdict {
        let Lease { job: id, task, .. } = lease;
        let Some(job) = self.jobs.get_mut(&id) else {
            return Verdict::Fenced;
        };
        let trial = job.trials.get(&task).cloned().unwrap_or_default();
        let Some(why) = why else {
            job.retried += 1;
            if !job.live.contains_key(&task) {
                job.put_back(task, due);
                self.note_pause(due);
                self.note_hunger(id);
            }
            return Verdict::Again { job: id, task, trial };
        };
        job.dead += 1;
        job.recorded += 1;
        job.trials.remove(&task);
        let seq = job.recorded;
        let others = job.live.get(&task).cloned().unwrap_or_default();
        let hopeless = job.hopeless();
        self.abandon(&others);
        if let Some(why) = hopeless {
            self.end(Moment::ZERO, id, JobState::GivenUp { why });
        }
        Verdict::Dead { job: id, task, seq, why }
    }

    /// The task goes back without any blame.
    fn settle_back(&mut self, now: Moment, lease: Lease) -> Verdict {
        let Lease { job: id, task, .. } = lease;
        if let Some(job) = self.jobs.get_mut(&id)
            && !job.live.contains_key(&task)
        {
            job.put_back(task, now);
            self.note_hunger(id);
        }
        Verdict::Back { job: id, task }
    }

    /// The attempt is lost with its host; only a task that ran there has anything to do with it.
    fn lose(&mut self, now: Moment, attempt: AttemptId, lease: Lease) {
        self.detach(attempt, &lease);
        let verdict = match self.jobs.get_mut(&lease.job) {
            Some(job) if lease.executing.is_some() => {
                let trial = job.trials.entry(lease.task).or_default();
                trial.lost += 1;
                let lost = trial.lost;
                let why = (lost >= HOST_FAULTS_MAX)
                    .then(|| alloc::format!("{lost} hosts were lost while they ran it"));
                self.settle_trial(lease, why, now)
            }
            _ => self.settle_back(now, lease),
        };
        self.decisions.push_back(JobDecision::Lost { attempt, host: lease.host, verdict });
        self.check_finished(lease.job);
    }

    fn keep_only(&mut self, now: Moment, key: PublicKey, held: &BTreeSet<AttemptId>) {
        let of_host =
            self.leases.iter().filter(|(attempt, lease)| lease.host == key && !held.contains(attempt));
        let lost: Vec<_> = of_host.map(|(attempt, lease)| (attempt, *lease)).collect();
        for (attempt, lease) in lost {
            self.leases.remove(attempt);
            self.lose(now, attempt, lease);
        }
    }

    /// Attempts that came too late or are not wanted any more; their tasks are over.
    fn abandon(&mut self, attempts: &[AttemptId]) {
        for attempt in attempts {
            if let Some(lease) = self.release(*attempt) {
                let attempts = alloc::vec![*attempt];
                self.decisions.push_back(JobDecision::Abandon { host: lease.host, attempts });
            }
        }
    }

    /// Takes a lease away; everything that counts leases follows.
    fn release(&mut self, attempt: AttemptId) -> Option<Lease> {
        let lease = self.leases.remove(attempt)?;
        self.detach(attempt, &lease);
        Some(lease)
    }

    fn detach(&mut self, attempt: AttemptId, lease: &Lease) {
        if let Some(host) = self.hosts.get_mut(&lease.host) {
            host.held = host.held.saturating_sub(1);
            if host.alone == Some(attempt) {
                host.alone = None;
            }
        }
        let Some(job) = self.jobs.get_mut(&lease.job) else {
            return;
        };
        if let Some(attempts) = job.live.get_mut(&lease.task) {
            attempts.retain(|other| *other != attempt);
            if attempts.is_empty() {
                job.live.remove(&lease.task);
            }
        }
        if let Some(client) = self.clients.get_mut(&job.owner) {
            client.live = client.live.saturating_sub(1);
        }
    }

    fn quarantine(&mut self, now: Moment, key: PublicKey, pause: Duration) {
        if let Some(host) = self.hosts.get_mut(&key) {
            host.quarantine = Some(now + pause);
            self.note_pause(now + pause);
            self.decisions.push_back(JobDecision::Quarantined { host: key, pause });
        }
    }

    fn note_pause(&mut self, due: Moment) {
        self.pause_ends = Some(self.pause_ends.map_or(due, |other| other.min(due)));
    }

    /// Keeps the list of a client's jobs with tasks that wait.
    fn note_hunger(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        let rank = (Reverse(job.spec.priority), job.order, id);
        let client = self.clients.entry(job.owner).or_default();
        if job.waiting() > 0 && !job.state.is_over() {
            client.hungry.insert(rank);
        } else {
            client.hungry.remove(&rank);
        }
    }

    fn check_finished(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.state == JobState::Closed && job.waiting() == 0 && job.live.is_empty() {
            job.state = JobState::Finished;
            self.decisions.push_back(JobDecision::Turned { job: id, state: JobState::Finished });
        }
    }
}
