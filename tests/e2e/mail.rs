//! Mail: who gets what workers say, where several programs of one user are at work.

use std::process::Stdio;

use grid_tests::{Grid, echo, within};
use wasm_grid::{Client, DenialCode, Event};

use crate::client_conformance::on_both_sides;

/// A grid with one host, and so many echo workers of the command line.
fn echoes(grid: &Grid, count: &str) -> Vec<String> {
    let file = grid.folder("echo.wasm");
    std::fs::write(&file, echo()).unwrap();
    grid.must(&["module", "upload", file.to_str().unwrap()]);
    let spawned = grid.must(&["worker", "spawn", "echo", "-n", count, "--quiet"]).stdout;
    spawned.lines().map(str::to_owned).collect()
}

/// The messages that `msg collect` prints, sorted.
fn collected(grid: &Grid) -> Vec<String> {
    let lines = grid.must(&["msg", "collect"]).lines();
    let mut messages: Vec<_> = lines
        .iter()
        .map(|line| line["message"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned())
        .collect();
    messages.sort();
    messages
}

#[test]
fn what_a_worker_answered_is_still_there_after_another_was_spawned() {
    let grid = Grid::closed();
    let _host = grid.host("host", &["--slots", "2"]);
    let workers = echoes(&grid, "1");
    grid.must(&["msg", "send", &workers[0], "\"first\""]);
    let uncollected = || grid.must(&["worker", "ls", "--json"]).json()["workers"][0]["uncollected"].clone();
    assert_eq!(uncollected(), 1);
    grid.must(&["worker", "spawn", "echo"]);
    assert_eq!(collected(&grid), ["first"]);
}

#[test]
fn commands_at_once_take_nothing_from_one_another() {
    let grid = Grid::closed();
    let _host = grid.host("host", &["--slots", "8"]);
    let workers = echoes(&grid, "2");
    let start = |arguments: &[&str]| {
        let mut command = grid.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut children = Vec::new();
    for number in 0..8 {
        children.push(start(&["msg", "send", &workers[number % 2], &format!("\"{number}\"")]));
    }
    children.extend((0..3).map(|_| start(&["worker", "spawn", "echo"])));
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(collected(&grid), ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

#[test]
fn a_message_to_a_worker_that_is_not_there_is_refused() {
    let grid = Grid::closed();
    let _host = grid.host("host", &[]);
    let workers = echoes(&grid, "1");
    grid.must(&["worker", "stop", &workers[0]]);
    grid.wait_until(&["worker", "ls"], |workers| workers["workers"].as_array().unwrap().is_empty());
    let said = grid.grid(&["msg", "send", &workers[0], "1"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.stderr.contains("no worker") && said.stderr.contains(&workers[0]), "{said:?}");
}

#[tokio::test]
async fn an_older_client_of_a_channel_is_sent_away_and_says_so() {
    within(async {
        let grid = Grid::closed();
        let _host = grid.host("host", &[]);
        let admin = grid.client();
        let module = admin.upload("echo", echo()).await.unwrap().digest;
        let older = grid.another_client("twice");
        let worker = older.spawn(module).anywhere(1).await.unwrap()[0];
        older.send(worker, "to the older").await.unwrap();
        let home = grid.folder("twice");
        let newer = Client::builder().home(home).channel(older.channel()).connect(grid.address()).unwrap();
        // It is told within a moment, not at its next request.
        while older.sent_away().is_none() {
            older.settled().await;
        }
        let denial = older.workers().await.unwrap_err();
        assert_eq!(denial.code, DenialCode::Conflict, "{denial:?}");
        // The mail is the newer's.
        loop {
            if let Event::Message { payload, .. } = newer.next_event().await {
                assert_eq!(payload, "to the older");
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn questions_about_workers_take_no_message_off_the_wire() {
    on_both_sides(async |client| {
        let module = client.upload("echo", echo()).await.unwrap().digest;
        let worker = client.spawn(module).anywhere(1).await.unwrap()[0];
        let uncollected = async || {
            let workers = client.workers().await.unwrap();
            workers.iter().find(|info| info.id == worker).unwrap().uncollected
        };
        for _ in 0..3 {
            client.send(worker, "an answer").await.unwrap();
        }
        // Each look is a request; nothing that is collected may announce a message here.
        while uncollected().await < 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(client.active_workers(), [worker]);
        assert_eq!(client.try_accept(), Some(worker));
        assert_eq!(client.unconfirmed_workers().len() + client.dead_workers().len(), 0);
        client.broadcast("one more").await[&worker].as_ref().unwrap();
        while uncollected().await < 4 {
            tokio::task::yield_now().await;
        }
        assert_eq!(client.active_workers(), [worker]);
        assert_eq!(uncollected().await, 4, "an acknowledgement would have come with the answer");
        let mut answers = 0;
        while answers < 4 {
            answers += usize::from(matches!(client.next_event().await, Event::Message { .. }));
        }
    })
    .await;
}
