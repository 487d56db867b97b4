//! The stress tests: real processes, killed and stopped while tasks run, and every outcome counted.
//!
//! `stress hosts TASKS KILLS` kills a host every 200 ms, and stops some for seconds; `stress manager KILLS` kills the
//! manager twenty times a minute. Both fail if an outcome is lost, doubled or wrong. `stress queue TASKS` fills a
//! manager without hosts, restarts it, and lets two hosts join; `stress noop TASKS` counts no-op tasks per second, each
//! on disk before it is acknowledged; `stress long SECONDS` runs one task in one call; `stress fair SLOTS` lets two
//! clients with unequal queues share a host; `stress flood DATAGRAMS` floods the manager with datagrams of unknown
//! peers; `stress lives STEPS SEED` restarts programs and revokes keys, with wrong clocks; `stress modules FROM TO`
//! runs modules generated from these seeds.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person")]

mod flood;
mod lives;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use grid_tests::{ChildProcess, Dice, Grid, RandomModules, sleeper};
use wasm_grid::{Client, JobInfo};

const HOSTS: usize = 4;
const SLOTS: &str = "8";

/// Time between kills of hosts.
const KILL_PAUSE: Duration = Duration::from_millis(200);

/// Time between kills of the manager.
const MANAGER_PAUSE: Duration = Duration::from_millis(2850);

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["hosts", tasks, kills] => hosts(tasks.parse().unwrap(), kills.parse().unwrap()).await,
        ["manager", kills] => manager(kills.parse().unwrap()).await,
        ["queue", tasks] => queue(tasks.parse().unwrap()).await,
        ["noop", tasks] => noop(tasks.parse().unwrap()).await,
        ["long", seconds] => long(seconds.parse().unwrap()).await,
        ["fair", slots] => fair(slots).await,
        ["flood", datagrams] => flood::flood(datagrams.parse().unwrap()).await,
        ["lives", steps, seed] => lives::lives(steps.parse().unwrap(), seed.parse().unwrap()),
        ["modules", from, to] => modules(from.parse().unwrap()..to.parse().unwrap()).await,
        _ => {
            eprintln!(
                "usage: stress hosts TASKS KILLS | manager KILLS | queue TASKS | noop TASKS | long SECONDS | fair SLOTS | flood DATAGRAMS | lives STEPS SEED | modules FROM TO"
            );
            std::process::exit(2);
        }
    }
}

async fn modules(seeds: std::ops::Range<u64>) {
    let mut modules = RandomModules::start();
    for from in seeds.clone().step_by(1000) {
        modules.run(from..seeds.end.min(from + 1000)).await;
        modules.check_host();
        eprintln!("{} of {}", from + 1000 - seeds.start, seeds.end - seeds.start);
    }
    for (how, times) in &modules.ends {
        println!("{times:>8} {how}");
    }
}

/// The input of a task: its number and how long it takes, from 1 to 50 ms.
fn task(number: u64) -> Vec<u8> {
    let nanoseconds = (1 + number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 50) * 1_000_000;
    [number.to_le_bytes(), nanoseconds.to_le_bytes()].concat()
}

/// Counts outcomes by task, and checks each as it comes.
#[derive(Default)]
struct Tally {
    seen: BTreeMap<u64, u64>,
}

impl Tally {
    fn count(&mut self, outcome: &wasm_grid::TaskOutcome) {
        let results =
            outcome.results.as_ref().unwrap_or_else(|failed| panic!("{}: {failed:#?}", outcome.task));
        let square = outcome.task.wrapping_mul(outcome.task).to_le_bytes();
        assert!(results.len() == 1 && results[0] == square[..], "task {}: {results:?}", outcome.task);
        *self.seen.entry(outcome.task).or_default() += 1;
    }

    fn check(&self, tasks: u64) {
        let lost = (0..tasks).filter(|task| !self.seen.contains_key(task)).count();
        let doubled = self.seen.values().filter(|times| **times > 1).count();
        println!("{} outcomes of {tasks} tasks: {lost} lost, {doubled} doubled", self.seen.len());
        assert!(lost == 0 && doubled == 0 && self.seen.len() as u64 == tasks);
    }
}

async fn work(client: &Client, module: wasm_grid::Digest, tasks: u64) -> (Tally, JobInfo, Duration) {
    let began = Instant::now();
    let mut results = client.job("stress", module).map((0..tasks).map(task)).await.unwrap();
    let mut tally = Tally::default();
    while let Some(outcome) = results.next().await.unwrap() {
        tally.count(&outcome);
    }
    let took = began.elapsed();
    let info = results.job().show().await.unwrap();
    (tally, info, took)
}

fn start_host(grid: &Grid, number: usize, manager: &str) -> ChildProcess {
    // Every attempt that begins writes a line to the log, even if its host is killed later.
    let log = [("GRID_LOG", "warn,grid_host::attempt=trace")];
    grid.host_with(manager, &format!("host-{number}"), &["--slots", SLOTS], &log)
}

fn start_hosts(grid: &Grid) -> Vec<ChildProcess> {
    let mut hosts: Vec<_> = (0..HOSTS).map(|number| start_host(grid, number, &grid.ticket("host"))).collect();
    for host in &mut hosts {
        host.wait_for("joined");
    }
    hosts
}

fn begun(said: &str) -> u64 {
    said.matches(" begins").count() as u64
}

/// Kills hosts and stops some until `over`; returns how many attempts the hosts began.
fn inject_faults(grid: &Grid, mut hosts: Vec<ChildProcess>, kills: usize, over: &AtomicBool) -> u64 {
    let mut dice = Dice::new(7);
    let (mut killed, mut stopped, mut begins) = (0, 0, 0);
    let mut asleep: Vec<Option<Instant>> = vec![None; HOSTS];
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(KILL_PAUSE);
        let now = Instant::now();
        for (host, until) in hosts.iter().zip(&mut asleep) {
            if until.is_some_and(|until| until <= now) {
                host.signal("CONT");
                *until = None;
            }
        }
        let victim = dice.roll(HOSTS);
        hosts[victim].kill();
        begins += begun(&hosts[victim].everything());
        asleep[victim] = None;
        hosts[victim] = start_host(grid, victim, grid.address());
        killed += 1;
        let sleeper = dice.roll(HOSTS);
        if dice.roll(8) == 0 && asleep.iter().all(Option::is_none) {
            hosts[sleeper].signal("STOP");
            stopped += 1;
            asleep[sleeper] = Some(now + Duration::from_millis(1000 + dice.roll(9000) as u64));
        }
    }
    for host in &mut hosts {
        host.kill();
        begins += begun(&host.everything());
    }
    println!("{killed} kills, {stopped} stops of 1 to 10 s");
    assert!(killed >= kills, "too few: use more tasks");
    begins
}

async fn hosts(tasks: u64, kills: usize) {
    let grid = Grid::start(&[]);
    let client = grid.client();
    let module = client.upload("sleeper", sleeper()).await.unwrap().digest;
    let calm = start_hosts(&grid);
    let (tally, _, took) = work(&client, module, tasks).await;
    tally.check(tasks);
    println!("undisturbed: {:.1} s", took.as_secs_f64());
    let over = Arc::new(AtomicBool::new(false));
    let injector = {
        let over = over.clone();
        std::thread::spawn(move || inject_faults(&grid, calm, kills, &over))
    };
    let (tally, info, took) = work(&client, module, tasks).await;
    over.store(true, Ordering::Relaxed);
    let begun = tokio::task::spawn_blocking(|| injector.join().unwrap()).await.unwrap();
    tally.check(tasks);
    // The undisturbed run began each task once, and the same hosts' logs are counted here.
    let extra = begun.saturating_sub(2 * tasks);
    println!("with faults: {:.1} s, {} tried again", took.as_secs_f64(), info.counts.retried);
    println!("{extra} extra executions, {:.2} %", extra as f64 * 100.0 / tasks as f64);
    assert!(extra * 20 <= tasks, "more than 5 % were executed again");
}

async fn manager(kills: usize) {
    let mut grid = Grid::start(&[]);
    let client = grid.client();
    let module = client.upload("sleeper", sleeper()).await.unwrap().digest;
    let mut hosts = start_hosts(&grid);
    let over = Arc::new(AtomicBool::new(false));
    let worker = {
        let over = over.clone();
        tokio::spawn(async move {
            let enough = over.clone();
            // Tasks are submitted until the last kill of the manager.
            let inputs = (0..).take_while(move |_| !enough.load(Ordering::Relaxed)).map(task);
            let mut results = client.job("stress", module).map(inputs).await.unwrap();
            let mut tally = Tally::default();
            while let Some(outcome) = results.next().await.unwrap() {
                tally.count(&outcome);
            }
            (tally, results.job().show().await.unwrap())
        })
    };
    let began = Instant::now();
    let mut back = tokio::task::spawn_blocking(move || {
        let mut back = Vec::new();
        for _ in 0..kills {
            std::thread::sleep(MANAGER_PAUSE);
            for host in &mut hosts {
                host.forget();
            }
            grid.manager.kill();
            grid.restart_manager(&[]);
            let restarted = Instant::now();
            for host in &mut hosts {
                host.wait_for("joined");
                back.push(restarted.elapsed());
            }
        }
        println!("{kills} kills in {:.1} s", began.elapsed().as_secs_f64());
        over.store(true, Ordering::Relaxed);
        // The manager and the hosts stay until the client has all outcomes.
        (back, grid, hosts)
    })
    .await
    .unwrap();
    let (tally, info) = worker.await.unwrap();
    tally.check(info.counts.submitted);
    back.0.sort();
    let at = |share: usize| back.0[(back.0.len() - 1) * share / 100].as_secs_f64();
    println!(
        "hosts were back after {:.2} s (median), {:.2} s (p99), {:.2} s (worst)",
        at(50),
        at(99),
        at(100)
    );
    assert!(at(99) < 3.0, "hosts took too long");
}

/// Resident memory of a process and its peak, in MiB.
fn memory(process: &ChildProcess) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// Memory that a manager may take at most, in MiB, however many tasks wait.
const QUEUE_MIB_MAX: u64 = 200;

/// How long a manager with a full queue may take from its start until it serves.
const RESTART_MAX: Duration = Duration::from_secs(5);

async fn queue(tasks: u64) {
    let mut grid = Grid::start(&[]);
    let client = grid.client();
    let module = client.upload("echo", grid_tests::echo()).await.unwrap().digest;
    let job = client.job("queue", module).start().await.unwrap();
    let began = Instant::now();
    let mut brought = 0;
    for tenth in 1..=10 {
        let since = Instant::now();
        let before = brought;
        while brought < tasks * tenth / 10 {
            let batch = (brought..(brought + 4000).min(tasks)).map(|task| task.to_string().into()).collect();
            brought = job.submit(brought, batch).await.unwrap();
        }
        let rate = (brought - before) as f64 / since.elapsed().as_secs_f64();
        println!("{brought} tasks, {rate:.0}/s, {} MiB", memory(&grid.manager).0);
    }
    println!("{:.0} tasks a second were acknowledged", tasks as f64 / began.elapsed().as_secs_f64());
    let (_, most) = memory(&grid.manager);
    grid.manager.kill();
    let restarted = Instant::now();
    grid.restart_manager(&[]);
    let served = job.show().await.unwrap();
    let took = restarted.elapsed();
    assert_eq!(served.counts.waiting, tasks);
    let (now, again) = memory(&grid.manager);
    println!(
        "served {:.2} s after the start; memory: {most} MiB at the most, {now} MiB now",
        took.as_secs_f64()
    );
    let joined = Instant::now();
    let _hosts = [grid.host("one", &[]), grid.host("two", &[])];
    let (first, _) = job.outcomes(0, Duration::from_secs(10)).await.unwrap();
    println!("{} outcomes {:.2} s after two hosts were started", first.len(), joined.elapsed().as_secs_f64());
    assert!(!first.is_empty() && took < RESTART_MAX && most.max(again) < QUEUE_MIB_MAX);
    let (since, before) = (Instant::now(), job.show().await.unwrap().counts.done);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let done = job.show().await.unwrap().counts.done - before;
    println!("then {:.0} tasks a second are done", done as f64 / since.elapsed().as_secs_f64());
}

async fn noop(tasks: u64) {
    let grid = Grid::start(&[]);
    let client = grid.client();
    let module = client.upload("echo", grid_tests::echo()).await.unwrap().digest;
    let _hosts = [grid.host("one", &["--slots", "1"]), grid.host("two", &["--slots", "1"])];
    // A first run, so that the hosts have the module before time is measured.
    grid_tests::run_noops(&client, module, 1000).await;
    let took = grid_tests::run_noops(&client, module, tasks).await;
    println!("{:.0} durable no-op tasks a second", tasks as f64 / took.as_secs_f64());
}

async fn long(seconds: u64) {
    let grid = Grid::start(&[]);
    let mut host = start_host(&grid, 0, &grid.ticket("host"));
    host.wait_for("joined");
    let client = grid.client();
    let module = client.upload("busy", grid_tests::busy()).await.unwrap().digest;
    let began = Instant::now();
    let input = [3u64.to_le_bytes(), (seconds * 1_000_000_000).to_le_bytes()].concat();
    let mut results = client.job("long", module).map([input]).await.unwrap();
    let outcome = results.next().await.unwrap().unwrap();
    assert_eq!(outcome.results.unwrap()[0][..], 9u64.to_le_bytes());
    host.kill();
    let begun = begun(&host.everything());
    println!("done after {:.1} s; it was begun {begun} times", began.elapsed().as_secs_f64());
    assert_eq!(begun, 1);
}

/// One client has twenty times as many tasks as the other and submits first; both must get about the same share.
async fn fair(slots: &str) {
    let grid = Grid::start(&[]);
    let _host = grid.host("shared", &["--slots", slots]);
    let (rich, poor) = (grid.client(), grid.another_client("poor"));
    let module = rich.upload("sleeper", sleeper()).await.unwrap().digest;
    let task = |number: u64| [number.to_le_bytes(), 20_000_000u64.to_le_bytes()].concat();
    let long = rich.job("long", module).start().await.unwrap();
    long.submit(0, (0..10_000).map(|number| task(number).into()).collect()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (began, before) = (Instant::now(), long.show().await.unwrap().counts.done);
    let mut short = poor.job("short", module).map((0..500).map(task)).await.unwrap();
    while short.next().await.unwrap().is_some() {}
    let took = began.elapsed().as_secs_f64();
    let other = long.show().await.unwrap().counts.done - before;
    println!("in {took:.2} s one client had 500 tasks of 20 ms done, and the other {other}");
    assert!((400..=700).contains(&other), "that is not fair");
    long.stop().await.unwrap();
}
