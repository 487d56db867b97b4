//! Decides which host attempts which task; never acts.
//!
//! [`Jobs`] is told what happened (`handle_*`) and asked to hand out work ([`Jobs::dispatch`]); what is to be done
//! comes from [`Jobs::poll_decision`], and the driver makes each decision durable before it takes effect. A task that
//! was acknowledged is, at every moment, exactly one of: waiting, leased, done, dead. Inputs and results are never
//! here: only numbers are, and of tasks that were never tried not even those.

mod clients;
mod decision;
mod dispatch;
mod history;
mod host;
mod host_order;
mod hosts;
#[cfg(test)]
mod index_tests;
mod job;
mod lease;
mod lease_counts;
mod live_attempts;
mod named_leases;
mod pauses;
mod place_set;
mod reports;
mod settle;
mod stragglers;
mod suspects;
mod table;
#[cfg(test)]
mod tests;
mod work_kinds;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;

use grid_protocol::job::{AttemptId, JobId, JobState};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;

use clients::Clients;
pub use decision::{AttemptFate, JobDecision, Verdict};
pub use dispatch::Obstacle;
pub use history::TaskHistory;
pub use host::WorkHost;
use hosts::Hosts;
pub use job::{ScheduledJob, Unfit};
pub use lease::{LEASE_TERM, Lease};
use lease::{LeasePlaces, LeaseRow, LeaseTable};
pub use lease_counts::JobLeases;
pub use table::{KeyedTable, TableIter};

/// Decides which host attempts which task.
///
/// What a call costs does not depend on how many hosts, clients, jobs and leases there are that it is not about: each
/// is found by indexes that follow every change. Exceptions are rare: a host or a job that comes or goes, the first job
/// that needs something of hosts that no other needs, a host that is quarantined.
#[derive(Debug)]
pub struct Jobs {
    incarnation: u32,
    attempts: u64,
    jobs: KeyedTable<JobId, ScheduledJob>,
    made: u64,
    joins: u64,
    hosts: Hosts,
    clients: Clients,
    leases: LeaseTable,
    decisions: VecDeque<JobDecision>,
    /// Jobs with tasks that must be alone, and may go.
    suspects: BTreeSet<(JobId, u32)>,
    /// Jobs of which tasks or hosts pause, by when the first pause may end.
    pauses: BTreeSet<(Moment, u32)>,
    /// Jobs that no host could run when that was last looked at.
    hopeless: BTreeSet<JobId>,
    /// When tasks that wait for a better time, and hosts in quarantine, are next looked at.
    pause_ends: Option<Moment>,
    /// When second attempts are next thought about.
    extras_due: Moment,
    /// Passes over the hosts with room.
    passes: u64,
    /// Tasks about to be granted, kept for its memory.
    chosen: Vec<u64>,
    /// Takes results from attempts whose leases have ended: on purpose, and only in the simulation.
    #[cfg(feature = "fault-injection")]
    pub never_fence: bool,
    /// Leases that have ended, for that.
    #[cfg(feature = "fault-injection")]
    ended: BTreeMap<AttemptId, Lease>,
}

impl Jobs {
    /// Nothing to do, for the manager's life number `incarnation`.
    pub fn new(incarnation: u32) -> Self {
        Self {
            incarnation,
            attempts: 0,
            jobs: KeyedTable::default(),
            made: 0,
            joins: 0,
            hosts: Hosts::default(),
            clients: Clients::default(),
            leases: LeaseTable::default(),
            decisions: VecDeque::new(),
            suspects: BTreeSet::new(),
            pauses: BTreeSet::new(),
            hopeless: BTreeSet::new(),
            pause_ends: None,
            extras_due: Moment::ZERO,
            passes: 0,
            chosen: Vec::new(),
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

    /// Adds a job, new or as it was before a restart; one of that id that is here already stays as it is.
    pub fn add_job(&mut self, id: JobId, mut job: ScheduledJob) {
        if self.jobs.contains_key(&id) {
            return;
        }
        self.made += 1;
        job.order = self.made;
        let place = self.jobs.insert(id, job);
        self.note_waiting(place);
    }

    /// A lease from before a restart: the host has its whole term to come back and renew it.
    pub fn resume_lease(&mut self, now: Moment, attempt: AttemptId, job: JobId, task: u64, host: PublicKey) {
        let Some(place) = self.jobs.place(&job) else {
            return;
        };
        let at_host = self.host_place(host);
        let Some(known) = self.jobs.at_mut(place) else {
            return;
        };
        let slot = known.live.resume(task, attempt);
        let bytes = known.usual_bytes();
        let is_suspect = known.is_suspect(task);
        let client = self.clients.place_of(known.owner);
        known.indexed.client = client;
        self.clients.update(client, |share| share.live += 1);
        self.hosts.update(at_host, |holder| {
            holder.held += 1;
            holder.held_bytes += bytes;
            if is_suspect {
                holder.alone = Some(attempt);
            }
        });
        // Whether it ran is not known; a host that was lost with the manager is blamed on nobody.
        let at = LeasePlaces { job: place, host: at_host, slot };
        self.leases.grant(LeaseRow::new(now, attempt, task, bytes, false, at));
    }

    /// Tasks came: the job has them up to `submitted`, exclusive, and so many bytes more of input.
    pub fn handle_submitted(&mut self, id: JobId, submitted: u64, bytes: u64) {
        let Some(place) = self.jobs.place(&id) else {
            return;
        };
        if let Some(job) = self.jobs.at_mut(place).filter(|job| submitted > job.submitted) {
            job.submitted = submitted;
            job.input_bytes = job.input_bytes.saturating_add(bytes);
            self.note_waiting(place);
        }
    }

    /// The job takes no more tasks.
    pub fn close(&mut self, id: JobId) {
        let Some(place) = self.jobs.place(&id) else {
            return;
        };
        if let Some(job) = self.jobs.at_mut(place).filter(|job| job.state == JobState::Open) {
            job.state = JobState::Closed;
            self.decisions.push_back(JobDecision::Turned { job: id, state: JobState::Closed });
            self.check_finished(place);
        }
    }

    /// Ends a job: what waits is never handed out, what runs is stopped.
    pub fn end(&mut self, now: Moment, id: JobId, state: JobState) {
        let Some(place) = self.jobs.place(&id) else {
            return;
        };
        let Some(job) = self.jobs.at_mut(place).filter(|job| !job.state.is_over()) else {
            return;
        };
        job.state = state.clone();
        let live: Vec<_> = job.attempts().collect();
        let mut by_host: BTreeMap<PublicKey, Vec<AttemptId>> = BTreeMap::new();
        for attempt in live {
            if let Some(lease) = self.release(attempt) {
                by_host.entry(lease.host).or_default().push(attempt);
                if let Some(job) = self.jobs.at_mut(place) {
                    job.put_back(lease.task, now, now);
                }
            }
        }
        let abandon = by_host.into_iter().map(|(host, attempts)| JobDecision::Abandon { host, attempts });
        self.decisions.extend(abandon);
        self.decisions.push_back(JobDecision::Turned { job: id, state });
        self.note_waiting(place);
    }

    /// Dead tasks of a job shall be tried again, as if they never had been.
    pub fn retry(&mut self, now: Moment, id: JobId, tasks: &[u64]) {
        let Some(place) = self.jobs.place(&id) else {
            return;
        };
        let Some(job) = self.jobs.at_mut(place) else {
            return;
        };
        let live = job.live.task_set();
        for task in tasks {
            if !job.is_pending(*task, &live) {
                job.dead = job.dead.saturating_sub(1);
                job.histories.remove(task);
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
        self.note_waiting(place);
        self.check_finished(place);
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
        let Some(place) = self.jobs.place(&id) else {
            return;
        };
        if !self.jobs.at(place).is_some_and(|job| job.state.is_over()) {
            return;
        }
        if let Some(job) = self.jobs.remove(&id) {
            for host in job.tallied_by.iter() {
                if let Some(health) = self.hosts.health(host) {
                    health.forget(id);
                }
            }
            if let Some(due) = job.indexed.pause_ends {
                self.pauses.remove(&(due, place));
            }
            if let Some(kind) = job.indexed.kind {
                self.hosts.kinds.leave(kind);
            }
            self.hopeless.remove(&id);
        }
    }

    /// The jobs.
    pub fn jobs(&self) -> &KeyedTable<JobId, ScheduledJob> {
        &self.jobs
    }

    /// The hosts, connected or remembered.
    pub fn hosts(&self) -> &KeyedTable<PublicKey, WorkHost> {
        self.hosts.table()
    }

    /// Keeps the lists of a client's jobs with tasks that wait, and of jobs with tasks that must be alone.
    fn note_waiting(&mut self, place: u32) {
        let Some((id, job)) = self.jobs.entry_mut(place) else {
            return;
        };
        let has_suspects = !job.suspects.is_empty() && !job.state.is_over();
        if has_suspects != job.indexed.has_suspects {
            job.indexed.has_suspects = has_suspects;
            if has_suspects {
                self.suspects.insert((*id, place));
            } else {
                self.suspects.remove(&(*id, place));
            }
        }
        let is_offering = !job.state.is_over() && (job.fresh < job.submitted || !job.again.is_empty());
        if is_offering != job.indexed.is_offering {
            job.indexed.is_offering = is_offering;
            let kind = *job.indexed.kind.get_or_insert_with(|| self.hosts.join_kind(&job.spec));
            self.hosts.kinds.note_offering(kind, is_offering);
        }
        let is_waiting = job.waiting() > 0 && !job.state.is_over();
        if is_waiting == job.indexed.is_waiting {
            return;
        }
        job.indexed.is_waiting = is_waiting;
        let rank = (Reverse(job.spec.priority), job.order, place);
        if is_waiting {
            job.indexed.client = self.clients.place_of(job.owner);
        }
        self.clients.update(job.indexed.client, |share| {
            if is_waiting {
                share.has_waiting.insert(rank);
            } else {
                share.has_waiting.remove(&rank);
            }
        });
    }

    fn check_finished(&mut self, place: u32) {
        let Some((id, job)) = self.jobs.entry_mut(place) else {
            return;
        };
        if job.state == JobState::Closed && job.waiting() == 0 && job.live.is_empty() {
            job.state = JobState::Finished;
            self.decisions.push_back(JobDecision::Turned { job: *id, state: JobState::Finished });
        }
    }
}
