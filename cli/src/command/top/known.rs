//! What is known of the grid: the newest answers, the events so far, and how fast jobs go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use grid_protocol::activity::{FeedEntry, Overview};
use wasm_grid::view::FeedEntryView;
use wasm_grid::{
    Digest, HostInfo, JobId, JobInfo, ModuleInfo, PublicKey, Role, Roles, Status, WorkerId, WorkerInfo,
};

use crate::command::output::counted;
use crate::command::top::data::{TopDetail, TopRound};
use crate::command::top::thing::TopThing;

/// Events that are kept: as many as a person looks through, some 500 KiB.
const EVENTS_KEPT_MAX: usize = 2000;

/// Over how long a job's rate is taken, in milliseconds: long enough to be steady, short enough to show a change.
const PACE_WINDOW_MS: u64 = 15_000;

/// Interval between what is remembered of a job for its rate, in milliseconds.
const PACE_STEP_MS: u64 = 500;

/// What is known of the grid. Lists that are not on the screen are as they were when they last were.
#[derive(Debug, Default)]
pub(crate) struct TopKnown {
    pub(crate) status: Option<Status>,
    /// What the key may do; `None` before the first round, and where it may do everything.
    pub(crate) roles: Option<Roles>,
    pub(crate) overview: Option<Overview>,
    pub(crate) hosts: Vec<HostInfo>,
    pub(crate) jobs: Vec<JobInfo>,
    pub(crate) workers: Vec<WorkerInfo>,
    pub(crate) modules: Vec<ModuleInfo>,
    /// The last events, oldest first.
    pub(crate) events: VecDeque<TopEvent>,
    /// Number of events that were noted, whether they are kept or not.
    noted: u64,
    paces: BTreeMap<JobId, TopPace>,
}

/// An event, or a hole among them.
#[derive(Debug, Clone)]
pub(crate) struct TopEvent {
    /// Its number here, which no other one has.
    pub(crate) number: u64,
    /// When, in milliseconds since 1970 on the manager's clock.
    pub(crate) unix_ms: u64,
    /// What happened, in a word or two.
    pub(crate) kind: &'static str,
    /// What happened, in a sentence.
    pub(crate) text: String,
    /// True if somebody should look at it.
    pub(crate) bad: bool,
    /// What it is about.
    pub(crate) about: Option<TopThing>,
}

/// How many of a job's tasks were over, and when.
#[derive(Debug, Default)]
struct TopPace(VecDeque<(u64, u64)>);

impl TopPace {
    fn note(&mut self, unix_ms: u64, over: u64) {
        // A retry takes outcomes back, and another manager has another clock.
        if self.0.back().is_some_and(|(then, before)| *before > over || *then > unix_ms) {
            self.0.clear();
        }
        if self.0.back().is_some_and(|(then, _)| unix_ms - then < PACE_STEP_MS) {
            return;
        }
        self.0.push_back((unix_ms, over));
        while self.0.len() > 2 && self.0.front().is_some_and(|(then, _)| unix_ms - then > PACE_WINDOW_MS) {
            self.0.pop_front();
        }
    }

    /// Tasks a second; `None` before there are two moments to compare.
    fn rate(&self) -> Option<f64> {
        let ((then, before), (now, over)) = (self.0.front()?, self.0.back()?);
        (now > then).then(|| (over - before) as f64 * 1e3 / (now - then) as f64)
    }
}

impl TopKnown {
    /// Takes the answers of a round; those that did not come stay as they were.
    pub(crate) fn take(&mut self, round: TopRound) {
        let unix_ms = round.overview.as_ref().map_or(0, |overview| overview.unix_ms);
        if let Some(jobs) = &round.jobs {
            let listed: BTreeSet<_> = jobs.iter().map(|job| job.id).collect();
            self.paces.retain(|id, _| listed.contains(id));
            jobs.iter().for_each(|job| self.pace(unix_ms, job));
        }
        if let Some(TopDetail::Job(job, ..)) = &round.detail {
            self.pace(unix_ms, job);
        }
        if round.started_anew {
            self.note(unix_ms, "started", "the manager was started again".to_owned(), true, None);
        }
        if round.missed > 0 {
            let are = if round.missed == 1 { "is" } else { "are" };
            let text = format!("{} {are} missing here: they came too fast", counted(round.missed, "event"));
            let unix_ms = round.events.first().map_or(unix_ms, |event| event.unix_ms);
            self.note(unix_ms, "missed", text, true, None);
        }
        round.events.iter().for_each(|entry| self.note_event(entry));
        (self.status, self.roles) = (Some(round.status), round.roles);
        replace(&mut self.hosts, round.hosts);
        replace(&mut self.jobs, round.jobs);
        replace(&mut self.workers, round.workers);
        replace(&mut self.modules, round.modules);
        if round.overview.is_some() {
            self.overview = round.overview;
        }
    }

    fn pace(&mut self, unix_ms: u64, job: &JobInfo) {
        if job.state.is_over() {
            self.paces.remove(&job.id);
        } else {
            self.paces.entry(job.id).or_default().note(unix_ms, job.counts.done + job.counts.dead);
        }
    }

    fn note_event(&mut self, entry: &FeedEntry) {
        let view = FeedEntryView::from(entry);
        self.note(entry.unix_ms, view.kind, view.text, view.bad, TopThing::of_event(&entry.event));
    }

    fn note(&mut self, unix_ms: u64, kind: &'static str, text: String, bad: bool, about: Option<TopThing>) {
        if self.events.len() >= EVENTS_KEPT_MAX {
            self.events.pop_front();
        }
        self.noted += 1;
        self.events.push_back(TopEvent { number: self.noted, unix_ms, kind, text, bad, about });
    }

    /// A job's tasks a second, and the seconds until it is done.
    pub(crate) fn forecast(&self, job: &JobInfo) -> (Option<f64>, Option<u64>) {
        let rate = self.paces.get(&job.id).and_then(TopPace::rate);
        let left = job.counts.waiting + job.counts.leased;
        let seconds = rate.filter(|rate| *rate > 0.0).map(|rate| (left as f64 / rate).min(1e12));
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is bounded, and a fraction of a second is nothing"
        )]
        let seconds = seconds.map(|seconds| seconds.ceil() as u64);
        (rate, seconds)
    }

    /// The name of a host; its fingerprint if it is not known.
    pub(crate) fn host_name(&self, key: &PublicKey) -> String {
        self.host(key).map_or_else(|| key.fingerprint(), |host| host.capacity.name.clone())
    }

    /// The name of a module; the beginning of its digest if it is not known.
    pub(crate) fn module_name(&self, digest: &Digest) -> String {
        self.module(digest).map_or_else(|| digest.short().to_string(), |module| module.name.clone())
    }

    pub(crate) fn host(&self, key: &PublicKey) -> Option<&HostInfo> {
        self.hosts.iter().find(|host| host.key == *key)
    }

    pub(crate) fn job(&self, id: JobId) -> Option<&JobInfo> {
        self.jobs.iter().find(|job| job.id == id)
    }

    pub(crate) fn worker(&self, id: WorkerId) -> Option<&WorkerInfo> {
        self.workers.iter().find(|worker| worker.id == id)
    }

    pub(crate) fn module(&self, digest: &Digest) -> Option<&ModuleInfo> {
        self.modules.iter().find(|module| module.digest == *digest)
    }

    pub(crate) fn event(&self, number: u64) -> Option<&TopEvent> {
        self.events.iter().find(|event| event.number == number)
    }

    /// True if the manager, when it last let this key in, gave it this role.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.roles.is_none_or(|roles| roles.has(role))
    }
}

fn replace<T>(known: &mut Vec<T>, newer: Option<Vec<T>>) {
    if let Some(newer) = newer {
        *known = newer;
    }
}
