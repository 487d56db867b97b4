//! What others need for the same work, each in one version, installed on first use.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::compute;
use crate::bench::row::{Goal, Measure, RowSpec};
use crate::bench::rows::{noop, pipelined};
use crate::bench::testbed::{Cores, HostWalls, KilledOnDrop, Testbed, figure};
use crate::chore::{ChoreError, output, root};
use crate::{install, programs};

/// A system from PyPI: its folder, which names the version, and the packages.
struct PypiPeer {
    folder: &'static str,
    packages: &'static [&'static str],
}

const RAY: PypiPeer = PypiPeer { folder: "ray-2.60.0", packages: &["ray==2.60.0"] };
const DASK: PypiPeer =
    PypiPeer { folder: "dask-2026.8.0", packages: &["dask==2026.8.0", "distributed==2026.8.0"] };
const HYPERQUEUE: PypiPeer = PypiPeer { folder: "hyperqueue-0.27.0", packages: &["hyperqueue==0.27.0"] };
const DISTRIBUTED_WORKER: PypiPeer =
    PypiPeer { folder: "distributed-worker-1.3.7", packages: &["distributed-worker==1.3.7"] };
/// `multiprocessing` belongs to Python.
const POOL: PypiPeer = PypiPeer { folder: "python", packages: &[] };

/// Debian's versions of GNU parallel and of the NATS server, to which a measurement belongs.
const PARALLEL_VERSION: &str = "GNU parallel 20221122";
const NATS_VERSION: &str = "nats-server: v2.9.10";

/// Numbers that are searched for primes.
const PRIMES_BELOW: &str = "150000";

macro_rules! noop_by {
    ($peer:expr, $system:literal, $tasks:literal) => {
        Measure::InTurns(full_noop, |_| $peer.figure(&["noop", $system, $tasks]))
    };
}

macro_rules! primes_by {
    ($peer:expr, $system:literal) => {
        Measure::InTurns(searched, |_| $peer.figure(&["primes", $system, PRIMES_BELOW]))
    };
}

/// The rows whose reference is somebody else's program.
pub(super) const PEER_ROWS: &[RowSpec] = &[
    peer("noop-ray", "durable no-op tasks/s, by Ray", noop_by!(RAY, "ray", "5000"), Goal::AtLeast(50.0)),
    peer("noop-dask", "the same by Dask", noop_by!(DASK, "dask", "2000"), Goal::AtLeast(150.0)),
    peer(
        "noop-pool",
        "the same by Pool(2), chunksize 1",
        noop_by!(POOL, "pool", "50000"),
        Goal::AtLeast(3.0),
    ),
    peer(
        "noop-hyperqueue",
        "the same by HyperQueue, which starts `true`",
        noop_by!(HYPERQUEUE, "hyperqueue", "1000"),
        Goal::AtLeast(200.0),
    ),
    peer(
        "noop-parallel",
        "the same by GNU parallel, which starts `true`",
        Measure::InTurns(full_noop, parallel_noop),
        Goal::None,
    ),
    peer(
        "pipelined-ray",
        "round trips/s, one worker, 256 in flight, by calls of a Ray actor",
        Measure::InTurns(pipelined, |_| RAY.figure(&["actor", "ray", "5000"])),
        Goal::AtLeast(50.0),
    ),
    peer(
        "rounds-nats",
        "round trip on all cores, µs, by NATS request and reply",
        Measure::InTurns(rounds_on_all_cores, nats_rounds),
        Goal::AtMost(1.0),
    ),
    peer(
        "rounds-ancestor",
        "round trip on all cores, µs, by distributed-worker as published",
        Measure::InTurns(rounds_on_all_cores, |_| {
            DISTRIBUTED_WORKER.figure(&["rounds", "distributed-worker", "20"])
        }),
        Goal::None,
    ),
    peer(
        "two-hosts-ray",
        "numbers/s searched for primes, by a Python function in Ray",
        primes_by!(RAY, "ray"),
        PRIMES,
    ),
    peer("two-hosts-dask", "the same in Dask", primes_by!(DASK, "dask"), PRIMES),
    peer("two-hosts-pool", "the same in Pool(2)", primes_by!(POOL, "pool"), PRIMES),
];

const PRIMES: Goal = Goal::AtLeast(12.0);

const fn peer(name: &'static str, what: &'static str, measure: Measure, goal: Goal) -> RowSpec {
    RowSpec { name, what, measure, goal, is_peer: true }
}

fn full_noop(testbed: &Testbed) -> Result<f64, ChoreError> {
    noop(testbed, HostWalls::Full)
}

/// Numbers a second that two hosts search for primes.
fn searched(testbed: &Testbed) -> Result<f64, ChoreError> {
    let (seconds, _) = compute::primes_on_two_hosts(testbed)?;
    Ok(figure(PRIMES_BELOW)? / seconds)
}

fn rounds_on_all_cores(testbed: &Testbed) -> Result<f64, ChoreError> {
    testbed.grid(&["rounds"], 1, Cores::All, HostWalls::Full)
}

impl PypiPeer {
    /// Runs `peer.py`; installs the system first if it is not there.
    fn figure(&self, arguments: &[&str]) -> Result<f64, ChoreError> {
        let python = self.python()?;
        let script = root().join("tests/bench/peer.py");
        let said = output(Command::new(python).arg(script).args(arguments).env_remove("PYTHONPATH"))?;
        figure(said.lines().last().unwrap_or_default())
    }

    fn python(&self) -> Result<PathBuf, ChoreError> {
        if self.packages.is_empty() {
            return Ok("python3".into());
        }
        let folder = programs::target_folder()?.join("peers").join(self.folder);
        let (python, mark) = (folder.join("bin/python"), folder.join("installed"));
        if !mark.exists() {
            install::pypi(&folder, self.packages)?;
            std::fs::write(&mark, "")
                .map_err(|error| ChoreError::Other(format!("{}: {error}", mark.display())))?;
        }
        Ok(python)
    }
}

/// Programs a second that GNU parallel starts.
fn parallel_noop(_: &Testbed) -> Result<f64, ChoreError> {
    const PROGRAMS: u32 = 1000;
    install::debian_if_missing("parallel", "/usr/bin/parallel")?;
    check_version(Command::new("parallel").arg("--version"), PARALLEL_VERSION)?;
    let numbers: Vec<String> = (0..PROGRAMS).map(|number| number.to_string()).collect();
    let began = Instant::now();
    output(Command::new("parallel").args(["--will-cite", "--jobs", "2", "true", ":::"]).args(numbers))?;
    Ok(f64::from(PROGRAMS) / began.elapsed().as_secs_f64())
}

/// Microseconds of a request and its answer through a NATS server, each end a process.
fn nats_rounds(testbed: &Testbed) -> Result<f64, ChoreError> {
    const PROGRAM: &str = "/usr/sbin/nats-server";
    install::debian_if_missing("nats-server", PROGRAM)?;
    check_version(Command::new(PROGRAM).arg("--version"), NATS_VERSION)?;
    let address = free_address()?;
    let port = address.rsplit(':').next().unwrap_or_default();
    let mut server = Command::new(PROGRAM);
    server.args(["--addr", "127.0.0.1", "--port", port]).stdin(Stdio::null());
    let started = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _server = started.map(KilledOnDrop::new).map_err(|error| ChoreError::Other(error.to_string()))?;
    let until = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(&address).is_err() {
        if Instant::now() > until {
            return Err(ChoreError::Other("the NATS server does not listen".to_owned()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut echo = testbed.start("bench", &["nats-echo", &address])?;
    echo.line()?;
    figure(&output(testbed.program("bench", Cores::All).args(["nats-rounds", &address]))?)
}

fn free_address() -> Result<String, ChoreError> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    bound.map(|address| address.to_string()).map_err(|error| ChoreError::Other(error.to_string()))
}

/// What is measured is the version that the goals are about, or the row is an error.
fn check_version(command: &mut Command, expected: &str) -> Result<(), ChoreError> {
    let said = output(command)?;
    let found = said.lines().next().unwrap_or_default().trim();
    if found == expected {
        return Ok(());
    }
    Err(ChoreError::Other(format!("the installed version is `{found}`, and the measured one `{expected}`")))
}
