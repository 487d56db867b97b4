//! Messages and events.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::limits::MESSAGE_BYTES_MAX;
use grid_tests::{echo, sleeper};
use wasm_grid::{Client, DenialCode, Event, SendError, WorkerId};

use super::{
    HOUR, actor, ended, joined, next_message, next_of, on_both_sides, running, uploaded, workers_until,
};
use crate::jobs::task;

/// Tries every way to send a message; each must be refused.
async fn refused(client: &Client, worker: WorkerId, message: &Bytes, error: SendError, code: DenialCode) {
    assert_eq!(client.try_send(worker, message.clone()), Err(error));
    assert_eq!(client.send(worker, message.clone()).await, Err(error));
    let spread = client.spread(BTreeMap::from([(worker, vec![message.clone(), message.clone()])])).await;
    assert_eq!(spread, BTreeMap::from([(worker, Err(error))]));
    assert_eq!(client.post(worker, message.clone()).await.unwrap_err().code, code);
}

#[tokio::test]
async fn a_message_to_a_worker_that_never_was_or_has_ended_is_refused_however_it_is_sent() {
    on_both_sides(async |client| {
        let never = WorkerId::new(1, 77);
        let lost = Bytes::from("lost");
        refused(client, never, &lost, SendError::Gone(never), DenialCode::NotFound).await;
        let worker = running(client, echo(), 1).await[0];
        ended(client, worker).await;
        refused(client, worker, &lost, SendError::Gone(worker), DenialCode::NotFound).await;
        assert!(client.broadcast("lost").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_however_it_is_sent_and_the_worker_gets_the_next() {
    on_both_sides(async |client| {
        let worker = running(client, echo(), 1).await[0];
        let long = Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1]);
        let too_long = SendError::TooLong { length: long.len(), max: MESSAGE_BYTES_MAX };
        refused(client, worker, &long, too_long, DenialCode::BadRequest).await;
        client.send(worker, "next").await.unwrap();
        assert_eq!(next_message(client).await, (worker, "next".into()));
    })
    .await;
}

/// Fills the window of a worker of `sleeper`, which sleeps over the first message; returns the number of messages.
fn filled(client: &Client, worker: WorkerId, length: usize) -> u64 {
    let mut sent = client.try_send(worker, task(1, HOUR)).unwrap();
    loop {
        match client.try_send(worker, vec![0; length]) {
            Ok(number) => assert_eq!(number, sent + 1),
            Err(error) => {
                assert_eq!(error, SendError::Full(worker));
                return sent;
            }
        }
        sent += 1;
    }
}

#[tokio::test]
async fn a_window_takes_4096_messages_or_4_mib_and_its_messages_come_back_when_the_worker_ends() {
    on_both_sides(async |client| {
        let module = uploaded(client, sleeper()).await;
        for (length, most) in [(0, 4096), (1 << 20, 5), (5 << 20, 2)] {
            let worker = client.spawn(module).anywhere(1).await.unwrap()[0];
            joined(client, 1).await;
            assert_eq!(filled(client, worker, length), most, "messages of {length} bytes");
            let unanswered = ended(client, worker).await;
            assert_eq!(unanswered.len() as u64, most, "messages of {length} bytes");
            assert_eq!(unanswered[0], task(1, HOUR));
        }
    })
    .await;
}

#[tokio::test]
async fn what_waits_for_room_is_refused_when_the_worker_ends() {
    on_both_sides(async |client| {
        let worker = running(client, sleeper(), 1).await[0];
        let sent = filled(client, worker, 0);
        workers_until(client, |workers| u64::from(workers[0].unanswered) == sent).await;
        let stop = client.stop_workers(std::slice::from_ref(&worker), Duration::ZERO);
        let (sent, posted, stopped) =
            tokio::join!(client.send(worker, "one more"), client.post(worker, "and another"), stop);
        stopped.unwrap();
        assert_eq!(sent, Err(SendError::Gone(worker)));
        assert_eq!(posted.unwrap_err().code, DenialCode::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_send_that_waits_for_room_gets_it_and_what_was_sent_is_answered_in_order() {
    on_both_sides(async |client| {
        let worker = running(client, echo(), 1).await[0];
        let sent = async {
            for number in 1..=6000u64 {
                assert_eq!(client.send(worker, number.to_le_bytes().to_vec()).await, Ok(number));
            }
        };
        let answered = async {
            for number in 1..=6000u64 {
                assert_eq!(next_message(client).await, (worker, number.to_le_bytes().to_vec().into()));
            }
        };
        tokio::join!(sent, answered);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_fails_is_told_with_its_number_and_its_reason() {
    on_both_sides(async |client| {
        let worker = running(client, actor(), 1).await[0];
        client.send(worker, "good").await.unwrap();
        let bad = client.send(worker, "f: it is bad").await.unwrap();
        let failed = |event| match event {
            Event::Failed { worker, message, reason } => Some((worker, message, reason)),
            _ => None,
        };
        assert_eq!(next_of(client, failed).await, (worker, bad, "f: it is bad".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn what_is_posted_is_answered_to_the_channel_of_the_worker() {
    on_both_sides(async |client| {
        let worker = running(client, echo(), 1).await[0];
        let long = Bytes::from(vec![7; 100_000]);
        for message in ["short".into(), long] {
            client.post(worker, message.clone()).await.unwrap();
            assert_eq!(next_message(client).await, (worker, message));
        }
    })
    .await;
}

#[tokio::test]
async fn a_broadcast_reaches_each_active_worker_once() {
    on_both_sides(async |client| {
        let workers = running(client, echo(), 3).await;
        ended(client, workers[0]).await;
        let sent = client.broadcast("to all").await;
        assert_eq!(sent, BTreeMap::from([(workers[1], Ok(1)), (workers[2], Ok(1))]));
        let mut answered = [next_message(client).await, next_message(client).await];
        answered.sort();
        assert_eq!(answered, [(workers[1], "to all".into()), (workers[2], "to all".into())]);
    })
    .await;
}

#[tokio::test]
async fn messages_that_are_spread_reach_each_worker_in_order_and_those_of_one_that_is_gone_hold_up_none() {
    on_both_sides(async |client| {
        let workers = running(client, echo(), 2).await;
        let never = WorkerId::new(0, 1);
        let messages =
            BTreeMap::from([(workers[0], vec!["a", "b"]), (workers[1], vec!["c"]), (never, vec!["d"])]);
        let sent = client.spread(messages.clone()).await;
        let gone = Err(SendError::Gone(never));
        assert_eq!(sent, BTreeMap::from([(workers[0], Ok(())), (workers[1], Ok(())), (never, gone)]));
        let mut answered: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for _ in 0..3 {
            let (worker, message) = next_message(client).await;
            answered.entry(worker).or_default().push(message);
        }
        assert_eq!(answered[&workers[0]], messages[&workers[0]]);
        assert_eq!(answered[&workers[1]], messages[&workers[1]]);
    })
    .await;
}

#[tokio::test]
async fn what_is_collected_are_the_messages_and_other_events_stay_queued() {
    on_both_sides(async |client| {
        let module = uploaded(client, echo()).await;
        let worker = client.spawn(module).anywhere(1).await.unwrap()[0];
        for message in ["one", "two"] {
            client.send(worker, message).await.unwrap();
        }
        let mut collected = Vec::new();
        while collected.len() < 2 {
            collected.extend(client.collect().remove(&worker).unwrap_or_default());
            // Each look is a request.
            client.ping(worker).await.unwrap();
        }
        assert_eq!(collected, ["one", "two"]);
        joined(client, 1).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_flushed_are_the_messages_and_no_other_event() {
    on_both_sides(async |client| {
        let module = uploaded(client, echo()).await;
        let worker = client.spawn(module).anywhere(1).await.unwrap()[0];
        client.send(worker, "dropped").await.unwrap();
        workers_until(client, |workers| workers[0].uncollected == 1).await;
        workers_until(client, |workers| {
            client.flush();
            workers[0].uncollected == 0
        })
        .await;
        assert!(client.collect().is_empty());
        client.send(worker, "kept").await.unwrap();
        assert!(matches!(client.next_event().await, Event::Joined { .. }));
        assert_eq!(next_message(client).await, (worker, "kept".into()));
    })
    .await;
}

#[tokio::test]
async fn events_that_are_taken_together_are_all_that_came_and_each_comes_once() {
    on_both_sides(async |client| {
        let module = uploaded(client, echo()).await;
        let worker = client.spawn(module).anywhere(1).await.unwrap()[0];
        for number in 0..100u8 {
            client.send(worker, vec![number]).await.unwrap();
        }
        let mut events = Vec::new();
        while events.len() < 101 {
            client.next_events(&mut events).await;
        }
        events.retain(|event| !matches!(event, Event::Joined { .. }));
        let message = |number| Event::Message { worker, payload: vec![number].into() };
        assert_eq!(events, (0..100).map(message).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn a_wait_for_an_event_that_is_given_up_loses_none() {
    on_both_sides(async |client| {
        let worker = running(client, echo(), 1).await[0];
        for number in 0..50u8 {
            client.send(worker, vec![number]).await.unwrap();
            loop {
                tokio::select! {
                    biased;
                    (_, message) = next_message(client) => {
                        assert_eq!(message, vec![number]);
                        break;
                    }
                    pinged = client.ping(worker) => drop(pinged.unwrap()),
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_worker_is_quiet_only_once_its_answers_have_come_or_it_has_ended() {
    on_both_sides(async |client| {
        assert!(client.is_quiet(WorkerId::new(1, 77)), "it never was");
        let echoing = running(client, echo(), 1).await[0];
        let long = Bytes::from(vec![7; 1_000_000]);
        client.send(echoing, long.clone()).await.unwrap();
        while !client.is_quiet(echoing) {
            client.settled().await;
        }
        assert_eq!(client.collect()[&echoing], [long]);
        let sleeping = running(client, sleeper(), 1).await[0];
        client.send(sleeping, task(1, HOUR)).await.unwrap();
        client.settled().await;
        assert!(!client.is_quiet(sleeping), "it has not answered");
        ended(client, sleeping).await;
        assert!(client.is_quiet(sleeping), "it has ended");
    })
    .await;
}
