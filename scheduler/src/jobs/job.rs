//! One job: how far it is, and what its tasks have been through.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use grid_protocol::job::{AttemptId, GiveUp, JobCounts, JobSpec, JobState};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;
use grid_protocol::worker::Blame;

use super::history::TaskHistory;
use super::host_order::OTHER_KINDS;
use super::live_attempts::LiveAttempts;
use super::place_set::PlaceSet;

/// What the scheduler knows of a job. Its inputs and outcomes are on disk and none of its business.
#[derive(Debug)]
pub struct ScheduledJob {
    /// What it is.
    pub spec: Arc<JobSpec>,
    /// Whose it is.
    pub owner: PublicKey,
    /// When it was created, in seconds since 1970; decides nothing.
    pub created: u64,
    /// How it stands.
    pub state: JobState,
    /// Tasks with results.
    pub done: u64,
    /// Tasks with a final failure.
    pub dead: u64,
    /// Attempts that were made again.
    pub retried: u64,
    /// Outcomes recorded: the number of the newest.
    pub recorded: u64,
    /// Hosts that could not run the module when they were last asked.
    pub unfit: BTreeMap<PublicKey, Unfit>,
    /// Hosts that failed too much of what others did of it, and until when they get nothing of it.
    pub barred: BTreeMap<PublicKey, Moment>,
    /// Where the hosts are that have done a task of it.
    pub(super) done_by: PlaceSet,
    /// Those among them that are not known any more.
    pub(super) done_by_gone: BTreeSet<PublicKey>,
    /// Where the hosts are that keep a tally of it.
    pub(super) tallied_by: PlaceSet,
    /// Tells jobs of the same priority apart: the older goes first.
    pub(super) order: u64,
    /// Tasks from here on were never given to a host.
    pub(super) fresh: u64,
    /// Tasks up to here, exclusive, were acknowledged.
    pub(super) submitted: u64,
    /// Bytes of all inputs together.
    pub(super) input_bytes: u64,
    /// Tasks that were given to a host and came back, and may go again.
    pub(super) again: BTreeSet<u64>,
    /// Those that may go again only later.
    pub(super) paused: BTreeSet<(Moment, u64)>,
    /// Those that must have a host to themselves, and may go again.
    pub(super) suspects: BTreeSet<u64>,
    /// Since when no host is there that can run the module.
    pub(super) hopeless_since: Option<Moment>,
    /// What tasks that failed have been through.
    pub(super) histories: BTreeMap<u64, TaskHistory>,
    /// Attempts under way.
    pub(super) live: LiveAttempts,
    /// What the indexes say of it.
    pub(super) indexed: JobIndexed,
    /// Time that tasks took that are done, in microseconds.
    pub(super) ran_us: u64,
}

/// What the indexes of [`super::Jobs`] say of a job.
#[derive(Debug, Default)]
pub(super) struct JobIndexed {
    /// The bit of its kind of work, once it has had tasks that wait.
    pub(super) kind: Option<u64>,
    /// Where its client is, while it has attempts under way or tasks that wait.
    pub(super) client: u32,
    /// It is in its client's list of those with tasks that wait.
    pub(super) is_waiting: bool,
    /// Some of them may go to any host that suits.
    pub(super) is_offering: bool,
    /// It has tasks that must be alone, and may go.
    pub(super) has_suspects: bool,
    /// None of its pauses ends before this.
    pub(super) pause_ends: Option<Moment>,
}

/// A host that could not run a job's module when it was last asked. It is asked again after a pause, because what kept it
/// may have passed: a publisher that it had not heard of, a lack of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// Why, in the host's words.
    pub why: String,
    /// Until when it is not asked; `None` once it may be.
    pub(super) until: Option<Moment>,
    /// How often it has refused.
    pub(super) refusals: u32,
}

/// The first pause of a host that refuses a job; each doubles the one before, up to 64 times as much.
const UNFIT_PAUSE: Duration = Duration::from_secs(5);

/// Tasks that must be over before a share of them means anything.
const OVER_BEFORE_SHARE: u64 = 20;

impl ScheduledJob {
    /// A job without tasks.
    pub fn new(spec: Arc<JobSpec>, owner: PublicKey) -> Self {
        Self {
            spec,
            owner,
            created: 0,
            state: JobState::Open,
            done: 0,
            dead: 0,
            retried: 0,
            recorded: 0,
            unfit: BTreeMap::new(),
            barred: BTreeMap::new(),
            done_by: PlaceSet::default(),
            done_by_gone: BTreeSet::new(),
            tallied_by: PlaceSet::default(),
            order: 0,
            fresh: 0,
            submitted: 0,
            input_bytes: 0,
            again: BTreeSet::new(),
            paused: BTreeSet::new(),
            suspects: BTreeSet::new(),
            hopeless_since: None,
            histories: BTreeMap::new(),
            live: LiveAttempts::default(),
            indexed: JobIndexed::default(),
            ran_us: 0,
        }
    }

    /// The same job after a restart: tasks below `fresh` that are neither over nor leased wait again.
    pub fn resume_at(
        &mut self,
        fresh: u64,
        submitted: u64,
        input_bytes: u64,
        again: impl IntoIterator<Item = u64>,
    ) {
        (self.fresh, self.submitted, self.input_bytes) = (fresh, submitted, input_bytes);
        for task in again {
            self.make_ready(task);
        }
    }

    /// An attempt at a task failed before a restart, by the fault of `blame`, or with its host. Comes before
    /// [`Self::resume_at`].
    pub fn resume_failure(&mut self, task: u64, host: PublicKey, blame: Option<Blame>) {
        let history = self.histories.entry(task).or_default();
        history.avoid(host);
        match blame {
            Some(Blame::Host) => history.host += 1,
            Some(_) => {
                history.guest += 1;
                history.fail_on(host);
            }
            None => history.lost += 1,
        }
    }

    /// How long the tasks that are done took, all together, before a restart.
    pub fn resume_time(&mut self, ran_us: u64) {
        self.ran_us = ran_us;
    }

    /// Tasks that wait for a host.
    pub fn waiting(&self) -> u64 {
        let back = self.again.len() + self.paused.len() + self.suspects.len();
        self.submitted - self.fresh + back as u64
    }

    /// Bytes of all inputs together.
    pub fn input_bytes(&self) -> u64 {
        self.input_bytes
    }

    /// Time that the tasks took that are done, in microseconds.
    pub fn ran_us(&self) -> u64 {
        self.ran_us
    }

    /// Bytes of an input, on the average.
    pub(super) fn usual_bytes(&self) -> u64 {
        self.input_bytes / self.submitted.max(1)
    }

    /// How far it is.
    pub fn counts(&self) -> JobCounts {
        JobCounts {
            submitted: self.submitted,
            waiting: self.waiting(),
            leased: self.live.tasks(),
            done: self.done,
            dead: self.dead,
            retried: self.retried,
        }
    }

    /// Tasks up to here, exclusive, were acknowledged.
    pub fn submitted(&self) -> u64 {
        self.submitted
    }

    /// Tasks from here on were never given to a host.
    pub fn fresh(&self) -> u64 {
        self.fresh
    }

    /// What a task has been through; nothing if it never failed.
    pub fn history(&self, task: u64) -> Option<&TaskHistory> {
        self.histories.get(&task)
    }

    /// All attempts under way, in the order of their tasks.
    pub(super) fn attempts(&self) -> impl Iterator<Item = AttemptId> {
        self.live.iter()
    }

    /// Attempts at a task under way, found by a look at all of the job's: for people who ask, not for decisions.
    pub fn attempts_at(&self, task: u64) -> impl Iterator<Item = &AttemptId> {
        self.live.at(task)
    }

    /// How long its tasks take, once three are done.
    pub fn usual_time(&self) -> Option<Duration> {
        (self.done >= 3).then(|| Duration::from_micros(self.ran_us / self.done))
    }

    /// Why it should be given up now, if it should.
    pub(super) fn hopeless(&self) -> Option<String> {
        let over = self.done + self.dead;
        match self.spec.give_up {
            GiveUp::Count(most) if self.dead > most => {
                Some(alloc::format!("{} tasks failed, and {most} were allowed to", self.dead))
            }
            GiveUp::Percent(most)
                if over >= OVER_BEFORE_SHARE
                    && self.dead.saturating_mul(100) > over.saturating_mul(most.into()) =>
            {
                Some(alloc::format!("{} of {over} tasks failed, and {most} % were allowed to", self.dead))
            }
            _ => None,
        }
    }

    /// A host refuses the module; when it may be asked again.
    pub(super) fn note_unfit(&mut self, host: PublicKey, now: Moment, why: &str) -> Moment {
        let refusals = self.unfit.get(&host).map_or(0, |unfit| unfit.refusals);
        let until = now + UNFIT_PAUSE * (1 << refusals.min(6));
        let unfit = Unfit { why: why.into(), until: Some(until), refusals: refusals.saturating_add(1) };
        self.unfit.insert(host, unfit);
        until
    }

    /// A task goes back to those that wait, at once or from `due` on.
    pub(super) fn put_back(&mut self, task: u64, now: Moment, due: Moment) {
        if due > now {
            self.paused.insert((due, task));
        } else {
            self.make_ready(task);
        }
    }

    fn make_ready(&mut self, task: u64) {
        if self.is_suspect(task) {
            self.suspects.insert(task);
        } else {
            self.again.insert(task);
        }
    }

    /// A task that waited is given to a host.
    pub(super) fn take_out(&mut self, task: u64) {
        if !self.again.remove(&task) && !self.suspects.remove(&task) {
            self.fresh = self.fresh.max(task + 1);
        }
    }

    /// Tasks whose pause is over may go again, and hosts that refused or were barred may be asked again; when the next
    /// pause or bar ends.
    pub(super) fn end_pauses(&mut self, now: Moment) -> Option<Moment> {
        for unfit in self.unfit.values_mut() {
            unfit.until = unfit.until.filter(|until| *until > now);
        }
        self.barred.retain(|_, until| *until > now);
        while let Some((due, task)) = self.paused.first().copied().filter(|(due, _)| *due <= now) {
            self.paused.remove(&(due, task));
            self.make_ready(task);
        }
        self.next_pause()
    }

    /// When the next of its pauses ends.
    pub(super) fn next_pause(&self) -> Option<Moment> {
        let paused = self.paused.first().map(|(due, _)| *due);
        let refusals = self.unfit.values().filter_map(|unfit| unfit.until);
        self.barred.values().copied().chain(refusals).chain(paused).min()
    }

    /// True if a host gets nothing of the job for now: it refused it, or failed too much of it.
    pub(super) fn is_closed_to(&self, host: &PublicKey) -> bool {
        self.unfit.get(host).is_some_and(|unfit| unfit.until.is_some()) || self.barred.contains_key(host)
    }

    /// True if the task must have a host to itself.
    pub(super) fn is_suspect(&self, task: u64) -> bool {
        self.histories.get(&task).is_some_and(TaskHistory::is_suspect)
    }

    /// The bit of its kind of work.
    pub(super) fn kind(&self) -> u64 {
        self.indexed.kind.unwrap_or(OTHER_KINDS)
    }

    /// True if the task waits for a host, or is among those with an attempt under way.
    pub(super) fn is_pending(&self, task: u64, live: &BTreeSet<u64>) -> bool {
        task >= self.fresh
            || live.contains(&task)
            || self.again.contains(&task)
            || self.suspects.contains(&task)
            || self.paused.iter().any(|(_, paused)| *paused == task)
    }
}
