//! Workers and deployments.

use std::time::Duration;

use grid_protocol::limits::{ARGUMENTS_BYTES_MAX, LABELS_MAX};
use grid_tests::{busy, echo, sleeper};
use wasm_grid::{
    Client, DenialCode, DeploymentId, Digest, End, Event, LimitsAsked, PublicKey, Reply, Request, Restart,
    SecretKey, SpawnBuilder, Wall, WorkerId, WorkerState, WorkerStatus,
};

use super::{
    HOUR, SLOTS, actor, ended, joined, next_end, next_message, next_of, on_both_sides, running, uploaded,
    workers_until,
};
use crate::jobs::task;

/// A worker that logs each message, and sends it back 300 ms later.
const THOUGHTFUL: &str = r#"(module
    (import "grid" "recv" (func $recv (param i32 i32) (result i32)))
    (import "grid" "send" (func $send (param i32 i32)))
    (import "grid" "log" (func $log (param i32 i32 i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 80) "\01")
    (func (export "handle_msg") (param $length i32)
        (drop (call $recv (i32.const 256) (i32.const 1024)))
        (call $log (i32.const 1) (i32.const 256) (local.get $length))
        (i64.store (i32.const 88) (i64.const 300000000))
        (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 192)))
        (call $send (i32.const 256) (local.get $length))))"#;

/// A worker that sleeps for ever as it starts.
const SLEEPY: &str = r#"(module
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "init") (param i32)
        (i32.store (i32.const 16) (i32.const 1))
        (i64.store (i32.const 24) (i64.const 1000000000000000))
        (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))))
    (func (export "handle_msg") (param i32)))"#;

async fn hosts(client: &Client) -> Vec<PublicKey> {
    match client.request(Request::HostList).await.unwrap() {
        Reply::Hosts(hosts) => hosts.iter().map(|host| host.key).collect(),
        other => panic!("{other:?}"),
    }
}

/// The workers that the client says are unconfirmed, active and dead.
fn known(client: &Client) -> [Vec<WorkerId>; 3] {
    [client.unconfirmed_workers(), client.active_workers(), client.dead_workers()]
}

#[tokio::test]
async fn a_worker_that_still_starts_is_unconfirmed_takes_messages_and_is_dead_once_it_has_ended() {
    on_both_sides(async |client| {
        let module = uploaded(client, wat::parse_str(SLEEPY).unwrap()).await;
        let worker = client.spawn(module).anywhere(1).await.unwrap()[0];
        client.send(worker, "early").await.unwrap();
        assert_eq!(client.ping(worker).await, Ok(WorkerStatus::Starting));
        assert_eq!(client.try_accept(), None);
        assert_eq!(known(client), [vec![worker], vec![], vec![]]);
        assert_eq!(client.workers().await.unwrap()[0].state, WorkerState::Starting);
        assert_eq!(ended(client, worker).await, ["early"]);
        assert_eq!(known(client), [vec![], vec![], vec![worker]]);
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_has_joined_is_active_and_is_accepted_once() {
    on_both_sides(async |client| {
        let module = uploaded(client, echo()).await;
        let worker = client.spawn(module).anywhere(1).await.unwrap()[0];
        let accepted = loop {
            if let Some(accepted) = client.try_accept() {
                break accepted;
            }
            client.ping(worker).await.unwrap();
        };
        assert_eq!((accepted, client.try_accept()), (worker, None));
        assert_eq!(known(client), [vec![], vec![worker], vec![]]);
        client.send(worker, "hello").await.unwrap();
        let next = client.next_event().await;
        assert!(matches!(next, Event::Message { .. }), "it joined twice: {next:?}");
    })
    .await;
}

#[tokio::test]
async fn a_ping_tells_an_idle_worker_from_a_busy_one_and_one_that_has_ended_from_one_that_never_was() {
    on_both_sides(async |client| {
        let worker = running(client, sleeper(), 1).await[0];
        assert_eq!(client.ping(worker).await, Ok(WorkerStatus::Idle));
        client.send(worker, task(1, HOUR)).await.unwrap();
        // The message and the question go different ways.
        while client.ping(worker).await != Ok(WorkerStatus::Busy) {}
        ended(client, worker).await;
        assert_eq!(client.ping(worker).await, Ok(WorkerStatus::Absent));
        let never = client.ping(WorkerId::new(1, 77)).await;
        assert_eq!(never.unwrap_err().code, DenialCode::NotFound);
    })
    .await;
}

#[tokio::test]
async fn the_workers_of_a_client_are_listed_with_their_key_channel_and_mail_until_they_have_ended() {
    on_both_sides(async |client| {
        let module = uploaded(client, sleeper()).await;
        let worker = client.spawn(module).anywhere(1).await.unwrap()[0];
        joined(client, 1).await;
        client.send(worker, task(1, HOUR)).await.unwrap();
        let listed = workers_until(client, |workers| workers[0].unanswered == 1).await;
        let [info] = &listed[..] else { panic!("{listed:?}") };
        assert_eq!((info.id, info.module, &info.state), (worker, module, &WorkerState::Running));
        assert_eq!((info.owner, info.channel), (client.key(), client.channel()));
        assert_eq!((vec![info.host], info.deployment), (hosts(client).await, None));
        ended(client, worker).await;
        assert!(client.workers().await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn workers_of_which_one_never_was_are_not_stopped_and_one_that_has_ended_may_be_stopped_again() {
    on_both_sides(async |client| {
        let worker = running(client, echo(), 1).await[0];
        let stopped = client.stop_workers(&[worker, WorkerId::new(1, 77)], Duration::ZERO).await;
        assert_eq!(stopped.unwrap_err().code, DenialCode::NotFound);
        client.send(worker, "alive").await.unwrap();
        assert_eq!(next_message(client).await, (worker, "alive".into()));
        ended(client, worker).await;
        assert_eq!(client.stop_workers(&[worker], Duration::ZERO).await, Ok(()));
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_is_stopped_answers_the_message_that_it_handles_within_its_grace() {
    on_both_sides(async |client| {
        let worker = running(client, wat::parse_str(THOUGHTFUL).unwrap(), 1).await[0];
        client.send(worker, "answer").await.unwrap();
        // A worker that is busy may still be about to get its message, which a stop would come before.
        let has_begun = async || {
            let logs = Request::WorkerLogs { worker };
            matches!(client.request(logs).await, Ok(Reply::Logs { lines, .. }) if !lines.is_empty())
        };
        while !has_begun().await {
            tokio::task::yield_now().await;
        }
        client.stop_workers(&[worker], HOUR).await.unwrap();
        assert_eq!(next_message(client).await, (worker, "answer".into()));
        assert_eq!(next_end(client).await, (worker, End::Stopped, vec![]));
    })
    .await;
}

#[tokio::test]
async fn when_all_were_stopped_none_is_left_and_each_end_is_still_told() {
    on_both_sides(async |client| {
        client.stop_all(Duration::ZERO).await;
        let workers = running(client, echo(), 3).await;
        client.stop_all(HOUR).await;
        assert_eq!(known(client), [vec![], vec![], workers.clone()]);
        assert!(client.workers().await.unwrap().is_empty());
        for _ in &workers {
            assert_eq!(next_end(client).await.1, End::Stopped);
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_says_goodbye_has_its_workers_stopped() {
    on_both_sides(async |client| {
        let worker = running(client, echo(), 1).await[0];
        client.goodbye(HOUR);
        assert_eq!(next_end(client).await, (worker, End::Stopped, vec![]));
    })
    .await;
}

#[tokio::test]
async fn a_client_at_work_was_not_sent_away_and_has_every_role_that_it_needs() {
    on_both_sides(async |client| {
        running(client, echo(), 1).await;
        assert_eq!(client.sent_away(), None);
        assert!(client.roles().is_none_or(|roles| roles.has(wasm_grid::Role::Admin)));
    })
    .await;
}

#[tokio::test]
async fn workers_that_cannot_be_are_denied_with_the_same_code_and_none_is_started() {
    on_both_sides(async |client| {
        let module = uploaded(client, echo()).await;
        let spawn = || client.spawn(module);
        let labels = (0..=LABELS_MAX).fold(spawn(), |spawn, _| spawn.label("one", "of many"));
        let nowhere = SecretKey::from_seed(&[9; 32]).public();
        let arguments = |length| spawn().arguments(vec![0; length]);
        let tried = [
            ("no worker", spawn().anywhere(0).await, DenialCode::BadRequest),
            ("too many", spawn().anywhere(u32::MAX).await, DenialCode::BadRequest),
            ("one more than slots", spawn().anywhere(SLOTS + 1).await, DenialCode::NoCapacity),
            ("no host", spawn().on(&[]).await, DenialCode::BadRequest),
            ("a host that never was", spawn().on(&[nowhere]).await, DenialCode::NoCapacity),
            ("no such module", client.spawn(Digest::of(b"")).anywhere(1).await, DenialCode::NotFound),
            ("no such label", spawn().label("no", "such").anywhere(1).await, DenialCode::NoCapacity),
            (
                "a wall that one host has and no label",
                spawn().require_wall(Wall::Process).label("no", "such").anywhere(1).await,
                DenialCode::NoCapacity,
            ),
            (
                "walls that one host has and no label",
                spawn().require_walls().label("no", "such").anywhere(1).await,
                DenialCode::NoCapacity,
            ),
            ("too many labels", labels.anywhere(1).await, DenialCode::BadRequest),
            ("too much memory", spawn().memory(1 << 60).anywhere(1).await, DenialCode::NoCapacity),
            ("long arguments", arguments(ARGUMENTS_BYTES_MAX + 1).anywhere(1).await, DenialCode::BadRequest),
            ("longer than a frame", arguments(2 << 20).anywhere(1).await, DenialCode::BadRequest),
        ];
        for (what, spawned, code) in tried {
            assert_eq!(spawned.unwrap_err().code, code, "{what}");
        }
        assert!(client.workers().await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_worker_runs_on_the_host_that_was_named_with_the_arguments_that_it_was_given() {
    on_both_sides(async |client| {
        let host = hosts(client).await[0];
        let module = uploaded(client, actor()).await;
        let worker = client.spawn(module).arguments("given").on(&[host]).await.unwrap()[0];
        let expected = Event::Joined { worker, host, module, replaces: None };
        assert_eq!(client.next_event().await, expected);
        client.send(worker, "").await.unwrap();
        assert_eq!(next_message(client).await, (worker, "given".into()));
    })
    .await;
}

/// Starts a worker, sends it a message that ends it, and gives the end.
async fn end_after(client: &Client, spawn: SpawnBuilder, message: Vec<u8>) -> End {
    let worker = spawn.anywhere(1).await.unwrap()[0];
    client.send(worker, message.clone()).await.unwrap();
    let (left, end, unanswered) = next_end(client).await;
    assert_eq!((left, unanswered), (worker, vec![message.into()]));
    end
}

#[tokio::test]
async fn a_worker_ends_as_its_settings_say_and_its_last_message_comes_back() {
    on_both_sides(async |client| {
        let spins = uploaded(client, busy()).await;
        let sleeps = uploaded(client, sleeper()).await;
        let traps = uploaded(client, actor()).await;
        let limits = LimitsAsked { call_ms: Some(100), ..LimitsAsked::default() };
        let over = end_after(client, client.spawn(spins).limits(limits), task(1, Duration::ZERO)).await;
        assert_eq!(over.label(), "time-limit");
        let silent =
            end_after(client, client.spawn(sleeps).ttl(Duration::from_millis(1)), task(1, HOUR)).await;
        assert!(matches!(silent, End::Silent { .. }), "{silent:?}");
        let trapped = end_after(client, client.spawn(traps), b"trap".to_vec()).await;
        assert_eq!(trapped.label(), "trap");
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_fails_is_replaced_as_often_as_its_restart_policy_says() {
    on_both_sides(async |client| {
        let module = uploaded(client, actor()).await;
        let restart = Restart::OnFailure { at_most: 1 };
        let first = client.spawn(module).restart(restart).anywhere(1).await.unwrap()[0];
        client.send(first, "trap").await.unwrap();
        assert_eq!(next_end(client).await.0, first);
        let replacement = |event| match event {
            Event::Joined { worker, replaces, .. } => Some((worker, replaces)),
            _ => None,
        };
        let (second, replaces) = next_of(client, replacement).await;
        assert_eq!(replaces, Some(first));
        client.send(second, "trap").await.unwrap();
        assert_eq!(next_end(client).await.0, second);
        assert!(client.workers().await.unwrap().is_empty());
        let mut dead = [first, second];
        dead.sort();
        assert_eq!(known(client), [vec![], vec![], dead.to_vec()]);
    })
    .await;
}

#[tokio::test]
async fn a_deployment_has_a_worker_in_every_slot_until_it_is_removed_and_is_removed_once() {
    on_both_sides(async |client| {
        let module = uploaded(client, actor()).await;
        let deployment = client.spawn(module).every_slot().await.unwrap();
        joined(client, SLOTS).await;
        let workers = client.workers().await.unwrap();
        assert_eq!(workers.len(), SLOTS as usize);
        assert!(workers.iter().all(|worker| worker.deployment == Some(deployment)), "{workers:?}");
        client.send(workers[0].id, "trap").await.unwrap();
        joined(client, 1).await;
        client.remove_deployment(deployment).await.unwrap();
        for _ in 0..SLOTS {
            assert_eq!(next_end(client).await.1, End::Stopped);
        }
        assert!(client.workers().await.unwrap().is_empty());
        for gone in [deployment, DeploymentId(77)] {
            assert_eq!(client.remove_deployment(gone).await.unwrap_err().code, DenialCode::NotFound);
        }
    })
    .await;
}
