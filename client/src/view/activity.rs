//! What the grid is doing: events, sampled tasks, figures, one job, one task, one host, who did what.

use grid_protocol::activity::{
    AuditEntry, FailureReason, FeedEntry, GridEvent, HeldAttempt, HostActivity, HostWork, JobSummary,
    Overview, RateSecond, SlowTask, TaskInfo, TaskSample, TaskStanding, Totals,
};
use grid_protocol::job::JobState;
use grid_protocol::token::TokenInfo;
use serde::Serialize;

use crate::view::document::Listed;
use crate::view::outcome::AttemptView;

/// An event in the feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FeedEntryView {
    /// True if somebody should look at it: something failed, was refused or taken away.
    pub bad: bool,
    /// The key of the host that it is about; null if it is about none.
    pub host: Option<String>,
    /// The id of the job that it is about; null if it is about none.
    pub job: Option<String>,
    /// The key of the client or publisher that it is about; null if it is about none.
    pub key: Option<String>,
    /// What happened, in a word or two, for scripts: `host-joined`, `job-finished`.
    pub kind: &'static str,
    /// The digest of the module that it is about; null if it is about none.
    pub module: Option<String>,
    /// Its number, from 1.
    pub seq: u64,
    /// The task's number that it is about; null if it is about none.
    pub task: Option<u64>,
    /// What happened, in a sentence.
    pub text: String,
    /// When, in milliseconds since 1970 on the manager's clock.
    pub unix_ms: u64,
    /// The id of the worker that it is about; null if it is about none.
    pub worker: Option<String>,
}

impl From<&FeedEntry> for FeedEntryView {
    fn from(entry: &FeedEntry) -> Self {
        let mut view = Self {
            bad: false,
            host: None,
            job: None,
            key: None,
            kind: "other",
            module: None,
            seq: entry.seq,
            task: None,
            text: String::new(),
            unix_ms: entry.unix_ms,
            worker: None,
        };
        view.tell(&entry.event);
        view
    }
}

impl Listed for FeedEntryView {
    const LIST: &'static str = "events";
}

impl FeedEntryView {
    fn tell(&mut self, event: &GridEvent) {
        match event {
            GridEvent::Host { host, name, change } => {
                self.host = Some(host.to_string());
                self.tell_host(name, change);
            }
            GridEvent::Refused { key, from, why } => {
                self.key = Some(key.to_string());
                self.say("refused", true, format!("{} from {from} was not let in: {why}", key.fingerprint()));
            }
            GridEvent::Login { key, from } => {
                self.key = Some(key.to_string());
                self.say("login", false, format!("client {} connected from {from}", key.fingerprint()));
            }
            GridEvent::Granted { key, role } => {
                self.key = Some(key.to_string());
                self.say("granted", false, format!("key {} is a {role} now", key.fingerprint()));
            }
            GridEvent::Revoked { key } => {
                self.key = Some(key.to_string());
                self.say("revoked", true, format!("key {} was revoked", key.fingerprint()));
            }
            GridEvent::ModuleUploaded { module, name, publisher } => {
                (self.module, self.key) = (Some(module.to_string()), Some(publisher.to_string()));
                self.say("module-uploaded", false, format!("module {name} was uploaded"));
            }
            GridEvent::ModuleRemoved { module, name } => {
                self.module = Some(module.to_string());
                self.say("module-removed", false, format!("module {name} was removed"));
            }
            GridEvent::Job { job, name, owner, state } => {
                (self.job, self.key) = (Some(job.to_string()), Some(owner.to_string()));
                self.tell_job(name, state);
            }
            GridEvent::TaskDead { job, task, owner, why } => {
                (self.job, self.key) = (Some(job.to_string()), Some(owner.to_string()));
                self.task = Some(*task);
                self.say("task-dead", true, format!("task {task} failed: {why}"));
            }
            GridEvent::WorkerStarted { worker, module, host, owner } => {
                (self.host, self.key) = (Some(host.to_string()), Some(owner.to_string()));
                (self.worker, self.module) = (Some(worker.to_string()), Some(module.to_string()));
                self.say("worker-started", false, format!("worker {worker} runs"));
            }
            GridEvent::WorkerEnded { worker, host, owner, end, accident } => {
                (self.host, self.key) = (Some(host.to_string()), Some(owner.to_string()));
                self.worker = Some(worker.to_string());
                self.say("worker-ended", *accident, format!("worker {worker} has ended: {end}"));
            }
            GridEvent::StoreTrouble { why } => {
                self.say("store-trouble", true, format!("the manager's store takes nothing: {why}"));
            }
            GridEvent::StoreWorks => {
                self.say("store-works", false, "the manager's store works again".to_owned());
            }
            _ => self.say("other", false, "something that this program is too old to know".to_owned()),
        }
    }

    fn say(&mut self, kind: &'static str, bad: bool, text: String) {
        (self.kind, self.bad, self.text) = (kind, bad, text);
    }

    fn tell_host(&mut self, name: &str, change: &HostActivity) {
        match change {
            HostActivity::Pending => {
                self.say("host-pending", false, format!("host {name} waits for approval"));
            }
            HostActivity::Joined { slots } => {
                let plural = if *slots == 1 { "" } else { "s" };
                self.say("host-joined", false, format!("host {name} joined with {slots} slot{plural}"));
            }
            HostActivity::Returned => self.say("host-returned", false, format!("host {name} is back")),
            HostActivity::Away => {
                self.say("host-away", true, format!("the connection of host {name} is lost"));
            }
            HostActivity::Draining => {
                self.say("host-draining", false, format!("host {name} takes no more work"));
            }
            HostActivity::Gone => self.say("host-gone", true, format!("host {name} is gone")),
            HostActivity::Quarantined { for_ms } => {
                let text = format!(
                    "host {name} fails what others do, and gets nothing for {} s",
                    for_ms.div_ceil(1000)
                );
                self.say("host-quarantined", true, text);
            }
            HostActivity::Barred { job, for_ms } => {
                self.job = Some(job.to_string());
                let seconds = for_ms.div_ceil(1000);
                let text = format!(
                    "host {name} fails what others do of a job, and gets nothing of it for {seconds} s"
                );
                self.say("host-barred", true, text);
            }
            HostActivity::Unfit { job, why } => {
                self.job = Some(job.to_string());
                self.say("host-unfit", true, format!("host {name} cannot run a job: {why}"));
            }
            HostActivity::Compiled { module, us } => {
                self.module = Some(module.to_string());
                let ms = us.div_ceil(1000);
                self.say("compiled", false, format!("host {name} compiled a module in {ms} ms"));
            }
            _ => self.say("other", false, format!("something happened to host {name}")),
        }
    }

    fn tell_job(&mut self, name: &str, state: &JobState) {
        match state {
            JobState::Open => self.say("job-created", false, format!("job {name} was created")),
            JobState::Finished => self.say("job-finished", false, format!("job {name} is finished")),
            JobState::Cancelled => self.say("job-stopped", false, format!("job {name} was stopped")),
            JobState::GivenUp { why } => {
                self.say("job-given-up", true, format!("job {name} was given up: {why}"));
            }
            other => self.say("job", false, format!("job {name} is {}", other.label())),
        }
    }
}

/// An attempt at a task that has ended: one of those that were sampled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TaskSampleView {
    /// When the manager heard of its end, in microseconds since 1970 on the manager's clock.
    pub end_unix_us: u64,
    /// `done`, `failed` or `lost`.
    pub ending: &'static str,
    /// The key of the host that ran it.
    pub host: String,
    /// The id of its job.
    pub job: String,
    /// How long it ran, in microseconds, as the host says.
    pub ran_us: u64,
    /// Its number, from 1.
    pub seq: u64,
    /// Number of attempts that it stands for, itself among them.
    pub stands_for: u32,
    /// The task's number in its job, from 0.
    pub task: u64,
}

impl From<&TaskSample> for TaskSampleView {
    fn from(sample: &TaskSample) -> Self {
        Self {
            end_unix_us: sample.end_unix_us,
            ending: sample.ending.label(),
            host: sample.host.to_string(),
            job: sample.job.to_string(),
            ran_us: sample.ran_us,
            seq: sample.seq,
            stands_for: sample.stands_for,
            task: sample.task,
        }
    }
}

impl Listed for TaskSampleView {
    const LIST: &'static str = "tasks";
}

/// What has happened since the manager started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TotalsView {
    /// Tasks that failed for good.
    pub dead: u64,
    /// Tasks that were done.
    pub done: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts that were lost with their hosts.
    pub lost: u64,
    /// Tasks that were accepted.
    pub submitted: u64,
}

impl From<Totals> for TotalsView {
    fn from(totals: Totals) -> Self {
        let Totals { done, dead, failed, lost, submitted } = totals;
        Self { dead, done, failed, lost, submitted }
    }
}

/// The grid at a glance, in figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OverviewView {
    /// Tasks done in each of the last seconds that are over, oldest first.
    pub done_by_second: Vec<u32>,
    /// Attempts that their hosts have reported as begun.
    pub executing: u32,
    /// Attempts that failed or were lost in each of the last seconds that are over, oldest first.
    pub failed_by_second: Vec<u32>,
    /// Jobs that are not over.
    pub jobs: u32,
    /// Tasks that hosts hold.
    pub leased: u64,
    /// The number of the newest event.
    pub newest_event: u64,
    /// The number of the newest sampled task.
    pub newest_sample: u64,
    /// Hosts in quarantine.
    pub quarantined: u32,
    /// What has happened since the manager started.
    pub totals: TotalsView,
    /// The manager's time, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Tasks that wait, over all jobs.
    pub waiting: u64,
}

impl From<&Overview> for OverviewView {
    fn from(overview: &Overview) -> Self {
        let by_second = |count: fn(&RateSecond) -> u32| overview.rates.iter().map(count).collect();
        Self {
            done_by_second: by_second(|second| second.done),
            executing: overview.executing,
            failed_by_second: by_second(|second| second.failed),
            jobs: overview.jobs,
            leased: overview.leased,
            newest_event: overview.newest_event,
            newest_sample: overview.newest_sample,
            quarantined: overview.quarantined,
            totals: overview.totals.into(),
            unix_ms: overview.unix_ms,
            waiting: overview.waiting,
        }
    }
}

/// Attempts of a job that failed for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FailureReasonView {
    /// Number of attempts.
    pub count: u64,
    /// The display name of the host of the newest of them.
    pub host: String,
    /// The kind of failure, in a word or two.
    pub kind: String,
    /// The beginning of its message.
    pub message: String,
    /// The task of the newest of them.
    pub task: u64,
}

impl From<&FailureReason> for FailureReasonView {
    fn from(reason: &FailureReason) -> Self {
        let FailureReason { kind, message, count, task, host } = reason.clone();
        Self { count, host, kind, message, task }
    }
}

/// One of the slowest tasks of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SlowTaskView {
    /// The display name of its host.
    pub host: String,
    /// How long it ran, in microseconds.
    pub ran_us: u64,
    /// The task's number in its job, from 0.
    pub task: u64,
}

impl From<&SlowTask> for SlowTaskView {
    fn from(slow: &SlowTask) -> Self {
        let SlowTask { task, ran_us, host } = slow.clone();
        Self { host, ran_us, task }
    }
}

/// What the manager has seen of a job's attempts since it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JobSummaryView {
    /// Tasks that were done.
    pub done: u64,
    /// Failed attempts for reasons that are not listed, because there are too many of them.
    pub other_failures: u64,
    /// Running time of the tasks that were done, together, in microseconds.
    pub ran_us: u64,
    /// Why attempts failed, the most frequent reason first.
    pub reasons: Vec<FailureReasonView>,
    /// The slowest tasks that were done, slowest first.
    pub slowest: Vec<SlowTaskView>,
}

impl From<&JobSummary> for JobSummaryView {
    fn from(summary: &JobSummary) -> Self {
        Self {
            done: summary.done,
            other_failures: summary.other_failures,
            ran_us: summary.ran_us,
            reasons: summary.reasons.iter().map(Into::into).collect(),
            slowest: summary.slowest.iter().map(Into::into).collect(),
        }
    }
}

/// An attempt that a host holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HeldAttemptView {
    /// The attempt.
    pub attempt: String,
    /// The display name of the host.
    pub host: String,
    /// The id of its job.
    pub job: String,
    /// How long its lease is still good, in milliseconds.
    pub lease_ms: u64,
    /// How long it has run, in milliseconds; null if it has not begun, as far as its host has said.
    pub running_ms: Option<u64>,
    /// The task's number in its job, from 0.
    pub task: u64,
}

impl From<&HeldAttempt> for HeldAttemptView {
    fn from(held: &HeldAttempt) -> Self {
        Self {
            attempt: held.attempt.clone(),
            host: held.host.clone(),
            job: held.job.to_string(),
            lease_ms: held.lease_ms,
            running_ms: held.running_ms,
            task: held.task,
        }
    }
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TaskView {
    /// Its newest failed attempts, oldest first.
    pub failures: Vec<AttemptView>,
    /// Attempts that hosts hold.
    pub held: Vec<HeldAttemptView>,
    /// The display name of the host that did it; null if it is not done.
    pub host: Option<String>,
    /// The id of its job.
    pub job: String,
    /// How long the attempt ran that did it, in microseconds; null if it is not done.
    pub ran_us: Option<u64>,
    /// Length of each of its results, in bytes; null if it is not done.
    pub results: Option<Vec<u64>>,
    /// `waiting`, `with a host`, `done` or `failed`.
    pub state: &'static str,
    /// Its number in its job, from 0.
    pub task: u64,
    /// Why it is not tried again; null unless it failed.
    pub why: Option<String>,
}

impl From<&TaskInfo> for TaskView {
    fn from(task: &TaskInfo) -> Self {
        let mut view = Self {
            failures: task.failures.iter().map(Into::into).collect(),
            held: Vec::new(),
            host: None,
            job: task.job.to_string(),
            ran_us: None,
            results: None,
            state: task.standing.label(),
            task: task.task,
            why: None,
        };
        match &task.standing {
            TaskStanding::Held(held) => view.held = held.iter().map(Into::into).collect(),
            TaskStanding::Done { host, ran_us, results } => {
                view.host = Some(host.clone());
                view.ran_us = Some(*ran_us);
                view.results = Some(results.clone());
            }
            TaskStanding::Dead { why } => view.why = Some(why.clone()),
            _ => {}
        }
        view
    }
}

/// What one host is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HostWorkView {
    /// Attempts that it holds, those that run longest first; not all of them if there are very many.
    pub attempts: Vec<HeldAttemptView>,
    /// Why it gets what it gets, one sentence a line; empty for whoever may not see what others do.
    pub explanation: Vec<String>,
    /// Number of attempts that it holds.
    pub held: u32,
    /// Its key.
    pub key: String,
    /// Digests of the modules that it has, as far as the manager knows.
    pub modules: Vec<String>,
    /// Number of attempts that it would hold.
    pub window: u32,
}

impl From<&HostWork> for HostWorkView {
    fn from(work: &HostWork) -> Self {
        Self {
            attempts: work.attempts.iter().map(Into::into).collect(),
            explanation: work.explanation.clone(),
            held: work.held,
            key: work.host.to_string(),
            modules: work.modules.iter().map(ToString::to_string).collect(),
            window: work.window,
        }
    }
}

/// Something that somebody did, or tried to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditEntryView {
    /// What was done, in a word or two: `host approve`.
    pub action: String,
    /// The beginning of the key of who did it, for people.
    pub fingerprint: String,
    /// The key of who did it.
    pub key: String,
    /// Why it was refused; null if it was done.
    pub refused: Option<String>,
    /// Its number, from 1, in the order of time.
    pub seq: u64,
    /// To what.
    pub subject: String,
    /// When, in seconds since 1970 on the manager's clock.
    pub unix: u64,
    /// The way it came: `client`, `page`, `token` or `manager`.
    pub via: String,
}

impl From<&AuditEntry> for AuditEntryView {
    fn from(entry: &AuditEntry) -> Self {
        Self {
            action: entry.action.clone(),
            fingerprint: entry.key.fingerprint(),
            key: entry.key.to_string(),
            refused: entry.refused.clone(),
            seq: entry.seq,
            subject: entry.subject.clone(),
            unix: entry.unix,
            via: entry.via.clone(),
        }
    }
}

impl Listed for AuditEntryView {
    const LIST: &'static str = "audit";
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TokenView {
    /// When it expires, in seconds since 1970.
    pub expires: u64,
    /// Its public half, which is its id.
    pub id: String,
    /// What it is for; may be empty.
    pub name: String,
    /// The key that it acts for.
    pub owner: String,
    /// What it may do at most: `client`, `publisher`, `admin` or `viewer`.
    pub role: &'static str,
}

impl From<&TokenInfo> for TokenView {
    fn from(token: &TokenInfo) -> Self {
        Self {
            expires: token.expires,
            id: token.id.to_string(),
            name: token.name.clone(),
            owner: token.owner.to_string(),
            role: token.role.name(),
        }
    }
}

impl Listed for TokenView {
    const LIST: &'static str = "tokens";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{json, key};
    use grid_protocol::job::JobId;
    use serde_json::json;

    fn entry(event: GridEvent) -> FeedEntryView {
        FeedEntryView::from(&FeedEntry { seq: 7, unix_ms: 1_700_000_000_123, event })
    }

    #[test]
    fn an_event_says_what_it_is_about_and_what_happened() {
        let event = GridEvent::Host {
            host: key(1),
            name: "rack-1".to_owned(),
            change: HostActivity::Joined { slots: 1 },
        };
        let expected = json!({
            "bad": false,
            "host": key(1).to_string(),
            "job": null,
            "key": null,
            "kind": "host-joined",
            "module": null,
            "seq": 7,
            "task": null,
            "text": "host rack-1 joined with 1 slot",
            "unix_ms": 1_700_000_000_123_u64,
            "worker": null,
        });
        assert_eq!(json(&entry(event)), expected);
    }

    #[test]
    fn what_somebody_should_look_at_is_marked() {
        let job =
            |state| GridEvent::Job { job: JobId([1; 16]), name: "sums".to_owned(), owner: key(1), state };
        let given_up = entry(job(JobState::GivenUp { why: "too many failed".to_owned() }));
        assert_eq!((given_up.bad, given_up.kind), (true, "job-given-up"));
        assert_eq!(given_up.text, "job sums was given up: too many failed");
        let finished = entry(job(JobState::Finished));
        assert_eq!((finished.bad, finished.kind), (false, "job-finished"));
    }

    #[test]
    fn a_task_that_is_done_and_one_that_failed() {
        let standing = TaskStanding::Done { host: "rack-1".to_owned(), ran_us: 1500, results: vec![3] };
        let mut task = TaskInfo { job: JobId([7; 16]), task: 4, standing, failures: Vec::new() };
        let mut expected = json!({
            "failures": [],
            "held": [],
            "host": "rack-1",
            "job": "j07070707070707070707070707070707",
            "ran_us": 1500,
            "results": [3],
            "state": "done",
            "task": 4,
            "why": null,
        });
        assert_eq!(json(&TaskView::from(&task)), expected);
        task.standing = TaskStanding::Dead { why: "it failed 3 times".to_owned() };
        (expected["host"], expected["ran_us"], expected["results"]) = (json!(null), json!(null), json!(null));
        (expected["state"], expected["why"]) = ("failed".into(), "it failed 3 times".into());
        assert_eq!(json(&TaskView::from(&task)), expected);
    }

    #[test]
    fn figures_and_lists_stand_in_the_order_of_the_alphabet() {
        let rates = vec![RateSecond { done: 5, failed: 1 }];
        let overview = Overview {
            unix_ms: 1,
            jobs: 2,
            waiting: 3,
            leased: 4,
            executing: 5,
            quarantined: 6,
            totals: Totals::default(),
            rates,
            newest_event: 7,
            newest_sample: 8,
        };
        let view = json(&OverviewView::from(&overview));
        assert_eq!((&view["done_by_second"], &view["failed_by_second"]), (&json!([5]), &json!([1])));
        let held = HeldAttempt {
            attempt: "a1.2".to_owned(),
            job: JobId([7; 16]),
            task: 1,
            host: "rack-1".to_owned(),
            running_ms: None,
            lease_ms: 9,
        };
        let (attempts, explanation) = (vec![held], Vec::new());
        let work = HostWork { host: key(1), attempts, held: 1, window: 2, modules: Vec::new(), explanation };
        json(&HostWorkView::from(&work));
        let mut summary = JobSummary::default();
        let (kind, message, host) = ("trap".to_owned(), "unreachable".to_owned(), "rack-1".to_owned());
        summary.reasons.push(FailureReason { kind, message, count: 2, task: 3, host: host.clone() });
        summary.slowest.push(SlowTask { task: 1, ran_us: 2, host });
        json(&JobSummaryView::from(&summary));
        let (via, action) = ("client".to_owned(), "job stop".to_owned());
        let subject = "j07".to_owned();
        let audit = AuditEntry { seq: 1, unix: 2, key: key(1), via, action, subject, refused: None };
        json(&AuditEntryView::from(&audit));
        let role = grid_protocol::role::Role::Viewer;
        let token = TokenInfo { id: key(1), owner: key(2), role, expires: 3, name: "board".to_owned() };
        assert_eq!(json(&TokenView::from(&token))["role"], "viewer");
    }
}
