//! Settling: what becomes of a task when an attempt at it has ended, well or badly, or is lost.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use grid_protocol::job::{AttemptId, JobId, JobState};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;
use grid_protocol::worker::{Blame, FailureKind};

use super::{HOPE_PATIENCE, JobDecision, Jobs, Lease, Verdict};

/// Attempts that fail by hosts' faults, or are lost with their hosts, and are made again: free for the client, and
/// still bounded.
const HOST_FAULTS_MAX: u32 = 5;

/// Hosts that may be lost before they say that they run a task; from the fifth on it is given out alone.
const UNSEEN_MAX: u32 = 20;

/// Clients of whose jobs a host must fail what others do before it is left alone altogether: one alone could have any
/// host quarantined, with a module that fails by chance.
const CLIENTS_MIN: usize = 2;

/// A pause before a task whose host was at fault goes again: 200 ms, doubled each time.
const HOST_FAULT_PAUSE: Duration = Duration::from_millis(200);

impl Jobs {
    pub(super) fn settle_done(&mut self, now: Moment, lease: Lease, ran_us: u64) -> Verdict {
        if let Some(host) = self.hosts.get_mut(&lease.host) {
            host.health.succeeded(lease.job);
        }
        let Some(job) = self.jobs.get_mut(&lease.job) else {
            return Verdict::Fenced;
        };
        job.done += 1;
        job.recorded += 1;
        job.unfit.remove(&lease.host);
        // What a host says of its own speed is an allegation.
        let most = job.spec.timeout_ms.saturating_mul(1000);
        job.ran_us = job.ran_us.saturating_add(ran_us.min(most));
        job.done_by.insert(lease.host);
        let trial = job.trials.remove(&lease.task).unwrap_or_default();
        let seq = job.recorded;
        let others = job.live.get(&lease.task).cloned().unwrap_or_default();
        self.abandon(&others);
        for host in trial.failed.iter().filter(|host| **host != lease.host) {
            let count = self.hosts.get_mut(host).filter(|host| host.quarantine.is_none());
            let bar = count.and_then(|host| host.health.contradicted(now, lease.job));
            self.bar(now, *host, lease.job, bar);
        }
        Verdict::Done { job: lease.job, task: lease.task, seq }
    }

    pub(super) fn settle_failed(&mut self, now: Moment, lease: Lease, kind: FailureKind) -> Verdict {
        let by_host = kind.blame() == Blame::Host;
        let others = self.jobs.get(&lease.job).is_some_and(|job| self.is_hope_elsewhere(job, &[lease.host]));
        let Some(job) = self.jobs.get_mut(&lease.job) else {
            return Verdict::Fenced;
        };
        let trial = job.trials.entry(lease.task).or_default();
        trial.avoid(lease.host);
        let (count, most) = if by_host {
            trial.host += 1;
            (trial.host, HOST_FAULTS_MAX + 1)
        } else {
            trial.guest += 1;
            trial.fail_on(lease.host);
            (trial.guest, job.spec.attempts_max)
        };
        // One host's word is not enough to give a task up where another can be asked.
        let agreed = !others || trial.permanent.is_some_and(|other| other != lease.host);
        if kind.is_permanent() {
            trial.permanent.get_or_insert(lease.host);
        }
        let why = if kind.is_permanent() && agreed {
            Some("it would fail again on any host".into())
        } else if count >= most {
            Some(if count == 1 { "it failed once".into() } else { alloc::format!("it failed {count} times") })
        } else {
            None
        };
        let due = if by_host { now + HOST_FAULT_PAUSE * (1 << count.min(6)) } else { now };
        let verdict = self.settle_trial(now, lease, why, due);
        if by_host {
            self.blame_host(now, lease);
        }
        verdict
    }

    /// A module that a host refuses is no fault of the task: the host gets no more of the job for a while.
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
        let asked_again = job.note_unfit(key, now, why);
        self.note_pause(asked_again);
        if !self.is_hope(lease.job)
            && let Some(job) = self.jobs.get_mut(&lease.job)
        {
            job.hopeless_since.get_or_insert(now);
            self.note_pause(now + HOPE_PATIENCE);
        }
        verdict
    }

    /// True if a host is there that could run the job's module.
    fn is_hope(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|job| {
            let could = |(key, host): (&PublicKey, &super::WorkHost)| {
                host.present && host.suits(&job.spec) && !job.unfit.contains_key(key)
            };
            self.hosts.iter().any(could)
        })
    }

    /// Gives a job up that no host has been able to run for long, unless one can now.
    pub(super) fn give_hope_up(&mut self, now: Moment, id: JobId) {
        let hope = self.is_hope(id);
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let begun = |attempt| self.leases.get(attempt).is_some_and(|lease| lease.executing.is_some());
        if !hope && job.attempts().any(begun) {
            // A host that was asked again may be able to, after all: what it says next decides.
            self.note_pause(now + HOPE_PATIENCE);
            return;
        }
        job.hopeless_since = None;
        if !hope {
            let why = job.unfit.values().next_back().map(|unfit| unfit.why.clone()).unwrap_or_default();
            let why = alloc::format!("no host can run the module: {why}");
            self.end(now, id, JobState::GivenUp { why });
        }
    }

    /// After a failure: dead, or waiting again, unless another attempt is under way.
    fn settle_trial(&mut self, now: Moment, lease: Lease, why: Option<String>, due: Moment) -> Verdict {
        let Lease { job: id, task, .. } = lease;
        let Some(job) = self.jobs.get_mut(&id) else {
            return Verdict::Fenced;
        };
        let trial = job.trials.get(&task).cloned().unwrap_or_default();
        let Some(why) = why else {
            job.retried += 1;
            if !job.live.contains_key(&task) {
                job.put_back(task, now, due);
                if due > now {
                    self.note_pause(due);
                }
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
            self.end(now, id, JobState::GivenUp { why });
        }
        Verdict::Dead { job: id, task, seq, why, trial }
    }

    /// The task goes back without any blame.
    pub(super) fn settle_back(&mut self, now: Moment, lease: Lease) -> Verdict {
        let Lease { job: id, task, .. } = lease;
        if let Some(job) = self.jobs.get_mut(&id)
            && !job.live.contains_key(&task)
        {
            job.put_back(task, now, now);
            self.note_hunger(id);
        }
        Verdict::Back { job: id, task }
    }

    /// The attempt is lost, with its host where `with_host`; only a task that ran there has anything to do with it.
    pub(super) fn lose(&mut self, now: Moment, attempt: AttemptId, lease: Lease, with_host: bool) {
        #[cfg(feature = "fault-injection")]
        self.ended.insert(attempt, lease);
        self.detach(attempt, &lease);
        let executing = lease.executing.is_some();
        let job = self.jobs.get_mut(&lease.job).filter(|_| executing || with_host);
        let verdict = match job.map(|job| job.trials.entry(lease.task).or_default()) {
            Some(trial) if executing => {
                trial.lost += 1;
                trial.avoid(lease.host);
                let lost = trial.lost;
                let why = (lost > HOST_FAULTS_MAX)
                    .then(|| alloc::format!("{lost} hosts were lost while they ran it"));
                self.settle_trial(now, lease, why, now)
            }
            Some(trial) => {
                // It may have begun a moment before.
                trial.unseen += 1;
                match trial.unseen {
                    unseen if unseen < UNSEEN_MAX => self.settle_back(now, lease),
                    unseen => {
                        let why = alloc::format!("{unseen} hosts were lost as soon as they had it");
                        self.settle_trial(now, lease, Some(why), now)
                    }
                }
            }
            None => self.settle_back(now, lease),
        };
        self.decisions.push_back(JobDecision::Lost { attempt, host: lease.host, verdict });
        self.check_finished(lease.job);
    }

    pub(super) fn keep_only(&mut self, now: Moment, key: PublicKey, held: &BTreeSet<AttemptId>) {
        let of_host =
            self.leases.iter().filter(|(attempt, lease)| lease.host == key && !held.contains(attempt));
        let lost: Vec<_> = of_host.map(|(attempt, lease)| (attempt, *lease)).collect();
        for (attempt, lease) in lost {
            // One that was lost before it may have ended the whole job.
            if self.leases.remove(attempt).is_some() {
                self.lose(now, attempt, lease, true);
            }
        }
    }

    /// Attempts that came too late or are not wanted any more; their tasks are over.
    pub(super) fn abandon(&mut self, attempts: &[AttemptId]) {
        for attempt in attempts {
            if let Some(lease) = self.release(*attempt) {
                let attempts = alloc::vec![*attempt];
                self.decisions.push_back(JobDecision::Abandon { host: lease.host, attempts });
            }
        }
    }

    /// Takes a lease away; everything that counts leases follows.
    pub(super) fn release(&mut self, attempt: AttemptId) -> Option<Lease> {
        let lease = self.leases.remove(attempt)?;
        self.detach(attempt, &lease);
        Some(lease)
    }

    fn detach(&mut self, attempt: AttemptId, lease: &Lease) {
        if let Some(host) = self.hosts.get_mut(&lease.host) {
            host.held = host.held.saturating_sub(1);
            host.held_bytes = host.held_bytes.saturating_sub(lease.bytes);
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
            if client.is_idle() {
                self.clients.remove(&job.owner);
            }
        }
    }

    /// An attempt failed by its host's own fault.
    pub(super) fn blame_host(&mut self, now: Moment, lease: Lease) {
        let count = self.hosts.get_mut(&lease.host).filter(|host| host.quarantine.is_none());
        let bar = count.and_then(|host| host.health.failed(now, lease.job));
        self.bar(now, lease.host, lease.job, bar);
    }

    /// Gives a host nothing of one job for a while, if `bar` says so; never more than half of the hosts that could do it.
    fn bar(&mut self, now: Moment, key: PublicKey, id: JobId, bar: Option<Duration>) {
        let (Some(bar), Some(job)) = (bar, self.jobs.get_mut(&id)) else {
            return;
        };
        let able = self
            .hosts
            .iter()
            .filter(|(key, host)| host.present && host.suits(&job.spec) && !job.unfit.contains_key(key));
        let (able, barred) = able.fold((0, 1), |(able, barred), (other, _)| {
            (able + 1, barred + usize::from(*other != key && job.barred.contains_key(other)))
        });
        if barred * 2 > able {
            return;
        }
        job.barred.insert(key, now + bar);
        self.note_pause(now + bar);
        self.decisions.push_back(JobDecision::Barred { host: key, job: id, pause: bar });
        let clients: BTreeSet<_> =
            self.jobs.values().filter(|job| job.barred.contains_key(&key)).map(|job| job.owner).collect();
        if clients.len() >= CLIENTS_MIN {
            self.quarantine(now, key);
        }
    }

    /// Gives a host nothing at all for a while; never more than half of those that are there.
    fn quarantine(&mut self, now: Moment, key: PublicKey) {
        let present = self.hosts.values().filter(|host| host.present).count();
        let quarantined =
            self.hosts.values().filter(|host| host.present && host.quarantine.is_some()).count();
        if (quarantined + 1) * 2 > present {
            return;
        }
        if let Some(host) = self.hosts.get_mut(&key) {
            let pause = host.health.quarantine();
            host.quarantine = Some(now + pause);
            self.note_pause(now + pause);
            self.decisions.push_back(JobDecision::Quarantined { host: key, pause });
        }
    }
}
