//! One job: how far it is, and what its tasks have been through.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use grid_protocol::job::{AttemptId, GiveUp, JobCounts, JobSpec, JobState};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;

/// What the scheduler knows of a job. Its inputs and outcomes are on disk and none of its business.
#[derive(Debug)]
pub struct Job {
    /// What it is.
    pub spec: Arc<JobSpec>,
    /// Whose it is.
    pub owner: PublicKey,
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
    /// Hosts that cannot run the module, and why.
    pub unfit: BTreeMap<PublicKey, String>,
    /// Tells jobs of the same priority apart: the older goes first.
    pub(super) order: u64,
    /// Tasks from here on were never given to a host.
    pub(super) fresh: u64,
    /// Tasks up to here, exclusive, were acknowledged.
    pub(super) submitted: u64,
    /// Tasks that were given to a host and came back, and when they may go again.
    pub(super) again: BTreeMap<u64, Moment>,
    /// What tasks that failed have been through.
    pub(super) trials: BTreeMap<u64, Trial>,
    /// Attempts under way, by task.
    pub(super) live: BTreeMap<u64, Vec<AttemptId>>,
    /// Time that tasks took that are done, in microseconds.
    pub(super) ran_us: u64,
}

/// What a task has been through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trial {
    /// Attempts that failed by the guest's fault.
    pub guest: u32,
    /// Attempts that failed by a host's fault.
    pub host: u32,
    /// Attempts whose host was lost while it ran.
    pub lost: u32,
    /// Hosts that it failed on, the newest last.
    pub tried: Vec<PublicKey>,
}

/// Hosts that a trial remembers; a task that failed on more of them is soon dead anyway.
const TRIED_MAX: usize = 8;

/// Hosts that may be lost under a task before it runs alone: the first loss may be chance.
const LOSSES_BEFORE_ALONE: u32 = 2;

impl Trial {
    pub(super) fn blame(&mut self, host: PublicKey) {
        if !self.tried.contains(&host) {
            if self.tried.len() >= TRIED_MAX {
                self.tried.remove(0);
            }
            self.tried.push(host);
        }
    }

    /// True if it must have a host to itself: it may be what kills hosts.
    pub fn is_suspect(&self) -> bool {
        self.lost >= LOSSES_BEFORE_ALONE
    }
}

/// Tasks that must be over before a share of them means anything.
const OVER_BEFORE_SHARE: u64 = 20;

impl Job {
    /// A job without tasks.
    pub fn new(spec: Arc<JobSpec>, owner: PublicKey) -> Self {
        Self {
            spec,
            owner,
            state: JobState::Open,
            done: 0,
            dead: 0,
            retried: 0,
            recorded: 0,
            unfit: BTreeMap::new(),
            order: 0,
            fresh: 0,
            submitted: 0,
            again: BTreeMap::new(),
            trials: BTreeMap::new(),
            live: BTreeMap::new(),
            ran_us: 0,
        }
    }

    /// The same job after a restart: tasks below `fresh` that are neither over nor leased wait again.
    pub fn resume_at(&mut self, fresh: u64, submitted: u64, again: impl IntoIterator<Item = u64>) {
        self.fresh = fresh;
        self.submitted = submitted;
        self.again = again.into_iter().map(|task| (task, Moment::ZERO)).collect();
    }

    /// What a task has been through before a restart.
    pub fn resume_trial(&mut self, task: u64, trial: Trial) {
        self.trials.insert(task, trial);
    }

    /// Tasks that wait for a host.
    pub fn waiting(&self) -> u64 {
        self.submitted - self.fresh + self.again.len() as u64
    }

    /// How far it is.
    pub fn counts(&self) -> JobCounts {
        JobCounts {
            submitted: self.submitted,
            waiting: self.waiting(),
            leased: self.live.len() as u64,
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
    pub fn trial(&self, task: u64) -> Option<&Trial> {
        self.trials.get(&task)
    }

    /// Attempts at a task under way.
    pub fn attempts_at(&self, task: u64) -> &[AttemptId] {
        self.live.get(&task).map(Vec::as_slice).unwrap_or_default()
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

    /// A task goes back to those that wait.
    pub(super) fn put_back(&mut self, task: u64, due: Moment) {
        self.again.insert(task, due);
    }
}
