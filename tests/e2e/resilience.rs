//! Resilience: connections that break, managers that die, hosts that leave.

use std::time::{Duration, Instant};

use grid_tests::{Grid, echo, module, within};
use wasm_grid::{End, Event};

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
        const MESSAGES: u32 = 20_000;
        let grid = Grid::closed();
        let host = grid.host("sleepy", &["--slots", "4"]);
        let client = grid.client();
        let uploaded = client.upload("echo", echo()).await.unwrap();
        let workers = client.spawn(uploaded.digest).anywhere(4).await.unwrap();
        let (mut sent, mut next) = (0, vec![0u32; workers.len()]);
        let mut frozen = None;
        let each = MESSAGES / 4;
        while next.iter().any(|next| *next < each) {
            while sent < MESSAGES {
                let worker = workers[sent as usize % 4];
                if client.try_send(worker, (sent / 4).to_le_bytes().to_vec()).is_err() {
                    break;
                }
                sent += 1;
            }
            if sent > MESSAGES / 3 && frozen.is_none() {
                host.signal("STOP");
                frozen = Some(tokio::time::Instant::now());
            }
            let thaw = frozen
                .map_or(Duration::from_secs(60), |at| Duration::from_secs(5).saturating_sub(at.elapsed()));
            let mut events = Vec::new();
            tokio::select! {
                () = client.next_events(&mut events) => {}
                () = tokio::time::sleep(thaw), if frozen.is_some() && !thaw.is_zero() => host.signal("CONT"),
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
        }
        assert!(frozen.is_some());
    })
    .await;
}
