//! The event feed.

use grid_protocol::activity::{FeedEntry, GridEvent, HostActivity};
use grid_protocol::job::JobState;
use serde::Serialize;

use crate::view::document::Listed;

/// An event in the feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
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
}
