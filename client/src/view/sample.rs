//! Sampled tasks.

use std::collections::HashMap;
use std::hash::Hash;

use grid_protocol::activity::TaskSample;
use serde::Serialize;

/// Sampled tasks: some of the attempts that ended, in the order in which they did.
///
/// There are thousands in a second, so they are told as columns, and a text that many share is told once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct TaskSamplesView {
    /// What an attempt ended as: `done`, `failed` or `lost`. A number in `tasks.ending` is a place in this list, from 0.
    pub endings: Vec<&'static str>,
    /// Keys of hosts. A number in `tasks.host` is a place in this list, from 0.
    pub hosts: Vec<String>,
    /// Ids of jobs. A number in `tasks.job` is a place in this list, from 0.
    pub jobs: Vec<String>,
    /// Number of samples that the manager no longer had when it was asked.
    pub missed: u64,
    /// What to ask from next time: the number of the newest sample that was looked at.
    pub next: u64,
    /// The samples.
    pub tasks: TaskSampleColumns,
}

/// Sampled tasks as columns: all are as long as there are samples.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct TaskSampleColumns {
    /// When the manager heard of its end, in microseconds since 1970 on the manager's clock.
    pub end_unix_us: Vec<u64>,
    /// How it ended.
    pub ending: Vec<u32>,
    /// The host that ran it.
    pub host: Vec<u32>,
    /// Its job.
    pub job: Vec<u32>,
    /// How long it ran, in microseconds, as the host says.
    pub ran_us: Vec<u64>,
    /// Its number among all samples, from 1.
    pub seq: Vec<u64>,
    /// Number of attempts that it stands for, itself among them.
    pub stands_for: Vec<u32>,
    /// The task's number in its job, from 0.
    pub task: Vec<u64>,
}

impl TaskSamplesView {
    /// What the manager answers when it is asked for samples.
    pub fn new(samples: &[TaskSample], missed: u64, next: u64) -> Self {
        let (mut endings, mut hosts, mut jobs) = (Places::default(), Places::default(), Places::default());
        let tasks = TaskSampleColumns {
            end_unix_us: column(samples, |sample| sample.end_unix_us),
            ending: column(samples, |sample| endings.of(sample.ending.label())),
            host: column(samples, |sample| hosts.of(sample.host)),
            job: column(samples, |sample| jobs.of(sample.job)),
            ran_us: column(samples, |sample| sample.ran_us),
            seq: column(samples, |sample| sample.seq),
            stands_for: column(samples, |sample| sample.stands_for),
            task: column(samples, |sample| sample.task),
        };
        Self { endings: endings.list, hosts: hosts.texts(), jobs: jobs.texts(), missed, next, tasks }
    }
}

fn column<T>(samples: &[TaskSample], value: impl FnMut(&TaskSample) -> T) -> Vec<T> {
    samples.iter().map(value).collect()
}

/// Values in the order in which they first came, and their places in it.
struct Places<T> {
    list: Vec<T>,
    by_value: HashMap<T, u32>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { list: Vec::new(), by_value: HashMap::new() }
    }
}

impl<T: Copy + Eq + Hash> Places<T> {
    fn of(&mut self, value: T) -> u32 {
        // There are a few thousand samples in a reply.
        let next = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        *self.by_value.entry(value).or_insert_with(|| {
            self.list.push(value);
            next
        })
    }
}

impl<T: ToString> Places<T> {
    fn texts(&self) -> Vec<String> {
        self.list.iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{json, key};
    use grid_protocol::activity::AttemptEnding;
    use grid_protocol::job::JobId;
    use serde_json::json;

    #[test]
    fn sampled_tasks_are_columns_and_a_text_that_they_share_is_told_once() {
        let (job, ending) = (JobId([7; 16]), AttemptEnding::Done);
        let first = TaskSample {
            seq: 1,
            job,
            task: 4,
            host: key(1),
            end_unix_us: 300,
            ran_us: 9,
            ending,
            stands_for: 7,
        };
        let second =
            TaskSample { seq: 3, task: 5, host: key(2), ending: AttemptEnding::Lost, ..first.clone() };
        let third = TaskSample { seq: 4, task: 6, ..first.clone() };
        let expected = json!({
            "endings": ["done", "lost"],
            "hosts": [key(1).to_string(), key(2).to_string()],
            "jobs": ["j07070707070707070707070707070707"],
            "missed": 2,
            "next": 5,
            "tasks": {
                "end_unix_us": [300, 300, 300],
                "ending": [0, 1, 0],
                "host": [0, 1, 0],
                "job": [0, 0, 0],
                "ran_us": [9, 9, 9],
                "seq": [1, 3, 4],
                "stands_for": [7, 7, 7],
                "task": [4, 5, 6],
            },
        });
        assert_eq!(json(&TaskSamplesView::new(&[first, second, third], 2, 5)), expected);
    }
}
