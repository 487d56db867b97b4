//! Local workers: the whole path without a socket.

use grid_tests::{echo, local, within};
use wasm_grid::{Client, Event};

#[tokio::test]
async fn an_echo_worker_in_the_same_process_answers() {
    within(echo_twice(&local().local_slots(2).start().unwrap())).await;
}

#[tokio::test]
async fn a_manager_on_the_programs_own_runtime_serves_it_and_ends_with_it() {
    within(async {
        let grid = local().local_slots(2).start_here().await.unwrap();
        echo_twice(&grid).await;
        drop(grid);
    })
    .await;
}

async fn echo_twice(grid: &Client) {
    let module = grid.upload("echo", echo()).await.unwrap();
    let workers = grid.spawn(module.digest).anywhere(2).await.unwrap();
    for worker in &workers {
        grid.send(*worker, "hello").await.unwrap();
    }
    let mut answered = Vec::new();
    while answered.len() < 2 {
        match grid.next_event().await {
            Event::Message { worker, payload } => {
                assert_eq!(&payload[..], b"hello");
                answered.push(worker);
            }
            Event::Joined { worker, .. } => assert!(workers.contains(&worker)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn clones_of_a_client_share_its_events_and_a_job_outlives_the_manager_with_an_error() {
    within(async {
        let grid = local().local_slots(1).start().unwrap();
        let module = grid.upload("echo", echo()).await.unwrap().digest;
        let (client, other) = (Client::clone(&grid), Client::clone(&grid));
        let worker = client.spawn(module).anywhere(1).await.unwrap()[0];
        client.send(worker, "to both").await.unwrap();
        while !matches!(other.next_event().await, Event::Message { .. }) {}
        assert!(client.collect().is_empty(), "the other took it");
        let job = client.job("kept", module).start().await.unwrap();
        drop(grid);
        let denial = job.show().await.unwrap_err();
        assert!(denial.why.contains("has stopped"), "{denial:?}");
    })
    .await;
}
