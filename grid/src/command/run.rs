//! `grid run`.

use std::io::{BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use serde_json::{Value, json};
use wasm_grid::{Bytes, Client, GiveUp, JobBuilder, JobInfo, JobState, Manager, Map, TaskOutcome, to_cbor};

use crate::command::fault::Fault;
use crate::command::module::{describe, read, stem};
use crate::command::msg::value;
use crate::command::output::Output;
use crate::command::{Common, job};

/// Run a list of tasks on a module and print the results.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
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
    /// Use no manager: run so many tasks at once in this process.
    #[arg(long, value_name = "N")]
    local: Option<u32>,
    /// What people call the job [default: the file's name].
    #[arg(long)]
    name: Option<String>,
    /// What each executor's `init` receives, as text.
    #[arg(long, default_value = "", value_name = "TEXT")]
    arg: String,
    /// Seconds that a task may take.
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
    /// Most memory of a task.
    #[arg(long, value_name = "SIZE", default_value = "0")]
    memory: ByteSize,
    /// Higher goes first among your jobs.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    priority: i32,
    /// Bring the tasks, print the job's id and leave; `grid job results` prints the results.
    #[arg(long, conflicts_with_all = ["local", "output", "in_order"])]
    detach: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// How often progress is said where standard error is no terminal, unless a tenth was done before.
const SAY_PAUSE: Duration = Duration::from_secs(10);

/// How often the progress line changes on a terminal.
const DRAW_PAUSE: Duration = Duration::from_millis(100);

impl Run {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), Fault> {
        let wasm = read(&self.module)?;
        let name = self.name.clone().unwrap_or_else(|| stem(&self.module));
        let publication = describe(&name, &wasm)?;
        if self.dry_run {
            let digest = publication.manifest.digest;
            let line = format!("would run {name} ({digest}) on each task of the input");
            return output.one(
                &line,
                &digest.to_string(),
                json!({ "module": digest.to_string(), "name": name }),
            );
        }
        let module = publication.manifest.digest;
        if let Some(slots) = self.local {
            let manager = Manager::builder().local_slots(slots).start();
            let manager = manager.map_err(|error| Fault::failed("no local grid can be started", error))?;
            manager.upload(&name, wasm).await?;
            return self.work(self.describe_job(manager.job(&name, module))?, output).await;
        }
        let client = common.client()?;
        self.upload(&client, &name, wasm, module, output).await?;
        self.work(self.describe_job(client.job(&name, module))?, output).await
    }

    async fn upload(
        &self,
        client: &Client,
        name: &str,
        wasm: Bytes,
        module: wasm_grid::Digest,
        output: &Output,
    ) -> Result<(), Fault> {
        let known = super::module::list(client).await?;
        if !known.iter().any(|known| known.digest == module) {
            let length = wasm.len() as u64;
            client.upload(name, wasm).await?;
            output.say(&format!("{name} uploaded, {}", super::output::bytes(length)));
        }
        Ok(())
    }

    fn describe_job<'a>(&self, job: JobBuilder<'a>) -> Result<JobBuilder<'a>, Fault> {
        let timeout = Duration::try_from_secs_f64(self.timeout)
            .map_err(|error| Fault::usage(format!("--timeout: {error}")))?;
        let mut job = job
            .arguments(self.arg.clone())
            .timeout(timeout)
            .retries(self.retries)
            .priority(self.priority)
            .memory(self.memory.as_u64())
            .give_up(self.max_failures.unwrap_or_default());
        for label in &self.labels {
            let (name, value) = label
                .split_once('=')
                .ok_or_else(|| Fault::usage(format!("--label {label} is not NAME=VALUE")))?;
            job = job.label(name, value);
        }
        Ok(job)
    }

    async fn work(&self, job: JobBuilder<'_>, output: &Output) -> Result<(), Fault> {
        let mut tasks = Tasks::open(self.input.as_deref(), self.mode())?;
        if self.detach {
            return detach(job, &mut tasks, output).await;
        }
        let mut results = job.map(&mut tasks).await?;
        if self.in_order {
            results = results.in_order();
        }
        let mut out: Box<dyn Write> =
            match &self.output {
                Some(path) => Box::new(BufWriter::new(std::fs::File::create(path).map_err(|error| {
                    Fault::failed(format!("{} cannot be written", path.display()), error)
                })?)),
                None => Box::new(std::io::stdout()),
            };
        let mut progress = Progress::new(*output);
        let info = self.print_all(&mut results, &mut *out, &mut progress).await?;
        let id = results.job().id();
        progress.end();
        let written = out.flush();
        written.map_err(|error| Fault::failed("the results cannot be written", error))?;
        if let Some(wrong) = tasks.wrong {
            return Err(wrong);
        }
        conclude(&info, id, output)
    }

    async fn print_all<I: Iterator<Item = Bytes>>(
        &self,
        results: &mut Map<'_, I>,
        out: &mut dyn Write,
        progress: &mut Progress,
    ) -> Result<JobInfo, Fault> {
        let mut interrupts = 0;
        loop {
            let outcome = tokio::select! {
                outcome = results.next() => outcome?,
                Ok(()) = tokio::signal::ctrl_c() => {
                    interrupts += 1;
                    if interrupts == 2 {
                        results.job().stop().await?;
                        return Err(Fault::interrupted());
                    }
                    results.bring_no_more();
                    progress.say("no more tasks are handed out; those under way are awaited; once more stops them");
                    continue;
                }
            };
            let Some(outcome) = outcome else { break };
            let written = if self.raw { print_raw(out, &outcome) } else { print_line(out, &outcome) };
            written.map_err(|error| Fault::failed("the results cannot be written", error))?;
            if let Err(failed) = &outcome.results {
                progress.say(&job::failure_text(outcome.task, failed));
            }
            if let Some(info) = results.progress() {
                progress.update(info);
            }
        }
        if interrupts > 0 {
            return Err(Fault::interrupted());
        }
        Ok(results.job().show().await?)
    }

    fn mode(&self) -> Mode {
        match (self.raw, self.lines) {
            (true, _) => Mode::Raw,
            (_, true) => Mode::Lines,
            _ => Mode::Json,
        }
    }
}

async fn detach(job: JobBuilder<'_>, tasks: &mut Tasks, output: &Output) -> Result<(), Fault> {
    let job = job.start().await?;
    let mut brought = 0;
    loop {
        let batch: Vec<_> = tasks.take(1000).collect();
        if batch.is_empty() {
            break;
        }
        brought = job.submit(brought, batch).await?;
    }
    if let Some(wrong) = tasks.wrong.take() {
        job.stop().await?;
        return Err(wrong);
    }
    job.close().await?;
    let id = job.id().to_string();
    output.one(&id, &id, json!({ "job": id, "tasks": brought }))
}

/// Tells how the job ended; failed tasks are exit code 8.
fn conclude(info: &JobInfo, id: wasm_grid::JobId, output: &Output) -> Result<(), Fault> {
    let counts = info.counts;
    if let JobState::GivenUp { why } = &info.state {
        let fault = Fault::some_failed(format!("the job was given up: {why}"));
        return Err(fault.help(&format!("`grid explain {id}` says more")));
    }
    if counts.dead > 0 {
        let what = format!("{} of {} tasks failed", counts.dead, counts.submitted);
        return Err(Fault::some_failed(what).help(&format!("`grid job retry {id}` tries only them again")));
    }
    output.say(&format!("{} tasks done, {} tried again", counts.done, counts.retried));
    Ok(())
}

/// How the input is read.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Json,
    Lines,
    Raw,
}

/// The tasks of the input, one after another; what is wrong with it ends them.
struct Tasks {
    from: Box<dyn BufRead>,
    mode: Mode,
    line: u64,
    wrong: Option<Fault>,
}

impl Tasks {
    fn open(path: Option<&Path>, mode: Mode) -> Result<Self, Fault> {
        let from: Box<dyn BufRead> =
            match path {
                None => Box::new(BufReader::new(std::io::stdin())),
                Some(path) => Box::new(BufReader::new(std::fs::File::open(path).map_err(|error| {
                    Fault::not_found(format!("{} cannot be read: {error}", path.display()))
                })?)),
            };
        Ok(Self { from, mode, line: 0, wrong: None })
    }

    fn read(&mut self) -> Result<Option<Bytes>, Fault> {
        let unread = |error: std::io::Error| Fault::failed("the tasks cannot be read", error);
        let mut bytes = Vec::new();
        if let Mode::Raw = self.mode {
            if self.line == 0 {
                self.from.read_to_end(&mut bytes).map_err(unread)?;
            }
            self.line += 1;
            return Ok((self.line == 1).then(|| bytes.into()));
        }
        loop {
            bytes.clear();
            self.line += 1;
            if self.from.read_until(b'\n', &mut bytes).map_err(unread)? == 0 {
                return Ok(None);
            }
            while bytes.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
                bytes.pop();
            }
            if let Mode::Lines = self.mode {
                return Ok(Some(bytes.into()));
            }
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
                Fault::usage(format!("line {} of the tasks is no JSON: {error}", self.line))
                    .help("with --lines each line is a task as it is")
            })?;
            return to_cbor(&value).map(Some).map_err(|error| Fault::usage(error.to_string()));
        }
    }
}

impl Iterator for Tasks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.wrong.is_some() {
            return None;
        }
        self.read().unwrap_or_else(|fault| {
            self.wrong = Some(fault);
            None
        })
    }
}

fn print_raw(out: &mut dyn Write, outcome: &TaskOutcome) -> std::io::Result<()> {
    outcome.results.iter().flatten().try_for_each(|result| out.write_all(result))
}

/// One outcome as one line of JSON.
pub(crate) fn print_line(out: &mut dyn Write, outcome: &TaskOutcome) -> std::io::Result<()> {
    let mut line = json!({ "task": outcome.task });
    let (name, told) = match &outcome.results {
        Ok(results) => match &results[..] {
            [result] => ("result", value(result)),
            results => ("results", results.iter().map(|result| value(result)).collect()),
        },
        Err(failed) => ("error", job::failure_json(failed)),
    };
    if let Some(fields) = line.as_object_mut() {
        fields.insert(name.to_owned(), told);
    }
    writeln!(out, "{line}")
}

/// What is said on standard error while tasks are under way.
struct Progress {
    output: Output,
    terminal: bool,
    began: Instant,
    said: Instant,
    tenth: u64,
    drawn: bool,
}

impl Progress {
    fn new(output: Output) -> Self {
        let now = Instant::now();
        let terminal = std::io::stderr().is_terminal();
        Self { output, terminal, began: now, said: now, tenth: 0, drawn: false }
    }

    fn update(&mut self, info: &JobInfo) {
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
        let left = (counts.submitted - over) as f64 / rate.max(1e-3);
        let line = format!(
            "{over}/{} done, {} hosts, {rate:.1}/s, {left:.0} s left, {} failed, {} tried again",
            counts.submitted, info.hosts, counts.dead, counts.retried
        );
        if self.terminal {
            self.drawn = true;
            self.output.draw(&line);
        } else {
            self.output.say(&line);
        }
    }

    fn say(&mut self, what: &str) {
        self.end();
        self.output.say(what);
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.drawn) {
            self.output.draw("");
        }
    }
}

fn give_up(text: &str) -> Result<GiveUp, String> {
    let parsed = match text.strip_suffix('%') {
        Some(share) => share.parse().ok().filter(|share| *share <= 100).map(GiveUp::Percent),
        None => text.parse().ok().map(GiveUp::Count),
    };
    parsed.ok_or_else(|| "a number of tasks, or a share such as 5%".to_owned())
}
