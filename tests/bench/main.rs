//! The measured programs of `cargo xtask bench`: the grid, and a reference on bare streams. Each prints one figure.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use grid_net::{Alpn, Conn, ConnLimits, Endpoint, Expect, FrameReader, Timing};
use wasm_grid::{Client, Event, Manager, Reply, Request, SecretKey, WorkerId, WorkerStatus};

const ROUNDS: usize = 20_000;
const WORKERS: usize = 1000;
const MESSAGES: usize = 400_000;
const IDLE: u32 = 10_000;
const MESSAGE: [u8; 64] = [7; 64];
const FRAME_BYTES_MAX: usize = 1 << 10;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["raw-serve"] => raw_serve().await,
        ["raw-serve-frames"] => raw_serve_frames().await,
        ["raw-rounds", address] => raw_rounds(address).await,
        ["raw-mux", address] => raw_mux(address).await,
        ["grid", what] => grid(what).await,
        _ => panic!("raw-serve | raw-rounds ADDR | raw-mux ADDR | grid rounds|mux|spawn|idle"),
    }
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

/// Sends each frame back; frames that have arrived together go back together.
async fn raw_serve_frames() {
    let endpoint = Endpoint::serve(([127, 0, 0, 1], 0).into(), &key(1), Timing::default()).unwrap();
    println!("{}", endpoint.local_address().unwrap());
    while let Some(incoming) = endpoint.accept().await {
        let conn = incoming.answer().await.unwrap();
        conn.allow(ConnLimits::CLIENT);
        tokio::spawn(async move {
            let (mut send, recv) = conn.accept_bi().await.unwrap();
            let mut reader = FrameReader::new(recv, FRAME_BYTES_MAX);
            let mut frames = VecDeque::new();
            while let Ok(true) = reader.read_batch(&mut frames).await {
                for frame in frames.drain(..) {
                    if send.write_frame(&frame, FRAME_BYTES_MAX).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// Sends all bytes back as they come.
async fn raw_serve() {
    let endpoint = Endpoint::serve(([127, 0, 0, 1], 0).into(), &key(1), Timing::default()).unwrap();
    println!("{}", endpoint.local_address().unwrap());
    while let Some(incoming) = endpoint.accept().await {
        let conn = incoming.answer().await.unwrap();
        conn.allow(ConnLimits::CLIENT);
        tokio::spawn(async move {
            let (mut send, mut recv) = conn.accept_bi().await.unwrap();
            while let Ok(Some(chunk)) = recv.read_chunk().await {
                if send.write_chunk(chunk).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn dial(address: &str) -> (Endpoint, Conn) {
    let endpoint = Endpoint::dialer(([127, 0, 0, 1], 0).into(), &key(2), Timing::default()).unwrap();
    let address: SocketAddr = address.parse().unwrap();
    let conn = endpoint.dial(address, Alpn::Client, Expect::Anybody).await.unwrap();
    (endpoint, conn)
}

/// Prints the median of a round trip, in microseconds.
async fn raw_rounds(address: &str) {
    let (_endpoint, conn) = dial(address).await;
    let (mut send, mut recv) = conn.open_bi().await.unwrap();
    let mut times = Vec::new();
    let mut answer = MESSAGE;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        send.write_all(&MESSAGE).await.unwrap();
        recv.read_exact(&mut answer).await.unwrap();
        times.push(started.elapsed());
    }
    println!("{}", median(times).as_secs_f64() * 1e6);
}

/// Prints the echoed frames per second: a thousand numbers have one frame each under way, all on one stream.
async fn raw_mux(address: &str) {
    let (_endpoint, conn) = dial(address).await;
    let (mut send, recv) = conn.open_bi().await.unwrap();
    let mut reader = FrameReader::new(recv, FRAME_BYTES_MAX);
    let started = Instant::now();
    let mut frames = VecDeque::new();
    for number in 0..WORKERS as u64 {
        send.write_frame(&frame(number), FRAME_BYTES_MAX).await.unwrap();
    }
    let (mut answered, mut total) = (vec![0; WORKERS], 0);
    while total < MESSAGES {
        reader.read_batch(&mut frames).await.unwrap();
        for echoed in frames.drain(..) {
            let number = u64::from_le_bytes(echoed[..8].try_into().unwrap());
            answered[number as usize] += 1;
            total += 1;
            send.write_frame(&frame(number), FRAME_BYTES_MAX).await.unwrap();
        }
    }
    println!("{}", total as f64 / started.elapsed().as_secs_f64());
}

fn frame(number: u64) -> Vec<u8> {
    [&number.to_le_bytes()[..], &MESSAGE].concat()
}

async fn grid(what: &str) {
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
    let module = grid.upload("echo", grid_tests::echo()).await.unwrap().digest;
    let first = spawn(&grid, module, 1).await;
    match what {
        "rounds" => println!("{}", rounds(&grid, first[0]).await),
        "mux" => {
            let workers = spawn(&grid, module, WORKERS as u32).await;
            println!("{}", mux(&grid, &workers).await);
        }
        "spawn" => {
            let started = Instant::now();
            spawn(&grid, module, WORKERS as u32).await;
            println!("{}", started.elapsed().as_secs_f64() * 1e6 / WORKERS as f64);
        }
        "idle" => idle(&grid, module, first[0]).await,
        other => panic!("{other}"),
    }
}

async fn spawn(grid: &Client, module: wasm_grid::Digest, count: u32) -> Vec<WorkerId> {
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

async fn mux(grid: &Client, workers: &[WorkerId]) -> f64 {
    let message = Bytes::from_static(&MESSAGE);
    let started = Instant::now();
    for worker in workers {
        grid.try_send(*worker, message.clone()).unwrap();
    }
    let (mut answered, mut events) = (0, Vec::new());
    while answered < MESSAGES {
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
async fn idle(grid: &Client, module: wasm_grid::Digest, first: WorkerId) {
    let mut workers = spawn(grid, module, IDLE - 1).await;
    workers.push(first);
    let mut waiting: VecDeque<_> = workers.iter().copied().collect();
    while let Some(worker) = waiting.pop_front() {
        grid.send(worker, "one").await.unwrap();
        while !matches!(grid.next_event().await, Event::Message { .. }) {}
    }
    println!("{IDLE}");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let denial = grid.spawn(module).anywhere(1).await.unwrap_err();
    assert_eq!(denial.code, wasm_grid::DenialCode::NoCapacity, "{denial}");
    assert_eq!(grid.ping(first).await.unwrap(), WorkerStatus::Idle);
    grid.send(first, "still there").await.unwrap();
    while !matches!(grid.next_event().await, Event::Message { .. }) {}
    println!("{}", denial.why);
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
