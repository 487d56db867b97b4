//! Where the time of tasks went.

use grid_protocol::trace::{TaskTrace, TracePart};
use serde::Serialize;

use crate::view::document::Listed;

/// A part of a task's time. It begins where the part before it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct TracePartView {
    /// What the time was spent on: `wait`, `lease`, `send`, `input`, `module`, `compile`, `queue`, `start`, `run`,
    /// `report`, `record`, or `host` if the host told nothing of it.
    pub part: &'static str,
    /// How long, in microseconds.
    pub us: u64,
    /// The same in words.
    pub what: &'static str,
}

impl From<&TracePart> for TracePartView {
    fn from(part: &TracePart) -> Self {
        Self { part: part.kind.label(), us: part.us, what: part.kind.meaning() }
    }
}

/// Where the time of one task went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct TaskTraceView {
    /// How its last attempt ended: `done`, `failed` or `lost`.
    pub ending: &'static str,
    /// The display name of the host of its last attempt.
    pub host: String,
    /// The id of its job.
    pub job: String,
    /// Its parts, in order; another attempt begins with another `wait`.
    pub parts: Vec<TracePartView>,
    /// When the manager took the task in, in microseconds since 1970 on its clock.
    pub submitted_unix_us: u64,
    /// The task's number in its job, from 0.
    pub task: u64,
    /// From then until its outcome was on disk, in microseconds.
    pub whole_us: u64,
}

impl From<&TaskTrace> for TaskTraceView {
    fn from(trace: &TaskTrace) -> Self {
        Self {
            ending: trace.ending.label(),
            host: trace.host.clone(),
            job: trace.job.to_string(),
            parts: trace.parts.iter().map(Into::into).collect(),
            submitted_unix_us: trace.submitted_unix_us,
            task: trace.task,
            whole_us: trace.whole_us,
        }
    }
}

impl Listed for TaskTraceView {
    const LIST: &'static str = "traces";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::json;
    use grid_protocol::activity::AttemptEnding;
    use grid_protocol::job::JobId;
    use grid_protocol::trace::PartKind;
    use serde_json::json;

    #[test]
    fn the_trace_of_a_task() {
        let trace = TaskTrace {
            job: JobId([7; 16]),
            task: 4,
            host: "rack-1".to_owned(),
            ending: AttemptEnding::Done,
            submitted_unix_us: 300,
            whole_us: 9,
            parts: vec![TracePart { kind: PartKind::Wait, us: 9 }],
        };
        let expected = json!({
            "ending": "done",
            "host": "rack-1",
            "job": "j07070707070707070707070707070707",
            "parts": [{ "part": "wait", "us": 9, "what": "until a host had room for it" }],
            "submitted_unix_us": 300,
            "task": 4,
            "whole_us": 9,
        });
        assert_eq!(json(&TaskTraceView::from(&trace)), expected);
    }
}
