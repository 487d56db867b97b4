//! Messages between a manager in this process and the workers of a host in another.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasm_grid::{Client, Digest, Event, Manager, Reply, Request, WorkerId, WorkerStatus};

use crate::{MESSAGE, ROUNDS, median};

/// Workers whose start is timed.
const STARTED: u32 = 1000;

/// Messages under way to a worker that is never waited for.
const IN_FLIGHT: usize = 256;

/// Prints the address of a manager, waits for a host there, and prints what is measured with its workers.
pub(crate) async fn grid(what: &[&str]) {
    let grid = Manager::builder().listen(([127, 0, 0, 1], 0).into()).start_here().await.unwrap();
    println!("{}", grid.listening().unwrap());
    loop {
        if let Ok(Reply::Status(status)) = grid.request(Request::Status).await
            && status.hosts == 1
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if what == ["executor"] {
        // The host's executors wait from its start on.
        tokio::time::sleep(Duration::from_millis(500)).await;
        println!("ready");
        return wait_for_line();
    }
    if let ["bulk", bytes, total] = what {
        let sink = grid.upload("sink", grid_tests::sink()).await.unwrap().digest;
        println!("{}", bulk(&grid, sink, bytes.parse().unwrap(), total.parse().unwrap()).await);
        return;
    }
    let module = grid.upload("echo", grid_tests::echo()).await.unwrap().digest;
    let first = spawn(&grid, module, 1).await;
    match *what {
        ["rounds"] => println!("{}", rounds(&grid, first[0]).await),
        ["pipelined", messages] => {
            println!("{}", mux(&grid, &first, IN_FLIGHT, messages.parse().unwrap()).await);
        }
        ["mux", count, messages] => {
            let workers = spawn(&grid, module, count.parse().unwrap()).await;
            println!("{}", mux(&grid, &workers, 1, messages.parse().unwrap()).await);
        }
        ["spawn"] => {
            let started = Instant::now();
            spawn(&grid, module, STARTED).await;
            println!("{}", started.elapsed().as_secs_f64() * 1e3 / f64::from(STARTED));
        }
        ["idle", count] => idle(&grid, module, first[0], count.parse().unwrap()).await,
        _ => panic!("{}", crate::USAGE),
    }
}

/// Bytes that may be under way to the sink.
const BULK_WINDOW: usize = 64 << 20;

/// MiB a second of messages of `bytes` bytes to a worker that answers each with its first bytes.
async fn bulk(grid: &Client, module: Digest, bytes: usize, total: usize) -> f64 {
    let worker = spawn(grid, module, 1).await[0];
    let message = Bytes::from(vec![7; bytes]);
    // The first one is for the worker's memory, which grows.
    grid.send(worker, message.clone()).await.unwrap();
    answers(grid, 1).await;
    let (count, most) = ((total / bytes).max(1), (BULK_WINDOW / bytes).clamp(1, IN_FLIGHT));
    let started = Instant::now();
    let (mut sent, mut answered) = (0, 0);
    while answered < count {
        while sent < count && sent - answered < most {
            grid.send(worker, message.clone()).await.unwrap();
            sent += 1;
        }
        answered += answers(grid, 1).await;
    }
    (count * bytes) as f64 / f64::from(1 << 20) / started.elapsed().as_secs_f64()
}

/// Waits for at least this many answers; returns how many came.
async fn answers(grid: &Client, least: usize) -> usize {
    let (mut came, mut events) = (0, Vec::new());
    while came < least {
        grid.next_events(&mut events).await;
        for event in events.drain(..) {
            match event {
                Event::Message { .. } => came += 1,
                Event::Left { end, .. } => panic!("{end}"),
                _ => {}
            }
        }
    }
    came
}

fn wait_for_line() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

pub(crate) async fn spawn(grid: &Client, module: Digest, count: u32) -> Vec<WorkerId> {
    let workers = grid.spawn(module).anywhere(count).await.unwrap();
    let mut joined = 0;
    while joined < workers.len() {
        match grid.next_event().await {
            Event::Joined { .. } => joined += 1,
            Event::Left { end, .. } => panic!("{end}"),
            _ => {}
        }
    }
    workers
}

async fn rounds(grid: &Client, worker: WorkerId) -> f64 {
    let mut times = Vec::new();
    let message = Bytes::from_static(&MESSAGE);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        grid.try_send(worker, message.clone()).unwrap();
        while !matches!(grid.next_event().await, Event::Message { .. }) {}
        times.push(started.elapsed());
    }
    median(times).as_secs_f64() * 1e6
}

/// Echoed messages a second, with `each` of every worker under way.
async fn mux(grid: &Client, workers: &[WorkerId], each: usize, messages: usize) -> f64 {
    let message = Bytes::from_static(&MESSAGE);
    let started = Instant::now();
    for worker in workers.iter().flat_map(|worker| std::iter::repeat_n(worker, each)) {
        grid.try_send(*worker, message.clone()).unwrap();
    }
    let (mut answered, mut events) = (0, Vec::new());
    while answered < messages {
        grid.next_events(&mut events).await;
        for event in events.drain(..) {
            if let Event::Message { worker, .. } = event {
                answered += 1;
                grid.try_send(worker, message.clone()).unwrap();
            }
        }
    }
    answered as f64 / started.elapsed().as_secs_f64()
}

/// Fills the host and lets each worker handle a message; after a line on stdin, for which the memory is measured,
/// checks that one more worker is refused.
async fn idle(grid: &Client, module: Digest, first: WorkerId, count: u32) {
    let mut workers = spawn(grid, module, count - 1).await;
    workers.push(first);
    let mut waiting: VecDeque<_> = workers.iter().copied().collect();
    while let Some(worker) = waiting.pop_front() {
        grid.send(worker, "one").await.unwrap();
        while !matches!(grid.next_event().await, Event::Message { .. }) {}
    }
    println!("{count}");
    wait_for_line();
    let denial = grid.spawn(module).anywhere(1).await.unwrap_err();
    assert_eq!(denial.code, wasm_grid::DenialCode::NoCapacity, "{denial}");
    assert_eq!(grid.ping(first).await.unwrap(), WorkerStatus::Idle);
    grid.send(first, "still there").await.unwrap();
    while !matches!(grid.next_event().await, Event::Message { .. }) {}
    println!("{}", denial.why);
}
