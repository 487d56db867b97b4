//! Resilience: connections that break, managers that die, hosts that leave.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use grid_tests::{ChildProcess, Grid, Relay, echo, module, sleeper, within};
use tokio::time::sleep;
use wasm_grid::{Client, End, Event, SendError};

use crate::jobs::task;

#[test]
fn hosts_are_back_within_three_seconds_of_a_killed_manager_and_it_has_everything() {
    let mut grid = Grid::closed();
    let mut host = grid.host("faithful", &[]);
    grid.must(&["module", "upload", module("primes").to_str().unwrap()]);
    grid.must(&["worker", "spawn", "primes", "--every-slot"]);
    let before = grid.must(&["module", "ls", "--json"]).json();
    grid.manager.kill();
    host.forget();
    grid.restart_manager(&["--open-join", "false"]);
    let restarted = Instant::now();
    host.wait_for("joined");
    assert!(restarted.elapsed() < Duration::from_secs(3), "{:?}", restarted.elapsed());
    assert_eq!(grid.must(&["module", "ls", "--json"]).json(), before);
    grid.wait_until(&["worker", "ls"], |workers| workers["workers"][0]["state"] == "running");
}

#[tokio::test]
async fn a_host_that_is_drained_finishes_its_message_and_leaves_in_good_order() {
    within(async {
        let grid = Grid::closed();
        let mut host = grid.host("leaving", &[]);
        let client = grid.client();
        let uploaded = client.upload("echo", echo()).await.unwrap();
        let worker = client.spawn(uploaded.digest).anywhere(1).await.unwrap()[0];
        client.send(worker, "last words").await.unwrap();
        let mut heard = false;
        loop {
            match client.next_event().await {
                Event::Message { payload, .. } => {
                    assert_eq!(&payload[..], b"last words");
                    heard = true;
                    host.signal("TERM");
                }
                Event::Left { end, unanswered, .. } => {
                    assert_eq!((end, unanswered.len(), heard), (End::Stopped, 0, true));
                    break;
                }
                _ => {}
            }
        }
        assert_eq!(host.exit_code(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_host_that_is_silent_for_five_seconds_under_load_loses_nothing_and_doubles_nothing() {
    within(async {
        let grid = Grid::closed();
        let host = grid.host("sleepy", &["--slots", "4"]);
        under_load(&grid.client(), MESSAGES, async {
            host.signal("STOP");
            sleep(Duration::from_secs(5)).await;
            host.signal("CONT");
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_cut_for_five_seconds_under_load_loses_nothing_and_doubles_nothing() {
    within(async {
        let (grid, relay, _host) = beyond_a_relay().await;
        under_load(&grid.client(), MESSAGES, async {
            relay.cut();
            sleep(Duration::from_secs(5)).await;
            assert!(relay.mend() > 0, "the cut was felt");
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_given_up_under_load_is_taken_up_again_with_nothing_lost_or_doubled() {
    within(async {
        let (grid, relay, host) = beyond_a_relay().await;
        under_load(&grid.client(), MESSAGES, async {
            relay.cut();
            // Both ends give up after ten seconds of silence.
            let host = host.hear("connection lost").await;
            assert!(relay.mend() > 0, "the cut was felt");
            host.hear("joined again").await
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_host_whose_port_changes_under_load_loses_nothing_and_doubles_nothing() {
    within(async {
        let (grid, relay, mut host) = beyond_a_relay().await;
        under_load(&grid.client(), MESSAGES, async {
            for _ in 0..3 {
                relay.change_port();
                sleep(Duration::from_millis(500)).await;
            }
        })
        .await;
        assert!(!host.has_said("connection lost"), "the same connection went on");
    })
    .await;
}

/// A grid whose one host, of four slots, is beyond a [`Relay`].
async fn beyond_a_relay() -> (Grid, Relay, ChildProcess) {
    let grid = Grid::start(&["--open-join", "true"]);
    let relay = Relay::to(grid.bare_address()).await;
    let host = grid.host_at(&relay.address(), "far", &["--slots", "4"]).hear("joined").await;
    (grid, relay, host)
}

const MESSAGES: u32 = 20_000;

/// Sends numbers to four echo workers for as long as `trouble` lasts, and then until so many are sent: each must come
/// back once, in order, from the worker that it went to.
pub(crate) async fn under_load<T>(client: &Client, messages: u32, trouble: impl Future<Output = T>) -> T {
    let uploaded = client.upload("echo", echo()).await.unwrap();
    let workers = client.spawn(uploaded.digest).anywhere(4).await.unwrap();
    let mut next = vec![0u32; workers.len()];
    let (mut sent, mut over) = (0, None);
    let mut trouble = pin!(trouble);
    let over = loop {
        if let Some(over) = over.take_if(|_| next.iter().sum::<u32>() == sent) {
            break over;
        }
        while over.is_none() || sent < messages {
            let worker = workers[sent as usize % 4];
            if client.try_send(worker, (sent / 4).to_le_bytes().to_vec()).is_err() {
                break;
            }
            sent += 1;
        }
        let mut events = Vec::new();
        tokio::select! {
            () = client.next_events(&mut events) => {}
            ended = &mut trouble, if over.is_none() && next.iter().sum::<u32>() > messages / 4 => over = Some(ended),
        }
        for event in events {
            match event {
                Event::Message { worker, payload } => {
                    let place = workers.iter().position(|other| *other == worker).unwrap();
                    let number = u32::from_le_bytes(payload[..].try_into().unwrap());
                    assert_eq!(number, next[place], "in order, each once");
                    next[place] += 1;
                }
                Event::Left { .. } => panic!("{event:?}"),
                _ => {}
            }
        }
    };
    assert!(sent >= messages);
    over
}

#[tokio::test]
async fn a_send_that_waits_for_room_is_refused_once_the_manager_has_forgotten_the_worker() {
    within(async {
        let mut grid = Grid::closed();
        let _host = grid.host("host", &[]);
        let client = grid.client();
        let module = client.upload("sleeper", sleeper()).await.unwrap().digest;
        let worker = client.spawn(module).anywhere(1).await.unwrap()[0];
        client.send(worker, task(1, Duration::from_secs(3600))).await.unwrap();
        while client.try_send(worker, "").is_ok() {}
        let mut waiting = pin!(client.send(worker, "one more"));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        grid.manager.kill();
        grid.restart_manager(&["--open-join", "false"]);
        assert_eq!(waiting.await, Err(SendError::Gone(worker)));
    })
    .await;
}
