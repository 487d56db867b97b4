//! Jobs on a grid of real processes, and how long they take.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use grid_tests::{ChildProcess, Grid};
use wasm_grid::{Client, Digest, Event, Reply, Request, WorkerId};

/// Prints the seconds that a host of one slot takes for a kernel's task, done `tasks` times, and the sum of what came out; then
/// the same of the program `native`. They work in turns, [`TURNS`] each: a shared machine is as fast for the one as for the
/// other within a second, but not within several.
pub(crate) async fn compute(module: &str, kernel: &str, native: &str, tasks: u64) {
    let mut native = NativeProgram::start(native, kernel);
    let grid = Grid::start(&[]);
    let client = grid.client();
    let module = client.upload("kernels", std::fs::read(module).unwrap()).await.unwrap().digest;
    let _host = grid.host("one", &["--slots", "1"]);
    let input = &native.task;
    let inputs = |tasks: u64| (0..tasks).map(|_| format!("{kernel} {input}").into_bytes()).collect();
    let (first, all): (_, Vec<Vec<Vec<u8>>>) =
        (inputs(1), (0..TURNS).map(|_| inputs(tasks / TURNS)).collect());
    // So that the host has compiled the module, and an executor has it.
    run(&client, module, first).await;
    let (mut grid_seconds, mut grid_sum, mut native_seconds, mut native_sum) = (0.0, 0u64, 0.0, 0u64);
    for inputs in all {
        let (seconds, sum) = native.work(tasks / TURNS);
        (native_seconds, native_sum) = (native_seconds + seconds, native_sum.wrapping_add(sum));
        let (seconds, sum) = run(&client, module, inputs).await;
        (grid_seconds, grid_sum) = (grid_seconds + seconds, grid_sum.wrapping_add(sum));
    }
    println!("{grid_seconds} {grid_sum} {native_seconds} {native_sum}");
}

/// Turns of each side in a measurement.
const TURNS: u64 = 3;

/// The kernels as a program of this machine, which ends when nobody has work for it.
struct NativeProgram {
    process: Child,
    said: BufReader<ChildStdout>,
    /// The number that a task is given.
    task: String,
}

impl NativeProgram {
    fn start(program: &str, kernel: &str) -> Self {
        let mut command = Command::new(program);
        command.arg(kernel).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let mut native = Self { process, said, task: String::new() };
        native.task = native.line();
        native
    }

    /// Does so many tasks; returns the seconds and the sum of what came out.
    fn work(&mut self, tasks: u64) -> (f64, u64) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{tasks}").unwrap();
        let line = self.line();
        let (seconds, sum) = line.split_once(' ').unwrap();
        (seconds.parse().unwrap(), sum.parse().unwrap())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for NativeProgram {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Prints the seconds that two hosts of one slot take for a kernel's tasks `0`, `step`, `2 * step` and so on, and the sum of
/// what came out.
pub(crate) async fn two_hosts(module: &str, kernel: &str, step: u64, tasks: u64) {
    let grid = Grid::start(&[]);
    let client = grid.client();
    let module = client.upload("kernels", std::fs::read(module).unwrap()).await.unwrap().digest;
    let _hosts = [grid.host("one", &["--slots", "1"]), grid.host("two", &["--slots", "1"])];
    let inputs =
        |tasks: u64| (0..tasks).map(|task| format!("{kernel} {}", task * step).into_bytes()).collect();
    run(&client, module, inputs(20)).await;
    let (seconds, sum) = run(&client, module, inputs(tasks)).await;
    println!("{seconds} {sum}");
}

async fn run(client: &Client, module: Digest, inputs: Vec<Vec<u8>>) -> (f64, u64) {
    let (began, mut sum) = (Instant::now(), 0u64);
    let mut results = client.job("kernels", module).map(inputs).await.unwrap();
    while let Some(outcome) = results.next().await.unwrap() {
        let results = outcome.results.unwrap();
        let number: u64 = std::str::from_utf8(&results[0]).unwrap().parse().unwrap();
        sum = sum.wrapping_add(number);
    }
    (began.elapsed().as_secs_f64(), sum)
}

/// Prints the seconds from the request for a worker of a module that a host has never seen until it has started, the seconds
/// that the host took to compile it, and the seconds for a worker after the host was restarted, with what it had kept.
pub(crate) async fn first_use(module: &str) {
    let grid = Grid::start(&[]);
    let client = grid.client();
    let mut host = grid.host("one", &["--slots", "2"]);
    // Another module first, so that what the host does once is done.
    let echo = client.upload("echo", grid_tests::echo()).await.unwrap().digest;
    start_one(&client, echo).await;
    let before = compile_seconds(&client).await;
    let module = client.upload("first-use", std::fs::read(module).unwrap()).await.unwrap().digest;
    let (first, _) = start_one(&client, module).await;
    let compiled = compile_seconds(&client).await - before;
    // In order: what it has compiled is on disk when it has ended.
    host.signal("TERM");
    assert_eq!(host.exit_code(), 0);
    let _host: ChildProcess = grid.host("one", &["--slots", "2"]);
    start_one(&client, echo).await;
    let (again, _) = start_one(&client, module).await;
    println!("{first} {compiled} {again}");
}

async fn compile_seconds(client: &Client) -> f64 {
    match client.request(Request::HostList).await.unwrap() {
        Reply::Hosts(hosts) => hosts.iter().map(|host| host.compile_us).sum::<u64>() as f64 / 1e6,
        other => panic!("{other:?}"),
    }
}

/// Starts a worker; returns the seconds until it has started.
async fn start_one(client: &Client, module: Digest) -> (f64, WorkerId) {
    let began = Instant::now();
    loop {
        // A host that has just joined again may still be counted as the one that has ended.
        match client.spawn(module).anywhere(1).await {
            Ok(workers) => {
                let worker = workers[0];
                wait_until_joined(client, worker).await;
                return (began.elapsed().as_secs_f64(), worker);
            }
            Err(denial) if began.elapsed() > Duration::from_secs(30) => panic!("{denial}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn wait_until_joined(client: &Client, wanted: WorkerId) {
    loop {
        match client.next_event().await {
            Event::Joined { worker, .. } if worker == wanted => return,
            Event::Left { worker, end, .. } if worker == wanted => panic!("{end}"),
            _ => {}
        }
    }
}
