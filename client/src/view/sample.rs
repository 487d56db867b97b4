//! Sampled tasks.

use grid_protocol::activity::TaskSample;
use serde::Serialize;

use crate::view::document::Listed;

/// An attempt at a task that has ended: one of those that were sampled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{json, key};
    use grid_protocol::activity::AttemptEnding;
    use grid_protocol::job::JobId;
    use serde_json::json;

    #[test]
    fn a_sampled_task() {
        let (job, host, ending) = (JobId([7; 16]), key(1), AttemptEnding::Lost);
        let sample =
            TaskSample { seq: 1, job, task: 4, host, end_unix_us: 300, ran_us: 9, ending, stands_for: 7 };
        let expected = json!({
            "end_unix_us": 300,
            "ending": "lost",
            "host": key(1).to_string(),
            "job": "j07070707070707070707070707070707",
            "ran_us": 9,
            "seq": 1,
            "stands_for": 7,
            "task": 4,
        });
        assert_eq!(json(&TaskSampleView::from(&sample)), expected);
    }
}
