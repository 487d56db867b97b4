//! What `Client` promises, kept by a client of a manager elsewhere and by one in the manager's own process: each case
//! runs on both. The last case holds the suite to every public method.

mod jobs;
mod mail;
mod methods;
mod modules;
mod workers;

use std::time::Duration;

use bytes::Bytes;
use grid_tests::{Grid, local, within};
use wasm_grid::{Client, Digest, End, Event, WorkerId, WorkerInfo};

/// Slots of the only host of each side.
const SLOTS: u32 = 4;

/// Longer than any test.
const HOUR: Duration = Duration::from_secs(3600);

/// A worker whose messages say what it does: `fail` fails, `trap` traps, an empty one is answered with the arguments, and
/// any other comes back. Attempts at tasks do the same.
const ACTOR: &str = r#"(module
    (import "grid" "recv" (func $recv (param i32 i32) (result i32)))
    (import "grid" "send" (func $send (param i32 i32)))
    (import "grid" "fail" (func $fail (param i32 i32)))
    (memory (export "memory") 8)
    (global $arguments (mut i32) (i32.const 0))
    (func (export "init") (param $length i32)
        (global.set $arguments (call $recv (i32.const 262144) (i32.const 262144))))
    (func (export "handle_msg") (param $length i32)
        (drop (call $recv (i32.const 0) (i32.const 262144)))
        (if (i32.eqz (local.get $length))
            (then (call $send (i32.const 262144) (global.get $arguments)) (return)))
        (if (i32.eq (i32.load8_u (i32.const 0)) (i32.const 0x66))
            (then (call $fail (i32.const 0) (local.get $length)) (return)))
        (if (i32.eq (i32.load8_u (i32.const 0)) (i32.const 0x74)) (then unreachable))
        (call $send (i32.const 0) (local.get $length))))"#;

/// Runs a case against a manager and a host in processes of their own, and against those in this process.
pub(crate) async fn on_both_sides(check: impl AsyncFn(&Client)) {
    within(async {
        println!("a client of a manager elsewhere:");
        {
            let grid = Grid::closed();
            let _host = grid.host("host", &["--slots", &SLOTS.to_string()]);
            check(&grid.client()).await;
        }
        println!("a client in the manager's own process:");
        let embedded = local().local_slots(SLOTS).start().unwrap();
        check(&embedded).await;
    })
    .await;
}

fn actor() -> Vec<u8> {
    wat::parse_str(ACTOR).unwrap()
}

async fn uploaded(client: &Client, wasm: Vec<u8>) -> Digest {
    client.upload("guest", wasm).await.unwrap().digest
}

/// Starts workers of a module, and waits until all of them have joined.
async fn running(client: &Client, wasm: Vec<u8>, count: u32) -> Vec<WorkerId> {
    let module = uploaded(client, wasm).await;
    let workers = client.spawn(module).anywhere(count).await.unwrap();
    joined(client, count).await;
    workers
}

/// Takes events until so many workers have joined.
async fn joined(client: &Client, count: u32) {
    for _ in 0..count {
        next_of(client, |event| matches!(event, Event::Joined { .. }).then_some(())).await;
    }
}

/// Ends a worker at once; the messages that it did not answer.
async fn ended(client: &Client, worker: WorkerId) -> Vec<Bytes> {
    client.stop_workers(&[worker], Duration::ZERO).await.unwrap();
    let (left, end, unanswered) = next_end(client).await;
    assert_eq!((left, end), (worker, End::Stopped));
    unanswered
}

/// Takes events until one has what is wanted.
async fn next_of<T>(client: &Client, wanted: impl Fn(Event) -> Option<T>) -> T {
    loop {
        if let Some(found) = wanted(client.next_event().await) {
            return found;
        }
    }
}

async fn next_message(client: &Client) -> (WorkerId, Bytes) {
    let message =
        |event| if let Event::Message { worker, payload } = event { Some((worker, payload)) } else { None };
    next_of(client, message).await
}

async fn next_end(client: &Client) -> (WorkerId, End, Vec<Bytes>) {
    let end = |event| match event {
        Event::Left { worker, end, unanswered } => Some((worker, end, unanswered)),
        _ => None,
    };
    next_of(client, end).await
}

/// Asks for the client's workers until they are as wanted; takes no event.
async fn workers_until(client: &Client, wanted: impl Fn(&[WorkerInfo]) -> bool) -> Vec<WorkerInfo> {
    loop {
        let workers = client.workers().await.unwrap();
        if wanted(&workers) {
            return workers;
        }
        tokio::task::yield_now().await;
    }
}
