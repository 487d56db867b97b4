//! The tracer: where the time of some tasks goes, from their submission until their outcomes are on disk.
//!
//! It reads no clock. A task's parts follow each other without a gap: each step of the task ends a part and begins the
//! next. What happened on the host is told by the host, in times since the attempt arrived there; what is left of the
//! time between sending the attempt and hearing of its end was spent on the way, half of it each way.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use grid_protocol::activity::AttemptEnding;
use grid_protocol::job::{AttemptId, JobId};
use grid_protocol::key::PublicKey;
use grid_protocol::time::{Moment, micros};
use grid_protocol::trace::{AttemptTimes, PartKind, TRACE_PARTS_MAX, TaskTrace, TraceContext, TracePart};
use hashbrown::HashMap;

/// Tasks that are traced in a second, if nobody asked for it; the first of a submission is chosen.
const CHOSEN_A_SECOND: u32 = 10;

/// Tasks that are traced in a second, of jobs that are part of a trace; the first of a submission are chosen.
const ASKED_A_SECOND: u32 = 100;

/// Tasks that are traced at the same time.
const OPEN_MAX: usize = 4096;

/// Traces of a job that are kept: its first ones, of which one had to wait for the module, and its newest.
const FIRST_KEPT: usize = 8;
const NEWEST_KEPT: usize = 24;

/// Jobs of which traces are kept.
const JOBS_KEPT_MAX: usize = 500;

/// A budget that is whole again each second.
#[derive(Debug, Default)]
struct Budget {
    second: u64,
    used: u32,
}

impl Budget {
    /// Takes up to `wanted` of the `most` of this second; returns how many it got.
    fn take(&mut self, now: Moment, most: u32, wanted: usize) -> usize {
        let second = now.since(Moment::ZERO).as_secs();
        if second != self.second {
            *self = Self { second, used: 0 };
        }
        let got = (most - self.used.min(most)).min(u32::try_from(wanted).unwrap_or(u32::MAX));
        self.used += got;
        got as usize
    }
}

/// A task that is traced.
#[derive(Debug)]
struct OpenTrace {
    submitted: Moment,
    submitted_unix_us: u64,
    /// Up to when its parts reach, in microseconds since the submission.
    until_us: u64,
    parts: VecDeque<TracePart>,
    attempt: Option<AttemptId>,
    /// The host that the attempt was sent to.
    sent_to: Option<PublicKey>,
    times: Option<AttemptTimes>,
    /// How it ended, and where, once that is decided.
    over: Option<(AttemptEnding, String)>,
}

impl OpenTrace {
    /// The time from the last part until `now` was spent on `kind`.
    fn spent(&mut self, now: Moment, kind: PartKind) {
        self.spent_for(kind, self.us_until(now));
    }

    /// The time from the last part until `now`. In whole microseconds since the submission, so that parts add up.
    fn us_until(&self, now: Moment) -> u64 {
        micros(now.since(self.submitted)).saturating_sub(self.until_us)
    }

    fn spent_for(&mut self, kind: PartKind, us: u64) {
        self.until_us = self.until_us.saturating_add(us);
        // What took no time is not worth a line, but for what every task does.
        if us == 0 && !matches!(kind, PartKind::Wait | PartKind::Run) {
            return;
        }
        if self.parts.len() >= TRACE_PARTS_MAX {
            self.parts.pop_front();
        }
        self.parts.push_back(TracePart { kind, us });
    }

    /// The attempt has ended, and the manager has heard of it.
    fn came_back(&mut self, now: Moment) {
        self.attempt = None;
        let away_us = self.us_until(now);
        let sent = self.sent_to.take().is_some();
        match self.times.take().filter(|times| sent && times.is_within(away_us)) {
            None => self.spent(now, if sent { PartKind::Host } else { PartKind::Lease }),
            Some(times) => {
                let on_the_way = away_us - times.told_us;
                let there = on_the_way / 2;
                let steps = [
                    (PartKind::Send, there),
                    (PartKind::Input, times.input_us),
                    (PartKind::Module, times.module_us - times.input_us - times.compile_us),
                    (PartKind::Compile, times.compile_us),
                    (PartKind::Queue, times.given_us - times.module_us),
                    (PartKind::Start, times.begun_us - times.given_us),
                    (PartKind::Run, times.ended_us - times.begun_us),
                    (PartKind::Report, times.told_us - times.ended_us + on_the_way - there),
                ];
                for (kind, us) in steps {
                    self.spent_for(kind, us);
                }
            }
        }
    }
}

/// Traces of one job.
#[derive(Debug, Default)]
struct KeptTraces {
    first: Vec<TaskTrace>,
    newest: VecDeque<TaskTrace>,
}

/// Tasks that are traced, and what was found of those that are over.
#[derive(Debug, Default)]
pub(crate) struct Tracer {
    open: HashMap<(JobId, u64), OpenTrace>,
    attempts: HashMap<AttemptId, (JobId, u64)>,
    contexts: BTreeMap<JobId, TraceContext>,
    /// When jobs began that were made in the manager's present life, as time since 1970.
    began: BTreeMap<JobId, Duration>,
    kept: BTreeMap<JobId, KeptTraces>,
    /// Jobs of which traces are kept, oldest first.
    oldest: VecDeque<JobId>,
    chosen: Budget,
    asked: Budget,
}

impl Tracer {
    /// A job was made.
    pub(crate) fn begins(&mut self, job: JobId, unix: Duration) {
        self.began.entry(job).or_insert(unix);
    }

    /// When the job began, as time since 1970, if it began in the manager's present life.
    pub(crate) fn began(&self, job: JobId) -> Option<Duration> {
        self.began.get(&job).copied()
    }

    /// The job is part of a trace.
    pub(crate) fn joins(&mut self, job: JobId, context: TraceContext) {
        self.contexts.insert(job, context);
    }

    /// What the job is a part of, if its client said so.
    pub(crate) fn context(&self, job: JobId) -> Option<TraceContext> {
        self.contexts.get(&job).copied()
    }

    /// Tasks were taken in, numbered from `first`; some of them may be traced from now on.
    pub(crate) fn submitted(&mut self, now: Moment, unix: Duration, job: JobId, first: u64, count: usize) {
        let is_asked = self.contexts.get(&job).is_some_and(|context| context.sampled);
        let room = OPEN_MAX - self.open.len().min(OPEN_MAX);
        let traced = if is_asked {
            self.asked.take(now, ASKED_A_SECOND, count.min(room))
        } else {
            self.chosen.take(now, CHOSEN_A_SECOND, count.min(room).min(1))
        };
        for task in first..first + traced as u64 {
            self.open.insert(
                (job, task),
                OpenTrace {
                    submitted: now,
                    submitted_unix_us: micros(unix),
                    until_us: 0,
                    parts: VecDeque::new(),
                    attempt: None,
                    sent_to: None,
                    times: None,
                    over: None,
                },
            );
        }
    }

    /// A host was given a lease on the task.
    pub(crate) fn leased(&mut self, now: Moment, attempt: AttemptId, job: JobId, task: u64) {
        if self.open.is_empty() {
            return;
        }
        if let Some(trace) = self.open.get_mut(&(job, task)).filter(|trace| trace.over.is_none()) {
            // A task that is nearly over elsewhere may be leased twice: the newest attempt is the one that is traced.
            if let Some(older) = trace.attempt.replace(attempt) {
                self.attempts.remove(&older);
            }
            self.attempts.insert(attempt, (job, task));
            trace.spent(now, PartKind::Wait);
        }
    }

    /// True if the attempt's host should take its times.
    pub(crate) fn follows(&self, attempt: AttemptId) -> bool {
        !self.attempts.is_empty() && self.attempts.contains_key(&attempt)
    }

    /// The attempt is on its way to this host.
    pub(crate) fn sent(&mut self, now: Moment, host: PublicKey, attempt: AttemptId) {
        if let Some(trace) = self.attempts.get(&attempt).and_then(|task| self.open.get_mut(task)) {
            trace.spent(now, PartKind::Lease);
            trace.sent_to = Some(host);
        }
    }

    /// A host has told the times of an attempt; another host than the one that has it is not listened to.
    pub(crate) fn told(&mut self, host: PublicKey, times: AttemptTimes) {
        let task = self.attempts.get(&times.attempt);
        let trace = task.and_then(|task| self.open.get_mut(task));
        if let Some(trace) = trace.filter(|trace| trace.sent_to == Some(host)) {
            trace.times = Some(times);
        }
    }

    /// The attempt has ended without an outcome of its task, which waits again.
    pub(crate) fn came_back(&mut self, now: Moment, attempt: AttemptId) {
        if let Some(trace) = self.attempts.remove(&attempt).and_then(|task| self.open.get_mut(&task)) {
            trace.came_back(now);
        }
    }

    /// The task has an outcome by this attempt, which is being recorded; true if it is traced.
    pub(crate) fn ended(
        &mut self,
        now: Moment,
        attempt: AttemptId,
        task: (JobId, u64),
        host: &str,
        ending: AttemptEnding,
    ) -> bool {
        if self.open.is_empty() {
            return false;
        }
        let Some(trace) = self.open.get_mut(&task) else {
            return false;
        };
        if let Some(followed) = trace.attempt {
            self.attempts.remove(&followed);
            // An attempt that was not followed came first.
            trace.times.take_if(|_| followed != attempt);
        }
        trace.came_back(now);
        trace.over = Some((ending, host.to_owned()));
        true
    }

    /// The task's outcome is on disk: keeps its trace, and returns it.
    pub(crate) fn recorded(&mut self, now: Moment, job: JobId, task: u64) -> Option<TaskTrace> {
        let mut trace = self.open.remove(&(job, task))?;
        trace.spent(now, PartKind::Record);
        let (ending, host) = trace.over?;
        let trace = TaskTrace {
            job,
            task,
            host,
            ending,
            submitted_unix_us: trace.submitted_unix_us,
            whole_us: micros(now.since(trace.submitted)),
            parts: trace.parts.into(),
        };
        self.keep(trace.clone());
        Some(trace)
    }

    fn keep(&mut self, trace: TaskTrace) {
        let kept = self.kept.entry(trace.job).or_insert_with(|| {
            self.oldest.push_back(trace.job);
            KeptTraces::default()
        });
        if kept.first.len() < FIRST_KEPT {
            kept.first.push(trace);
        } else {
            if kept.newest.len() >= NEWEST_KEPT {
                kept.newest.pop_front();
            }
            kept.newest.push_back(trace);
        }
        if self.oldest.len() > JOBS_KEPT_MAX
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.kept.remove(&oldest);
        }
    }

    /// The traces of a job that are kept, in the order in which they ended.
    pub(crate) fn traces(&self, job: JobId) -> Vec<TaskTrace> {
        let kept = self.kept.get(&job);
        kept.into_iter().flat_map(|kept| kept.first.iter().chain(&kept.newest)).cloned().collect()
    }

    /// The job is over: those of its tasks whose outcomes are not being recorded get none.
    pub(crate) fn over(&mut self, job: JobId) {
        if self.open.is_empty() {
            return;
        }
        let unfinished = self.open.extract_if(|(of, _), trace| *of == job && trace.over.is_none());
        for (_, trace) in unfinished {
            if let Some(attempt) = trace.attempt {
                self.attempts.remove(&attempt);
            }
        }
    }

    /// Forgets the job.
    pub(crate) fn forget(&mut self, job: JobId) {
        self.over(job);
        self.contexts.remove(&job);
        self.began.remove(&job);
        if self.kept.remove(&job).is_some() {
            self.oldest.retain(|kept| *kept != job);
        }
    }
}

#[cfg(test)]
mod tests;
