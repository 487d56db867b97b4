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
