//! What a task costs the scheduler of jobs, in microseconds, by hosts, clients and tasks queued.
//!
//! Every cell of the table is a grid in its steady state. A host ends one of its tasks, drawn at random from all that
//! are at hosts; the task's client submits another; the scheduler hands out what it can; the host that gets a task
//! says that it has begun it. The cost of a task is all of that, with the lease's timers and the periodic checks, on a
//! clock that goes on by 10 µs a task; no thread, socket or disk takes part.
//!
//! Hosts offer 4 slots and want no more attempts than that. "Queued" counts the tasks that are submitted and not done,
//! at hosts or waiting. Where there are fewer of them than slots, all are at hosts and the other slots stay idle: each
//! new task then goes to the least loaded of many hosts with room, instead of to the one that has just become free.
//!
//! A cell is measured in rounds, which take turns with the rounds of all other cells, and shows its best: what else the
//! machine does only ever adds to a round. `dispatch_cost REPORTS ROUNDS HOSTS` changes the tasks in a round and
//! the rounds, and measures grids of so many hosts alone.

#![expect(clippy::print_stdout, reason = "a program whose purpose is to print a table")]
#![expect(clippy::indexing_slicing, reason = "a mistake in a measurement may stop it")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grid_protocol::digest::Digest;
use grid_protocol::host::HostCapacity;
use grid_protocol::job::{AttemptId, GiveUp, JobId, JobSpec};
use grid_protocol::key::{PublicKey, SecretKey};
use grid_scheduler::jobs::{AttemptFate, JobDecision, Jobs, ScheduledJob};
use grid_scheduler::{HostChange, Moment};

const HOSTS: [usize; 6] = [2, 10, 100, 500, 2_000, 10_000];
const CLIENTS: [usize; 2] = [1, 50];
const QUEUED: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Slots of a host.
const SLOTS: u32 = 4;

/// By how much the scheduler's clock goes on with each task.
const TICK: Duration = Duration::from_micros(10);

/// Attempts that are drawn at a time.
const BATCH_MAX: usize = 64;

/// Bytes of an input.
const INPUT_BYTES: u64 = 100;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse::<usize>().ok());
    let reports = numbers.next().unwrap_or(20_000);
    let rounds = numbers.next().unwrap_or(15).max(1);
    let only = numbers.next();
    let most = HOSTS.iter().chain(&CLIENTS).copied().max().unwrap_or_default();
    let keys: Vec<_> = (0..most as u64 + 100).map(key).collect();

    let hosts = HOSTS.into_iter().filter(|hosts| only.is_none_or(|only| only == *hosts));
    let shapes = hosts.flat_map(|hosts| CLIENTS.map(|clients| (hosts, clients)));
    let mut rows: Vec<_> = shapes.map(|(hosts, clients)| BenchRow::new(&keys, hosts, clients)).collect();
    for _ in 0..rounds {
        for row in &mut rows {
            row.measure(reports);
        }
    }
    println!("µs a task, by hosts and clients (rows) and tasks queued (columns); best of {rounds} rounds");
    print!("{:>8} {:>8}", "hosts", "clients");
    QUEUED.iter().for_each(|queued| print!(" {queued:>9}"));
    println!();
    for row in &rows {
        print!("{:>8} {:>8}", row.hosts, row.clients);
        row.costs
            .iter()
            .for_each(|costs| print!(" {:>9.2}", costs.iter().copied().fold(f64::INFINITY, f64::min)));
        println!();
    }
    let cells = || rows.iter().flat_map(|row| &row.costs).cloned();
    print_ratio("best rounds", cells().map(|costs| costs.into_iter().fold(f64::INFINITY, f64::min)));
    print_ratio("medians", cells().map(median));
}

fn print_ratio(of: &str, costs: impl Iterator<Item = f64>) {
    let (least, largest) =
        costs.fold((f64::INFINITY, 0.0_f64), |(least, largest), cost| (least.min(cost), largest.max(cost)));
    println!("{of}: smallest {least:.2}, largest {largest:.2}, ratio {:.2}", largest / least);
}

/// The cells of one row: a grid for each number of tasks queued, and what each round has cost.
struct BenchRow {
    hosts: usize,
    clients: usize,
    grids: Vec<BenchGrid>,
    costs: Vec<Vec<f64>>,
}

impl BenchRow {
    fn new(keys: &[PublicKey], hosts: usize, clients: usize) -> Self {
        let mut grids: Vec<_> = QUEUED.map(|queued| BenchGrid::new(keys, hosts, clients, queued)).into();
        for grid in &mut grids {
            grid.run(hosts * 16);
        }
        Self { hosts, clients, grids, costs: vec![Vec::new(); QUEUED.len()] }
    }

    fn measure(&mut self, reports: usize) {
        for (grid, costs) in self.grids.iter_mut().zip(&mut self.costs) {
            // What another grid has left in the processor's caches is not this one's fault.
            grid.run(reports / 4);
            costs.push(grid.run(reports));
        }
    }
}

/// The key of host or client `number`.
fn key(number: u64) -> PublicKey {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_seed(&seed).public()
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// A grid in its steady state.
struct BenchGrid {
    jobs: Jobs,
    now: Moment,
    /// Every attempt at a host: the attempt, its host, its job.
    at_hosts: Vec<(AttemptId, PublicKey, u32)>,
    /// Those that were granted last, with the id of the job.
    granted: Vec<(AttemptId, PublicKey, JobId)>,
    /// Tasks that each job has been given.
    submitted: Vec<u64>,
    numbers: HashMap<JobId, u32>,
    dice: u64,
}

impl BenchGrid {
    fn new(keys: &[PublicKey], hosts: usize, clients: usize, queued: u64) -> Self {
        let mut jobs = Jobs::new(1);
        let (client_keys, host_keys) = keys.split_at(clients);
        for host in &host_keys[..hosts] {
            jobs.handle_host(
                Moment::ZERO,
                *host,
                HostChange::Joined { capacity: &capacity(), resumed: false },
            );
            jobs.handle_window(*host, SLOTS);
        }
        let each = queued / clients as u64;
        let mut numbers = HashMap::new();
        for (number, client) in (0..).zip(client_keys) {
            let id = job_id(number);
            numbers.insert(id, number);
            jobs.add_job(id, ScheduledJob::new(Arc::new(spec()), *client));
            jobs.handle_submitted(id, each, each * INPUT_BYTES);
        }
        let submitted = vec![each; clients];
        let (at_hosts, granted) = (Vec::new(), Vec::new());
        let mut grid =
            Self { jobs, now: Moment::ZERO, at_hosts, granted, submitted, numbers, dice: 0x9e37_79b9 };
        grid.hand_out();
        grid.at_hosts
            .extend(grid.granted.drain(..).map(|(attempt, host, job)| (attempt, host, grid.numbers[&job])));
        grid
    }

    /// Runs through `reports` tasks at least; the cost of one, in microseconds.
    ///
    /// Which attempts end is drawn before the clock starts, some at a time, and what was handed out is put down after it has
    /// stopped: finding an attempt among all is the hosts' work.
    fn run(&mut self, reports: usize) -> f64 {
        let (mut time, mut count) = (Duration::ZERO, 0);
        while count < reports.max(1) {
            let ending: Vec<_> =
                (0..(self.at_hosts.len() / 2).clamp(1, BATCH_MAX)).map(|_| self.draw()).collect();
            count += ending.len();
            let start = Instant::now();
            for (attempt, host, job) in ending {
                self.step(attempt, host, job);
            }
            time += start.elapsed();
            let numbers = &self.numbers;
            let granted = self.granted.drain(..).map(|(attempt, host, job)| (attempt, host, numbers[&job]));
            self.at_hosts.extend(granted);
        }
        time.as_secs_f64() * 1e6 / count as f64
    }

    /// One task ends, and another comes.
    fn step(&mut self, attempt: AttemptId, host: PublicKey, job: u32) {
        self.now = self.now + TICK;
        black_box(self.jobs.handle_end(self.now, host, attempt, AttemptFate::Done, 1_000));
        let submitted = &mut self.submitted[job as usize];
        *submitted += 1;
        self.jobs.handle_submitted(job_id(job), *submitted, INPUT_BYTES);
        if self.jobs.poll_timeout().is_some_and(|due| due <= self.now) {
            self.jobs.handle_timeout(self.now);
        }
        self.hand_out();
    }

    fn hand_out(&mut self) {
        self.jobs.dispatch(self.now);
        while let Some(decision) = self.jobs.poll_decision() {
            let JobDecision::Lease { host, job, attempts } = decision else {
                continue;
            };
            for (attempt, _) in attempts {
                self.jobs.handle_executing(self.now, host, &[attempt]);
                self.granted.push((attempt, host, job));
            }
        }
    }

    /// Takes out an attempt, each as probable as any other.
    fn draw(&mut self) -> (AttemptId, PublicKey, u32) {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let drawn = self.dice % self.at_hosts.len() as u64;
        self.at_hosts.swap_remove(usize::try_from(drawn).unwrap_or_default())
    }
}

fn job_id(number: u32) -> JobId {
    let mut id = [7; 16];
    id[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_le_bytes());
    JobId(id)
}

fn capacity() -> HostCapacity {
    HostCapacity {
        name: "host".into(),
        slots: SLOTS,
        memory_bytes: 1 << 30,
        labels: Vec::new(),
        platform: String::new(),
        software: String::new(),
    }
}

fn spec() -> JobSpec {
    JobSpec {
        name: "job".into(),
        module: Digest::from_bytes([1; 32]),
        arguments: Vec::new(),
        labels: Vec::new(),
        memory_bytes: 0,
        priority: 0,
        timeout_ms: 60_000,
        attempts_max: 3,
        give_up: GiveUp::Never,
    }
}
