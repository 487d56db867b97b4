//! The session: the client's end of its workers' mail, which outlives each connection.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use grid_protocol::client::ClientEnd;
use grid_protocol::event::Event;
use grid_protocol::host::{Position, Resume};
use grid_protocol::id::{SessionId, WorkerId};
use grid_protocol::link::Link;
use grid_protocol::mail::{BulkHead, MailFrame};
use grid_protocol::session::{self, Links, MailSession, PendingEnd};
use grid_protocol::uncollected::{Collectable, Uncollected};
use grid_protocol::worker::End;

/// What a client keeps of its session from one connection to the next.
#[derive(Default)]
pub(crate) struct Session {
    pub(crate) session: Option<SessionId>,
    pub(crate) control: ClientEnd,
    pub(crate) links: BTreeMap<WorkerId, SessionWorker>,
    pub(crate) mail: MailSession,
    pub(crate) waiting: Uncollected,
    over: Finished,
}

/// Workers whose end was collected, and how many of their messages had come: the manager may not have heard of the last
/// acknowledgement when a connection breaks, and would send those messages again.
#[derive(Default)]
struct Finished {
    received: BTreeMap<WorkerId, u64>,
    oldest: VecDeque<WorkerId>,
}

/// Ended workers that are remembered: 20 bytes each where a session is resumed, of a frame of 1 MiB. What is older was
/// acknowledged long ago.
const FINISHED_MAX: usize = 16_384;

impl Finished {
    fn add(&mut self, worker: WorkerId, received: u64) {
        if self.received.insert(worker, received).is_none() {
            self.oldest.push_back(worker);
        }
        if self.oldest.len() > FINISHED_MAX
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.received.remove(&oldest);
        }
    }

    /// Keeps those that the manager still knows.
    fn retain(&mut self, known: impl Fn(WorkerId) -> bool) {
        self.oldest.retain(|worker| known(*worker));
        self.received.retain(|worker, _| known(*worker));
    }
}

/// One worker's mail, and its end once it has ended.
#[derive(Default)]
pub(crate) struct SessionWorker {
    pub(crate) link: Link,
    pub(crate) queued: bool,
    pub(crate) ending: Option<PendingEnd>,
}

impl SessionWorker {
    /// True once the worker has ended, all of its mail has arrived, and [`Event::Left`] is queued.
    pub(crate) fn is_over(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.end.is_none())
    }
}

/// The links of a client's workers.
struct SessionLinks<'a>(&'a mut BTreeMap<WorkerId, SessionWorker>);

impl Links<()> for SessionLinks<'_> {
    fn with<R>(&mut self, worker: WorkerId, change: impl FnOnce(&mut Link) -> R) -> Option<R> {
        self.0.get_mut(&worker).map(|known| change(&mut known.link))
    }
}

impl Session {
    /// Ends every worker as lost with its host, because the manager has forgotten the session.
    pub(crate) fn forget_everything(&mut self) {
        self.control = ClientEnd::default();
        let workers: Vec<_> = self.links.keys().copied().collect();
        for worker in workers {
            let Some(known) = self.links.get_mut(&worker) else {
                continue;
            };
            if known.ending.as_ref().is_none_or(|ending| ending.end.is_some()) {
                let sent = known.link.position();
                known.ending = Some(PendingEnd { end: Some(End::HostLost), sent, settled: 0 });
                self.check_end(worker);
            }
        }
    }

    pub(crate) fn check_end(&mut self, worker: WorkerId) {
        let Some(known) = self.links.get_mut(&worker) else {
            return;
        };
        if let Some(ending) = &mut known.ending
            && let Some((end, _settled)) = ending.take(&mut known.link)
        {
            self.waiting.push(Collectable::Left(worker, end));
        }
    }

    pub(crate) fn collect(&mut self, most: usize, out: &mut Vec<Event>) {
        while out.len() < most {
            match self.waiting.pop() {
                None => break,
                Some(Collectable::Joined(event)) => out.push(event),
                Some(Collectable::Left(worker, end)) => {
                    out.push(self.close(worker, end));
                }
                Some(Collectable::Messages(worker)) => self.take_mail(worker, most, out),
            }
        }
        for worker in self.mail.take_owing() {
            if let Some(known) = self.links.get_mut(&worker) {
                self.mail.settle(worker, &mut known.link);
            }
        }
    }

    /// Forgets a worker that has ended; the last event about it.
    fn close(&mut self, worker: WorkerId, end: End) -> Event {
        let Some(mut known) = self.links.remove(&worker) else {
            return Event::Left { worker, end, unanswered: Vec::new() };
        };
        self.mail.settle(worker, &mut known.link);
        self.over.add(worker, known.link.position());
        let unsettled = known.link.take_unsettled();
        Event::Left { worker, end, unanswered: unsettled.into_iter().map(|sent| sent.payload).collect() }
    }

    /// The manager has started these workers for this client: messages may be sent to them.
    pub(crate) fn expect(&mut self, worker: WorkerId) {
        if !self.over.received.contains_key(&worker) {
            self.links.entry(worker).or_default();
        }
    }

    /// What this end remembers, for the manager to go on from.
    pub(crate) fn offer(&mut self) -> Option<Resume> {
        let session = self.session?;
        let control = self.control.position();
        let finished = self.over.received.iter().map(|(worker, received)| (*worker, *received));
        let mut workers: Vec<_> = finished.map(|(worker, received)| Position { worker, received }).collect();
        let linked: Vec<_> = self.links.keys().copied().collect();
        workers.extend(session::positions(&mut SessionLinks(&mut self.links), linked));
        Some(Resume { session, control, workers })
    }

    /// A connection stands, and the manager says what it remembers; `resumed` if it is of this session. Everything is
    /// checked before anything changes.
    ///
    /// # Errors
    ///
    /// In words: the manager claims what was never sent to it.
    pub(crate) fn connected(&mut self, state: Option<&Resume>, resumed: bool) -> Result<(), String> {
        let mut links = SessionLinks(&mut self.links);
        let Some(state) = state else {
            self.mail.connect(&mut links, &[]);
            return Ok(());
        };
        if resumed {
            session::check(&self.control, &mut links, state).map_err(|error| error.to_string())?;
            self.control.resume(state.control).map_err(|error| error.to_string())?;
            let theirs = session::positions_of_peer(links.0.keys().copied(), &state.workers);
            self.mail.connect(&mut links, &theirs);
        } else {
            self.mail.connect(&mut links, &[]);
            self.forget_everything();
            self.session = Some(state.session);
        }
        let known: BTreeSet<_> = state.workers.iter().map(|at| at.worker).collect();
        self.over.retain(|worker| known.contains(&worker));
        // Workers that an earlier program of this channel has left behind.
        known.into_iter().for_each(|worker| self.expect(worker));
        Ok(())
    }

    pub(crate) fn take_mail(&mut self, worker: WorkerId, most: usize, out: &mut Vec<Event>) {
        let Some(known) = self.links.get_mut(&worker) else {
            return;
        };
        self.mail.owe(worker);
        while out.len() < most {
            let Some(delivery) = known.link.take_arrival() else {
                known.queued = false;
                return;
            };
            known.link.finish(delivery.seq);
            out.push(Event::of(worker, delivery));
        }
        self.waiting.put_back(Collectable::Messages(worker));
    }

    pub(crate) fn arrivals(&mut self, worker: WorkerId) {
        if let Some(known) = self.links.get_mut(&worker)
            && !known.queued
            && known.link.has_ready_arrival()
        {
            known.queued = true;
            self.waiting.push(Collectable::Messages(worker));
        }
        self.check_end(worker);
    }

    /// A large message has arrived whole on its own stream, before or after the frame that announces it.
    pub(crate) fn handle_bulk(&mut self, head: BulkHead, payload: Bytes) -> Result<(), String> {
        if self.over.received.contains_key(&head.worker) {
            return Ok(());
        }
        let known = self.links.entry(head.worker).or_default();
        known.link.fulfil(head.seq, payload).map_err(|error| error.to_string())?;
        self.arrivals(head.worker);
        Ok(())
    }

    /// Handles a frame of the manager, whose body borrows from `buffer`.
    pub(crate) fn handle_frame(&mut self, body: &[u8], buffer: &Bytes) -> Result<(), String> {
        let frame = MailFrame::decode(body).map_err(|error| error.to_string())?;
        let worker = frame.worker();
        if self.over.received.contains_key(&worker) {
            return Ok(());
        }
        // The first message of a worker may overtake the event that it has joined; an acknowledgement follows a message of
        // this client's, which sends none to a worker that it does not know.
        let known = match self.links.entry(worker) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) if frame.has_message() => place.insert(SessionWorker::default()),
            Entry::Vacant(_) => return Ok(()),
        };
        frame.deliver(buffer, &mut known.link).map_err(|error| error.to_string())?;
        self.arrivals(worker);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use grid_protocol::limits::MAIL_STREAMS;
    use grid_protocol::link::MessageKind;
    use grid_protocol::send_queue::SendQueue;

    use super::*;

    fn worker() -> WorkerId {
        WorkerId::new(1, 1)
    }

    /// A session with a connection, and one worker whose end and only message wait to be collected.
    fn with_an_end() -> (Session, Bytes) {
        let mut session = Session::default();
        let state = Resume { session: SessionId([1; 16]), control: 0, workers: Vec::new() };
        session.connected(Some(&state), false).unwrap();
        session.expect(worker());
        let mut link: Link = Link::default();
        let sent = link.push(MessageKind::Message, Bytes::from_static(b"answer"), ());
        let mut send_queue = SendQueue::default();
        send_queue.put(worker(), sent, 0);
        let frame = frames(|lanes| send_queue.take_lanes(lanes)).remove(0);
        session.handle_frame(&frame, &frame).unwrap();
        let known = session.links.get_mut(&worker()).unwrap();
        known.ending = Some(PendingEnd { end: Some(End::Stopped), sent: 1, settled: 0 });
        session.check_end(worker());
        (session, frame)
    }

    /// The bodies of the frames that wait in a queue.
    fn frames(take: impl FnOnce(&mut [Vec<u8>; MAIL_STREAMS])) -> Vec<Bytes> {
        let mut lanes: [Vec<u8>; MAIL_STREAMS] = Default::default();
        take(&mut lanes);
        let mut bodies = Vec::new();
        for lane in lanes {
            let mut splitter = grid_protocol::frame::Splitter::new(1 << 20);
            splitter.feed(lane.into());
            while let Some(body) = splitter.next_frame().unwrap() {
                bodies.push(body);
            }
        }
        bodies
    }

    fn collected(session: &mut Session) -> Vec<Event> {
        let mut events = Vec::new();
        session.collect(10, &mut events);
        events
    }

    #[test]
    fn the_last_message_of_a_worker_is_acknowledged_though_its_end_was_collected_with_it() {
        let (mut session, _) = with_an_end();
        assert_eq!(collected(&mut session).len(), 2);
        let settled =
            |body: &Bytes| matches!(MailFrame::decode(body), Ok(MailFrame::Settled { settled: 1, .. }));
        let sent = frames(|lanes| session.mail.take(lanes, &mut VecDeque::new()));
        assert!(sent.iter().any(settled));
    }

    #[test]
    fn a_message_of_an_ended_worker_comes_once_though_the_connection_broke_before_it_was_acknowledged() {
        let (mut session, frame) = with_an_end();
        session.mail.disconnect();
        assert_eq!(collected(&mut session).len(), 2);
        let offer = session.offer().unwrap();
        assert_eq!(offer.workers, [Position { worker: worker(), received: 1 }], "the manager hears of it");
        let workers = vec![Position { worker: worker(), received: 0 }];
        let state = Resume { session: SessionId([1; 16]), control: 0, workers };
        session.connected(Some(&state), true).unwrap();
        session.handle_frame(&frame, &frame).unwrap();
        session
            .handle_bulk(BulkHead { worker: worker(), seq: 1, length: 4 }, Bytes::from_static(b"late"))
            .unwrap();
        assert_eq!(collected(&mut session), []);
        assert!(!session.links.contains_key(&worker()));
    }

    #[test]
    fn a_manager_that_has_forgotten_a_worker_makes_its_client_forget_it() {
        let (mut session, _) = with_an_end();
        assert_eq!(collected(&mut session).len(), 2);
        let state = Resume { session: SessionId([1; 16]), control: 0, workers: Vec::new() };
        session.connected(Some(&state), true).unwrap();
        assert_eq!(session.offer().unwrap().workers, []);
    }

    #[test]
    fn a_resumption_that_claims_what_was_never_sent_changes_nothing() {
        let (mut session, _) = with_an_end();
        let other = WorkerId::new(1, 2);
        session.expect(other);
        let sent = session.links.get_mut(&other).unwrap().link.push(MessageKind::Message, Bytes::new(), ());
        assert_eq!(sent.seq, 1);
        session.mail.disconnect();
        for (control, received) in [(7, 1), (0, 2)] {
            let workers = vec![Position { worker: other, received }];
            let state = Resume { session: SessionId([1; 16]), control, workers };
            assert!(session.connected(Some(&state), true).is_err());
            assert!(!session.mail.is_connected());
            assert_eq!(session.links.get(&other).unwrap().link.unsettled().len(), 1, "nothing is settled");
        }
    }

    #[test]
    fn a_worker_that_joined_is_taken_before_the_messages_of_others_which_stay() {
        let (mut session, _) = with_an_end();
        let host = grid_protocol::key::SecretKey::from_seed(&[1; 32]).public();
        let module = grid_protocol::digest::Digest::from_bytes([0; 32]);
        let joined = Event::Joined { worker: WorkerId::new(1, 2), host, module, replaces: None };
        session.waiting.push(Collectable::Joined(joined.clone()));
        assert_eq!(
            session.waiting.changes().collect::<Vec<_>>(),
            [(worker(), false), (WorkerId::new(1, 2), true)]
        );
        assert_eq!(session.waiting.take_joined(), Some(joined));
        assert_eq!(collected(&mut session).len(), 2);
    }
}
