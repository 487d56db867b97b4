//! Workers: every example, from the command line and from a program.

use std::io::Write;
use std::time::Duration;

use grid_tests::{Grid, echo, local, module, within};
use tokio::time::timeout;
use wasm_grid::{Event, LimitsAsked, WorkerStatus, to_cbor};

/// Sends one message to a new worker of an example and gives the answer.
async fn ask(name: &str, message: Vec<u8>) -> Event {
    let grid = local().local_slots(1).start().unwrap();
    let uploaded = grid.upload(name, std::fs::read(module(name)).unwrap()).await.unwrap();
    let workers = grid.spawn(uploaded.digest).anywhere(1).await.unwrap();
    grid.send(workers[0], message).await.unwrap();
    loop {
        match grid.next_event().await {
            Event::Joined { .. } => {}
            event => return event,
        }
    }
}

fn payload(event: Event) -> Vec<u8> {
    match event {
        Event::Message { payload, .. } => payload.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// A worker that takes long to compile, and then sleeps for ever as it starts.
fn slow_and_sleepy() -> Vec<u8> {
    let sums = "local.get 0 i32.const 3 i32.mul local.set 0 ".repeat(400);
    let functions = format!("(func (param i32) {sums})").repeat(300);
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1) {functions}
            (func (export "init") (param i32)
                (i32.store (i32.const 16) (i32.const 1))
                (i64.store (i32.const 24) (i64.const 1000000000000000))
                (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))))
            (func (export "handle_msg") (param i32)))"#
    );
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn a_worker_that_is_stopped_before_it_has_started_ends_though_it_sleeps_as_it_starts() {
    within(async {
        let grid = Grid::closed();
        let _host = grid.host("host", &[]);
        let client = grid.client();
        let module = client.upload("sleepy", slow_and_sleepy()).await.unwrap().digest;
        let workers = client.spawn(module).anywhere(1).await.unwrap();
        client.send(workers[0], &b"go"[..]).await.unwrap();
        assert!(
            matches!(client.ping(workers[0]).await, Ok(WorkerStatus::Starting)),
            "it is compiled too fast"
        );
        client.stop_workers(&workers, Duration::ZERO).await.unwrap();
        while !matches!(client.next_event().await, Event::Left { .. }) {}
    })
    .await;
}

/// A worker that sends a byte and then computes for longer than anybody waits.
const SENDS_AND_COMPUTES: &str = r#"(module
    (import "grid" "send" (func $send (param i32 i32)))
    (memory (export "memory") 1)
    (func (export "handle_msg") (param i32)
        (call $send (i32.const 0) (i32.const 1))
        (loop $for_ever (br $for_ever))))"#;

#[tokio::test]
async fn what_a_worker_sends_in_a_call_that_takes_long_comes_before_the_call_ends() {
    within(async {
        for walls in ["full", "none"] {
            let grid = Grid::closed();
            let _host = grid.host("host", &["--walls", walls]);
            let client = grid.client();
            let module = wat::parse_str(SENDS_AND_COMPUTES).unwrap();
            let module = client.upload("sends", module).await.unwrap().digest;
            let worker = client.spawn(module).anywhere(1).await.unwrap()[0];
            client.send(worker, &b"go"[..]).await.unwrap();
            while !matches!(client.next_event().await, Event::Message { .. }) {}
            assert_eq!(client.ping(worker).await, Ok(WorkerStatus::Busy), "walls {walls}");
        }
    })
    .await;
}

#[tokio::test]
async fn pings_that_a_client_gives_up_do_not_delay_its_next_request() {
    within(async {
        let grid = Grid::closed();
        let host = grid.host("host", &[]);
        let client = grid.client();
        let module = client.upload("echo", echo()).await.unwrap().digest;
        let worker = client.spawn(module).anywhere(1).await.unwrap()[0];
        while client.ping(worker).await != Ok(WorkerStatus::Idle) {}
        let frozen = host.freeze("");
        let given_up = (0..1000).map(|_| timeout(Duration::from_millis(200), client.ping(worker)));
        let given_up = futures::future::join_all(given_up).await;
        assert!(given_up.iter().all(Result::is_err), "the host answers, though it stands still");
        // The manager would ask the host for five seconds, each of 64 times.
        assert_eq!(timeout(Duration::from_secs(2), client.workers()).await.unwrap().unwrap().len(), 1);
        drop(frozen);
        while client.ping(worker).await != Ok(WorkerStatus::Idle) {}
    })
    .await;
}

#[tokio::test]
async fn the_echo_worker_of_the_sdk_answers() {
    within(async {
        let message: Vec<u8> = (0..=255).collect();
        assert_eq!(payload(ask("echo", message.clone()).await), message);
    })
    .await;
}

#[tokio::test]
async fn a_wasi_command_answers_with_its_standard_output() {
    within(async {
        let answer = payload(ask("wordcount", b"one two\nthree\n".to_vec()).await);
        assert_eq!(answer, b"2 3 14\n");
    })
    .await;
}

#[tokio::test]
async fn a_wasi_command_that_fails_fails_its_message_with_what_it_wrote() {
    within(async {
        match ask("wordcount", vec![0xff, 0xfe]).await {
            Event::Failed { message: 1, reason, .. } => {
                assert!(reason.contains("code 1") && reason.contains("no UTF-8"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn a_mandelbrot_tile_has_the_set_in_its_middle() {
    within(async {
        #[derive(serde::Serialize)]
        struct Tile {
            left: f64,
            top: f64,
            step: f64,
            width: u32,
            height: u32,
            limit: u32,
            raw: bool,
        }
        let tile = Tile { left: -2.0, top: -2.0, step: 0.25, width: 16, height: 16, limit: 50, raw: true };
        let pixels = payload(ask("mandelbrot", to_cbor(&tile).unwrap().to_vec()).await);
        assert_eq!(pixels.len(), 256);
        assert_eq!(pixels[8 * 16 + 8], 0);
        assert_ne!(pixels[0], 0);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_the_primes_worker_cannot_read_fails_and_the_worker_lives() {
    within(async {
        match ask("primes", b"nonsense".to_vec()).await {
            Event::Failed { reason, .. } => assert!(reason.contains("[from, to]"), "{reason}"),
            other => panic!("{other:?}"),
        }
    })
    .await;
}

#[test]
fn a_session_on_the_command_line_spawns_sends_and_collects() {
    let grid = Grid::closed();
    let _host = grid.host("host", &["--slots", "2"]);
    grid.must(&["module", "upload", module("primes").to_str().unwrap()]);
    let workers = grid.must(&["worker", "spawn", "primes", "-n", "2", "--quiet"]).stdout;
    let first = workers.lines().next().unwrap();
    grid.must(&["msg", "send", first, "[0,1000]"]);
    let collected = grid.must(&["msg", "collect"]).stdout;
    let answer: serde_json::Value = serde_json::from_str(collected.trim()).unwrap();
    assert_eq!(answer["message"]["count"], 168);
    assert_eq!(answer["worker"], first);
    grid.must(&["worker", "stop", "--module", "primes"]);
    grid.wait_until(&["worker", "ls"], |workers| workers["workers"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_large_message_crosses_both_ways_whole() {
    within(async {
        let grid = Grid::closed();
        let _host = grid.host("host", &[]);
        let client = grid.client();
        let uploaded = client.upload("echo", echo()).await.unwrap();
        let workers = client.spawn(uploaded.digest).anywhere(1).await.unwrap();
        let large: Vec<u8> = (0..16u32 << 20).map(|place| (place % 251) as u8).collect();
        client.send(workers[0], large.clone()).await.unwrap();
        client.send(workers[0], "small").await.unwrap();
        let mut answers = Vec::new();
        while answers.len() < 2 {
            if let Event::Message { payload, .. } = client.next_event().await {
                answers.push(payload);
            }
        }
        assert!(answers[0] == large, "the large one comes first, and whole");
        assert_eq!(&answers[1][..], b"small");
    })
    .await;
}

#[tokio::test]
async fn a_large_message_that_overtakes_the_frame_that_announces_it_arrives_in_its_place() {
    within(async {
        let grid = Grid::closed();
        let _host = grid.host("host", &[]);
        let client = grid.client();
        let uploaded = client.upload("echo", echo()).await.unwrap();
        let worker = client.spawn(uploaded.digest).anywhere(1).await.unwrap()[0];
        // Frames fill the lane, so that the stream of the large message is through before its own frame's turn.
        let lengths = || (0..400_usize).map(|number| if number % 20 == 19 { 65 << 10 } else { 64 << 10 });
        let sent = async {
            for length in lengths() {
                client.send(worker, vec![7; length]).await.unwrap();
            }
        };
        let received = async {
            for length in lengths() {
                loop {
                    if let Event::Message { payload, .. } = client.next_event().await {
                        assert_eq!(payload.len(), length);
                        break;
                    }
                }
            }
        };
        tokio::join!(sent, received);
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_worker_whose_mail_is_taken_at_the_same_moment_is_reported() {
    within(async {
        let grid = Grid::closed();
        let _host = grid.host("host", &["--slots", "256"]);
        let client = grid.client();
        let uploaded = client.upload("echo", echo()).await.unwrap();
        for _ in 0..20 {
            let workers = client.spawn(uploaded.digest).anywhere(256).await.unwrap();
            for worker in &workers {
                client.try_send(*worker, "now").unwrap();
            }
            // Each ends while its answer, or the last word that the answer was taken, is on its way.
            client.stop_workers(&workers, Duration::from_millis(1)).await.unwrap();
            let mut left = 0;
            while left < workers.len() {
                left += usize::from(matches!(client.next_event().await, Event::Left { .. }));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_spins_is_stopped_at_its_limit_and_its_backtrace_names_the_function() {
    within(async {
        let grid = local().local_slots(2).start().unwrap();
        let spin = r#"(module (memory (export "memory") 1)
            (func $spins_for_ever (loop br 0))
            (func (export "handle_msg") (param i32) call $spins_for_ever))"#;
        let uploaded = grid.upload("spin", wat::parse_str(spin).unwrap()).await.unwrap();
        let limits = LimitsAsked { call_ms: Some(300), ..LimitsAsked::default() };
        let spinner = grid.spawn(uploaded.digest).limits(limits).anywhere(1).await.unwrap()[0];
        grid.send(spinner, "go").await.unwrap();
        let end = loop {
            if let Event::Left { end, unanswered, .. } = grid.next_event().await {
                assert_eq!(unanswered, ["go"]);
                break end;
            }
        };
        assert_eq!(end.label(), "time-limit");
        let wasm_grid::End::Failed(failure) = end else { panic!("{end:?}") };
        assert!(failure.backtrace[0].contains("spins_for_ever"), "{failure:?}");
    })
    .await;
}

#[test]
fn what_a_worker_writes_can_be_read() {
    let grid = Grid::closed();
    let _host = grid.host("host", &[]);
    let file = grid.folder("talker.wat");
    let text = r#"(module (import "grid" "log" (func $log (param i32 i32 i32)))
        (memory (export "memory") 1) (data (i32.const 0) "hello from inside")
        (func (export "handle_msg") (param i32) (call $log (i32.const 1) (i32.const 0) (i32.const 17))))"#;
    std::fs::File::create(&file).unwrap().write_all(text.as_bytes()).unwrap();
    grid.must(&["module", "upload", file.to_str().unwrap()]);
    let worker = grid.must(&["worker", "spawn", "talker", "--quiet"]).stdout.trim().to_owned();
    grid.must(&["msg", "send", &worker, "null"]);
    let lines = grid.wait_until(&["worker", "logs", &worker], |log| log["lines"][0].is_object());
    assert_eq!(lines["lines"][0]["text"], "hello from inside");
    assert_eq!(lines["lines"][0]["level"], "warn");
}

#[test]
fn a_module_of_the_wrong_shape_is_refused_with_exit_code_6() {
    let grid = Grid::closed();
    let file = grid.folder("wrong.wat");
    std::fs::write(&file, r#"(module (memory (export "memory") 1) (func (export "handleMsg") (param i32)))"#)
        .unwrap();
    for command in [["module", "check"], ["module", "upload"]] {
        let refused = grid.grid(&[command[0], command[1], file.to_str().unwrap()]);
        assert_eq!(refused.code, 6, "{refused:?}");
        assert!(refused.stderr.contains("did you mean"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_host_that_runs_no_components_refuses_one_with_the_flag_that_says_so_and_runs_the_rest() {
    let grid = Grid::closed();
    let _host = grid.host("plain", &["--slots", "2", "--no-components"]);
    let client = grid.client();
    let component = wat::parse_str(include_str!("../../modules/hostile/component-reach.wat")).unwrap();
    let component = client.upload("component", component).await.unwrap();
    let refused = client.spawn(component.digest).anywhere(1).await.unwrap()[0];
    let end = loop {
        if let Event::Left { worker, end, .. } = client.next_event().await {
            assert_eq!(worker, refused);
            break end;
        }
    };
    assert_eq!(end.label(), "module-refused");
    assert!(end.to_string().contains("--no-components"), "{end}");
    let echo = client.upload("echo", echo()).await.unwrap();
    let worker = client.spawn(echo.digest).anywhere(1).await.unwrap()[0];
    client.send(worker, "hello").await.unwrap();
    while !matches!(client.next_event().await, Event::Message { payload, .. } if payload == "hello") {}
}

#[test]
fn a_message_that_kills_its_worker_is_no_message_to_wait_for_and_its_last_words_are_kept() {
    let grid = Grid::closed();
    let _host = grid.host("only", &["--slots", "1"]);
    grid.must(&["module", "upload", module("conformance-rust").to_str().unwrap(), "--name", "fragile"]);
    let worker = grid.must(&["worker", "spawn", "fragile", "-q"]).stdout.trim().to_owned();
    let said = grid.grid(&["msg", "send", "--raw", &worker, "tit was on purpose"]);
    assert_eq!(said.code, 8, "{said:?}");
    for part in ["ended before it was through", "it was on purpose", "at conformance_rust::deliberate_trap"] {
        assert!(said.stderr.contains(part), "{part}: {said:?}");
    }
    // The first line of its log is also its last.
    let log = grid.must(&["worker", "logs", &worker, "--json"]).json();
    assert!(log["lines"][0]["text"].as_str().unwrap().contains("it was on purpose"), "{log}");
}

#[tokio::test]
async fn a_worker_that_is_stopped_with_answers_that_nobody_takes_leaves_its_neighbours_in_peace() {
    within(async {
        let grid = Grid::start(&[]);
        let _host = grid.host("shared", &["--slots", "2"]);
        let client = grid.client();
        let module = client.upload("echo", echo()).await.unwrap().digest;
        let workers = client.spawn(module).anywhere(2).await.unwrap();
        let (full, other) = (workers[0], workers[1]);
        // Until its answers, of which none is taken, keep it from taking more.
        let message = vec![7; 32 << 10];
        while timeout(Duration::from_millis(500), client.send(full, message.clone())).await.is_ok() {}
        client.stop_workers(&[full], Duration::ZERO).await.unwrap();
        // One that does not end is given a second.
        assert!(timeout(Duration::from_secs(2), gone(&client, other)).await.is_err());
        client.send(other, "there?").await.unwrap();
        loop {
            match client.next_event().await {
                Event::Message { worker, .. } if worker == other => return,
                Event::Left { worker, end, .. } if worker == other => panic!("{end}"),
                _ => {}
            }
        }
    })
    .await;
}

/// Waits until a worker has ended.
async fn gone(client: &wasm_grid::Client, worker: wasm_grid::WorkerId) {
    while client.workers().await.unwrap().iter().any(|listed| listed.id == worker) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
