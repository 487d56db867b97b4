//! Summaries of jobs: why attempts failed, which tasks were slowest.

use std::collections::HashMap;

use grid_protocol::activity::{FailureReason, JobSummary, SlowTask};
use grid_protocol::job::JobId;
use grid_protocol::worker::Failure;

/// Reasons that are told apart.
const REASONS_MAX: usize = 32;

/// Slowest tasks that are kept.
const SLOWEST_MAX: usize = 10;

/// The beginning of a message by which failures are told apart, in bytes.
const MESSAGE_BYTES_MAX: usize = 160;

/// Summaries of the jobs of which attempts have ended since the manager started.
#[derive(Debug, Default)]
pub(crate) struct JobSummaries(HashMap<JobId, JobSummary>);

impl JobSummaries {
    /// A task was done.
    pub(crate) fn done(&mut self, job: JobId, task: u64, ran_us: u64, host: &str) {
        let summary = self.0.entry(job).or_default();
        summary.done += 1;
        summary.ran_us = summary.ran_us.saturating_add(ran_us);
        let slowest = &mut summary.slowest;
        let full = slowest.len() >= SLOWEST_MAX;
        if full && slowest.last().is_some_and(|slow| slow.ran_us >= ran_us) {
            return;
        }
        slowest.truncate(SLOWEST_MAX - 1);
        let place = slowest.partition_point(|slow| slow.ran_us >= ran_us);
        slowest.insert(place, SlowTask { task, ran_us, host: host.to_owned() });
    }

    /// An attempt failed; without a failure, its host was lost.
    pub(crate) fn failed(&mut self, job: JobId, task: u64, host: &str, failure: Option<&Failure>) {
        let summary = self.0.entry(job).or_default();
        let kind = failure.map_or("host-lost", |failure| failure.kind.label());
        let message = failure.map(|failure| beginning(&failure.message)).unwrap_or_default();
        let same = |reason: &&mut FailureReason| reason.kind == kind && reason.message == message;
        if let Some(reason) = summary.reasons.iter_mut().find(same) {
            reason.count += 1;
            (reason.task, reason.host) = (task, host.to_owned());
        } else if summary.reasons.len() < REASONS_MAX {
            summary.reasons.push(FailureReason {
                kind: kind.to_owned(),
                message: message.to_owned(),
                count: 1,
                task,
                host: host.to_owned(),
            });
        } else {
            summary.other_failures += 1;
        }
    }

    /// Forgets a job.
    pub(crate) fn forget(&mut self, job: JobId) {
        self.0.remove(&job);
    }

    /// The summary of a job, the most frequent reason first.
    pub(crate) fn get(&self, job: JobId) -> JobSummary {
        let mut summary = self.0.get(&job).cloned().unwrap_or_default();
        summary.reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
        summary
    }
}

/// The first line of a message, cut.
fn beginning(message: &str) -> &str {
    let line = message.lines().next().unwrap_or_default();
    line.get(..line.floor_char_boundary(MESSAGE_BYTES_MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_protocol::worker::FailureKind;

    const JOB: JobId = JobId([1; 16]);

    fn trap(message: &str) -> Failure {
        Failure { kind: FailureKind::Trap, message: message.to_owned(), backtrace: Vec::new() }
    }

    #[test]
    fn the_slowest_tasks_are_kept_slowest_first() {
        let mut summaries = JobSummaries::default();
        for task in 0..1000 {
            summaries.done(JOB, task, task * 7919 % 1000, "rack-1");
        }
        let summary = summaries.get(JOB);
        let times: Vec<_> = summary.slowest.iter().map(|slow| slow.ran_us).collect();
        assert_eq!(times, [999, 998, 997, 996, 995, 994, 993, 992, 991, 990]);
        assert_eq!((summary.done, summary.ran_us), (1000, 499_500));
    }

    #[test]
    fn failures_are_grouped_by_the_beginning_of_their_message() {
        let mut summaries = JobSummaries::default();
        for task in 0..5 {
            summaries.failed(JOB, task, "rack-1", Some(&trap(&format!("unreachable\nat {task}"))));
        }
        summaries.failed(JOB, 9, "rack-2", None);
        let reasons = summaries.get(JOB).reasons;
        let short: Vec<_> =
            reasons.iter().map(|reason| (&*reason.kind, &*reason.message, reason.count)).collect();
        assert_eq!(short, [("trap", "unreachable", 5), ("host-lost", "", 1)]);
    }

    #[test]
    fn a_guest_that_fails_differently_each_time_costs_no_memory() {
        let mut summaries = JobSummaries::default();
        for task in 0..1000 {
            summaries.failed(JOB, task, "rack-1", Some(&trap(&format!("{task}{}", "x".repeat(10_000)))));
        }
        let summary = summaries.get(JOB);
        assert_eq!((summary.reasons.len(), summary.other_failures), (REASONS_MAX, 1000 - REASONS_MAX as u64));
        assert!(summary.reasons.iter().all(|reason| reason.message.len() <= MESSAGE_BYTES_MAX));
    }
}
