//! The rows of the benchmark.

use crate::bench::row::{Goal, Measure, RowSpec};
use crate::bench::testbed::{Cores, HostWalls, Testbed, figure, first};
use crate::bench::{compute, memory};
use crate::chore::{ChoreError, output};

/// No-op tasks of a measurement.
const NOOP_TASKS: &str = "200000";

/// All rows, in the order of the table.
pub(super) const ROWS: &[RowSpec] = &[
    RowSpec {
        name: "compute-primes",
        what: "primes as a job on one slot, tasks/s, by the same source native",
        measure: Measure::Together(|testbed| compute::kernel(testbed, "primes")),
        goal: Goal::AtLeast(0.98),
        is_peer: false,
    },
    RowSpec {
        name: "compute-sha256",
        what: "sha256 as a job on one slot, tasks/s, by the same source native",
        measure: Measure::Together(|testbed| compute::kernel(testbed, "sha256")),
        goal: Goal::AtLeast(0.80),
        is_peer: false,
    },
    RowSpec {
        name: "compute-nbody",
        what: "nbody as a job on one slot, tasks/s, by the same source native",
        measure: Measure::Together(|testbed| compute::kernel(testbed, "nbody")),
        goal: Goal::AtLeast(0.87),
        is_peer: false,
    },
    RowSpec {
        name: "compute-matmul",
        what: "matmul as a job on one slot, tasks/s, by the same source native",
        measure: Measure::Together(|testbed| compute::kernel(testbed, "matmul")),
        goal: Goal::AtLeast(0.92),
        is_peer: false,
    },
    RowSpec {
        name: "rounds",
        what: "round trip manager–worker, one core, µs, by raw quinn",
        measure: Measure::InTurns(|testbed| rounds(testbed, HostWalls::Full), raw_rounds),
        goal: Goal::AtMost(1.5),
        is_peer: false,
    },
    RowSpec {
        name: "rounds-bare",
        what: "the same with --walls none",
        measure: Measure::InTurns(|testbed| rounds(testbed, HostWalls::Bare), raw_rounds),
        goal: Goal::AtMost(1.3),
        is_peer: false,
    },
    RowSpec {
        name: "mux",
        what: "round trips/s, 1000 workers, one in flight each, by raw quinn's frames",
        measure: Measure::InTurns(
            |testbed| mux(testbed, HostWalls::Full),
            |testbed| raw_mux(testbed, "1000"),
        ),
        goal: Goal::AtLeast(0.4),
        is_peer: false,
    },
    RowSpec {
        name: "mux-bare",
        what: "the same with --walls none",
        measure: Measure::InTurns(
            |testbed| mux(testbed, HostWalls::Bare),
            |testbed| raw_mux(testbed, "1000"),
        ),
        goal: Goal::AtLeast(0.4),
        is_peer: false,
    },
    RowSpec {
        name: "pipelined",
        what: "round trips/s, one worker, 256 in flight, by raw quinn's frames",
        measure: Measure::InTurns(pipelined, |testbed| raw_mux(testbed, "256")),
        goal: Goal::None,
        is_peer: false,
    },
    RowSpec {
        name: "noop",
        what: "durable no-op tasks/s, two hosts, by the same with --walls none",
        measure: Measure::InTurns(
            |testbed| noop(testbed, HostWalls::Full),
            |testbed| noop(testbed, HostWalls::Bare),
        ),
        goal: Goal::AtLeast(0.9),
        is_peer: false,
    },
    RowSpec {
        name: "spawn",
        what: "start of 1000 workers on a warm host, ms",
        measure: Measure::Alone(|testbed| Ok(spawn(testbed)? * 1000.0)),
        goal: Goal::AtMost(100.0),
        is_peer: false,
    },
    RowSpec {
        name: "spawn-pool",
        what: "start of one of 1000 workers, µs, by instantiation and call in wasmtime's pool",
        measure: Measure::InTurns(|testbed| Ok(spawn(testbed)? * 1000.0), bare_pool),
        goal: Goal::None,
        is_peer: false,
    },
    RowSpec {
        name: "idle",
        what: "KiB of host and executors for one of 10 000 idle workers",
        measure: Measure::Alone(memory::idle_worker_kib),
        goal: Goal::AtMost(40.0),
        is_peer: false,
    },
    RowSpec {
        name: "executor",
        what: "MiB of an executor without guests beyond what it shares",
        measure: Measure::Alone(memory::empty_executor_mib),
        goal: Goal::AtMost(6.0),
        is_peer: false,
    },
    RowSpec {
        name: "compute-rows",
        what: "matmul with an inner loop of one line, tasks/s, by the same source native",
        measure: Measure::Together(|testbed| compute::kernel(testbed, "rows")),
        goal: Goal::AtLeast(0.92),
        is_peer: false,
    },
    RowSpec {
        name: "two-hosts",
        what: "primes below 150 000 on two hosts, s, by native ÷ 2",
        measure: Measure::Together(compute::primes_on_two_hosts),
        goal: Goal::AtMost(1.15),
        is_peer: false,
    },
    RowSpec {
        name: "bulk",
        what: "messages of 8 MiB to a worker, MiB/s, by a stream of raw quinn",
        measure: Measure::InTurns(|testbed| bulk(testbed, HostWalls::Full), raw_bulk),
        goal: Goal::AtLeast(0.7),
        is_peer: false,
    },
    RowSpec {
        name: "bulk-bare",
        what: "the same with --walls none",
        measure: Measure::InTurns(|testbed| bulk(testbed, HostWalls::Bare), raw_bulk),
        goal: Goal::AtLeast(0.7),
        is_peer: false,
    },
    RowSpec {
        name: "first-use",
        what: "first worker of a module of 2 MB, s, by its compilation as the host tells it",
        measure: Measure::Together(first_use),
        goal: Goal::AtMost(1.3),
        is_peer: false,
    },
    RowSpec {
        name: "cached",
        what: "a worker of it after a restart of the host, s, by the compilation",
        measure: Measure::Together(from_cache),
        goal: Goal::AtMost(0.05),
        is_peer: false,
    },
    RowSpec {
        name: "hosts-memory",
        what: "KiB of the manager for each of 500 hosts",
        measure: Measure::Alone(|testbed| Ok(hosts(testbed, HOSTS, 0)?[0])),
        goal: Goal::AtMost(80.0),
        is_peer: false,
    },
    RowSpec {
        name: "hosts-join",
        what: "s until 500 hosts that start together have joined",
        measure: Measure::Alone(|testbed| Ok(hosts(testbed, HOSTS, 0)?[1])),
        goal: Goal::None,
        is_peer: false,
    },
    RowSpec {
        name: "hosts-tasks",
        what: "no-op tasks/s on 500 hosts, by two, all without walls in one process",
        measure: Measure::InTurns(
            |testbed| Ok(hosts(testbed, HOSTS, NOOPS)?[2]),
            |testbed| Ok(hosts(testbed, 2, NOOPS)?[2]),
        ),
        goal: Goal::AtLeast(0.8),
        is_peer: false,
    },
];

/// Real hosts on one manager.
const HOSTS: u32 = 500;

/// No-op tasks of a measurement with many hosts.
const NOOPS: u32 = 400_000;

fn rounds(testbed: &Testbed, walls: HostWalls) -> Result<f64, ChoreError> {
    testbed.grid(&["rounds"], 1, Cores::One, walls)
}

fn raw_rounds(testbed: &Testbed) -> Result<f64, ChoreError> {
    testbed.raw("raw-serve", &["raw-rounds"], Cores::One)
}

fn mux(testbed: &Testbed, walls: HostWalls) -> Result<f64, ChoreError> {
    testbed.grid(&["mux", "1000", "400000"], 1001, Cores::All, walls)
}

fn raw_mux(testbed: &Testbed, in_flight: &str) -> Result<f64, ChoreError> {
    testbed.raw("raw-serve", &["raw-mux", in_flight], Cores::All)
}

/// Round trips a second of one worker with 256 messages in flight.
pub(super) fn pipelined(testbed: &Testbed) -> Result<f64, ChoreError> {
    testbed.grid(&["pipelined", "400000"], 1, Cores::All, HostWalls::Full)
}

/// Durable no-op tasks a second.
pub(super) fn noop(testbed: &Testbed, walls: HostWalls) -> Result<f64, ChoreError> {
    let mut stress = testbed.program("stress", Cores::All);
    let said = output(stress.args(["noop", NOOP_TASKS]).env("GRID_WALLS", walls.name()))?;
    figure(said.split_whitespace().next().unwrap_or_default())
}

/// Milliseconds a worker.
fn spawn(testbed: &Testbed) -> Result<f64, ChoreError> {
    testbed.grid(&["spawn"], 1001, Cores::All, HostWalls::Full)
}

fn bare_pool(testbed: &Testbed) -> Result<f64, ChoreError> {
    figure(&output(&mut testbed.program("bare_pool", Cores::All))?)
}

/// MiB a second of messages of 8 MiB to one worker.
fn bulk(testbed: &Testbed, walls: HostWalls) -> Result<f64, ChoreError> {
    testbed.grid(&["bulk", BULK_MESSAGE_BYTES, BULK_BYTES], 1, Cores::All, walls)
}

fn raw_bulk(testbed: &Testbed) -> Result<f64, ChoreError> {
    testbed.raw("raw-sink", &["raw-bulk", BULK_BYTES], Cores::All)
}

/// Bytes of one message, and of all of them.
const BULK_MESSAGE_BYTES: &str = "8388608";
const BULK_BYTES: &str = "1073741824";

fn first_use(testbed: &Testbed) -> Result<(f64, f64), ChoreError> {
    let [first, compilation, _] = compute::first_use(testbed)?;
    Ok((first, compilation))
}

fn from_cache(testbed: &Testbed) -> Result<(f64, f64), ChoreError> {
    let [_, compilation, again] = compute::first_use(testbed)?;
    Ok((again, compilation))
}

/// KiB of the manager for each host, seconds until all have joined, and no-op tasks a second.
pub(super) fn hosts(testbed: &Testbed, count: u32, tasks: u32) -> Result<[f64; 3], ChoreError> {
    first(&testbed.bench(&["hosts", &count.to_string(), &tasks.to_string()])?)
}
