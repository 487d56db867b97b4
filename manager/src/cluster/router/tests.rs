use grid_protocol::client::Channel;
use grid_protocol::host::{Position, Resume};
use grid_protocol::id::SessionId;
use grid_protocol::key::SecretKey;

use super::*;

#[test]
fn a_worker_that_ended_is_told_of_though_its_host_died_with_the_last_of_its_mail() {
    let owner = Owner { key: SecretKey::from_seed(&[1; 32]).public(), channel: Channel(1) };
    let (worker, now) = (WorkerId::new(1, 1), Moment::ZERO);
    let mut router = MessageRouter::default();
    router.open_local(owner);
    let queue = router.queues.add();
    router.open(worker, owner, queue, Duration::ZERO, now);
    router.ended_at(worker, 3, 0);
    router.left(worker, End::Stopped);
    let told = |router: &mut MessageRouter| {
        let mut events = Vec::new();
        router.collect(owner, 10, &mut events);
        events
    };
    assert_eq!(told(&mut router).len(), 0, "three messages may still come");
    router.host_gone(queue);
    let events = told(&mut router);
    assert!(matches!(events[..], [Event::Left { end: End::Stopped, .. }]), "{events:?}");
}

#[test]
fn a_message_whose_answer_died_with_the_host_is_given_back_though_the_worker_said_that_it_handled_it() {
    let owner = Owner { key: SecretKey::from_seed(&[1; 32]).public(), channel: Channel(1) };
    let (worker, now) = (WorkerId::new(1, 1), Moment::ZERO);
    let unanswered_of = |sent_by_worker: u64| {
        let mut router = MessageRouter::default();
        router.open_local(owner);
        let queue = router.queues.add();
        router.open(worker, owner, queue, Duration::ZERO, now);
        for message in ["one", "other"] {
            router.send(owner, worker, message.into()).unwrap();
        }
        router.ended_at(worker, sent_by_worker, 2);
        router.left(worker, End::Stopped);
        router.host_gone(queue);
        let mut events = Vec::new();
        router.collect(owner, 10, &mut events);
        match events.pop() {
            Some(Event::Left { unanswered, .. }) => unanswered.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(unanswered_of(0), 0, "it had nothing to say, and has handled both");
    assert_eq!(unanswered_of(2), 2, "its answers are lost");
}

/// A router with a client elsewhere, and a worker of it that has been sent nothing.
fn with_a_client(session: SessionId) -> (MessageRouter, Owner, WorkerId) {
    let owner = Owner { key: SecretKey::from_seed(&[1; 32]).public(), channel: Channel(7) };
    let (worker, now) = (WorkerId::new(1, 1), Moment::ZERO);
    let mut router = MessageRouter::default();
    router.client_attached(owner, session, None, now).unwrap().unwrap();
    let queue = router.queues.add();
    router.open(worker, owner, queue, Duration::ZERO, now);
    (router, owner, worker)
}

#[test]
fn a_client_that_claims_what_was_never_sent_to_it_changes_nothing() {
    let session = SessionId([1; 16]);
    let (mut router, owner, worker) = with_a_client(session);
    let generation = |router: &MessageRouter| match router.client_sessions.get(&owner) {
        Some(ClientSession::Remote(client)) => (client.generation, client.gone_since),
        _ => panic!("it has a session"),
    };
    let before = generation(&router);
    for (control, received) in [(9, 0), (0, 9)] {
        let workers = vec![Position { worker, received }];
        let theirs = Resume { session, control, workers };
        assert!(router.client_attached(owner, SessionId([2; 16]), Some(&theirs), Moment::ZERO).is_err());
        assert_eq!(generation(&router), before);
    }
}

#[test]
fn a_client_that_is_gone_for_good_leaves_no_queue_behind() {
    let (mut router, owner, _) = with_a_client(SessionId([1; 16]));
    let queues = router.queues.len();
    router.client_detached(owner, 1, Moment::ZERO);
    let later = Moment::ZERO + Duration::from_secs(61);
    assert_eq!(router.clear_abandoned(later, Duration::from_secs(60)), [owner]);
    assert_eq!(router.queues.len(), queues - 1);
}

#[test]
fn a_worker_that_is_placed_while_its_client_is_gone_for_good_is_there_when_the_client_comes_back() {
    let (mut router, owner, _) = with_a_client(SessionId([1; 16]));
    router.client_detached(owner, 1, Moment::ZERO);
    let later = Moment::ZERO + Duration::from_secs(61);
    router.clear_abandoned(later, Duration::from_secs(60));
    let queue = router.queues.add();
    let refilled = WorkerId::new(1, 2);
    router.open(refilled, owner, queue, Duration::ZERO, later);
    let attached = router.client_attached(owner, SessionId([2; 16]), None, later).unwrap().unwrap();
    assert!(attached.state.workers.iter().any(|position| position.worker == refilled));
}
