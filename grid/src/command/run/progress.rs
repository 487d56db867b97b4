//! What is said on standard error while tasks are under way, and at the end.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use serde_json::json;
use wasm_grid::{JobInfo, JobState};

use crate::command::fault::Fault;
use crate::command::output::Output;

/// How often progress is said where standard error is no terminal, unless a tenth was done before.
const SAY_PAUSE: Duration = Duration::from_secs(10);

/// How often the progress line changes on a terminal.
const DRAW_PAUSE: Duration = Duration::from_millis(100);

/// What is said on standard error while tasks are under way.
pub(crate) struct Progress {
    output: Output,
    terminal: bool,
    began: Instant,
    said: Instant,
    tenth: u64,
    drawn: bool,
}

impl Progress {
    pub(crate) fn new(output: Output) -> Self {
        let now = Instant::now();
        let terminal = std::io::stderr().is_terminal();
        Self { output, terminal, began: now, said: now, tenth: 0, drawn: false }
    }

    /// Says how far the job is, if it is time to.
    pub(crate) fn update(&mut self, info: &JobInfo) {
        if info.state.is_over() {
            // How it ended is said soon.
            return;
        }
        let counts = info.counts;
        let over = counts.done + counts.dead;
        let tenth =
            if info.state == JobState::Open { self.tenth } else { over * 10 / counts.submitted.max(1) };
        let pause = if self.terminal { DRAW_PAUSE } else { SAY_PAUSE };
        if self.said.elapsed() < pause && (self.terminal || tenth == self.tenth) {
            return;
        }
        (self.said, self.tenth) = (Instant::now(), tenth);
        let rate = over as f64 / self.began.elapsed().as_secs_f64().max(1e-3);
        let left = counts.submitted.saturating_sub(over) as f64 / rate.max(1e-3);
        let line = format!(
            "{over}/{} done, {}, {rate:.1}/s, {left:.0} s left, {} failed, {} tried again",
            counts.submitted,
            counted(info.hosts.into(), "host"),
            counts.dead,
            counts.retried
        );
        if self.terminal {
            self.drawn = true;
            self.output.draw(&line);
        } else {
            self.output.say(&line);
        }
    }

    /// Says something else.
    pub(crate) fn say(&mut self, what: &str) {
        self.end();
        self.output.say(what);
    }

    /// Takes the progress line away.
    pub(crate) fn end(&mut self) {
        if std::mem::take(&mut self.drawn) {
            self.output.draw("");
        }
    }

    /// Tells how the job ended: in a line for people, in a document for scripts. The outcomes of `skipped` tasks were
    /// written before, by this job or by earlier ones.
    pub(crate) fn conclude(
        &mut self,
        info: &JobInfo,
        skipped: Option<u64>,
        fault: Option<Fault>,
    ) -> Result<(), Fault> {
        let (counts, seconds) = (info.counts, self.began.elapsed().as_secs_f64());
        let before = skipped.filter(|skipped| *skipped > 0).map_or_else(String::new, |skipped| {
            format!("; the outcomes of {} were written before", counted(skipped, "task"))
        });
        self.say(&format!(
            "{} done in {seconds:.1} s, {} failed, {} tried again{before}",
            counted(counts.done, "task"),
            counts.dead,
            counts.retried
        ));
        let mut summary = json!({
            "submitted": counts.submitted,
            "done": counts.done,
            "failed": counts.dead,
            "retried": counts.retried,
            "seconds": (seconds * 1e3).round() / 1e3,
            "job": info.id.to_string(),
        });
        if let (Some(fields), Some(skipped)) = (summary.as_object_mut(), skipped) {
            fields.insert("skipped".to_owned(), skipped.into());
        }
        self.output.summary(summary, fault)
    }
}

/// What is wrong with how a job ended, if anything is; failed tasks are exit code 8. A job that is `kept` by its manager
/// can be asked about.
pub(crate) fn shortcoming(info: &JobInfo, kept: bool) -> Option<Fault> {
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
    Some(Fault::some_failed(what).help(if kept { &help } else { "" }))
}

/// A number of things, in words.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}
