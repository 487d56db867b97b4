//! The work of a run: takes outcomes as they come, writes them out, notes them.

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

/// What a run writes to and keeps account in.
pub(crate) struct Drive {
    pub(crate) sink: Sink,
    pub(crate) raw: bool,
    /// The module is a WASI command, whose results are most likely text.
    pub(crate) by_command: bool,
    /// Where files go that come back.
    pub(crate) folder: Option<Folder>,
    pub(crate) progress: Progress,
    pub(crate) journal: Option<Arc<RunJournal>>,
    /// The names of the tasks, if they are files.
    pub(crate) files: Vec<PathBuf>,
    /// Outcomes come in the order of the tasks: the last one's number does not say which came before.
    pub(crate) in_order: bool,
    /// Tasks that were done, but whose files could not be written.
    pub(crate) unkept: u64,
    /// Since when nothing has come, and no host has been seen at work.
    pub(crate) idle: Idle,
}

/// A run that gets nowhere.
#[derive(Default)]
pub(crate) struct Idle {
    since: Option<Instant>,
    /// People have been told why.
    told: bool,
}

/// How a job was left.
pub(crate) struct RunEnd {
    /// How it stands.
    pub(crate) info: JobInfo,
    /// Whether a signal ended it.
    pub(crate) interrupted: bool,
}

/// How often progress is looked at while no outcome comes.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// A run that no host takes up for so long says why.
const IDLE_MAX: Duration = Duration::from_secs(3);

/// How long a job that is stopped by a signal may take to know it.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

impl Drive {
    /// Takes all outcomes of a job, whose tasks are those of the input at `places`.
    ///
    /// Ctrl-C once ends the bringing of tasks, twice the job; SIGTERM and SIGHUP end the job.
    pub(crate) async fn all<I: Inputs>(
        &mut self,
        mut results: Map<'_, I>,
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

    /// Says once why no host takes up the job, if none has for some seconds: what `grid explain` says.
    async fn say_why_idle(&mut self, job: &Job<'_>) {
        let idle = self.idle.since.get_or_insert_with(Instant::now).elapsed();
        if idle < IDLE_MAX || self.idle.told {
            return;
        }
        // A manager that does not answer now is asked again in a second.
        let (Ok(info), Ok(Reply::Status(status))) =
            (job.show().await, job.client().request(Request::Status).await)
        else {
            return;
        };
        // What hosts are at work on comes to nothing either while the manager's store takes nothing.
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

    async fn stop<I: Inputs>(&mut self, results: &Map<'_, I>) -> Result<RunEnd, CliError> {
        self.progress.end();
        let stopped = timeout(STOP_TIME_MAX, results.job().stop()).await;
        let info = stopped.map_err(|_| CliError::interrupted())??;
        Ok(RunEnd { info, interrupted: true })
    }

    /// Writes an outcome out, and notes it then; `more` outcomes may be written with it.
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
        // What is on its way to a reader cannot be taken back, and is noted at once; what is in a file can be.
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

    /// Writes an outcome out. Where a task's files cannot be written, it has failed.
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

    /// Says something on a line of its own.
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

/// Writes outcomes; on a terminal while the progress line is out of the way.
fn beside<T>(progress: &Progress, sink: &mut Sink, write: impl FnOnce(&mut Sink) -> T) -> T {
    if sink.is_terminal() { progress.aside(|| write(sink)) } else { write(sink) }
}
