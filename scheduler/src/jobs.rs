//! Decides which host attempts which task; never acts.
//!
//! [`Jobs`] is told what happened (`handle_*`) and asked to hand out work ([`Jobs::dispatch`]); what is to be done
//! comes from [`Jobs::poll_decision`], and the driver makes each decision durable before it takes effect. A task that
//! was acknowledged is, at every moment, exactly one of: waiting, leased, done, dead. Inputs and results are never
//! here: only numbers are, and of tasks that were never tried not even those.

mod decision;
mod dispatch;
mod host;
mod job;
mod lease;
mod settle;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use grid_protocol::digest::Digest;
use grid_protocol::host::HostCapacity;
use grid_protocol::job::{AttemptId, JobId, JobState};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;

pub use decision::{AttemptFate, JobDecision, Verdict};
pub use dispatch::Obstacle;
pub use host::WorkHost;
pub use job::{ScheduledJob, TaskHistory, Unfit};
use lease::LeaseTable;
pub use lease::{LEASE_TERM, Lease};

/// Decides which host attempts which task.
#[derive(Debug)]
pub struct Jobs {
    incarnation: u32,
    attempts: u64,
    jobs: BTreeMap<JobId, ScheduledJob>,
    made: u64,
    joins: u64,
    hosts: BTreeMap<PublicKey, WorkHost>,
    clients: BTreeMap<PublicKey, ClientShare>,
    leases: LeaseTable,
    decisions: VecDeque<JobDecision>,
    /// When tasks that wait for a better time, and hosts in quarantine, are next looked at.
    pause_ends: Option<Moment>,
    /// When second attempts are next thought about.
    extras_due: Moment,
    /// Takes results from attempts whose leases have ended: on purpose, and only in the simulation.
    #[cfg(feature = "fault-injection")]
    pub never_fence: bool,
    /// Leases that have ended, for that.
    #[cfg(feature = "fault-injection")]
    ended: BTreeMap<AttemptId, Lease>,
}

/// A client's share.
#[derive(Debug, Default)]
struct ClientShare {
    /// Attempts under way.
    live: u64,
    /// When it was last given a slot, as a count.
    served: u64,
    /// Its jobs with tasks that wait, best first.
    has_waiting: BTreeSet<Rank>,
}

impl ClientShare {
    fn is_idle(&self) -> bool {
        self.live == 0 && self.has_waiting.is_empty()
    }
}

type Rank = (Reverse<i32>, u64, JobId);

/// A job that no host can run is given up after so long: hosts may be on their way back.
const HOPE_PATIENCE: Duration = Duration::from_secs(30);

impl Jobs {
    /// Nothing to do, for the manager's life number `incarnation`.
    pub fn new(incarnation: u32) -> Self {
        Self {
            incarnation,
            attempts: 0,
            jobs: BTreeMap::new(),
            made: 0,
            joins: 0,
            hosts: BTreeMap::new(),
            clients: BTreeMap::new(),
            leases: LeaseTable::default(),
            decisions: VecDeque::new(),
            pause_ends: None,
            extras_due: Moment::ZERO,
            #[cfg(feature = "fault-injection")]
            never_fence: false,
            #[cfg(feature = "fault-injection")]
            ended: BTreeMap::new(),
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

    /// Does what is due at `now`: ends leases, quarantines and pauses. [`Self::dispatch`] comes after it.
    pub fn handle_timeout(&mut self, now: Moment) {
        for (attempt, lease) in self.leases.take_expired(now) {
            self.lose(now, attempt, lease, false);
            if let Some(host) = self.hosts.get_mut(&lease.host) {
                host.silent = host.present;
            }
            self.decisions
                .push_back(JobDecision::Abandon { host: lease.host, attempts: alloc::vec![attempt] });
        }
        if self.pause_ends.is_some_and(|due| due <= now) {
            self.end_pauses(now);
        }
    }

    fn end_pauses(&mut self, now: Moment) {
        for host in self.hosts.values_mut() {
            host.quarantine = host.quarantine.filter(|until| *until > now);
        }
        let quarantines = self.hosts.values().filter_map(|host| host.quarantine);
        let pauses = self.jobs.values_mut().filter_map(|job| job.end_pauses(now));
        self.pause_ends = quarantines.chain(pauses).min();
        let hopeless: Vec<_> = self
            .jobs
            .iter()
            .filter_map(|(id, job)| Some((*id, job.hopeless_since.filter(|_| !job.state.is_over())?)))
            .collect();
        for (id, since) in hopeless {
            if since + HOPE_PATIENCE > now {
                self.note_pause(since + HOPE_PATIENCE);
            } else {
                self.give_hope_up(now, id);
            }
        }
    }

    /// Adds a job, new or as it was before a restart.
    pub fn add_job(&mut self, id: JobId, mut job: ScheduledJob) {
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
        let holder = self.hosts.entry(host).or_default();
        let bytes = known.usual_bytes();
        holder.held += 1;
        holder.held_bytes += bytes;
        if known.trials.get(&task).is_some_and(TaskHistory::is_suspect) {
            holder.alone = Some(attempt);
        }
        let until = now + LEASE_TERM;
        // Whether it ran is not known; a host that was lost with the manager is blamed on nobody.
        self.leases.grant(
            attempt,
            Lease { job, task, host, granted: now, until, executing: None, extra: false, bytes },
        );
    }

    /// Tasks came: the job has them up to `submitted`, exclusive, and so many bytes more of input.
    pub fn handle_submitted(&mut self, id: JobId, submitted: u64, bytes: u64) {
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| submitted > job.submitted) {
            job.submitted = submitted;
            job.input_bytes = job.input_bytes.saturating_add(bytes);
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
                    job.put_back(lease.task, now, now);
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
            if !job.is_pending(*task) {
                job.dead = job.dead.saturating_sub(1);
                job.trials.remove(task);
                job.put_back(*task, now, now);
            }
        }
        // Hosts may have changed their minds, too.
        job.unfit.clear();
        job.hopeless_since = None;
        if job.state.is_over() {
            job.state = JobState::Closed;
            self.decisions.push_back(JobDecision::Turned { job: id, state: JobState::Closed });
        }
        self.note_hunger(id);
        self.check_finished(id);
    }

    /// What hosts refused to run says nothing any more: of all of them, because other publishers are trusted now, or of one
    /// that has begun anew.
    pub fn forget_refusals(&mut self, of: Option<PublicKey>) {
        for job in self.jobs.values_mut() {
            job.unfit.retain(|host, _| of.is_some_and(|of| of != *host));
        }
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
    pub fn handle_host_joined(&mut self, key: PublicKey, capacity: &HostCapacity) {
        self.joins += 1;
        let host = self.hosts.entry(key).or_default();
        host.joined = self.joins;
        host.labels.clone_from(&capacity.labels);
        host.memory_bytes = capacity.memory_bytes;
        host.slots = capacity.slots;
        host.present = true;
        host.silent = false;
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
        // What spoke against it is remembered in case that it comes again.
        if self.hosts.get(&key).is_some_and(|host| host.quarantine.is_none() && host.health.is_clean()) {
            self.hosts.remove(&key);
        }
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
            host.silent = false;
        }
    }

    /// A host has a module.
    pub fn handle_module(&mut self, key: PublicKey, module: Digest) {
        if let Some(host) = self.hosts.get_mut(&key) {
            host.note_module(module);
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
        if let Some(host) = self.hosts.get_mut(&key)
            && stale.len() < attempts.len()
        {
            host.silent = false;
        }
        if !stale.is_empty() {
            self.decisions.push_back(JobDecision::Stray { host: key, attempts: stale });
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
        #[cfg(feature = "fault-injection")]
        if let Some(lease) = self.ended.get(&attempt).copied().filter(|_| self.never_fence) {
            return self.settle_done(now, lease, ran_us);
        }
        if self.leases.valid(now, key, attempt).is_none() {
            return Verdict::Fenced;
        }
        let Some(lease) = self.release(attempt) else {
            return Verdict::Fenced;
        };
        let verdict = match fate {
            AttemptFate::Done => self.settle_done(now, lease, ran_us),
            AttemptFate::Failed(kind) => self.settle_failed(now, lease, kind),
        };
        self.check_finished(lease.job);
        verdict
    }

    /// The jobs.
    pub fn jobs(&self) -> &BTreeMap<JobId, ScheduledJob> {
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
            client.has_waiting.insert(rank);
        } else {
            client.has_waiting.remove(&rank);
            if client.is_idle() {
                self.clients.remove(&job.owner);
            }
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
