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
        let line = line(info, self.began.elapsed());
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

/// How far a job is.
fn line(info: &JobInfo, elapsed: Duration) -> String {
    let (counts, hosts) = (info.counts, counted(info.hosts.into(), "host"));
    let over = counts.done + counts.dead;
    if over == 0 {
        // Nothing is known yet of how long a task takes.
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
        "{over}/{} done, {hosts}, {rate:.1}/s, {left:.0} s left, {} failed, {} tried again",
        counts.submitted, counts.dead, counts.retried
    )
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
        assert_eq!(said(50, 2, 2), "50/150 done, 2 hosts, 5.0/s, 20 s left, 0 failed, 1 tried again");
    }
}
