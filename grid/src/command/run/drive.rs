//! The work of a run: takes outcomes as they come, writes them out, notes them.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::ctrl_c;
use tokio::time::{MissedTickBehavior, interval, timeout};
use wasm_grid::{Inputs, JobInfo, Map, TaskOutcome};

use crate::command::fault::Fault;
use crate::command::job;
use crate::command::run::folder::Folder;
use crate::command::run::journal::Journal;
use crate::command::run::print::Sink;
use crate::command::run::progress::{Progress, counted};
use crate::command::run::spans::Gaps;

/// What a run writes to and keeps account in.
pub(crate) struct Drive {
    pub(crate) sink: Sink,
    pub(crate) raw: bool,
    /// The module is a WASI command, whose results are most likely text.
    pub(crate) by_command: bool,
    /// Where files go that come back.
    pub(crate) folder: Option<Folder>,
    pub(crate) progress: Progress,
    pub(crate) journal: Option<Arc<Journal>>,
    /// The names of the tasks, if they are files.
    pub(crate) files: Vec<PathBuf>,
    /// Outcomes come in the order of the tasks: the last one's number does not say which came before.
    pub(crate) in_order: bool,
}

/// How a job was left.
pub(crate) struct Left {
    /// How it stands.
    pub(crate) info: JobInfo,
    /// Whether Ctrl-C ended it.
    pub(crate) interrupted: bool,
}

/// How often progress is looked at while no outcome comes.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// How long a job that is stopped by Ctrl-C may take to know it.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

impl Drive {
    /// Takes all outcomes of a job, whose tasks are those of the input at `places`.
    ///
    /// Ctrl-C once ends the bringing of tasks, twice the job.
    pub(crate) async fn all<I: Inputs>(
        &mut self,
        mut results: Map<'_, I>,
        places: &Gaps,
    ) -> Result<Left, Fault> {
        if self.in_order {
            results = results.in_order();
        }
        let mut interrupt = pin!(ctrl_c());
        let mut interrupts = 0;
        let mut look = interval(LOOK_PAUSE);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let outcome = tokio::select! {
                outcome = results.next() => outcome?,
                _ = look.tick() => {
                    results.progress().into_iter().for_each(|info| self.progress.update(info));
                    continue;
                }
                Ok(()) = &mut interrupt => {
                    interrupt.set(ctrl_c());
                    interrupts += 1;
                    if interrupts == 2 {
                        return self.stop(&results).await;
                    }
                    results.bring_no_more();
                    let said = "no more tasks are handed out; those under way are awaited; once more stops them";
                    self.progress.say(said);
                    continue;
                }
            };
            let Some(outcome) = outcome else { break };
            self.take(outcome, places, results.has_next())?;
            results.progress().into_iter().for_each(|info| self.progress.update(info));
        }
        self.progress.end();
        let info = match results.progress() {
            Some(info) => info.clone(),
            None => results.job().show().await?,
        };
        Ok(Left { info, interrupted: interrupts > 0 })
    }

    async fn stop<I: Inputs>(&mut self, results: &Map<'_, I>) -> Result<Left, Fault> {
        self.progress.end();
        let stopped = timeout(STOP_TIME_MAX, results.job().stop()).await;
        let info = stopped.map_err(|_| Fault::interrupted())??;
        Ok(Left { info, interrupted: true })
    }

    /// Writes an outcome out, and notes it then; `more` outcomes may be written with it.
    fn take(&mut self, mut outcome: TaskOutcome, places: &Gaps, more: bool) -> Result<(), Fault> {
        outcome.task = places.at(outcome.task);
        let done_before = self.journal.as_ref().is_some_and(|journal| journal.has(outcome.task));
        if !done_before {
            let place = usize::try_from(outcome.task).unwrap_or(usize::MAX);
            let file = self.files.get(place).map(PathBuf::as_path);
            let answer = outcome.command_answer().ok();
            let places = match (&self.folder, &answer) {
                (Some(folder), Some(answer)) => Some(folder.write(outcome.task, &answer.files)?),
                _ => None,
            };
            match &answer {
                Some(answer) if self.raw => {
                    self.sink.write_raw(std::slice::from_ref(&answer.stdout))?;
                    if places.is_none() && !answer.files.is_empty() {
                        let count = counted(answer.files.len() as u64, "file");
                        let task = outcome.task;
                        self.progress.say(&format!("task {task} wrote {count}; --out-dir DIR keeps them"));
                    }
                }
                _ if self.raw => self.sink.write_raw(outcome.results.as_deref().unwrap_or_default())?,
                _ => self.sink.write(&outcome, self.by_command, file, places.as_ref())?,
            }
            if let Err(failed) = &outcome.results {
                self.progress.say(&job::failure_text(outcome.task, file, failed));
            }
            if let Some(journal) = &self.journal {
                journal.handed(outcome.task);
            }
        }
        // What is on its way to a reader cannot be taken back, and is noted at once; what is in a file can be.
        if more && (self.journal.is_none() || !self.sink.is_final()) {
            return Ok(());
        }
        let length = self.sink.flush()?;
        if let Some(journal) = &self.journal {
            self.sink.sync()?;
            journal.written(if self.in_order { 0 } else { outcome.seq }, length)?;
            if !more {
                journal.sync()?;
            }
        }
        Ok(())
    }
}
