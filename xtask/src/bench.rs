//! The benchmark: each figure beside a reference that is measured in the same run on the same machine, in turns.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::chore::{ChoreError, output, print, run as run_program, say};
use crate::programs::{self, Profile};

/// Measurements of each figure and of its reference.
const PAIRS: usize = 5;

/// Runs the benchmark and prints its rows; also writes them to `file` as JSON, if one is given.
pub(crate) fn run(file: Option<&Path>) -> Result<(), ChoreError> {
    let bench = Benchmark { programs: programs::build(Profile::Release, &["--bins"])? };
    let rows = vec![bench.rounds()?, bench.mux()?, bench.spawn()?, bench.idle()?];
    print(&format!("{:<44} {:>12} {:>12} {:>7} {:>7}  met", "row", "figure", "reference", "ratio", "goal"));
    for row in &rows {
        print(&format!(
            "{:<44} {:>12.2} {:>12.2} {:>7.2} {:>7.2}  {}",
            row.name,
            row.figure,
            row.reference,
            row.ratio(),
            row.goal,
            if row.met() { "yes" } else { "no" }
        ));
    }
    if let Some(file) = file {
        let document = json!({ "rows": rows.iter().map(Row::to_json).collect::<Vec<_>>() });
        std::fs::write(file, format!("{document:#}\n"))
            .map_err(|error| ChoreError::Other(error.to_string()))?;
    }
    Ok(())
}

/// Prints what a task costs the scheduler of jobs, by hosts, clients and tasks queued.
pub(crate) fn run_scheduler() -> Result<(), ChoreError> {
    let programs = programs::build(Profile::Release, &["--example", "dispatch_cost"])?;
    run_program(&mut Command::new(programs.join("examples").join("dispatch_cost")))
}

/// One figure beside its reference.
struct Row {
    name: &'static str,
    figure: f64,
    reference: f64,
    goal: f64,
    more_is_better: bool,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.figure / self.reference
    }

    fn met(&self) -> bool {
        if self.more_is_better { self.ratio() >= self.goal } else { self.ratio() <= self.goal }
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "figure": self.figure,
            "reference": self.reference,
            "ratio": self.ratio(),
            "goal": self.goal,
            "met": self.met(),
        })
    }
}

struct Benchmark {
    programs: PathBuf,
}

impl Benchmark {
    fn rounds(&self) -> Result<Row, ChoreError> {
        let (figure, reference) = pairs(|| self.grid("rounds", 1, true), || self.raw("raw-rounds", true))?;
        let name = "round trip, one core, µs";
        Ok(Row { name, figure, reference, goal: 1.5, more_is_better: false })
    }

    fn mux(&self) -> Result<Row, ChoreError> {
        let (figure, reference) = pairs(|| self.grid("mux", 1001, false), || self.raw("raw-mux", false))?;
        let name = "1000 workers, one in flight each, per s";
        Ok(Row { name, figure, reference, goal: 0.3, more_is_better: true })
    }

    fn spawn(&self) -> Result<Row, ChoreError> {
        let bare = || figure(&output(&mut Command::new(self.programs.join("bare_pool")))?);
        let (figure, reference) = pairs(|| self.grid("spawn", 1001, false), bare)?;
        let name = "start of one of 1000 workers, µs";
        Ok(Row { name, figure, reference, goal: 5.0, more_is_better: false })
    }

    /// KiB of the host's memory, page tables included, for each of 10 000 idle workers.
    fn idle(&self) -> Result<Row, ChoreError> {
        let mut end = self.start_grid("idle", false)?;
        let host = self.start_host(&end.line()?, 10_000, false)?;
        let count = figure(&end.line()?)?;
        let used = memory_kib(host.0.id())?;
        end.say()?;
        say(&format!("bench: one past the limit: {}", end.line()?));
        let name = "idle worker, KiB beside a KiB";
        Ok(Row { name, figure: used / count, reference: 1.0, goal: 60.0, more_is_better: false })
    }

    fn grid(&self, what: &str, slots: u32, one_core: bool) -> Result<f64, ChoreError> {
        let mut end = self.start_grid(what, one_core)?;
        let _host = self.start_host(&end.line()?, slots, one_core)?;
        figure(&end.line()?)
    }

    fn raw(&self, what: &str, one_core: bool) -> Result<f64, ChoreError> {
        let mut server = LoopEnd::start(self.program("bench", one_core).arg("raw-serve"))?;
        let address = server.line()?;
        figure(&output(self.program("bench", one_core).args([what, &address]))?)
    }

    fn start_grid(&self, what: &str, one_core: bool) -> Result<LoopEnd, ChoreError> {
        LoopEnd::start(self.program("bench", one_core).args(["grid", what]))
    }

    fn start_host(&self, address: &str, slots: u32, one_core: bool) -> Result<SampledProcess, ChoreError> {
        let state = self.programs.with_file_name("bench-host");
        // The manager has a new key each time, and the key of a bare address is remembered on first use.
        let _ = std::fs::remove_dir_all(&state);
        let mut host = self.program("grid-host", one_core);
        host.args(["--manager", address, "--slots", &slots.to_string(), "--state"]).arg(state);
        let started = host.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        started.map(SampledProcess).map_err(|error| ChoreError::Other(error.to_string()))
    }

    /// A program, pinned to the first core if both ends must share one.
    fn program(&self, name: &str, one_core: bool) -> Command {
        let program = self.programs.join(name);
        if !one_core {
            return Command::new(program);
        }
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", "0"]).arg(program);
        pinned
    }
}

/// A process that is killed when the value is dropped.
struct SampledProcess(Child);

impl Drop for SampledProcess {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A measuring process, which prints and reads lines.
struct LoopEnd {
    _process: SampledProcess,
    said: BufReader<ChildStdout>,
    hears: ChildStdin,
}

impl LoopEnd {
    fn start(command: &mut Command) -> Result<Self, ChoreError> {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.map_err(|error| ChoreError::Other(format!("{command:?}: {error}")))?;
        let (Some(said), Some(hears)) = (child.stdout.take(), child.stdin.take()) else {
            return Err(ChoreError::Other("a process without pipes".to_owned()));
        };
        Ok(Self { _process: SampledProcess(child), said: BufReader::new(said), hears })
    }

    fn line(&mut self) -> Result<String, ChoreError> {
        let mut line = String::new();
        match self.said.read_line(&mut line) {
            Ok(length) if length > 0 => Ok(line.trim().to_owned()),
            _ => Err(ChoreError::Other("a benchmark ended early".to_owned())),
        }
    }

    fn say(&mut self) -> Result<(), ChoreError> {
        writeln!(self.hears).map_err(|error| ChoreError::Other(error.to_string()))
    }
}

/// Measures figure and reference in turns; returns the median of each.
fn pairs(
    figure: impl Fn() -> Result<f64, ChoreError>,
    reference: impl Fn() -> Result<f64, ChoreError>,
) -> Result<(f64, f64), ChoreError> {
    let (mut figures, mut references) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        figures.push(figure()?);
        references.push(reference()?);
    }
    let median = |mut numbers: Vec<f64>| {
        numbers.sort_by(f64::total_cmp);
        numbers.get(PAIRS / 2).copied().unwrap_or_default()
    };
    Ok((median(figures), median(references)))
}

fn figure(text: &str) -> Result<f64, ChoreError> {
    text.parse().map_err(|_| ChoreError::Other(format!("`{text}` is no figure")))
}

/// Resident memory plus page tables of a process, in KiB.
fn memory_kib(id: u32) -> Result<f64, ChoreError> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))
        .map_err(|error| ChoreError::Other(error.to_string()))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    match (field("VmRSS:"), field("VmPTE:")) {
        (Some(resident), Some(tables)) => Ok(resident + tables),
        _ => Err(ChoreError::Other("the system does not say how much memory is used".to_owned())),
    }
}
