//! Outcomes of tasks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use grid_protocol::job::AttemptFailure;
use serde::Serialize;

use crate::job::{TaskFailed, TaskOutcome};
use crate::view::document::Listed;
use crate::view::value::ValueView;

/// The outcome of a task: one of `error`, `result` and `results`, and what goes with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct OutcomeView {
    /// Why the task failed; left out if it succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(nullable = false))]
    pub error: Option<TaskFailedView>,
    /// The file that was the task's input, as the program that submitted it names it; left out if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(nullable = false))]
    pub file: Option<String>,
    /// The files that the task wrote, by their paths in its folder `out`; left out unless it was a command with files.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(nullable = false))]
    pub files: Option<BTreeMap<String, FileView>>,
    /// The message that the task sent, or its standard output; left out if it failed, or sent none or several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(nullable = false))]
    pub result: Option<ValueView>,
    /// The messages that the task sent, in order, if it sent none or several; else left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(nullable = false))]
    pub results: Option<Vec<ValueView>>,
    /// The task's number in its job, from 0.
    pub task: u64,
}

/// A file that a task wrote.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum FileView {
    /// Where it was written to, as a path; what is no UTF-8 in it is replaced.
    Place(String),
    /// Its contents: `{"text": …}`, or `{"bytes": …}` in hexadecimal.
    Contents(ValueView),
}

impl OutcomeView {
    /// The view of an outcome.
    ///
    /// `by_command` says that the module is a command: its results are most likely text. `places` says where the files
    /// that the task wrote were written to, by their paths; without it the files' contents are shown.
    pub fn of(outcome: &TaskOutcome, by_command: bool, places: Option<&BTreeMap<&str, PathBuf>>) -> Self {
        let mut view =
            Self { error: None, file: None, files: None, result: None, results: None, task: outcome.task };
        let results = match &outcome.results {
            Ok(results) => results,
            Err(failed) => {
                view.error = Some(failed.into());
                return view;
            }
        };
        if let Ok(answer) = outcome.command_answer() {
            view.result = Some(ValueView::of_stdout(&answer.stdout));
            view.files = Some(match places {
                Some(places) => {
                    let place = |at: &Path| FileView::Place(at.to_string_lossy().into_owned());
                    places.iter().map(|(path, at)| ((*path).to_owned(), place(at))).collect()
                }
                None => {
                    let contents = |bytes: &[u8]| FileView::Contents(ValueView::of_file(bytes));
                    answer.files.into_iter().map(|(path, bytes)| (path, contents(&bytes))).collect()
                }
            });
            return view;
        }
        match &results[..] {
            [result] if by_command => view.result = Some(ValueView::of_stdout(result)),
            [result] => view.result = Some(ValueView::of(result)),
            results => view.results = Some(results.iter().map(|result| ValueView::of(result)).collect()),
        }
        view
    }
}

/// Why a task failed for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct TaskFailedView {
    /// Its newest failed attempts, oldest first, at most 8.
    pub attempts: Vec<AttemptView>,
    /// Why it was not retried.
    pub why: String,
}

impl From<&TaskFailed> for TaskFailedView {
    fn from(failed: &TaskFailed) -> Self {
        Self { attempts: failed.attempts.iter().map(AttemptView::from).collect(), why: failed.why.clone() }
    }
}

/// A failed attempt at a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct AttemptView {
    /// The guest's own frames, innermost first; null if the host was lost.
    pub backtrace: Option<Vec<String>>,
    /// The display name of the host that ran it.
    pub host: String,
    /// The kind of failure in a word or two; `host-lost` if the host was lost.
    pub kind: &'static str,
    /// The guest's last lines of log.
    pub log: Vec<String>,
    /// The failure in words; null if the host was lost.
    pub message: Option<String>,
    /// How long it ran, in microseconds, as the host says.
    pub ran_us: u64,
}

impl From<&AttemptFailure> for AttemptView {
    fn from(attempt: &AttemptFailure) -> Self {
        let failure = attempt.failure.as_ref();
        Self {
            backtrace: failure.map(|failure| failure.backtrace.clone()),
            host: attempt.host_name.clone(),
            kind: failure.map_or("host-lost", |failure| failure.kind.label()),
            log: attempt.log.iter().map(|line| line.text.clone()).collect(),
            message: failure.map(|failure| failure.message.clone()),
            ran_us: attempt.ran_us,
        }
    }
}

/// A task that failed for good, among the failures of its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeadTaskView {
    /// Why it failed.
    pub error: TaskFailedView,
    /// Its number in its job, from 0.
    pub task: u64,
}

impl DeadTaskView {
    /// The view of the task with this number.
    pub fn new(task: u64, failed: &TaskFailed) -> Self {
        Self { error: failed.into(), task }
    }
}

impl Listed for DeadTaskView {
    const LIST: &'static str = "failures";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{json, key};
    use bytes::Bytes;
    use grid_protocol::worker::{Failure, FailureKind, LogLevel, LogLine};
    use serde_json::json;
    use std::time::Duration;

    fn outcome(results: Result<Vec<Bytes>, TaskFailed>) -> TaskOutcome {
        TaskOutcome { task: 7, seq: 1, host: "rack-1".to_owned(), ran: Duration::ZERO, results }
    }

    fn sent(results: &[&'static [u8]]) -> TaskOutcome {
        outcome(Ok(results.iter().map(|result| Bytes::from_static(result)).collect()))
    }

    fn failed() -> TaskFailed {
        let failure = Failure {
            kind: FailureKind::Trap,
            message: "unreachable".to_owned(),
            backtrace: vec!["add".to_owned(), "main".to_owned()],
        };
        let line = LogLine { unix_ms: 0, level: LogLevel::Warn, text: "odd".to_owned() };
        let attempt = |failure, log| AttemptFailure {
            host: key(1),
            host_name: "rack-1".to_owned(),
            ran_us: 1500,
            failure,
            log,
        };
        let attempts = vec![attempt(None, Vec::new()), attempt(Some(failure), vec![line])];
        TaskFailed { why: "it failed 2 times".to_owned(), attempts }
    }

    #[test]
    fn the_messages_of_a_task() {
        let view = |outcome: &TaskOutcome, by_command| json(&OutcomeView::of(outcome, by_command, None));
        assert_eq!(view(&sent(&[b"7"]), false), json!({ "result": -24, "task": 7 }));
        assert_eq!(view(&sent(&[b"7"]), true), json!({ "result": { "text": "7" }, "task": 7 }));
        assert_eq!(view(&sent(&[b"\xf6"]), false), json!({ "result": null, "task": 7 }));
        assert_eq!(view(&sent(&[]), false), json!({ "results": [], "task": 7 }));
        assert_eq!(view(&sent(&[b"7", b"\xf5"]), true), json!({ "results": [-24, true], "task": 7 }));
    }

    #[test]
    fn the_files_of_a_task() {
        let answer = sent(&[b"\xa2\x65files\xa2\x61a\x41\xff\x61b\x41\x37\x66stdout\x42hi"]);
        let mut expected = json!({
            "files": { "a": { "bytes": "ff" }, "b": { "text": "7" } },
            "result": { "text": "hi" },
            "task": 7,
        });
        assert_eq!(json(&OutcomeView::of(&answer, true, None)), expected);
        let places = BTreeMap::from([("a", PathBuf::from("dir/7/a")), ("b", PathBuf::from("dir/7/b"))]);
        let mut view = OutcomeView::of(&answer, true, Some(&places));
        view.file = Some("photo.jpg".to_owned());
        expected["files"] = json!({ "a": "dir/7/a", "b": "dir/7/b" });
        expected["file"] = "photo.jpg".into();
        assert_eq!(json(&view), expected);
    }

    #[test]
    fn why_a_task_failed() {
        let error = json!({
            "attempts": [
                {
                    "backtrace": null,
                    "host": "rack-1",
                    "kind": "host-lost",
                    "log": [],
                    "message": null,
                    "ran_us": 1500,
                },
                {
                    "backtrace": ["add", "main"],
                    "host": "rack-1",
                    "kind": "trap",
                    "log": ["odd"],
                    "message": "unreachable",
                    "ran_us": 1500,
                },
            ],
            "why": "it failed 2 times",
        });
        let expected = json!({ "error": error, "task": 7 });
        assert_eq!(json(&OutcomeView::of(&outcome(Err(failed())), false, None)), expected);
        assert_eq!(json(&DeadTaskView::new(7, &failed())), expected);
    }
}
