//! `grid run`.

mod drive;
mod feed;
mod flags;
mod folder;
mod journal;
mod pattern;
mod print;
mod progress;
mod source;
mod spans;
mod target;
mod trace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use grid_host::sandbox::CodeForm;
use grid_inspect::EntryPoint;
use serde::Serialize;
use tokio::time::timeout;
use wasm_grid::{
    Bytes, Client, DenialCode, Digest, GiveUp, Job, JobBuilder, JobId, JobInfo, JobState, Publication,
    TraceContext,
};

use crate::command::cli_error::CliError;
use crate::command::module::{describe, read, stem};
use crate::command::output::{Output, counted};
use crate::command::required_walls::RequiredWalls;
use crate::command::signals::Signals;
use crate::command::{Address, Common, compiled};

use drive::{Drive, Idle, RunEnd};
use feed::{Feed, Skip};
use flags::{RunOptions, give_up, text};
use folder::Folder;
use journal::RunJournal;
use pattern::matching;
use print::{Sink, check_output};
use progress::{Progress, shortcoming, unkept};
use source::{Mode, TaskSource};
use target::RunTarget;
use trace::TraceArgs;

pub(crate) use flags::spawn_arguments;
pub(crate) use print::print_line;

/// Run a list of tasks on a module and print the results.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The module's file; it is signed with your key and uploaded if the manager does not have it.
    module: PathBuf,
    /// Where the tasks are: one JSON value a line [default: standard input].
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Where the results go, a JSON document a line [default: standard output].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Each line is a task as it is, not JSON.
    #[arg(long, conflicts_with = "raw")]
    lines: bool,
    /// The whole input is one task, and results are printed as they are.
    #[arg(long)]
    raw: bool,
    /// Each file that matches is a task: its bytes as they are. Quote the pattern; `**` goes through folders, but not
    /// through links; a file of the very name goes first; may be given again.
    #[arg(long, value_name = "GLOB", conflicts_with_all = ["input", "lines"])]
    files: Vec<OsString>,
    /// Keep a journal in this file, so that the same command goes on where it was killed: with the same job if the
    /// manager still has it, without the tasks whose results were written, after the end of what --output has.
    #[arg(long, value_name = "JOURNAL")]
    resume: Option<PathBuf>,
    /// Use no manager: run so many tasks at once on this machine, which is also done, on all cores, where no manager
    /// is known.
    #[arg(long, value_name = "N")]
    local: Option<u32>,
    /// What people call the job [default: the file's name].
    #[arg(long, value_parser = grid_host::command::name)]
    name: Option<String>,
    /// What each guest's `init` receives, as text.
    #[arg(long, default_value = "", value_name = "TEXT")]
    arg: String,
    /// The module is a WASI command that is to have files: each task finds a folder of its own, in memory, with its
    /// input in /input, and what it writes to /out comes back.
    #[arg(long)]
    with_files: bool,
    /// Write the files that come back to DIR/TASK/PATH; implies --with-files.
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
    /// Seconds that a task may take, from its start; then it is stopped, and has failed.
    #[arg(long, default_value_t = 3600.0, value_name = "SECONDS")]
    timeout: f64,
    /// How often a task that failed by its own fault is tried again, each time on another host where there is one.
    #[arg(long, default_value_t = 2, value_name = "N")]
    retries: u32,
    /// Give the job up when more than so many tasks failed: a number, or a share such as 5%.
    #[arg(long, value_name = "N|N%", value_parser = give_up)]
    max_failures: Option<GiveUp>,
    /// Print results in the order of the tasks, not as they come.
    #[arg(long)]
    in_order: bool,
    /// A label that hosts must carry; may be given again.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    #[command(flatten)]
    require_walls: RequiredWalls,
    /// Most memory of a task; only hosts that allow it are given one [default: what the module and the host allow].
    #[arg(long, value_name = "SIZE", default_value = "0", hide_default_value = true)]
    memory: ByteSize,
    /// Higher goes first among your jobs.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    priority: i32,
    /// Bring the tasks, print the job's id and leave; `grid job results` prints the results.
    #[arg(long, conflicts_with_all = ["local", "output", "in_order", "resume", "out_dir"])]
    detach: bool,
    #[command(flatten)]
    trace: TraceArgs,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// The arguments of a WASI command; `{}` in them stands for the task, and `{{}}` for `{}`.
    #[arg(last = true, value_name = "ARGUMENTS", conflicts_with = "arg")]
    arguments: Vec<String>,
}

/// What a run needs to begin, once its flags are parsed.
struct RunPlan<'a> {
    client: &'a Client,
    name: String,
    module: Digest,
    by_command: bool,
    /// True if its job outlives this process.
    kept: bool,
    output: Output,
    /// What its job is a part of.
    part_of: Option<TraceContext>,
}

/// What a run would do.
#[derive(Serialize)]
struct DryRun<'a> {
    /// The files that are tasks; empty if the tasks come from the input.
    files: Vec<String>,
    module: &'a str,
    name: &'a str,
}

/// Uploads a module, unless the manager has it.
async fn upload(
    client: &Client,
    publication: Publication,
    wasm: Bytes,
    output: &Output,
) -> Result<(), CliError> {
    let known = super::module::list(client).await?;
    if !super::module::is_current(&known, publication.manifest.digest) {
        let (name, length) = (publication.manifest.name.clone(), wasm.len() as u64);
        client.publish(publication, wasm).await?;
        output.say(&format!("{name} uploaded, {}", super::output::bytes(length)));
    }
    Ok(())
}

/// A job whose outcomes nobody waits for.
#[derive(Serialize)]
struct DetachedRun<'a> {
    job: &'a str,
    /// Number of tasks that were submitted.
    tasks: u64,
}

/// How long the manager may take to stop or forget a job that is no longer needed.
const END_TIME_MAX: Duration = Duration::from_secs(5);

impl RunArgs {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        let trace = self.trace.begin(*output)?;
        // A job is called anything; a module, what a file may be called.
        let module_name = stem(&self.module);
        let name = self.name.clone().unwrap_or_else(|| module_name.clone());
        let alone = || matches!(common.known(), Ok(Address::None));
        let slots = match self.dry_run || self.detach {
            true => None,
            false => self.local.or_else(|| alone().then(target::cores)),
        };
        let described = || describe(&module_name, read(&self.module)?, self.with_files());
        let ((publication, wasm), here) = RunTarget::here_after(common, slots, described)?;
        let module = publication.manifest.digest;
        let by_command = publication.report.entry_point == EntryPoint::Command;
        let files = matching(&self.files)?;
        if self.dry_run {
            let tasks = match files.len() {
                _ if self.files.is_empty() => "each task of the input".to_owned(),
                many => format!("each of {}", counted(many as u64, "file")),
            };
            let line = format!("would run {name} ({module}) on {tasks}");
            let (module, files) = (module.to_string(), files.iter().map(|file| text(file)).collect());
            return output.one(&line, &module, DryRun { files, module: &module, name: &name });
        }
        let place = match here {
            Some(here) => {
                if self.local.is_none() {
                    target::say_why(output, target::NO_MANAGER, target::cores());
                }
                here
            }
            None if self.detach => RunTarget::there(common.client()?),
            None => RunTarget::find(common, output)?,
        };
        let client: &Client = &place;
        if place.manager().is_some() {
            compiled::announce(&common.home, CodeForm::ALONE, &module_name, &wasm, &module, output);
        }
        let exporter = place.manager().map(|manager| trace.export(manager));
        trace.step("upload", upload(client, publication, wasm, output)).await?;
        let (kept, part_of) = (place.manager().is_none(), trace.part_of());
        let work = RunPlan { client, name: name.clone(), module, by_command, kept, output: *output, part_of };
        let done = trace.tasks(async {
            if self.detach { self.detach(&work, files).await } else { self.work(&work, files).await }
        });
        let done = done.await;
        trace.step("leave", async { drop(place) }).await;
        if let Some(exporter) = exporter {
            exporter.finish().await;
        }
        trace.finish(&name).await;
        done
    }

    fn with_files(&self) -> bool {
        self.with_files || self.out_dir.is_some()
    }

    fn describe_job(&self, work: &RunPlan<'_>) -> Result<JobBuilder, CliError> {
        let most = Duration::try_from_secs_f64(self.timeout)
            .map_err(|error| CliError::usage(format!("--timeout: {error}")))?;
        let mut job = work
            .client
            .job(&work.name, work.module)
            .arguments(spawn_arguments(&self.arg, &self.arguments)?)
            .timeout(most)
            .retries(self.retries)
            .priority(self.priority)
            .memory(self.memory.as_u64())
            .max_failures(self.max_failures.unwrap_or_default());
        if let Some(context) = work.part_of {
            job = job.part_of(context);
        }
        job = self.require_walls.iter().fold(job, JobBuilder::require_wall);
        for label in &self.labels {
            let (name, value) = label
                .split_once('=')
                .ok_or_else(|| CliError::usage(format!("--label {label} is not NAME=VALUE")))?;
            job = job.label(name, value);
        }
        Ok(job)
    }

    fn mode(&self) -> Mode {
        match (self.raw, self.lines) {
            (true, _) => Mode::Raw,
            (_, true) => Mode::Lines,
            _ => Mode::Json,
        }
    }

    fn source(&self, files: Vec<PathBuf>) -> Result<TaskSource, CliError> {
        if self.files.is_empty() {
            return TaskSource::open(self.input.as_deref(), self.mode());
        }
        Ok(TaskSource::Files(files.into_iter()))
    }

    /// Submits the tasks and does not wait for their outcomes.
    async fn detach(&self, work: &RunPlan<'_>, files: Vec<PathBuf>) -> Result<(), CliError> {
        let mut feed = Feed::start(self.source(files)?, Skip::default(), None)?;
        let job = self.describe_job(work)?.start().await?;
        let mut brought = 0;
        while let Some(chunk) = feed.next_chunk().await {
            brought = job.submit(brought, chunk).await?;
        }
        if let Some(wrong) = feed.wrong {
            job.stop().await?;
            return Err(wrong);
        }
        job.close().await?;
        let id = job.id().to_string();
        work.output.one(&id, &id, DetachedRun { job: &id, tasks: brought })
    }

    /// Submits the tasks and writes out their outcomes.
    async fn work(&self, work: &RunPlan<'_>, files: Vec<PathBuf>) -> Result<(), CliError> {
        let journal = match &self.resume {
            Some(path) => {
                let options = RunOptions::of(self, &work.name).to_json()?;
                let run = journal::RunHeader { module: work.module.to_string(), options };
                Some(Arc::new(RunJournal::open(path, &run)?))
            }
            None => None,
        };
        let others = [Some(&self.module), self.input.as_ref(), self.resume.as_ref()].into_iter().flatten();
        check_output(self.output.as_deref(), others.chain(&files))?;
        // Opened first: if there is no input, the output is not touched.
        let source = self.source(files.clone())?;
        let length = journal.as_ref().map_or(0, |journal| journal.state().length);
        let mut drive = Drive {
            sink: Sink::open(self.output.as_deref(), length)?,
            raw: self.raw,
            by_command: work.by_command,
            folder: self.out_dir.as_deref().map(Folder::open).transpose()?,
            progress: Progress::new(work.output),
            journal: journal.clone(),
            files,
            in_order: self.in_order,
            unkept: 0,
            idle: Idle::default(),
        };
        let (left, wrong, skipped) = match &journal {
            None => {
                let (left, wrong) = self.begin(work, source, &mut drive).await?;
                (left, wrong, None)
            }
            Some(journal) => {
                let before = journal.state().written.count();
                let (left, wrong) = self.go_on(work, source, journal, &mut drive).await?;
                (left, wrong, Some(before))
            }
        };
        let fault = match (left.interrupted, wrong) {
            (true, _) => Some(CliError::interrupted()),
            (false, Some(wrong)) => Some(wrong),
            (false, None) => shortcoming(&left.info, work.kept).or_else(|| unkept(drive.unkept)),
        };
        if fault.is_none() && journal.is_none() && work.kept {
            forget(work.client, left.info.id).await;
        }
        drive.end_line();
        drive.progress.conclude(&left.info, skipped, drive.unkept, fault)
    }

    /// Makes a job for all tasks. On an error it stops the job, because nobody would take its outcomes.
    async fn begin(
        &self,
        work: &RunPlan<'_>,
        source: TaskSource,
        drive: &mut Drive,
    ) -> Result<(RunEnd, Option<CliError>), CliError> {
        let id = draw_id()?;
        let mut signals = listen()?;
        let mut feed = Feed::start(source, Skip::default(), None)?;
        let job = self.describe_job(work)?.id(id);
        let left = async {
            let results = tokio::select! {
                biased;
                _ = signals.next() => return Err(CliError::interrupted()),
                results = job.map_from(&mut feed) => results?,
            };
            drive.all(results, &spans::Gaps::default(), &mut signals).await
        };
        let left = left.await;
        if left.is_err() {
            drive.progress.end();
            let _ = timeout(END_TIME_MAX, work.client.find_job(id).stop()).await;
        }
        Ok((left?, feed.wrong))
    }

    /// Continues the job of the journal, or makes a new one for the tasks whose outcomes are not written out.
    async fn go_on(
        &self,
        work: &RunPlan<'_>,
        source: TaskSource,
        journal: &Arc<RunJournal>,
        drive: &mut Drive,
    ) -> Result<(RunEnd, Option<CliError>), CliError> {
        let state = journal.state();
        let known = match state.job {
            Some(id) => find(work.client, id).await?,
            None => None,
        };
        let had = known.as_ref().map_or(0, |(_, info)| info.counts.submitted);
        let done = state.done_before.clone();
        if let Some((job, info)) = known {
            let goes_on = match info.state {
                JobState::Open => true,
                JobState::Closed | JobState::Finished => journal.prefix().is_all(done.count() + had),
                _ => false,
            };
            if goes_on {
                let places = done.gaps();
                let mut feed = Feed::start(source, Skip { done, had }, Some(journal.clone()))?;
                feed.checked().await?;
                let left = drive.all(job.go_on(had, &mut feed, state.after), &places, &mut listen()?).await?;
                return Ok((left, feed.wrong));
            }
            // The job ended early: takes the outcomes that it has; the other tasks need another job.
            let none = std::iter::empty::<Bytes>();
            let left = drive.all(job.go_on(had, none, state.after), &done.gaps(), &mut listen()?).await?;
            if left.interrupted {
                return Ok((left, None));
            }
        }
        let done = journal.state().written;
        let places = done.gaps();
        let mut feed = Feed::start(source, Skip { done, had: 0 }, Some(journal.clone()))?;
        feed.checked().await?;
        let id = draw_id()?;
        journal.job(id)?;
        let job = self.describe_job(work)?.id(id).start().await?;
        let left = drive.all(job.go_on(0, &mut feed, 0), &places, &mut listen()?).await?;
        Ok((left, feed.wrong))
    }
}

fn draw_id() -> Result<JobId, CliError> {
    grid_disk::random().map(JobId).map_err(|error| CliError::failed("no id can be drawn", error))
}

fn listen() -> Result<Signals, CliError> {
    Signals::listen().map_err(|error| CliError::failed("signals cannot be listened to", error))
}

/// The job and its state, if the manager has it.
async fn find(client: &Client, id: JobId) -> Result<Option<(Job, JobInfo)>, CliError> {
    let job = client.find_job(id);
    match job.show().await {
        Ok(info) => Ok(Some((job, info))),
        Err(denial) if denial.code == DenialCode::NotFound => Ok(None),
        Err(denial) => Err(denial.into()),
    }
}

/// Makes the manager forget a job whose outcomes were all printed, so that such jobs do not pile up.
async fn forget(client: &Client, id: JobId) {
    let job = client.find_job(id);
    if let Ok(Err(denial)) = timeout(END_TIME_MAX, job.forget()).await {
        tracing::debug!(%denial, "the job is not forgotten");
    }
}
