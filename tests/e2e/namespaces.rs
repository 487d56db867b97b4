//! Tasks over a link of the system's own, between two network namespaces that the test makes.
//!
//! The relay of `network_conditions` does what is said here in a process of its own; this holds what it cannot: the
//! system's packet size, its queue, its loss and an interface that is down. The system's own delay needs a kernel
//! with netem, which not every machine has, so that the relay alone delays.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use grid_tests::{ChildProcess, Said, echo, program};
use serde_json::json;
use tempfile::TempDir;

/// A network namespace. It ends with its keeper, a process which ends by itself at the latest after ten minutes.
struct Namespace(ChildProcess);

impl Namespace {
    const KEEPER: [&str; 3] = ["sh", "-c", "echo made; exec sleep 600"];

    /// Makes a namespace in which this process's user may do everything.
    fn new() -> Self {
        let mut unshare = Command::new("unshare");
        Self::kept_by(unshare.args(["--user", "--map-root-user", "--net"]).args(Self::KEEPER))
    }

    /// Makes another namespace of the same owner.
    fn another(&self) -> Self {
        Self::kept_by(self.command("unshare").arg("--net").args(Self::KEEPER))
    }

    fn kept_by(keeper: &mut Command) -> Self {
        let mut keeper = ChildProcess::start("namespace", keeper);
        keeper.wait_for("made");
        Self(keeper)
    }

    /// A command that runs within.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &self.0.id().to_string(),
            "--user",
            "--net",
            "--preserve-credentials",
            "--",
        ]);
        command.arg(program).env_remove("GRID_MANAGER");
        command
    }

    /// Runs a command within, which must succeed.
    fn must(&self, line: impl Display) {
        let line = line.to_string();
        let mut words = line.split_whitespace();
        let said = Said::of(self.command(words.next().unwrap()).args(words), b"");
        assert_eq!(said.code, 0, "{line}: {said:?}");
    }
}

/// Two namespaces and a link between them: packets of at most 1280 bytes, 2 Mbit/s either way.
struct Cable {
    near: Namespace,
    far: Namespace,
}

impl Cable {
    const NEAR: &str = "10.9.0.1";

    fn new() -> Self {
        let near = Namespace::new();
        let far = near.another();
        near.must("ip link add name wire type veth peer name peer");
        near.must(format!("ip link set peer netns {}", far.0.id()));
        far.must("ip link set peer name wire");
        for (end, address) in [(&near, Self::NEAR), (&far, "10.9.0.2")] {
            end.must("ip link set lo up");
            end.must(format!("ip address add {address}/24 dev wire"));
            end.must("ip link set dev wire mtu 1280 up");
            end.must("tc qdisc add dev wire clsact");
            end.must("tc qdisc add dev wire root tbf rate 2mbit burst 16k latency 200ms");
        }
        Self { near, far }
    }

    /// Loses so many of a hundred packets either way.
    fn loses(&self, percent: u32) {
        // A random number (`SKF_AD_RANDOM`) above the threshold passes (`TC_ACT_UNSPEC`), another is dropped
        // (`TC_ACT_SHOT`).
        let threshold = u32::MAX / 100 * percent;
        let program = format!("4,32 0 0 4294963256,37 1 0 {threshold},6 0 0 2,6 0 0 4294967295");
        for end in [&self.near, &self.far] {
            let mut filter = end.command("tc");
            filter.args(["filter", "replace", "dev", "wire", "egress", "prio", "1", "handle", "1"]);
            let said = Said::of(filter.args(["bpf", "direct-action", "bytecode", &program]), b"");
            assert_eq!(said.code, 0, "{said:?}");
        }
    }
}

/// A manager at the near end of a link; two hosts, and whoever runs tasks, at the far end.
struct GridOverCable {
    link: Cable,
    folder: TempDir,
    ticket: String,
    hosts: Vec<ChildProcess>,
    _manager: ChildProcess,
}

impl GridOverCable {
    fn new() -> Self {
        let (link, folder) = (Cable::new(), tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("echo.wasm"), echo()).unwrap();
        let mut up = link.near.command(program("grid"));
        up.env("GRID_HOME", folder.path()).args(["up", "--listen", &format!("{}:0", Cable::NEAR)]);
        let mut manager = ChildProcess::start("manager", &mut up);
        manager.wait_for("grid-host --manager");
        let ticket = |role| {
            let mut new = link.near.command(program("grid"));
            new.env("GRID_HOME", folder.path()).args(["ticket", "new", "--quiet", "--role", role]);
            Said::of(&mut new, b"").stdout.trim().to_owned()
        };
        let hosts = ["north", "south"].map(|name| {
            let mut host = link.far.command(program("grid-host"));
            host.args(["--manager", &ticket("host"), "--name", name, "--slots", "4", "--state"]);
            let mut host = ChildProcess::start(name, host.arg(folder.path().join(name)));
            host.wait_for("joined");
            host
        });
        let ticket = ticket("publisher");
        Self { link, folder, ticket, hosts: hosts.into(), _manager: manager }
    }

    /// Starts a run at the far end.
    fn run(&self) -> GridRun {
        let mut run = self.link.far.command(program("grid"));
        run.env("GRID_HOME", self.folder.path().join("far")).args([
            "run",
            "--lines",
            "--manager",
            &self.ticket,
        ]);
        run.arg(self.folder.path().join("echo.wasm")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = run.spawn().unwrap();
        let (inputs, results) = (child.stdin.take(), child.stdout.take().unwrap());
        GridRun { child, inputs, results: BufReader::new(results).lines(), seen: BTreeMap::new(), given: 0 }
    }
}

/// The input of a task: 400 bytes, so that each packet has few of them.
fn input(task: u32) -> String {
    format!("{task:0>400}")
}

/// A run of tasks whose results are their inputs.
struct GridRun {
    child: Child,
    inputs: Option<ChildStdin>,
    results: Lines<BufReader<ChildStdout>>,
    seen: BTreeMap<String, u32>,
    given: u32,
}

impl GridRun {
    fn give(&mut self, tasks: u32) {
        let lines: String = (self.given..self.given + tasks).map(|task| input(task) + "\n").collect();
        self.inputs.as_mut().unwrap().write_all(lines.as_bytes()).unwrap();
        self.given += tasks;
    }

    /// Waits until so many results have come in all.
    fn see(&mut self, results: u32) {
        while self.seen.values().sum::<u32>() < results {
            let line = self.results.next().expect("the run ended too early").unwrap();
            *self.seen.entry(line).or_default() += 1;
        }
    }

    /// Ends the inputs. Each must have had one result.
    fn end(mut self) {
        drop(self.inputs.take());
        for line in self.results {
            *self.seen.entry(line.unwrap()).or_default() += 1;
        }
        assert!(self.child.wait().unwrap().success());
        let result = |task| json!({"task": task, "result": {"text": input(task)}}).to_string();
        let expected: BTreeMap<_, _> = (0..self.given).map(|task| (result(task), 1)).collect();
        assert_eq!(self.seen, expected);
    }
}

#[test]
fn nothing_is_lost_or_doubled_over_a_narrow_link_of_the_systems_that_loses_packets() {
    let far = GridOverCable::new();
    for percent in [0, 1, 5, 20] {
        far.link.loses(percent);
        let mut run = far.run();
        run.give(500);
        run.end();
    }
}

#[test]
fn everybody_is_back_within_fifteen_seconds_of_a_link_that_was_down_for_thirty() {
    let mut far = GridOverCable::new();
    let mut run = far.run();
    run.give(100);
    run.see(100);
    far.link.near.must("ip link set dev wire down");
    run.give(100);
    far.hosts.iter_mut().for_each(ChildProcess::forget);
    sleep(Duration::from_secs(30));
    far.link.near.must("ip link set dev wire up");
    let mended = Instant::now();
    for host in &mut far.hosts {
        host.wait_for("joined");
    }
    run.see(200);
    assert!(mended.elapsed() < Duration::from_secs(15), "{:?}", mended.elapsed());
    run.end();
}
