//! What the grid is doing, for those who look: events, sampled tasks, summaries of jobs, figures.
//!
//! Everything here is bounded, lost when the manager ends, and cheap to add to: what happens is noted under locks of its
//! own, which nobody holds for longer than a copy takes.

pub(crate) mod metrics;
mod rates;
mod ring;
mod sampler;
pub(crate) mod summary;
pub(crate) mod tracer;

use std::sync::OnceLock;
use std::time::Duration;

use grid_disk::Machine;
use grid_protocol::activity::{
    AttemptEnding, FEED_BATCH_MAX, FeedEntry, GridEvent, RateSecond, SAMPLE_BATCH_MAX, TaskSample,
};
use grid_protocol::job::JobId;
use grid_protocol::key::PublicKey;
use grid_protocol::time::{micros, millis};
use grid_protocol::trace::{TaskTrace, TraceContext};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::activity::metrics::Metrics;
use crate::activity::rates::RateHistory;
use crate::activity::ring::Ring;
pub(crate) use crate::activity::ring::RingPage;
use crate::activity::sampler::Sampler;

/// Events that are kept: some hours of a grid that is at rest, and two megabytes at most.
const EVENTS_KEPT_MAX: usize = 4096;

/// Sampled tasks that are kept: enough to draw the last minutes. Each takes some 120 bytes.
const SAMPLES_KEPT_MAX: usize = 100_000;

/// A key's logins are noted once in so many seconds.
const LOGIN_PAUSE_S: u64 = 600;

/// Keys whose logins are remembered for that.
const LOGINS_REMEMBERED_MAX: usize = 1000;

/// Traces that wait for whoever hands them on; there are a few hundred a second at most.
const TRACES_WAITING_MAX: usize = 4096;

/// What the grid is doing.
pub(crate) struct Activity {
    machine: Machine,
    events: Mutex<Ring<FeedEntry>>,
    /// Notified after each event.
    noted: Notify,
    tasks: Mutex<TaskActivity>,
    /// Keys of which a login was noted, and when, in seconds since 1970.
    logins: Mutex<Vec<(PublicKey, u64)>>,
    pub(crate) metrics: Metrics,
    /// Where traces go, if anybody wants them.
    traces: OnceLock<mpsc::Sender<TraceRecord>>,
}

/// Something that was traced, for whoever hands traces on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceRecord {
    /// A task has its outcome.
    Task {
        /// Where its time went.
        trace: TaskTrace,
        /// What its job is a part of, if its client said so.
        context: Option<TraceContext>,
    },
    /// A job is over.
    Job {
        /// The job.
        job: JobId,
        /// Its display name.
        name: String,
        /// When it began, as time since 1970 on the manager's clock.
        began: Duration,
        /// When it was over.
        ended: Duration,
        /// Its state, in a word.
        state: &'static str,
        /// What it is a part of, if its client said so.
        context: Option<TraceContext>,
    },
}

struct TaskActivity {
    samples: Ring<SampledTask>,
    sampler: Sampler,
    rates: RateHistory,
}

/// A sampled task, and who may see it.
#[derive(Debug, Clone)]
struct SampledTask {
    sample: TaskSample,
    owner: PublicKey,
}

/// An attempt that has ended.
pub(crate) struct EndedAttempt {
    pub(crate) job: JobId,
    pub(crate) owner: PublicKey,
    pub(crate) task: u64,
    pub(crate) host: PublicKey,
    pub(crate) ran_us: u64,
    pub(crate) ending: AttemptEnding,
}

impl Activity {
    pub(crate) fn new(machine: Machine) -> Self {
        let tasks = TaskActivity {
            samples: Ring::new(SAMPLES_KEPT_MAX),
            sampler: Sampler::default(),
            rates: RateHistory::default(),
        };
        Self {
            machine,
            events: Mutex::new(Ring::new(EVENTS_KEPT_MAX)),
            noted: Notify::new(),
            tasks: Mutex::new(tasks),
            logins: Mutex::default(),
            metrics: Metrics::default(),
            traces: OnceLock::new(),
        }
    }

    /// Where traces come from now on; `None` if somebody takes them already.
    pub(crate) fn take_traces(&self) -> Option<mpsc::Receiver<TraceRecord>> {
        let (sender, receiver) = mpsc::channel(TRACES_WAITING_MAX);
        self.traces.set(sender).ok().map(|()| receiver)
    }

    /// The time since 1970, on the manager's clock.
    pub(crate) fn unix_time(&self) -> Duration {
        self.machine.unix_time()
    }

    /// Hands a trace on, if anybody wants it and is not too slow.
    pub(crate) fn hand_on(&self, record: impl FnOnce() -> TraceRecord) {
        let Some(traces) = self.traces.get() else { return };
        if traces.try_send(record()).is_err() {
            self.metrics.traces_dropped.inc();
        }
    }

    /// Adds an event to the feed.
    pub(crate) fn note(&self, mut event: GridEvent) {
        event.clamp();
        let unix_ms = millis(self.machine.unix_time());
        self.events.lock().push(|seq| FeedEntry { seq, unix_ms, event });
        self.noted.notify_waiters();
    }

    /// Adds a client's login, unless one of the same key was noted lately: each command is one.
    pub(crate) fn note_login(&self, key: PublicKey, from: String) {
        let now = self.machine.unix_now();
        let mut logins = self.logins.lock();
        logins.retain(|(_, at)| now.saturating_sub(*at) < LOGIN_PAUSE_S);
        if logins.len() < LOGINS_REMEMBERED_MAX && !logins.iter().any(|(known, _)| *known == key) {
            logins.push((key, now));
            drop(logins);
            self.note(GridEvent::Login { key, from });
        }
    }

    /// Adds an attempt that has ended: to the rates, and to the samples if its turn has come.
    pub(crate) fn note_end(&self, ended: EndedAttempt) {
        let now = self.machine.unix_time();
        let mut tasks = self.tasks.lock();
        tasks.rates.count(now.as_secs(), ended.ending == AttemptEnding::Done);
        let Some(stands_for) = tasks.sampler.take(now.as_secs(), ended.ending != AttemptEnding::Done) else {
            return;
        };
        let EndedAttempt { job, owner, task, host, ran_us, ending } = ended;
        let end_unix_us = micros(now);
        tasks.samples.push(|seq| SampledTask {
            sample: TaskSample { seq, job, task, host, end_unix_us, ran_us, ending, stands_for },
            owner,
        });
    }

    /// At most so many events above `after` that `may_see` allows.
    pub(crate) fn events(
        &self,
        after: u64,
        most: u32,
        may_see: impl Fn(&GridEvent) -> bool,
    ) -> RingPage<FeedEntry> {
        let most = most.min(FEED_BATCH_MAX) as usize;
        let events = self.events.lock();
        events.after(after, most, |entry| may_see(&entry.event).then(|| entry.clone()))
    }

    /// At most so many samples above `after` of jobs of clients that `may_see` allows.
    pub(crate) fn samples(
        &self,
        after: u64,
        most: u32,
        may_see: impl Fn(&PublicKey) -> bool,
    ) -> RingPage<TaskSample> {
        let most = most.min(SAMPLE_BATCH_MAX) as usize;
        let tasks = self.tasks.lock();
        tasks.samples.after(after, most, |task| may_see(&task.owner).then(|| task.sample.clone()))
    }

    /// A future that ends after the next event, even if it comes before the future is first polled.
    pub(crate) fn next_event(&self) -> tokio::sync::futures::Notified<'_> {
        self.noted.notified()
    }

    /// The numbers of the newest event and of the newest sample.
    pub(crate) fn newest(&self) -> (u64, u64) {
        (self.events.lock().newest(), self.tasks.lock().samples.newest())
    }

    /// The last seconds that are over, oldest first.
    pub(crate) fn rates(&self) -> Vec<RateSecond> {
        let now = self.machine.unix_time().as_secs();
        self.tasks.lock().rates.until(now)
    }
}
