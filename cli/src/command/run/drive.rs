//! The main loop of a run: takes outcomes as they come, writes them out, and records them in the journal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, timeout};
use wasm_grid::{Inputs, Job, JobInfo, Map, Reply, Request, TaskFailed, TaskOutcome};

use crate::command::cli_error::CliError;
use crate::command::job;
use crate::command::output::counted;
use crate::command::run::folder::{Folder, Unkept};
use crate::command::run::journal::RunJournal;
use crate::command::run::print::Sink;
use crate::command::run::progress::Progress;
use crate::command::run::spans::Gaps;
use crate::command::shown::Lines;
use crate::command::signals::{Asked, Signals};

/// The outputs of a run: results, files, progress and journal.
pub(crate) struct Drive {
    pub(crate) sink: Sink,
    pub(crate) raw: bool,
    /// The module is a WASI command, whose results are most likely text.
    pub(crate) by_command: bool,
    /// Where the files that tasks wrote go.
    pub(crate) folder: Option<Folder>,
    pub(crate) progress: Progress,
    pub(crate) journal: Option<Arc<RunJournal>>,
    /// The names of the tasks, if they are files.
    pub(crate) files: Vec<PathBuf>,
    /// True if outcomes come in the order of the tasks. The number of the last one then does not say which came before.
    pub(crate) in_order: bool,
    /// Tasks that succeeded but whose files could not be written.
    pub(crate) unkept: u64,
    /// How long no outcome has come and no host has worked on the job.
    pub(crate) idle: Idle,
}

/// A period in which a run makes no progress.
#[derive(Default)]
pub(crate) struct Idle {
    since: Option<Instant>,
    /// True if the user was told why.
    told: bool,
}

/// How a run ended.
pub(crate) struct RunEnd {
    /// The job's last known state.
    pub(crate) info: JobInfo,
    /// True if a signal ended the run.
    pub(crate) interrupted: bool,
}

/// Interval between checks of the progress while no outcome comes.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// How long no host may work on a run before the run says why.
const IDLE_MAX: Duration = Duration::from_secs(3);

/// How long the manager may take to stop a job after a signal.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

impl Drive {
    /// Takes all outcomes of a job; `places` maps the job's tasks to those of the input.
    ///
    /// The first Ctrl-C stops submitting tasks, the second stops the job, as SIGTERM and SIGHUP do.
    pub(crate) async fn all<I: Inputs>(
        &mut self,
        mut results: Map<I>,
        places: &Gaps,
        signals: &mut Signals,
    ) -> Result<RunEnd, CliError> {
        if self.in_order {
            results = results.in_order();
        }
        let mut interrupted = false;
        let mut look = interval(LOOK_PAUSE);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let outcome = tokio::select! {
                outcome = results.next() => outcome?,
                _ = look.tick() => {
                    results.progress().into_iter().for_each(|info| self.progress.update(info));
                    self.say_why_idle(results.job()).await;
                    continue;
                }
                asked = signals.next() => {
                    if interrupted || asked == Asked::End {
                        return self.stop(&results).await;
                    }
                    interrupted = true;
                    results.bring_no_more();
                    let said = "no more tasks are handed out; those under way are awaited; once more stops them";
                    self.say(&said.into());
                    continue;
                }
            };
            let Some(outcome) = outcome else { break };
            self.idle = Idle::default();
            self.take(outcome, places, results.has_next())?;
            results.progress().into_iter().for_each(|info| self.progress.update(info));
        }
        self.progress.end();
        let info = match results.progress() {
            Some(info) => info.clone(),
            None => results.job().show().await?,
        };
        Ok(RunEnd { info, interrupted })
    }

    /// Prints once why no host works on the job, as `grid explain` does, if none has for [`IDLE_MAX`].
    async fn say_why_idle(&mut self, job: &Job) {
        let idle = self.idle.since.get_or_insert_with(Instant::now).elapsed();
        if idle < IDLE_MAX || self.idle.told {
            return;
        }
        // If the manager does not answer, it is asked again after `LOOK_PAUSE`.
        let (Ok(info), Ok(Reply::Status(status))) =
            (job.show().await, job.client().request(Request::Status).await)
        else {
            return;
        };
        // While the manager's store takes no changes, the work of hosts yields no outcomes either.
        let waits = info.counts.leased == 0 && info.counts.waiting > 0;
        if !waits && status.store_trouble.is_none() {
            self.idle = Idle::default();
            return;
        }
        let Ok(lines) = job.explain().await else { return };
        self.idle.told = true;
        for line in lines.iter().skip(1) {
            self.say(&(&format!("no task runs: {line}")).into());
        }
    }

    async fn stop<I: Inputs>(&mut self, results: &Map<I>) -> Result<RunEnd, CliError> {
        self.progress.end();
        let stopped = timeout(STOP_TIME_MAX, results.job().stop()).await;
        let info = stopped.map_err(|_| CliError::interrupted())??;
        Ok(RunEnd { info, interrupted: true })
    }

    /// Writes an outcome out, then records it in the journal. If `more` follow, both may wait for the next.
    fn take(&mut self, mut outcome: TaskOutcome, places: &Gaps, more: bool) -> Result<(), CliError> {
        outcome.task = places.at(outcome.task);
        let done_before = self.journal.as_ref().is_some_and(|journal| journal.has(outcome.task));
        if !done_before {
            let place = usize::try_from(outcome.task).unwrap_or(usize::MAX);
            let file = self.files.get(place).cloned();
            self.write(&mut outcome, file.as_deref())?;
            if let Err(failed) = &outcome.results {
                self.say(&job::failure_lines(outcome.task, file.as_deref(), failed));
            }
            if let Some(journal) = &self.journal {
                journal.handed(outcome.task);
            }
        }
        // Output to a pipe or terminal cannot be taken back, so it is recorded immediately; a file can be cut.
        if more && (self.journal.is_none() || !self.sink.is_final()) {
            return Ok(());
        }
        let length = beside(&self.progress, &mut self.sink, Sink::flush)?;
        if let Some(journal) = &self.journal {
            self.sink.sync()?;
            journal.written(if self.in_order { 0 } else { outcome.seq }, length)?;
            if !more {
                journal.sync()?;
            }
        }
        Ok(())
    }

    /// Writes an outcome out. A task whose files cannot be written is turned into a failed one.
    fn write(&mut self, outcome: &mut TaskOutcome, file: Option<&Path>) -> Result<(), CliError> {
        let answer = outcome.command_answer().ok();
        let kept = match (&self.folder, &answer) {
            (Some(folder), Some(answer)) => folder.write(outcome.task, &answer.files).map(Some),
            _ => Ok(None),
        };
        let places = match kept {
            Ok(places) => places,
            Err(Unkept::Run(fault)) => return Err(fault),
            Err(Unkept::Task(why)) => {
                self.unkept += 1;
                outcome.results = Err(TaskFailed { why, attempts: Vec::new() });
                None
            }
        };
        let (raw, by_command) = (self.raw, self.by_command);
        beside(&self.progress, &mut self.sink, |sink| match (&outcome.results, &answer) {
            (Ok(_), Some(answer)) if raw => sink.write_raw(std::slice::from_ref(&answer.stdout)),
            (Ok(results), None) if raw => sink.write_raw(results),
            (Err(_), _) if raw => Ok(()),
            _ => sink.write(outcome, by_command, file, places.as_ref()),
        })?;
        let files = answer.as_ref().map_or(0, |answer| answer.files.len());
        if raw && self.folder.is_none() && files > 0 {
            let (task, files) = (outcome.task, counted(files as u64, "file"));
            self.say(&(&format!("task {task} wrote {files}; --out-dir DIR keeps them")).into());
        }
        Ok(())
    }

    /// Prints a message on a line of its own.
    fn say(&mut self, lines: &Lines) {
        self.end_line();
        self.progress.say(lines);
    }

    /// Ends the line that a result left open on the terminal.
    pub(crate) fn end_line(&mut self) {
        if self.sink.take_open_line() {
            self.progress.say(&"".into());
        }
    }
}

/// Writes outcomes; on a terminal it hides the progress line meanwhile.
fn beside<T>(progress: &Progress, sink: &mut Sink, write: impl FnOnce(&mut Sink) -> T) -> T {
    if sink.is_terminal() { progress.aside(|| write(sink)) } else { write(sink) }
}
