//! One task, and what one host is doing.

use grid_protocol::activity::{HeldAttempt, HostLoad, HostWork, TaskInfo, TaskStanding};
use serde::Serialize;

use crate::view::outcome::AttemptView;

/// An attempt that a host holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
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

/// How much one host has to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct HostLoadView {
    /// Number of attempts that run on it, as far as it has said.
    pub executing: u32,
    /// Number of attempts that it holds.
    pub held: u32,
    /// For how long it still gets nothing, in milliseconds, because it failed what others did; null if it is trusted.
    pub quarantine_ms: Option<u64>,
    /// Number of attempts that it would hold.
    pub window: u32,
}

impl From<&HostLoad> for HostLoadView {
    fn from(load: &HostLoad) -> Self {
        let HostLoad { host: _, held, window, executing, quarantine_ms } = *load;
        Self { executing, held, quarantine_ms, window }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{json, key};
    use grid_protocol::job::JobId;
    use serde_json::json;

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
    fn how_much_a_host_has_to_do() {
        let load = HostLoad { host: key(1), held: 3, window: 4, executing: 2, quarantine_ms: None };
        let expected = json!({ "executing": 2, "held": 3, "quarantine_ms": null, "window": 4 });
        assert_eq!(json(&HostLoadView::from(&load)), expected);
    }

    #[test]
    fn what_a_host_is_doing() {
        let (attempt, host) = ("a1.2".to_owned(), "rack-1".to_owned());
        let (job, running_ms) = (JobId([7; 16]), None);
        let held = HeldAttempt { attempt, job, task: 1, host, running_ms, lease_ms: 9 };
        let (attempts, explanation) = (vec![held], Vec::new());
        let work = HostWork { host: key(1), attempts, held: 1, window: 2, modules: Vec::new(), explanation };
        let view = json(&HostWorkView::from(&work));
        assert_eq!((&view["held"], &view["attempts"][0]["running_ms"]), (&json!(1), &json!(null)));
    }
}
