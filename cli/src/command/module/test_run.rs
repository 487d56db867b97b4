//! `grid module test`: a module in a sandbox of this process, against a file of messages.

use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use grid_host::sandbox::CodeForm;
use grid_protocol::time::millis;
use serde::Serialize;
use wasm_grid::view::ValueView;
use wasm_grid::{Bytes, Client, End, Event, LimitsAsked, LogLine, Manager, Reply, Request, Role, WorkerId};

use crate::command::cli_error::CliError;
use crate::command::module::{author, describe, read, stem};
use crate::command::output::{Output, bytes, counted};
use crate::command::{Common, compiled};
use wasm_grid::from_json;

/// What is tried, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct TestRunArgs {
    /// The module, or the worker's folder once it is built.
    #[arg(default_value = ".")]
    module: PathBuf,
    /// Messages, one JSON value a line [default: messages.jsonl beside the module if there is one, else standard input].
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Each line is a message as it is, not JSON.
    #[arg(long)]
    lines: bool,
    /// Spawn arguments, as text.
    #[arg(long, default_value = "", value_name = "TEXT")]
    arg: String,
    /// Most memory.
    #[arg(long, default_value = "256MiB", value_name = "SIZE")]
    memory: ByteSize,
    /// Most time on a processor for one message, in seconds.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    call_seconds: f64,
}

/// The file of test messages in a worker's folder.
const MESSAGES: &str = "messages.jsonl";

/// Longest line of the messages, in bytes.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// The address that the sandbox's manager listens on.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Time that a worker has to finish its last call.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);

/// Time for a module to be compiled and started.
const START_TIME_MAX: Duration = Duration::from_secs(300);

/// What the worker under test did.
#[derive(Serialize)]
#[serde(untagged)]
enum TestAnswer {
    /// It sent a message.
    Message { message: ValueView },
    /// It could not handle a message, and said why.
    Failed { failed: String },
    /// It ended though nobody stopped it.
    Ended { backtrace: Vec<String>, ended: String },
}

/// What came of a test.
#[derive(Serialize)]
struct TestReport<'a> {
    answers: &'a [TestAnswer],
    /// Number of answers that are none.
    failed: usize,
    /// Number of messages that were sent.
    messages: usize,
}

/// The worker under test, and its answers so far.
struct TestRun {
    client: Client,
    worker: WorkerId,
    output: Output,
    lines: bool,
    lines_shown: usize,
    answers: Vec<TestAnswer>,
    failed: usize,
    /// True once the worker has ended.
    left: bool,
    // Last, so that they are dropped after the client.
    _grid: Manager,
    _home: tempfile::TempDir,
}

impl TestRunArgs {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        let file = author::module_file(&self.module)?;
        let wasm = read(&file)?;
        let name = stem(&file);
        let (publication, wasm) = describe(&name, wasm, false)?;
        let call = Duration::try_from_secs_f64(self.call_seconds)
            .map_err(|error| CliError::usage(format!("--call-seconds: {error}")))?;
        let beside = file.with_file_name(MESSAGES);
        let input = self.input.clone().or_else(|| beside.is_file().then_some(beside));
        let mut reader = open(input.as_deref())?;
        compiled::announce(
            &common.home,
            CodeForm::SHARED,
            &name,
            &wasm,
            &publication.manifest.digest,
            output,
        );
        let mut bench = self.start(common, &name, wasm, call, output).await?;
        let mut number = 0;
        while let Some(line) = next_line(&mut *reader)? {
            number += 1;
            let message = self.message(&line, number)?;
            output.say(&format!("> {line}"));
            if !bench.try_message(message).await? {
                break;
            }
        }
        bench.finish(number).await
    }

    async fn start(
        &self,
        common: &Common,
        name: &str,
        wasm: Bytes,
        call: Duration,
        output: &Output,
    ) -> Result<TestRun, CliError> {
        let began = Instant::now();
        let sandbox = |error: &dyn std::fmt::Display| CliError::failed("no sandbox could be set up", error);
        let home = tempfile::tempdir().map_err(|error| sandbox(&error))?;
        let program = std::env::current_exe().map_err(|error| sandbox(&error))?;
        let grid = Manager::builder().home(&common.home).local_slots(1).local_program(program);
        let grid = grid.listen(LOOPBACK).start().map_err(|error| sandbox(&error))?;
        // A client over the network, as most programs are.
        let client = Client::builder().home(home.path()).connect(&grid.ticket(Role::Client).await?)?;
        let module = grid.upload(name, wasm).await?;
        let limits = LimitsAsked { memory_bytes: Some(self.memory.as_u64()), call_ms: Some(millis(call)) };
        let spawned =
            client.spawn(module.digest).arguments(self.arg.as_bytes()).limits(limits).anywhere(1).await?;
        let Some(worker) = spawned.first().copied() else {
            return Err(CliError::failed("no worker was started", "the sandbox has no room"));
        };
        let mut bench = TestRun {
            client,
            worker,
            output: *output,
            lines: self.lines,
            lines_shown: 0,
            answers: Vec::new(),
            failed: 0,
            left: false,
            _grid: grid,
            _home: home,
        };
        let started = tokio::time::timeout(START_TIME_MAX, bench.started()).await;
        started
            .map_err(|_| CliError::timed_out(format!("{name} did not start within {START_TIME_MAX:?}")))??;
        output.say(&format!(
            "{name} runs after {:.2} s; limits: {} of memory, {call:?} a message on a processor, messages of 64 MiB",
            began.elapsed().as_secs_f64(),
            bytes(self.memory.as_u64()),
        ));
        Ok(bench)
    }

    fn message(&self, line: &str, number: usize) -> Result<Bytes, CliError> {
        if self.lines {
            return Ok(line.as_bytes().to_vec().into());
        }
        from_json(line.as_bytes()).map_err(|why| {
            CliError::usage(format!("message {number}: no JSON: {why}"))
                .help("with --lines it is sent as it is")
        })
    }
}

impl TestRun {
    /// Waits until the worker takes messages.
    async fn started(&mut self) -> Result<(), CliError> {
        loop {
            match self.client.next_event().await {
                Event::Joined { .. } => return Ok(()),
                Event::Left { end, .. } => {
                    self.show_log().await?;
                    return Err(CliError::failed("the worker did not start", end));
                }
                event => self.note(event),
            }
        }
    }

    /// Sends a message and prints what the worker sends and logs; false if the worker has ended.
    async fn try_message(&mut self, message: Bytes) -> Result<bool, CliError> {
        let began = Instant::now();
        self.client.send(self.worker, message).await?;
        while !self.client.is_quiet(self.worker) {
            tokio::select! {
                event = self.client.next_event() => self.note(event),
                () = self.client.settled() => {}
            }
        }
        let took = began.elapsed();
        // Everything that it sent for this message has arrived; takes what is queued.
        while let Ok(event) = tokio::time::timeout(Duration::ZERO, self.client.next_event()).await {
            self.note(event);
        }
        self.show_log().await?;
        if !self.left {
            self.output.say(&format!("  done in {:.3} ms", took.as_secs_f64() * 1e3));
        }
        Ok(!self.left)
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Message { payload, .. } => {
                // The answer to text is most likely text, even if it happens to decode as CBOR.
                let message =
                    if self.lines { ValueView::of_stdout(&payload) } else { ValueView::of(&payload) };
                self.output.say(&format!("< {message}"));
                self.answers.push(TestAnswer::Message { message });
            }
            Event::Failed { reason, .. } => {
                self.failed += 1;
                self.output.say(&format!("! failed: {reason}"));
                self.answers.push(TestAnswer::Failed { failed: reason });
            }
            Event::Left { end, .. } => {
                self.left = true;
                if end != End::Stopped {
                    self.failed += 1;
                    self.output.say(&format!("! the worker ended: {end}"));
                    let ended = end.to_string();
                    let backtrace =
                        if let End::Failed(failure) = end { failure.backtrace } else { Vec::new() };
                    backtrace.iter().for_each(|frame| self.output.say(&format!("    at {frame}")));
                    self.answers.push(TestAnswer::Ended { backtrace, ended });
                }
            }
            _ => {}
        }
    }

    /// Prints what the worker logged since the last call.
    async fn show_log(&mut self) -> Result<(), CliError> {
        // The log lines written before the ping arrive before its reply; a worker that has ended has sent all of its
        // own.
        let _ = self.client.ping(self.worker).await;
        let Reply::Logs { lines, .. } =
            self.client.request(Request::WorkerLogs { worker: self.worker }).await?
        else {
            return Ok(());
        };
        let new: Vec<LogLine> = lines.into_iter().skip(self.lines_shown).collect();
        self.lines_shown += new.len();
        for line in new {
            self.output.say(&format!("  {} {}", line.level.label(), line.text));
        }
        Ok(())
    }

    async fn finish(mut self, messages: usize) -> Result<(), CliError> {
        if !self.left {
            self.client.stop_workers(&[self.worker], STOP_TIME_MAX).await?;
            let stopped = tokio::time::timeout(2 * STOP_TIME_MAX, async {
                while !self.left {
                    let event = self.client.next_event().await;
                    self.note(event);
                }
            });
            stopped.await.map_err(|_| CliError::timed_out("the worker did not stop".to_owned()))?;
        }
        self.show_log().await?;
        let (answers, failed) = (self.answers.len() - self.failed, self.failed);
        let line = format!(
            "{}, {}, {failed} failed",
            counted(messages as u64, "message"),
            counted(answers as u64, "answer")
        );
        let report = TestReport { answers: &self.answers, failed, messages };
        self.output.one(&line, &answers.to_string(), report)?;
        if failed > 0 {
            let fault = CliError::some_failed(format!("{failed} of {messages} messages failed"));
            return Err(CliError { told: true, ..fault });
        }
        Ok(())
    }
}

fn open(input: Option<&std::path::Path>) -> Result<Box<dyn BufRead>, CliError> {
    let Some(path) = input else {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    };
    let file = std::fs::File::open(path)
        .map_err(|error| CliError::not_found(format!("{} cannot be read: {error}", path.display())))?;
    Ok(Box::new(BufReader::new(file)))
}

/// The next line that is not empty; `None` at the end of the input.
fn next_line(reader: &mut dyn BufRead) -> Result<Option<String>, CliError> {
    loop {
        let mut line = String::new();
        let read = reader.take(LINE_BYTES_MAX).read_line(&mut line);
        match read.map_err(|error| CliError::failed("the messages cannot be read", error))? {
            0 => return Ok(None),
            _ if line.trim().is_empty() => {}
            _ => return Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned())),
        }
    }
}
