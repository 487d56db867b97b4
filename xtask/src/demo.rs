//! The demonstration: a manager and two hosts, real processes, counting primes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chore::{ChoreError, output, print, run as run_command, say};
use crate::modules;
use crate::programs::{self, Profile};

/// The processes of the demonstration; they are killed when it is dropped.
struct DemoGrid {
    home: PathBuf,
    programs: PathBuf,
    children: Vec<Child>,
    /// Its processes end with Ctrl-C by themselves.
    hears_ctrl_c: bool,
}

/// How long a process may take to end after SIGTERM.
const END_TIME_MAX: Duration = Duration::from_secs(15);

/// How long the hosts may take to join.
const JOIN_TIME_MAX: Duration = Duration::from_secs(20);

/// Counts the primes below 150 000 on two hosts.
pub(crate) fn run(again: bool) -> Result<(), ChoreError> {
    let (mut grid, primes) = prepare(again)?;
    grid.count(&primes)?;
    grid.end()
}

/// Runs jobs on two hosts, one after the other, and prints the link to the page, until Ctrl-C.
pub(crate) fn run_with_page(again: bool) -> Result<(), ChoreError> {
    let interrupted = Arc::<AtomicBool>::default();
    signal_hook::flag::register(signal_hook::consts::SIGINT, interrupted.clone())
        .map_err(|error| ChoreError::Other(format!("Ctrl-C cannot be heard: {error}")))?;
    let (mut grid, primes) = prepare(again)?;
    grid.hears_ctrl_c = false;
    grid.start_with_hosts()?;
    say("open this within a minute; Ctrl-C ends everything:");
    print(&output(grid.grid().args(["ui", "--print"]))?);
    while grid.work(&primes, &interrupted)? {}
    grid.end()
}

fn prepare(again: bool) -> Result<(DemoGrid, PathBuf), ChoreError> {
    // Both builds run at the same time: one uses the cores that the other leaves idle.
    let (primes, programs) = std::thread::scope(|scope| {
        let primes = scope.spawn(|| modules::build_named("primes"));
        let programs = programs::build(Profile::Dev, &TARGETS);
        let lost = |_| Err(ChoreError::Other("the build of the worker panicked".to_owned()));
        (primes.join().unwrap_or_else(lost), programs)
    });
    let (primes, programs) = (primes?.path, programs?);
    let home = programs.with_file_name("demo");
    if !again && home.exists() {
        std::fs::remove_dir_all(&home).map_err(|error| ChoreError::Other(error.to_string()))?;
    }
    Ok((DemoGrid { home, programs, children: Vec::new(), hears_ctrl_c: true }, primes))
}

/// Tasks of a job of the demonstration with a page, and one of how many fails.
const PAGE_TASKS: u32 = 10_000;
const FAILS_ONE_OF: u32 = 500;

const TARGETS: [&str; 6] = ["--bin", "grid", "--bin", "grid-host", "--example", "primes"];

impl DemoGrid {
    /// Runs a job whose tasks take a moment each, and some of which fail; false if it was interrupted.
    fn work(&self, primes: &Path, interrupted: &AtomicBool) -> Result<bool, ChoreError> {
        let task = |number: u32| match number % FAILS_ONE_OF {
            0 => "\"no range\"\n".to_owned(),
            _ => format!("[{},{}]\n", number * 100, number * 100 + 20_000),
        };
        let tasks = self.home.join("tasks.jsonl");
        let failed = |error: std::io::Error| ChoreError::Other(format!("{}: {error}", tasks.display()));
        std::fs::write(&tasks, (0..PAGE_TASKS).map(task).collect::<String>()).map_err(failed)?;
        let mut run = self.grid();
        run.args(["run", "--retries", "1", "--quiet"]).arg(primes);
        let input = std::fs::File::open(&tasks).map_err(failed)?;
        let mut running = run.stdin(input).stdout(Stdio::null()).spawn().map_err(failed)?;
        loop {
            if let Some(ended) = running.try_wait().map_err(failed)? {
                // Some tasks failed, as they should.
                return Ok(ended.code() == Some(8));
            }
            if interrupted.swap(false, Ordering::Relaxed) {
                // Ctrl-C alone lets it finish what it has submitted.
                run_command(Command::new("kill").args(["-TERM", &running.id().to_string()]))?;
                running.wait().map_err(failed)?;
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn count(&mut self, primes: &Path) -> Result<(), ChoreError> {
        self.start_with_hosts()?;
        let manager = std::fs::read_to_string(self.home.join("running-manager"))
            .map_err(|error| ChoreError::Other(error.to_string()))?;
        let mut counting = Command::new(self.programs.join("examples/primes"));
        print(&output(counting.env("GRID_HOME", &self.home).arg(primes).arg(manager))?);
        for host in self.hosts()? {
            let number = |name: &str| host.get(name).and_then(Value::as_u64).unwrap_or_default();
            let name = host.get("name").and_then(Value::as_str).unwrap_or_default();
            let (bytes, count) = (number("module_bytes_sent"), number("compilations"));
            let compile_ms = number("compile_us") / 1000;
            print(&format!("host {name}: {bytes} module bytes sent, {count} compilations ({compile_ms} ms)"));
        }
        Ok(())
    }

    /// Starts the manager and two hosts, and waits until they have joined.
    fn start_with_hosts(&mut self) -> Result<(), ChoreError> {
        let join = self.start_manager()?;
        say(&format!("manager started; it says: {} …", join.get(..40).unwrap_or(&join)));
        for name in ["one", "two"] {
            let ticket = output(self.grid().args(["ticket", "new", "--quiet"]))?;
            let state = self.home.join(format!("host-{name}"));
            let mut host = Command::new(self.programs.join("grid-host"));
            host.args(["--manager", &ticket, "--name", name, "--slots", "1", "--state"]).arg(state);
            self.start(host.stderr(Stdio::null()))?;
        }
        self.wait_for_hosts(2)
    }

    fn grid(&self) -> Command {
        let mut grid = Command::new(self.programs.join("grid"));
        grid.env("GRID_HOME", &self.home).env_remove("GRID_MANAGER");
        grid
    }

    fn start(&mut self, command: &mut Command) -> Result<&mut Child, ChoreError> {
        #[cfg(unix)]
        if !self.hears_ctrl_c {
            std::os::unix::process::CommandExt::process_group(command, 0);
        }
        let started = command.stdin(Stdio::null()).spawn();
        self.children.push(started.map_err(|error| ChoreError::Other(format!("{command:?}: {error}")))?);
        self.children.last_mut().ok_or_else(|| ChoreError::Other("no process".to_owned()))
    }

    /// Starts the manager and waits for the line that it prints.
    fn start_manager(&mut self) -> Result<String, ChoreError> {
        let mut up = self.grid();
        up.args(["up", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let stdout = self.start(&mut up)?.stdout.take();
        let mut line = String::new();
        if let Some(stdout) = stdout {
            let read = std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line);
            read.map_err(|error| ChoreError::Other(error.to_string()))?;
        }
        if line.starts_with("grid-host --manager ") {
            Ok(line.trim().to_owned())
        } else {
            Err(ChoreError::Other("the manager did not start".to_owned()))
        }
    }

    fn hosts(&self) -> Result<Vec<Value>, ChoreError> {
        let listed = parse(&output(self.grid().args(["host", "ls", "--json"]))?)?;
        Ok(listed.get("hosts").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    fn wait_for_hosts(&self, count: usize) -> Result<(), ChoreError> {
        let started = Instant::now();
        while started.elapsed() < JOIN_TIME_MAX {
            let hosts = self.hosts()?;
            if hosts.iter().filter(|host| host.get("state").is_some_and(|state| state == "ready")).count()
                >= count
            {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(ChoreError::Other("the hosts did not join".to_owned()))
    }

    /// Ends every process with SIGTERM: the hosts first, so that they can leave in good order.
    fn end(&mut self) -> Result<(), ChoreError> {
        while let Some(mut child) = self.children.pop() {
            let id = child.id().to_string();
            run_command(Command::new("kill").args(["-TERM", &id]))?;
            let asked = Instant::now();
            while asked.elapsed() < END_TIME_MAX && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(10));
            }
            if matches!(child.try_wait(), Ok(None)) {
                self.children.push(child);
                return Err(ChoreError::Other(format!("process {id} does not end")));
            }
        }
        Ok(())
    }
}

impl Drop for DemoGrid {
    fn drop(&mut self) {
        for child in &mut self.children {
            // The process may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn parse(text: &str) -> Result<Value, ChoreError> {
    serde_json::from_str(text).map_err(|error| ChoreError::Other(format!("no JSON: {error}")))
}
