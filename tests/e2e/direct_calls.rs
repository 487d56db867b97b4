//! Direct calls: a quick worker is called on the stack of a thread, which is its own if it takes long for once.

use std::time::Duration;

use grid_tests::{ChildProcess, Grid, within};
use wasm_grid::{Client, Digest, End, Event, LimitsAsked, WorkerId};

/// A worker that does what the first byte of a message says. It imports every function of WASI that never waits.
fn moody() -> Vec<u8> {
    // In a row without a loop or a function of the worker between.
    let send = "(call $send (i32.const 0) (i32.const 4096))
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))";
    let send_much = "(call $send (i32.const 0) (i32.const 1048576))";
    let text = format!(
        r#"(module
  (import "grid" "recv" (func $recv (param i32 i32) (result i32)))
  (import "grid" "send" (func $send (param i32 i32)))
  (import "grid" "fail" (func $fail (param i32 i32)))
  (import "wasi_snapshot_preview1" "args_get" (func (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_res_get" (func $resolution (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (memory (export "memory") 20)

  (func $now (result i64)
    (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 5000)))
    (i64.load (i32.const 5000)))

  ;; Computes for so many nanoseconds.
  (func $compute (param $nanoseconds i64)
    (local $until i64)
    (local.set $until (i64.add (call $now) (local.get $nanoseconds)))
    (loop $again (br_if $again (i64.lt_u (call $now) (local.get $until)))))

  ;; Sends so many numbers, so many bytes each.
  (func $flood (param $count i32) (param $bytes i32)
    (i32.store (i32.const 0) (i32.const 0))
    (loop $again
      (call $send (i32.const 0) (local.get $bytes))
      (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
      (br_if $again (i32.lt_u (i32.load (i32.const 0)) (local.get $count)))))

  (func $ask
    (drop (call $args (i32.const 5000) (i32.const 5004)))
    (drop (call $environ (i32.const 5000) (i32.const 5004)))
    (drop (call $resolution (i32.const 1) (i32.const 5000)))
    (drop (call $random (i32.const 5000) (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 5000) (i32.const 0) (i32.const 5004)))
    (drop (call $yield)))

  (func (export "handle_msg") (param $length i32)
    (local $mood i32)
    (drop (call $recv (i32.const 0) (i32.const 4096)))
    (local.set $mood (i32.load8_u (i32.const 0)))
    (if (i32.eq (local.get $mood) (i32.const 0x61)) (then (call $ask)))
    (if (i32.eq (local.get $mood) (i32.const 0x63)) (then (call $compute (i64.load (i32.const 8)))))
    (if (i32.eq (local.get $mood) (i32.const 0x66)) (then (call $flood (i32.load (i32.const 8)) (i32.load (i32.const 12))) (return)))
    (if (i32.eq (local.get $mood) (i32.const 0x72))
      (then
        (i32.store (i32.const 0) (i32.const 0))
        {}
        (call $fail (i32.const 8) (i32.const 4))
        (return)))
    (if (i32.eq (local.get $mood) (i32.const 0x78)) (then {} (return)))
    (call $send (i32.const 0) (local.get $length))))"#,
        send.repeat(IN_A_ROW as usize),
        send_much.repeat(VAST_IN_A_ROW),
    );
    wat::parse_str(text).unwrap()
}

/// Messages that the worker sends in a row: more than there is room for at once.
const IN_A_ROW: u32 = 100;

/// Messages of 1 MiB that the worker sends in a row: more than may wait for room.
const VAST_IN_A_ROW: usize = 200;

/// A message that has the worker compute for so long, or send as many messages.
fn mood(kind: u8, number: u64) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend(number.to_le_bytes());
    message
}

/// A message that has the worker send so many messages of this length.
fn flood(count: u32, bytes: u32) -> Vec<u8> {
    mood(b'f', u64::from(bytes) << 32 | u64::from(count))
}

/// Echoes in a row before which a worker counts as quick, several times over.
const ECHOES: u32 = 40;

/// Has the worker be quick for a while.
async fn warm_up(client: &Client, worker: WorkerId) {
    for number in 0..ECHOES {
        // First it calls functions of WASI.
        client.send(worker, if number == 0 { "a" } else { "e" }).await.unwrap();
        answer_of(client, worker).await;
    }
}

/// Waits for the next message of this worker; passes over those of others.
async fn answer_of(client: &Client, worker: WorkerId) -> bytes::Bytes {
    loop {
        match client.next_event().await {
            Event::Message { worker: from, payload, .. } if from == worker => return payload,
            Event::Left { worker, end, .. } => panic!("{worker} ended: {end}"),
            _ => {}
        }
    }
}

/// Waits until a worker ends; passes over everything else.
async fn next_end(client: &Client) -> End {
    loop {
        if let Event::Left { end, .. } = client.next_event().await {
            return end;
        }
    }
}

async fn spawn(client: &Client, module: Digest, count: u32) -> Vec<WorkerId> {
    client.spawn(module).anywhere(count).await.unwrap()
}

/// Processor time of the threads of the executors on which guests are called directly, in ticks of 10 ms.
fn direct_ticks(host: &ChildProcess) -> u64 {
    let of_process = |process: u32| {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok())
    };
    let stats = host.executors().into_iter().flat_map(of_process);
    let fields = stats.filter_map(|stat| {
        let (name, fields) = stat.rsplit_once(')')?;
        name.contains("grid-duty").then(|| fields.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    });
    // User and system time.
    fields.map(|fields| fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()).sum()
}

/// Times that a worker which ought to be quick may be taken for slow, because the machine was.
const TRIES: u32 = 10;

#[tokio::test]
async fn a_quick_worker_that_takes_long_for_once_keeps_its_thread_and_holds_up_no_other() {
    within(async {
        let grid = Grid::closed();
        let host = grid.host("host", &["--slots", "4"]);
        let client = grid.client();
        let module = client.upload("moody", moody()).await.unwrap().digest;
        let workers = spawn(&client, module, 3).await;
        let long = Duration::from_secs(2);
        let mut kept_its_thread = false;
        for _ in 0..TRIES {
            for worker in &workers {
                warm_up(&client, *worker).await;
            }
            let before = direct_ticks(&host);
            let nanoseconds = u64::try_from(long.as_nanos()).unwrap();
            client.send(workers[0], mood(b'c', nanoseconds)).await.unwrap();
            client.send(workers[1], mood(b'c', nanoseconds / 2)).await.unwrap();
            let mut order = Vec::new();
            for _ in 0..5 {
                client.send(workers[2], "echo").await.unwrap();
                while order.last() != Some(&workers[2]) {
                    if let Event::Message { worker, .. } = client.next_event().await {
                        order.push(worker);
                    }
                }
                order.pop();
            }
            assert!(order.is_empty(), "the third is held up by the others");
            while order.len() < 2 {
                if let Event::Message { worker, .. } = client.next_event().await {
                    order.push(worker);
                }
            }
            assert_eq!(order, [workers[1], workers[0]]);
            // On a stack of its own it would have one slice there, of a tick or two.
            if direct_ticks(&host).saturating_sub(before) >= 20 {
                kept_its_thread = true;
                break;
            }
        }
        assert!(kept_its_thread, "it was never called directly");
    })
    .await;
}

#[tokio::test]
async fn a_quick_worker_that_computes_without_end_is_stopped_at_its_limit_and_when_it_is_ended() {
    within(async {
        let grid = Grid::closed();
        let _host = grid.host("host", &["--slots", "4"]);
        // The neighbour's answers are taken apart, because the worker may end meanwhile.
        let (client, apart) = (grid.client(), grid.client());
        let module = client.upload("moody", moody()).await.unwrap().digest;
        let neighbour = spawn(&apart, module, 1).await[0];
        for (label, limit) in [("time-limit", Some(300)), ("stopped", None)] {
            let limits = LimitsAsked { call_ms: limit, ..LimitsAsked::default() };
            let worker = client.spawn(module).limits(limits).anywhere(1).await.unwrap()[0];
            warm_up(&client, worker).await;
            client.send(worker, mood(b'c', u64::MAX / 2)).await.unwrap();
            warm_up(&apart, neighbour).await;
            if limit.is_none() {
                client.stop_workers(&[worker], Duration::from_millis(50)).await.unwrap();
            }
            let end = next_end(&client).await;
            assert_eq!(end.label(), label, "{end}");
            warm_up(&apart, neighbour).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_worker_sends_without_room_comes_whole_and_in_order_and_its_failure_last() {
    within(async {
        for walls in ["full", "none"] {
            let grid = Grid::closed();
            let _host = grid.host("host", &["--slots", "4", "--walls", walls]);
            let client = grid.client();
            let module = client.upload("moody", moody()).await.unwrap().digest;
            let workers = spawn(&client, module, 2).await;
            for is_quick in [false, true] {
                // Of the long ones, no more could wait at once than it sends.
                for (count, bytes) in [(3000, 4096), (100, 1 << 20)] {
                    if is_quick {
                        warm_up(&client, workers[0]).await;
                    }
                    client.send(workers[0], flood(count, bytes)).await.unwrap();
                    client.send(workers[1], "echo").await.unwrap();
                    let (mut next, mut others) = (0_u32, 0);
                    while next < count || others == 0 {
                        match client.next_event().await {
                            Event::Message { worker, payload, .. } if worker == workers[0] => {
                                assert_eq!(payload.len(), bytes as usize);
                                assert_eq!(payload[..4], next.to_le_bytes());
                                next += 1;
                            }
                            Event::Message { .. } => others += 1,
                            Event::Failed { .. } | Event::Left { .. } => panic!("the worker does not fail"),
                            _ => {}
                        }
                    }
                }
                if is_quick {
                    warm_up(&client, workers[0]).await;
                }
                client.send(workers[0], mood(b'r', 0)).await.unwrap();
                let mut next = 0_u32;
                loop {
                    match client.next_event().await {
                        Event::Message { payload, .. } => {
                            assert_eq!(payload[..4], next.to_le_bytes());
                            next += 1;
                        }
                        Event::Failed { .. } => break,
                        _ => {}
                    }
                }
                assert_eq!(next, IN_A_ROW, "walls {walls}, quick {is_quick}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_quick_worker_that_waits_for_room_in_its_call_can_be_ended_and_its_neighbour_answers() {
    within(async {
        let grid = Grid::closed();
        let _host = grid.host("host", &["--slots", "4"]);
        let (client, other) = (grid.client(), grid.client());
        let module = client.upload("moody", moody()).await.unwrap().digest;
        let flooding = spawn(&client, module, 2).await;
        let neighbour = spawn(&other, module, 1).await[0];
        for worker in &flooding {
            warm_up(&client, *worker).await;
        }
        warm_up(&other, neighbour).await;
        for worker in &flooding {
            // Nobody takes them.
            client.send(*worker, flood(1_000_000, 4096)).await.unwrap();
        }
        for _ in 0..200 {
            other.send(neighbour, "echo").await.unwrap();
            answer_of(&other, neighbour).await;
        }
        client.stop_workers(&flooding, Duration::from_millis(50)).await.unwrap();
        for _ in &flooding {
            let end = next_end(&client).await;
            assert_eq!(end.label(), "stopped", "{end}");
        }
        warm_up(&other, neighbour).await;
    })
    .await;
}

#[tokio::test]
async fn a_new_worker_that_sends_vast_messages_in_a_row_is_stopped_and_told_why_and_a_quick_one_waits() {
    within(async {
        let grid = Grid::closed();
        let _host = grid.host("host", &["--slots", "4"]);
        let client = grid.client();
        let module = client.upload("moody", moody()).await.unwrap().digest;
        // A new worker has a stack of its own.
        let worker = spawn(&client, module, 1).await[0];
        client.send(worker, "x").await.unwrap();
        assert_no_room(&next_end(&client).await);

        let mut waited = false;
        for _ in 0..TRIES {
            let worker = spawn(&client, module, 1).await[0];
            warm_up(&client, worker).await;
            client.send(worker, "x").await.unwrap();
            if let Some(end) = end_before(&client, VAST_IN_A_ROW).await {
                // It was not called directly.
                assert_no_room(&end);
                continue;
            }
            warm_up(&client, worker).await;
            waited = true;
            break;
        }
        assert!(waited, "it was never called directly");
    })
    .await;
}

/// Asserts that a worker was stopped for what it sent without room.
fn assert_no_room(end: &End) {
    assert_eq!(end.label(), "out-of-memory", "{end}");
    assert!(end.to_string().contains("may wait for room"), "{end}");
}

/// Takes so many messages of the one worker; its end if that comes before.
async fn end_before(client: &Client, count: usize) -> Option<End> {
    let mut came = 0;
    while came < count {
        match client.next_event().await {
            Event::Message { .. } => came += 1,
            Event::Left { end, .. } => return Some(end),
            _ => {}
        }
    }
    None
}
