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

mod steady_grid;

use grid_protocol::key::PublicKey;
use steady_grid::{BenchGrid, key};

const HOSTS: [usize; 6] = [2, 10, 100, 500, 2_000, 10_000];
const CLIENTS: [usize; 2] = [1, 50];
const QUEUED: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];

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

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
