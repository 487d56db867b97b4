//! A grid of jobs in its steady state: a task ends, another comes, the scheduler hands out what it can.

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

/// Slots of a host.
const SLOTS: u32 = 4;

/// By how much the scheduler's clock goes on with each task.
const TICK: Duration = Duration::from_micros(10);

/// Attempts that are drawn at a time.
const BATCH_MAX: usize = 64;

/// Bytes of an input.
const INPUT_BYTES: u64 = 100;

/// The key of host or client `number`.
pub(crate) fn key(number: u64) -> PublicKey {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_seed(&seed).public()
}

/// A grid in its steady state.
pub(crate) struct BenchGrid {
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
    pub(crate) fn new(keys: &[PublicKey], hosts: usize, clients: usize, queued: u64) -> Self {
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
    pub(crate) fn run(&mut self, reports: usize) -> f64 {
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
