//! What the manager has seen of a job's attempts.

use grid_protocol::activity::{FailureReason, JobSummary, SlowTask};
use serde::Serialize;

/// Attempts of a job that failed for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::json;
    use serde_json::json;

    #[test]
    fn why_attempts_failed_and_which_tasks_were_slow() {
        let (kind, message, host) = ("trap".to_owned(), "unreachable".to_owned(), "rack-1".to_owned());
        let summary = JobSummary {
            reasons: vec![FailureReason { kind, message, count: 2, task: 3, host: host.clone() }],
            slowest: vec![SlowTask { task: 1, ran_us: 2, host }],
            ..JobSummary::default()
        };
        let expected = json!({
            "done": 0,
            "other_failures": 0,
            "ran_us": 0,
            "reasons": [{ "count": 2, "host": "rack-1", "kind": "trap", "message": "unreachable", "task": 3 }],
            "slowest": [{ "host": "rack-1", "ran_us": 2, "task": 1 }],
        });
        assert_eq!(json(&JobSummaryView::from(&summary)), expected);
    }
}
