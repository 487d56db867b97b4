//! Settling: what becomes of a task when an attempt at it has ended, well or badly, or is lost.

use alloc::collections::BTreeSet;
use alloc::string::String;
use core::time::Duration;

use grid_protocol::job::{AttemptId, JobId, JobState};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;
use grid_protocol::worker::{Blame, FailureKind};

use super::host::Health;
use super::pauses::HOPE_PATIENCE;
use super::{JobDecision, Jobs, Lease, ScheduledJob, Verdict};

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
        if let Some(health) = self.hosts.health(lease.at.host) {
            health.succeeded(lease.job);
        }
        let Some(job) = self.jobs.at_mut(lease.at.job) else {
            return Verdict::Fenced;
        };
        job.done += 1;
        job.recorded += 1;
        job.unfit.remove(&lease.host);
        // What a host says of its own speed is an allegation.
        let most = job.spec.timeout_ms.saturating_mul(1000);
        job.ran_us = job.ran_us.saturating_add(ran_us.min(most));
        job.done_by.insert(lease.at.host);
        let history = job.histories.remove(&lease.task).unwrap_or_default();
        let seq = job.recorded;
        let others = job.live.others(lease.task).to_vec();
        self.abandon(&others);
        for host in history.failed.iter().filter(|host| **host != lease.host) {
            if let Some(place) = self.hosts.place(host) {
                let bar = self.tally(place, &lease, |health| health.contradicted(now, lease.job));
                self.bar(now, place, lease.at.job, bar);
            }
        }
        Verdict::Done { job: lease.job, task: lease.task, seq }
    }

    pub(super) fn settle_failed(&mut self, now: Moment, lease: Lease, kind: FailureKind) -> Verdict {
        let by_host = kind.blame() == Blame::Host;
        let others = self.jobs.at(lease.at.job).is_some_and(|job| self.is_hope_elsewhere(job, &[lease.host]));
        let Some(job) = self.jobs.at_mut(lease.at.job) else {
            return Verdict::Fenced;
        };
        let history = job.histories.entry(lease.task).or_default();
        history.avoid(lease.host);
        let (count, most) = if by_host {
            history.host += 1;
            (history.host, HOST_FAULTS_MAX + 1)
        } else {
            history.guest += 1;
            history.fail_on(lease.host);
            (history.guest, job.spec.attempts_max)
        };
        // One host's word is not enough to give a task up where another can be asked.
        let agreed = !others || history.permanent.is_some_and(|other| other != lease.host);
        if kind.is_permanent() {
            history.permanent.get_or_insert(lease.host);
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
        if !self.is_valid(now, key, attempt) {
            return Verdict::Fenced;
        }
        let Some(lease) = self.release(attempt) else {
            return Verdict::Fenced;
        };
        let verdict = self.settle_back(now, lease);
        let Some(job) = self.jobs.at_mut(lease.at.job) else {
            return verdict;
        };
        let asked_again = job.note_unfit(key, now, why);
        self.note_job_pause(lease.at.job, asked_again);
        if !self.is_hope(lease.job)
            && let Some(job) = self.jobs.at_mut(lease.at.job)
        {
            job.hopeless_since.get_or_insert(now);
            self.hopeless.insert(lease.job);
            self.note_pause(now + HOPE_PATIENCE);
        }
        verdict
    }

    /// True if a host is there that could run the job's module.
    fn is_hope(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|job| self.fit(job) > 0)
    }

    /// How many hosts are there that could run the job's module, as far as is known.
    fn fit(&self, job: &ScheduledJob) -> usize {
        let is_able = |key| self.hosts.get(key).is_some_and(|host| host.present && host.suits(&job.spec));
        let unfit = job.unfit.keys().filter(|key| is_able(key)).count();
        self.hosts.able(&job.spec, job.kind()) - unfit
    }

    /// Gives a job up that no host has been able to run for long, unless one can now.
    pub(super) fn give_hope_up(&mut self, now: Moment, id: JobId) {
        let hope = self.is_hope(id);
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let begun = |attempt| self.leases.get(attempt).is_some_and(|lease| lease.runs);
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
        let Lease { job: id, task, at, .. } = lease;
        let Some(job) = self.jobs.at_mut(at.job) else {
            return Verdict::Fenced;
        };
        let history = job.histories.get(&task).cloned().unwrap_or_default();
        let Some(why) = why else {
            job.retried += 1;
            if job.live.others(task).is_empty() {
                job.put_back(task, now, due);
                if due > now {
                    self.note_job_pause(at.job, due);
                }
                self.note_waiting(at.job);
            }
            return Verdict::Again { job: id, task, history };
        };
        job.dead += 1;
        job.recorded += 1;
        job.histories.remove(&task);
        let seq = job.recorded;
        let others = job.live.others(task).to_vec();
        let hopeless = job.hopeless();
        self.abandon(&others);
        if let Some(why) = hopeless {
            self.end(now, id, JobState::GivenUp { why });
        }
        Verdict::Dead { job: id, task, seq, why, history }
    }

    /// The task goes back without any blame.
    pub(super) fn settle_back(&mut self, now: Moment, lease: Lease) -> Verdict {
        let Lease { job: id, task, at, .. } = lease;
        if let Some(job) = self.jobs.at_mut(at.job)
            && job.live.others(task).is_empty()
        {
            job.put_back(task, now, now);
            self.note_waiting(at.job);
        }
        Verdict::Back { job: id, task }
    }

    /// The attempt is lost, with its host where `with_host`; only a task that ran there has anything to do with it.
    pub(super) fn lose(&mut self, now: Moment, attempt: AttemptId, lease: Lease, with_host: bool) {
        #[cfg(feature = "fault-injection")]
        self.ended.insert(attempt, lease);
        self.detach(attempt, &lease);
        let executing = lease.executing.is_some();
        let job = self.jobs.at_mut(lease.at.job).filter(|_| executing || with_host);
        let verdict = match job.map(|job| job.histories.entry(lease.task).or_default()) {
            Some(history) if executing => {
                history.lost += 1;
                history.avoid(lease.host);
                let lost = history.lost;
                let why = (lost > HOST_FAULTS_MAX)
                    .then(|| alloc::format!("{lost} hosts were lost while they ran it"));
                self.settle_trial(now, lease, why, now)
            }
            Some(history) => {
                // It may have begun a moment before.
                history.unseen += 1;
                match history.unseen {
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
        self.check_finished(lease.at.job);
    }

    pub(super) fn keep_only(&mut self, now: Moment, key: PublicKey, held: &BTreeSet<AttemptId>) {
        let Some(place) = self.hosts.place(&key) else {
            return;
        };
        let of_host = self.leases.of_host(place).into_iter();
        for attempt in of_host.filter(|attempt| !held.contains(attempt)) {
            // One that was lost before it may have ended the whole job.
            if let Some(lease) = self.take_lease(attempt) {
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
        let lease = self.take_lease(attempt)?;
        self.detach(attempt, &lease);
        Some(lease)
    }

    fn detach(&mut self, attempt: AttemptId, lease: &Lease) {
        self.hosts.update(lease.at.host, |host| {
            host.held = host.held.saturating_sub(1);
            host.held_bytes = host.held_bytes.saturating_sub(lease.bytes);
            if host.alone == Some(attempt) {
                host.alone = None;
            }
        });
        if let Some(job) = self.jobs.at_mut(lease.at.job) {
            job.live.remove(lease.at.slot);
            self.clients.update(job.indexed.client, |share| share.live = share.live.saturating_sub(1));
        }
    }

    /// An attempt failed by its host's own fault.
    pub(super) fn blame_host(&mut self, now: Moment, lease: Lease) {
        let bar = self.tally(lease.at.host, &lease, |health| health.failed(now, lease.job));
        self.bar(now, lease.at.host, lease.at.job, bar);
    }

    /// Counts something against a host in its tally of a job, unless it is in quarantine.
    fn tally(
        &mut self,
        host: u32,
        lease: &Lease,
        count: impl FnOnce(&mut Health) -> Option<Duration>,
    ) -> Option<Duration> {
        self.hosts.at(host).filter(|host| host.quarantine.is_none())?;
        // The tally goes with the job.
        self.jobs.at_mut(lease.at.job)?.tallied_by.insert(host);
        count(self.hosts.health(host)?)
    }

    /// Gives a host nothing of one job for a while, if `bar` says so; never more than half of the hosts that could do it.
    fn bar(&mut self, now: Moment, host: u32, job: u32, bar: Option<Duration>) {
        let (Some(bar), Some((key, _))) = (bar, self.hosts.entry(host)) else {
            return;
        };
        let (key, Some((id, known))) = (*key, self.jobs.entry(job)) else {
            return;
        };
        let id = *id;
        let is_able = |other: &PublicKey| {
            let host = self.hosts.get(other).filter(|host| host.present && host.suits(&known.spec));
            host.is_some() && !known.unfit.contains_key(other)
        };
        let others = known.barred.keys().filter(|other| **other != key && is_able(other)).count();
        if (others + 1) * 2 > self.fit(known) {
            return;
        }
        if let Some(known) = self.jobs.at_mut(job) {
            known.barred.insert(key, now + bar);
        }
        self.note_job_pause(job, now + bar);
        self.decisions.push_back(JobDecision::Barred { host: key, job: id, pause: bar });
        let clients: BTreeSet<_> =
            self.jobs.values().filter(|job| job.barred.contains_key(&key)).map(|job| job.owner).collect();
        if clients.len() >= CLIENTS_MIN {
            self.quarantine(now, host, key);
        }
    }

    /// Gives a host nothing at all for a while; never more than half of those that are there.
    fn quarantine(&mut self, now: Moment, place: u32, key: PublicKey) {
        if (self.hosts.present_quarantined + 1) * 2 > self.hosts.present {
            return;
        }
        let pause = self.hosts.health(place).map(Health::quarantine);
        if let Some(pause) = pause {
            self.hosts.set_quarantine(place, Some(now + pause));
            self.note_pause(now + pause);
            self.decisions.push_back(JobDecision::Quarantined { host: key, pause });
        }
    }
}
