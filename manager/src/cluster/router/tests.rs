use grid_protocol::client::Channel;
use grid_protocol::frame::Splitter;
use grid_protocol::host::{Position, Resume};
use grid_protocol::id::SessionId;
use grid_protocol::key::SecretKey;
use grid_protocol::limits::{MAIL_FRAME_BYTES_MAX, MAIL_STREAMS};
use grid_protocol::link::WINDOW_MESSAGES_MAX;

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

/// A program of the client, whose messages are their numbers.
#[derive(Default)]
struct ClientProgram(Link);

impl ClientProgram {
    /// Starts anew, and remembers nothing.
    fn start(router: &mut MessageRouter, owner: Owner) -> Self {
        router.client_attached(owner, SessionId([2; 16]), None, Moment::ZERO).unwrap().unwrap();
        Self::default()
    }

    fn send(&mut self, router: &mut MessageRouter, owner: Owner, worker: WorkerId, number: usize) {
        let sent = self.0.push(MessageKind::Message, number.to_string().into(), ());
        let (seq, kind, settled) = (sent.seq, sent.kind, 0);
        let frame = MailFrame::Inline { worker, seq, settled, kind, payload: &sent.payload };
        router.handle_client_frame(owner, frame, &sent.payload).unwrap();
    }
}

/// What a host reads of one worker's messages.
struct ReadingHost {
    queue: PeerQueueId,
    link: Link,
}

impl ReadingHost {
    /// The host of a worker, which runs.
    fn of(router: &mut MessageRouter, worker: WorkerId) -> Self {
        let route = router.routes.get_mut(&worker).unwrap();
        route.started = true;
        let queue = route.host;
        router.host_connected(queue, &[]).unwrap();
        Self { queue, link: Link::default() }
    }

    /// Handles all messages that were sent to it, and acknowledges them; the numbers in them.
    fn handle(&mut self, router: &mut MessageRouter) -> Vec<usize> {
        let mut lanes: [Vec<u8>; MAIL_STREAMS] = Default::default();
        router.queues.up(self.queue).unwrap().mail.take(&mut lanes, &mut Default::default());
        let mut numbers = Vec::new();
        for lane in lanes {
            let mut splitter = Splitter::new(MAIL_FRAME_BYTES_MAX);
            splitter.feed(lane.into());
            let Some(batch) = splitter.next_batch().unwrap() else { continue };
            for body in batch.bodies() {
                let frame = MailFrame::decode(body).unwrap();
                let worker = frame.worker();
                drop(frame.deliver(batch.buffer(), &mut self.link).expect("the manager keeps the rules"));
                while let Some(delivery) = self.link.take_arrival() {
                    numbers.push(String::from_utf8_lossy(&delivery.payload).parse().unwrap());
                    self.link.finish(delivery.seq);
                }
                let settled = self.link.acknowledge();
                let settles = MailFrame::Settled { worker, settled };
                router.handle_host_frame(self.queue, settles, &Bytes::new(), Moment::ZERO).unwrap();
            }
        }
        numbers
    }
}

#[test]
fn what_earlier_programs_of_a_client_have_waiting_reaches_the_worker_once_and_before_what_the_next_one_sends()
{
    let (mut router, owner, worker) = with_a_client(SessionId([1; 16]));
    let mut host = ReadingHost::of(&mut router, worker);
    // The first program fills the worker's window, and the second what the manager holds for it beyond that.
    let window = WINDOW_MESSAGES_MAX;
    for program in 0..2 {
        let mut client = ClientProgram::start(&mut router, owner);
        (0..window).for_each(|n| client.send(&mut router, owner, worker, program * window + n));
    }
    let mut client = ClientProgram::start(&mut router, owner);
    client.send(&mut router, owner, worker, 2 * window);
    assert_eq!(router.counts(worker).0 as usize, 2 * window, "all of them wait");
    let mut numbers = Vec::new();
    for _ in 0..4 {
        numbers.extend(host.handle(&mut router));
    }
    assert!(numbers.iter().copied().eq(0..=2 * window), "{} came", numbers.len());
}

#[test]
fn a_client_that_fills_its_window_and_starts_anew_again_and_again_has_one_window_kept_beyond_the_workers() {
    let (mut router, owner, worker) = with_a_client(SessionId([1; 16]));
    let mut host = ReadingHost::of(&mut router, worker);
    let window = WINDOW_MESSAGES_MAX;
    for program in 0..6 {
        let mut client = ClientProgram::start(&mut router, owner);
        (0..window).for_each(|n| client.send(&mut router, owner, worker, program * window + n));
        assert!(router.counts(worker).0 as usize <= 2 * window);
    }
    let mut numbers = Vec::new();
    for _ in 0..5 {
        numbers.extend(host.handle(&mut router));
    }
    let kept = (0..2 * window).chain(5 * window..6 * window);
    assert!(numbers.iter().copied().eq(kept), "the oldest, and those of the program that runs");
}

#[test]
fn what_is_left_over_reaches_the_worker_though_its_client_is_gone_for_good_and_not_after_its_end() {
    for ends in [false, true] {
        let (mut router, owner, worker) = with_a_client(SessionId([1; 16]));
        let mut host = ReadingHost::of(&mut router, worker);
        let window = WINDOW_MESSAGES_MAX;
        for program in 0..3 {
            let mut client = ClientProgram::start(&mut router, owner);
            let sends = if program < 2 { window } else { 0 };
            (0..sends).for_each(|n| client.send(&mut router, owner, worker, program * window + n));
        }
        let generation = router.client_attached(owner, SessionId([3; 16]), None, Moment::ZERO);
        router.client_detached(owner, generation.unwrap().unwrap().generation, Moment::ZERO);
        let later = Moment::ZERO + Duration::from_secs(61);
        assert_eq!(router.clear_abandoned(later, Duration::from_secs(60)), [owner]);
        if ends {
            // An answer is still to come, so that the route stays.
            router.ended_at(worker, 1, 0);
            router.left(worker, End::Stopped);
            assert!(router.routes.contains_key(&worker));
        }
        let mut numbers = host.handle(&mut router);
        numbers.extend(host.handle(&mut router));
        let expected = if ends { window } else { 2 * window };
        assert!(numbers.iter().copied().eq(0..expected), "{} came", numbers.len());
    }
}
