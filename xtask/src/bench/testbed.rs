//! The programs that are measured, and the processes that are started of them.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::chore::{ChoreError, output};
use crate::programs::{self, Profile};

/// The project's programs, built for release.
pub(super) struct Testbed {
    programs: PathBuf,
    /// Number of the next host, so that each has a folder of its own.
    next_host: Cell<u32>,
}

/// The walls of the measured hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostWalls {
    /// Guests in executors.
    Full,
    /// Guests in the host's process.
    Bare,
}

/// The processors that a process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cores {
    /// The first one.
    One,
    All,
}

impl HostWalls {
    /// The value of `--walls`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Bare => "none",
        }
    }
}

impl Testbed {
    /// Builds the programs.
    pub(super) fn build() -> Result<Self, ChoreError> {
        Ok(Self { programs: programs::build(Profile::Release, &["--bins"])?, next_host: Cell::new(0) })
    }

    /// A program of this project.
    pub(super) fn program(&self, name: &str, cores: Cores) -> Command {
        let program = self.programs.join(name);
        let mut command = match cores {
            Cores::All => Command::new(program),
            Cores::One => {
                let mut pinned = Command::new("taskset");
                pinned.args(["-c", "0"]).arg(program);
                pinned
            }
        };
        command.env_remove("GRID_MANAGER").env_remove("GRID_WALLS");
        command
    }

    /// Runs `bench`, and returns the figures that it prints.
    pub(super) fn bench(&self, arguments: &[&str]) -> Result<Vec<f64>, ChoreError> {
        figures(&output(self.program("bench", Cores::All).args(arguments))?)
    }

    /// One figure of `bench grid`, with a host of `slots` slots.
    pub(super) fn grid(
        &self,
        what: &[&str],
        slots: u32,
        cores: Cores,
        walls: HostWalls,
    ) -> Result<f64, ChoreError> {
        let mut end = self.start_grid(what, cores)?;
        let _host = self.start_host(&end.line()?, slots, cores, walls)?;
        figure(&end.line()?)
    }

    /// One figure of the reference on bare streams.
    pub(super) fn raw(&self, server: &str, what: &[&str], cores: Cores) -> Result<f64, ChoreError> {
        let mut server = MeasuringProcess::start(self.program("bench", cores).arg(server))?;
        let address = server.line()?;
        figure(&output(self.program("bench", cores).args(what).arg(address))?)
    }

    /// Starts `bench grid`, which prints its address first.
    pub(super) fn start_grid(&self, what: &[&str], cores: Cores) -> Result<MeasuringProcess, ChoreError> {
        MeasuringProcess::start(self.program("bench", cores).arg("grid").args(what))
    }

    /// Starts a program that prints lines.
    pub(super) fn start(&self, name: &str, arguments: &[&str]) -> Result<MeasuringProcess, ChoreError> {
        MeasuringProcess::start(self.program(name, Cores::All).args(arguments))
    }

    /// Starts a host of the manager at `address`, with an empty state folder.
    pub(super) fn start_host(
        &self,
        address: &str,
        slots: u32,
        cores: Cores,
        walls: HostWalls,
    ) -> Result<KilledOnDrop, ChoreError> {
        let number = self.next_host.replace(self.next_host.get().wrapping_add(1));
        let state = self.programs.with_file_name("bench-hosts").join((number % 2).to_string());
        // The manager has a new key each time, and the key of a bare address is remembered on first use.
        let _ = std::fs::remove_dir_all(&state);
        let mut host = self.program("grid-host", cores);
        host.args(["--manager", address, "--slots", &slots.to_string(), "--walls", walls.name()]);
        host.arg("--state").arg(state);
        let started = host.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        started.map(KilledOnDrop).map_err(|error| ChoreError::Other(format!("{host:?}: {error}")))
    }
}

/// A process that is killed when the value is dropped.
pub(super) struct KilledOnDrop(Child);

impl KilledOnDrop {
    pub(super) fn new(child: Child) -> Self {
        Self(child)
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A measuring process, which prints and reads lines.
pub(super) struct MeasuringProcess {
    _process: KilledOnDrop,
    said: BufReader<ChildStdout>,
    hears: ChildStdin,
}

impl MeasuringProcess {
    fn start(command: &mut Command) -> Result<Self, ChoreError> {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.map_err(|error| ChoreError::Other(format!("{command:?}: {error}")))?;
        let (Some(said), Some(hears)) = (child.stdout.take(), child.stdin.take()) else {
            return Err(ChoreError::Other("a process without pipes".to_owned()));
        };
        Ok(Self { _process: KilledOnDrop(child), said: BufReader::new(said), hears })
    }

    /// The next line that it prints.
    pub(super) fn line(&mut self) -> Result<String, ChoreError> {
        let mut line = String::new();
        match self.said.read_line(&mut line) {
            Ok(length) if length > 0 => Ok(line.trim().to_owned()),
            _ => Err(ChoreError::Other("a benchmark ended early".to_owned())),
        }
    }

    /// Lets it go on.
    pub(super) fn go_on(&mut self) -> Result<(), ChoreError> {
        writeln!(self.hears).map_err(|error| ChoreError::Other(error.to_string()))
    }
}

/// The number that a program printed.
pub(super) fn figure(text: &str) -> Result<f64, ChoreError> {
    text.parse().map_err(|_| ChoreError::Other(format!("`{text}` is no figure")))
}

/// The numbers in the last line that a program printed.
pub(super) fn figures(text: &str) -> Result<Vec<f64>, ChoreError> {
    text.lines().last().unwrap_or_default().split_whitespace().map(figure).collect()
}

/// The first `N` of some figures.
pub(super) fn first<const N: usize>(figures: &[f64]) -> Result<[f64; N], ChoreError> {
    let wrong = || ChoreError::Other(format!("{} figures where {N} were expected", figures.len()));
    figures.first_chunk().copied().ok_or_else(wrong)
}
