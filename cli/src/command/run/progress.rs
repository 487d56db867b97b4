//! Messages on standard error while tasks run, and at the end.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use wasm_grid::{JobInfo, JobState};

use crate::command::cli_error::CliError;
use crate::command::output::{Output, counted};
use crate::command::shown::Lines;

/// Interval between progress messages without a terminal; one comes sooner if another tenth of the tasks is done.
const SAY_PAUSE: Duration = Duration::from_secs(10);

/// Interval between changes of the progress line on a terminal.
const DRAW_PAUSE: Duration = Duration::from_millis(100);

/// The progress on standard error while tasks run.
pub(crate) struct Progress {
    output: Output,
    /// Hidden if standard error is not a terminal, or one that cannot draw.
    bar: ProgressBar,
    began: Instant,
    said: Instant,
    tenth: u64,
}

/// How a run ended, for scripts.
#[derive(Serialize)]
struct RunSummary {
    done: u64,
    failed: u64,
    job: String,
    retried: u64,
    /// To the millisecond.
    seconds: f64,
    /// Tasks whose outcomes were written before; left out without a journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<u64>,
    submitted: u64,
}

impl Progress {
    /// Draws progress on a terminal; without one it prints a message now and then.
    pub(crate) fn new(output: Output) -> Self {
        let now = Instant::now();
        let target = if output.talks() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        // At most as wide as the terminal: a wrapped line could not be erased.
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            bar.set_style(style);
        }
        Self { output, bar, began: now, said: now, tenth: 0 }
    }

    /// Shows how far the job is, if a message is due.
    pub(crate) fn update(&mut self, info: &JobInfo) {
        if info.state.is_over() {
            // `conclude` tells how it ended.
            return;
        }
        let counts = info.counts;
        let over = counts.done + counts.dead;
        let tenth =
            if info.state == JobState::Open { self.tenth } else { over * 10 / counts.submitted.max(1) };
        let draws = !self.bar.is_hidden();
        let pause = if draws { DRAW_PAUSE } else { SAY_PAUSE };
        if self.said.elapsed() < pause && (draws || tenth == self.tenth) {
            return;
        }
        (self.said, self.tenth) = (Instant::now(), tenth);
        let line = line(info, self.began.elapsed());
        if draws {
            self.bar.set_message(line);
        } else {
            self.output.say(&line);
        }
    }

    /// Prints another message beside the progress.
    pub(crate) fn say(&self, lines: &Lines) {
        self.aside(|| self.output.say_lines(lines));
    }

    /// Runs `write`, which writes to the terminal, while the progress line is hidden.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    /// Removes the progress line for good.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Reports how the job ended: in a line for people, in a document for scripts. The outcomes of `skipped` tasks were
    /// written by an earlier run; the files of `unkept` tasks, which succeeded, could not be written.
    pub(crate) fn conclude(
        &self,
        info: &JobInfo,
        skipped: Option<u64>,
        unkept: u64,
        fault: Option<CliError>,
    ) -> Result<(), CliError> {
        self.end();
        let (mut counts, seconds) = (info.counts, self.began.elapsed().as_secs_f64());
        (counts.done, counts.dead) = (counts.done.saturating_sub(unkept), counts.dead + unkept);
        let before = skipped.filter(|skipped| *skipped > 0).map_or_else(String::new, |skipped| {
            format!("; the outcomes of {} were written before", counted(skipped, "task"))
        });
        self.output.say(&format!(
            "{} done in {seconds:.1} s, {} failed, {} retried{before}",
            counted(counts.done, "task"),
            counts.dead,
            counts.retried
        ));
        let summary = RunSummary {
            done: counts.done,
            failed: counts.dead,
            job: info.id.to_string(),
            retried: counts.retried,
            seconds: (seconds * 1e3).round() / 1e3,
            skipped,
            submitted: counts.submitted,
        };
        self.output.summary(summary, fault)
    }
}

/// The progress of a job, in one line.
fn line(info: &JobInfo, elapsed: Duration) -> String {
    let (counts, hosts) = (info.counts, counted(info.hosts.into(), "host"));
    let over = counts.done + counts.dead;
    if over == 0 {
        // It is not known yet how long a task takes.
        let what = match (info.hosts, info.executing) {
            (0, _) => "no host has taken one yet".to_owned(),
            (_, 0) => {
                format!("{hosts} fetching or compiling the module, {:.0} s so far", elapsed.as_secs_f64())
            }
            (_, begun) => format!("{hosts}, {begun} begun, {:.0} s so far", elapsed.as_secs_f64()),
        };
        return format!("0/{} done, {what}", counts.submitted);
    }
    let rate = over as f64 / elapsed.as_secs_f64().max(1e-3);
    let left = counts.submitted.saturating_sub(over) as f64 / rate.max(1e-3);
    format!(
        "{over}/{} done, {hosts}, {rate:.1}/s, {left:.0} s left, {} failed, {} retried",
        counts.submitted, counts.dead, counts.retried
    )
}

/// The error for how a job ended, if any; failed tasks give exit code 8. If the manager has `kept` the job, the hint
/// says how to ask about it.
pub(crate) fn shortcoming(info: &JobInfo, kept: bool) -> Option<CliError> {
    let (counts, id) = (info.counts, info.id);
    let open = counts.submitted.saturating_sub(counts.done + counts.dead);
    let explained = format!("`grid explain {id}` says more");
    let (what, help) = match &info.state {
        JobState::GivenUp { why } => (format!("the job was given up: {why}"), explained),
        JobState::Cancelled => {
            (format!("somebody stopped the job: {} got no outcome", counted(open, "task")), explained)
        }
        _ if counts.dead > 0 => (
            format!("{} of {} failed", counts.dead, counted(counts.submitted, "task")),
            format!("`grid job retry {id}` tries only them again"),
        ),
        _ if open > 0 => (format!("{} got no outcome", counted(open, "task")), explained),
        _ => return None,
    };
    Some(CliError::some_failed(what).help(if kept { &help } else { "" }))
}

/// The error for tasks that succeeded but whose files could not be written, if there are any.
pub(crate) fn unkept(tasks: u64) -> Option<CliError> {
    let what = format!("the files of {} could not be written", counted(tasks, "task"));
    (tasks > 0).then(|| CliError::some_failed(what).help("what they are called, and why, is said above"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_grid::{Digest, GiveUp, JobCounts, JobId, JobSpec, SecretKey};

    fn info(done: u64, hosts: u32, executing: u32) -> JobInfo {
        let spec = JobSpec {
            name: "sums".to_owned(),
            module: Digest::of(b""),
            arguments: Vec::new(),
            labels: Vec::new(),
            memory_bytes: 0,
            priority: 0,
            timeout_ms: 0,
            attempts_max: 1,
            give_up: GiveUp::Never,
        };
        let counts = JobCounts { submitted: 150, waiting: 150 - done, leased: 0, done, dead: 0, retried: 1 };
        let (id, owner) = (JobId([1; 16]), SecretKey::from_seed(&[1; 32]).public());
        JobInfo {
            id,
            owner,
            spec,
            state: JobState::Open,
            counts,
            created: 0,
            recorded: done,
            hosts,
            executing,
        }
    }

    #[test]
    fn no_time_is_foretold_before_anything_is_done() {
        let said = |done, hosts, executing| line(&info(done, hosts, executing), Duration::from_secs(10));
        assert_eq!(said(0, 0, 0), "0/150 done, no host has taken one yet");
        assert_eq!(said(0, 2, 0), "0/150 done, 2 hosts fetching or compiling the module, 10 s so far");
        assert_eq!(said(0, 1, 3), "0/150 done, 1 host, 3 begun, 10 s so far");
        assert_eq!(said(50, 2, 2), "50/150 done, 2 hosts, 5.0/s, 20 s left, 0 failed, 1 retried");
    }
}
