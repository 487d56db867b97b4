//! What hosts report of attempts, and what becomes of the tasks: the scheduler judges, the journal keeps.

use std::time::Duration;

use grid_protocol::activity::{AttemptEnding, GridEvent, HostActivity};
use grid_protocol::host::{HostCommand, HostEvent};
use grid_protocol::job::{AttemptEnd, AttemptFailure, AttemptId, AttemptResult, JobId, Outcome};
use grid_protocol::key::PublicKey;
use grid_protocol::limits::HELD_ATTEMPTS_MAX;
use grid_protocol::record::OutcomeRecord;
use grid_protocol::time::Moment;
use grid_protocol::trace::TRACED_A_FRAME_MAX;
use grid_scheduler::jobs::{AttemptFate, Verdict};

use crate::activity::EndedAttempt;
use crate::jobs::coordinator::{Coordinator, Effect, HostRef};

impl Coordinator {
    /// Handles a host's job reports; returns the events that the worker side must also see.
    pub(crate) fn handle_event(
        &mut self,
        now: Moment,
        host: &HostRef<'_>,
        report: HostEvent,
    ) -> Option<HostEvent> {
        match report {
            HostEvent::Window { attempts } => {
                self.jobs.handle_window(host.key, attempts.min(HELD_ATTEMPTS_MAX));
            }
            HostEvent::Holding { attempts } => self.handle_holding(now, host.key, few(&attempts)),
            HostEvent::Executing { attempts } => self.jobs.handle_executing(now, host.key, few(&attempts)),
            HostEvent::Alive { attempts } => self.jobs.handle_renewal(now, host.key, few(&attempts)),
            HostEvent::Returned { attempts } => self.handle_returned(now, host.key, few(&attempts)),
            HostEvent::Traced { times } => {
                times.iter().take(TRACED_A_FRAME_MAX).for_each(|times| self.tracer.told(host.key, *times));
            }
            HostEvent::Outcomes { ends } => self.handle_ends(now, host, ends),
            HostEvent::ModuleReady { module, .. } => {
                self.jobs.handle_module(host.key, module);
                return Some(report);
            }
            other => return Some(other),
        }
        None
    }

    fn handle_holding(&mut self, now: Moment, host: PublicKey, attempts: &[AttemptId]) {
        self.jobs.handle_holding(now, host, attempts);
        // The host knows the jobs of the attempts it holds, even if a previous manager process told it.
        let known = attempts.iter().filter_map(|attempt| self.jobs.lease(*attempt)).map(|lease| lease.job);
        self.briefed.entry(host).or_default().extend(known);
    }

    fn handle_returned(&mut self, now: Moment, host: PublicKey, attempts: &[AttemptId]) {
        if let Some(briefed) = self.briefed.get_mut(&host) {
            // The host may have forgotten the job; the next assignment describes it again.
            for lease in attempts.iter().filter_map(|attempt| self.jobs.lease(*attempt)) {
                briefed.remove(&lease.job);
            }
        }
        attempts.iter().for_each(|attempt| self.tracer.came_back(now, *attempt));
        self.jobs.handle_returned(now, host, attempts);
    }

    fn handle_ends(&mut self, now: Moment, host: &HostRef<'_>, ends: Vec<AttemptEnd>) {
        let attempts = ends.iter().map(|end| end.attempt).collect();
        for AttemptEnd { attempt, ran_us, result } in ends {
            self.note_end(now, host.key, attempt, ran_us, &result);
            let ending = match &result {
                AttemptResult::Done(_) => AttemptEnding::Done,
                AttemptResult::Failed { .. } => AttemptEnding::Failed,
            };
            let verdict = match &result {
                AttemptResult::Done(_) => {
                    self.jobs.handle_end(now, host.key, attempt, AttemptFate::Done, ran_us)
                }
                AttemptResult::Failed { failure, .. } if failure.kind.is_unfit() => {
                    let job = self.jobs.lease(attempt).map(|lease| lease.job);
                    if let Some(job) = job {
                        self.forget_at(host.key, job);
                        let change = HostActivity::Unfit { job, why: failure.message.clone() };
                        let name = host.name.to_owned();
                        self.activity.note(GridEvent::Host { host: host.key, name, change });
                    }
                    self.jobs.handle_unfit(now, host.key, attempt, &failure.message)
                }
                AttemptResult::Failed { failure, .. } => {
                    let fate = AttemptFate::Failed(failure.kind);
                    self.jobs.handle_end(now, host.key, attempt, fate, ran_us)
                }
            };
            self.trace(now, attempt, host, ending, &verdict);
            self.apply(verdict, attempt, host, ran_us, Some(result));
        }
        // The host may drop the results once they are on disk, or were fenced.
        self.effects.push(Effect::Tell { host: host.key, command: HostCommand::Settled { attempts } });
    }

    /// Makes a host that refused a job forget it, so that it checks again if it is assigned the job later.
    fn forget_at(&mut self, host: PublicKey, job: JobId) {
        if self.briefed.get_mut(&host).is_some_and(|jobs| jobs.remove(&job)) {
            self.effects.push(Effect::Tell { host, command: HostCommand::JobsOver { jobs: vec![job] } });
        }
    }

    /// Tells the tracer what becomes of a task, if the attempt counts.
    pub(super) fn trace(
        &mut self,
        now: Moment,
        attempt: AttemptId,
        host: &HostRef<'_>,
        ending: AttemptEnding,
        verdict: &Verdict,
    ) {
        match verdict {
            Verdict::Done { job, task, .. } | Verdict::Dead { job, task, .. } => {
                if self.tracer.ended(now, attempt, (*job, *task), host.name, ending) {
                    self.effects.push(Effect::Traced(*job, *task));
                }
            }
            Verdict::Again { .. } | Verdict::Back { .. } => self.tracer.came_back(now, attempt),
            Verdict::Fenced => {}
        }
    }

    /// Journals what becomes of a task.
    pub(super) fn apply(
        &mut self,
        verdict: Verdict,
        attempt: AttemptId,
        host: &HostRef<'_>,
        ran_us: u64,
        result: Option<AttemptResult>,
    ) {
        if verdict == Verdict::Fenced {
            return;
        }
        match verdict {
            Verdict::Done { .. } => self.journal.lease_is_done(attempt),
            _ => self.journal.end_lease(attempt),
        }
        self.note_verdict(&verdict, host, ran_us, result.as_ref());
        let name = host.name.to_owned();
        match verdict {
            Verdict::Fenced | Verdict::Back { .. } => {}
            Verdict::Done { job, task, seq } => {
                let results = match result {
                    Some(AttemptResult::Done(results)) => results,
                    _ => Vec::new(),
                };
                let outcome = Outcome::Done(results);
                self.journal.outcome(job, seq, &OutcomeRecord { task, host: name, ran_us, outcome });
                self.tell_of_outcome(job);
            }
            Verdict::Dead { job, task, seq, why, history } => {
                self.journal.failure(job, task, history.failures(), &failed(host, ran_us, result));
                // The failed attempts are in the failure table; readers add them to the outcome.
                let outcome = Outcome::Dead { why, attempts: Vec::new() };
                self.journal.outcome(job, seq, &OutcomeRecord { task, host: name, ran_us, outcome });
                self.tell_of_outcome(job);
            }
            Verdict::Again { job, task, history } => {
                self.journal.failure(job, task, history.failures(), &failed(host, ran_us, result));
            }
        }
    }
}

/// What those who look are told.
impl Coordinator {
    /// Whoever waits for outcomes of the job is told, once for all that come in a row.
    fn tell_of_outcome(&mut self, job: JobId) {
        if !matches!(self.effects.last(), Some(Effect::OutcomeRecorded(told)) if *told == job) {
            self.effects.push(Effect::OutcomeRecorded(job));
        }
    }

    /// An attempt has ended, as its host says.
    fn note_end(
        &self,
        now: Moment,
        host: PublicKey,
        attempt: AttemptId,
        ran_us: u64,
        result: &AttemptResult,
    ) {
        // The end of an attempt that has no lease any more is worth nothing.
        let Some(lease) = self.jobs.lease(attempt).filter(|lease| lease.host == host) else {
            return;
        };
        let ran = Duration::from_micros(ran_us);
        let metrics = &self.activity.metrics;
        metrics.task_run.observe(ran.as_secs_f64());
        if let Some(granted) = lease.granted {
            metrics.lease_overhead.observe(now.since(granted).saturating_sub(ran).as_secs_f64());
        }
        let ending = match result {
            AttemptResult::Done(_) => AttemptEnding::Done,
            AttemptResult::Failed { failure, .. } => {
                metrics.attempt_failed(failure.kind.label());
                AttemptEnding::Failed
            }
        };
        if let Some(owner) = self.job(lease.job).map(|job| job.owner) {
            let (job, task) = (lease.job, lease.task);
            self.activity.note_end(EndedAttempt { job, owner, task, host, ran_us, ending });
        }
    }

    /// An attempt was lost with its host. One that a host gave back before it began was not.
    pub(super) fn note_loss(&self, host: PublicKey, verdict: &Verdict) {
        let (Verdict::Again { job, task, .. } | Verdict::Dead { job, task, .. }) = verdict else {
            return;
        };
        self.activity.metrics.attempts_lost.inc();
        if let Some(owner) = self.job(*job).map(|job| job.owner) {
            let (job, task, ending) = (*job, *task, AttemptEnding::Lost);
            self.activity.note_end(EndedAttempt { job, owner, task, host, ran_us: 0, ending });
        }
    }

    /// What becomes of a task was decided.
    fn note_verdict(
        &mut self,
        verdict: &Verdict,
        host: &HostRef<'_>,
        ran_us: u64,
        result: Option<&AttemptResult>,
    ) {
        let failure = match result {
            Some(AttemptResult::Failed { failure, .. }) => Some(failure),
            _ => None,
        };
        let metrics = &self.activity.metrics;
        match verdict {
            Verdict::Done { job, task, .. } => {
                metrics.tasks_done.inc();
                self.summaries.done(*job, *task, ran_us, host.name);
            }
            Verdict::Dead { job, task, why, .. } => {
                metrics.tasks_dead.inc();
                self.summaries.failed(*job, *task, host.name, failure);
                if let Some(owner) = self.job(*job).map(|job| job.owner) {
                    let (job, task, why) = (*job, *task, why.clone());
                    self.activity.note(GridEvent::TaskDead { job, task, owner, why });
                }
            }
            Verdict::Again { job, task, .. } => {
                self.summaries.failed(*job, *task, host.name, failure);
            }
            Verdict::Fenced | Verdict::Back { .. } => {}
        }
    }
}

fn failed(host: &HostRef<'_>, ran_us: u64, result: Option<AttemptResult>) -> AttemptFailure {
    let (failure, log) = match result {
        Some(AttemptResult::Failed { failure, log }) => (Some(failure), log),
        _ => (None, Vec::new()),
    };
    AttemptFailure { host: host.key, host_name: host.name.to_owned(), ran_us, failure, log }
}

/// Cuts a report to as many attempts as a host may hold.
fn few(attempts: &[AttemptId]) -> &[AttemptId] {
    attempts.get(..HELD_ATTEMPTS_MAX as usize).unwrap_or(attempts)
}
