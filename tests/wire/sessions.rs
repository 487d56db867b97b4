//! Random histories of two sessions, of a manager and its client: messages both ways, connections that break with what
//! was on its way, frames that come twice, resumptions, workers that end. Whatever happens, each message is handed out
//! once and in order, or is among those that an ended worker has left unanswered.
//!
//! `HISTORIES=100000` runs so many; a failure names its seed, and `HISTORY=SEED` runs that one.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use grid_protocol::client::{ClientEnd, ClientEvent, ManagerClientEnd};
use grid_protocol::digest::Digest;
use grid_protocol::frame::Splitter;
use grid_protocol::host::{Position, Resume};
use grid_protocol::id::{SessionId, WorkerId};
use grid_protocol::key::{PublicKey, SecretKey};
use grid_protocol::limits::{INLINE_BYTES_MAX, MAIL_FRAME_BYTES_MAX, MAIL_STREAMS};
use grid_protocol::link::{Link, MessageKind};
use grid_protocol::mail::{BulkHead, MailFrame};
use grid_protocol::session::{self, MailSession, PendingEnd};
use grid_protocol::worker::End;
use grid_tests::Dice;

/// Histories of one run, unless the environment says otherwise.
const HISTORIES: u64 = 2_000;

/// Random steps of one history, and workers in it.
const STEPS: usize = 120;
const WORKERS: u32 = 3;

type Mail = BTreeMap<WorkerId, Link>;

/// What is on its way to one end.
#[derive(Default)]
struct InTransit {
    control: VecDeque<Vec<u8>>,
    lanes: [VecDeque<Bytes>; MAIL_STREAMS],
    large: Vec<(BulkHead, Bytes)>,
}

/// What both ends have alike, and how many messages of each worker were sent and received.
#[derive(Default)]
struct EndOfMail {
    links: Mail,
    mail: MailSession,
    incoming: InTransit,
    sent: BTreeMap<WorkerId, u64>,
    received: BTreeMap<WorkerId, u64>,
}

/// A manager and its client, with what each knows of the workers.
struct SessionHistory {
    dice: Dice,
    payloads: Bytes,
    host: PublicKey,
    opened: u32,
    manager: EndOfMail,
    manager_control: ManagerClientEnd,
    /// Workers that ended, with the number of the last message that each handled.
    ended: BTreeMap<WorkerId, u64>,
    client: EndOfMail,
    client_control: ClientEnd,
    endings: BTreeMap<WorkerId, PendingEnd>,
    /// Workers whose end the client has seen, with what it had received of each, and with the messages that each left
    /// unanswered.
    over: BTreeMap<WorkerId, u64>,
    unanswered: BTreeMap<WorkerId, Vec<u64>>,
}

impl EndOfMail {
    /// Sends a message which is its number in bytes, or so many past the limit of a frame.
    fn send(&mut self, worker: WorkerId, large: bool, payloads: &Bytes) {
        let Some(link) = self.links.get_mut(&worker).filter(|link| link.has_room()) else { return };
        let number = self.sent.entry(worker).or_default();
        *number += 1;
        let length = usize::try_from(*number).unwrap() + if large { INLINE_BYTES_MAX } else { 0 };
        self.mail.send(worker, link, MessageKind::Message, payloads.slice(..length), ());
    }

    /// Takes the next message of a worker, which must be the one after the last.
    fn take(&mut self, worker: WorkerId) {
        let Some(link) = self.links.get_mut(&worker) else { return };
        let Some(delivery) = link.take_arrival() else { return };
        link.finish(delivery.seq);
        self.mail.owe(worker);
        let last = self.received.entry(worker).or_default();
        assert_eq!(number(&delivery.payload), *last + 1, "{worker}");
        *last += 1;
    }

    fn positions(&mut self) -> Vec<Position> {
        let workers: Vec<_> = self.links.keys().copied().collect();
        session::positions(&mut self.links, workers)
    }

    fn connect(&mut self, theirs: &[Position]) {
        let theirs = session::positions_of_peer(self.links.keys().copied(), theirs);
        self.mail.connect(&mut self.links, &theirs);
    }

    fn settle(&mut self) {
        for worker in self.mail.take_owing() {
            if let Some(link) = self.links.get_mut(&worker) {
                self.mail.settle(worker, link);
            }
        }
    }

    /// Brings what waits to the other end, as far as writing it goes.
    fn write(&mut self, to: &mut InTransit) {
        let (mut lanes, mut large): ([Vec<u8>; MAIL_STREAMS], _) = (Default::default(), VecDeque::new());
        self.mail.take(&mut lanes, &mut large);
        for (lane, bytes) in to.lanes.iter_mut().zip(lanes) {
            let mut frames = Splitter::new(MAIL_FRAME_BYTES_MAX);
            frames.feed(bytes.into());
            lane.extend(std::iter::from_fn(|| frames.next_frame().unwrap()));
        }
        to.large.extend(large);
    }
}

/// The number of a message, from its length.
fn number(payload: &Bytes) -> u64 {
    (payload.len() % INLINE_BYTES_MAX) as u64
}

impl SessionHistory {
    fn new(seed: u64) -> Self {
        let (manager, client) = Default::default();
        Self {
            dice: Dice::new(seed),
            payloads: Bytes::from_static(&[7; INLINE_BYTES_MAX + STEPS]),
            host: SecretKey::from_seed(&[1; 32]).public(),
            opened: 0,
            manager,
            manager_control: Default::default(),
            ended: BTreeMap::new(),
            client,
            client_control: Default::default(),
            endings: BTreeMap::new(),
            over: BTreeMap::new(),
            unanswered: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        let worker = WorkerId::new(1, u32::try_from(self.dice.roll(WORKERS as usize)).unwrap());
        let large = self.dice.roll(6) == 0;
        match self.dice.roll(20) {
            0 => self.open(),
            1..=3 => self.client.send(worker, large, &self.payloads),
            4..=6 if !self.ended.contains_key(&worker) => self.manager.send(worker, large, &self.payloads),
            7 | 8 if !self.ended.contains_key(&worker) => self.manager.take(worker),
            9 | 10 => self.take_at_client(worker),
            11 => self.settle(),
            12 if self.dice.roll(8) == 0 => self.end(worker),
            13 if self.dice.roll(4) == 0 => self.cut(),
            14 => self.connect(),
            _ => self.deliver(),
        }
    }

    /// A worker starts; its client is told.
    fn open(&mut self) {
        if self.opened == WORKERS {
            return;
        }
        let worker = WorkerId::new(1, self.opened);
        self.opened += 1;
        self.manager.links.insert(worker, Link::default());
        let module = Digest::from_bytes([0; 32]);
        self.manager_control.send(&ClientEvent::Joined { worker, host: self.host, module, replaces: None });
    }

    /// A worker ends; its client is told how far it was.
    fn end(&mut self, worker: WorkerId) {
        let Some(link) = self.manager.links.get(&worker) else { return };
        if self.ended.insert(worker, link.finished()).is_some() {
            return;
        }
        let (sent, settled) = (link.last_pushed(), link.finished());
        self.manager_control.send(&ClientEvent::Left { worker, end: End::Stopped, sent, settled });
    }

    /// The client takes a message of a worker, or its end after the last.
    fn take_at_client(&mut self, worker: WorkerId) {
        let ready = self.client.links.get(&worker).is_some_and(Link::has_ready_arrival);
        let Some(ending) = self.endings.get_mut(&worker).filter(|_| !ready) else {
            return self.client.take(worker);
        };
        let Some(link) = self.client.links.get_mut(&worker) else { return };
        if ending.take(link).is_none() {
            return;
        }
        self.client.mail.settle(worker, link);
        self.over.insert(worker, link.position());
        let left = link.take_unsettled().iter().map(|sent| number(&sent.payload)).collect();
        self.unanswered.insert(worker, left);
        self.client.links.remove(&worker);
    }

    fn settle(&mut self) {
        self.manager.settle();
        self.client.settle();
    }

    /// The connection breaks, at one end sooner than at the other, with everything that was on its way.
    fn cut(&mut self) {
        let knows = self.dice.roll(3);
        if knows != 0 {
            self.manager.mail.disconnect();
        }
        if knows != 1 {
            self.client.mail.disconnect();
        }
        self.manager.incoming = InTransit::default();
        self.client.incoming = InTransit::default();
    }

    /// The client connects again if an end knows of the loss: both say what they have. Before that, it may have claimed
    /// what was never sent to it, which must change nothing.
    fn connect(&mut self) {
        if self.manager.mail.is_connected() && self.client.mail.is_connected() {
            return;
        }
        self.manager.incoming = InTransit::default();
        self.client.incoming = InTransit::default();
        let over =
            self.over.iter().map(|(worker, received)| Position { worker: *worker, received: *received });
        let mut workers: Vec<_> = over.collect();
        workers.extend(self.client.positions());
        let session = SessionId([1; 16]);
        let offer = Resume { session, control: self.client_control.position(), workers };
        self.refuses_lies(&offer);
        session::check(&self.manager_control, &mut self.manager.links, &offer).unwrap();
        self.manager_control.resume(offer.control).unwrap();
        let workers = self.manager.positions();
        self.manager.connect(&offer.workers);
        let answer = Resume { session, control: self.manager_control.position(), workers };
        if self.dice.roll(4) == 0 {
            // The answer is lost with the connection.
            self.client.mail.disconnect();
            return;
        }
        session::check(&self.client_control, &mut self.client.links, &answer).unwrap();
        self.client_control.resume(answer.control).unwrap();
        self.client.positions();
        self.client.connect(&answer.workers);
        self.over.retain(|worker, _| answer.workers.iter().any(|at| at.worker == *worker));
    }

    fn refuses_lies(&mut self, offer: &Resume) {
        let state = |manager: &EndOfMail, control: &ManagerClientEnd| {
            let of =
                |link: &Link| (link.unsettled().len(), link.last_accepted(), link.owes_acknowledgement());
            let links: Vec<_> = manager.links.values().map(of).collect();
            (links, manager.mail.is_connected(), control.backlog())
        };
        let before = state(&self.manager, &self.manager_control);
        let mut lie = offer.clone();
        match lie.workers.iter_mut().find(|at| self.manager.links.contains_key(&at.worker)) {
            Some(at) => at.received = self.manager.links[&at.worker].last_pushed() + 1,
            None => lie.control += self.manager_control.backlog() as u64 + 1,
        }
        assert!(session::check(&self.manager_control, &mut self.manager.links, &lie).is_err());
        assert_eq!(state(&self.manager, &self.manager_control), before);
    }

    /// One frame or one large message comes to one end, now and then twice.
    fn deliver(&mut self) {
        if !(self.manager.mail.is_connected() && self.client.mail.is_connected()) {
            return;
        }
        self.manager.write(&mut self.client.incoming);
        self.client.write(&mut self.manager.incoming);
        self.client.incoming.control.extend(std::iter::from_fn(|| self.manager_control.poll_transmit()));
        self.manager.incoming.control.extend(std::iter::from_fn(|| self.client_control.poll_transmit()));
        let times = 1 + usize::from(self.dice.roll(10) == 0);
        match self.dice.roll(4) {
            0 => self.deliver_control(times),
            1 => self.deliver_large(times),
            _ => {
                let lane = self.dice.roll(MAIL_STREAMS);
                self.deliver_mail(lane, times);
            }
        }
    }

    fn deliver_control(&mut self, times: usize) {
        if let Some(frame) = self.manager.incoming.control.pop_front() {
            for _ in 0..times {
                assert_eq!(self.manager_control.handle_frame(&frame).unwrap(), None);
            }
        }
        let Some(frame) = self.client.incoming.control.pop_front() else { return };
        for _ in 0..times {
            match self.client_control.handle_frame(&frame).unwrap() {
                Some(ClientEvent::Joined { worker, .. }) => {
                    self.client.links.entry(worker).or_default();
                }
                Some(ClientEvent::Left { worker, end, sent, settled }) => {
                    let ending = PendingEnd { sent, settled, end: Some(end) };
                    assert_eq!(self.endings.insert(worker, ending), None, "{worker} ended twice");
                    self.client.links.entry(worker).or_default();
                }
                other => assert_eq!(other, None),
            }
        }
    }

    fn deliver_large(&mut self, times: usize) {
        for to_client in [true, false] {
            let end = if to_client { &mut self.client } else { &mut self.manager };
            if end.incoming.large.is_empty() {
                continue;
            }
            // Each has a stream of its own, so that they come in any order.
            let next = self.dice.roll(end.incoming.large.len());
            let (head, payload) = end.incoming.large.swap_remove(next);
            for _ in 0..times {
                if to_client && !self.over.contains_key(&head.worker) {
                    end.links.entry(head.worker).or_default();
                }
                if let Some(link) = end.links.get_mut(&head.worker) {
                    link.fulfil(head.seq, payload.clone()).unwrap();
                }
            }
        }
    }

    fn deliver_mail(&mut self, lane: usize, times: usize) {
        for to_client in [true, false] {
            let end = if to_client { &mut self.client } else { &mut self.manager };
            let Some(body) = end.incoming.lanes[lane].pop_front() else { continue };
            let worker = MailFrame::decode(&body).unwrap().worker();
            for _ in 0..times {
                let frame = MailFrame::decode(&body).unwrap();
                if to_client && frame.has_message() && !self.over.contains_key(&worker) {
                    end.links.entry(worker).or_default();
                }
                if let Some(link) = end.links.get_mut(&worker) {
                    drop(frame.deliver(&body, link).unwrap());
                }
            }
            // The manager forgets an ended worker once its client has everything.
            if !to_client
                && self.ended.contains_key(&worker)
                && self.manager.links.get(&worker).is_some_and(|link| !link.is_owed())
                && self.manager_control.backlog() == 0
            {
                self.manager.links.remove(&worker);
            }
        }
    }

    /// Lets everything come to rest, and compares the ends.
    fn conclude(mut self) {
        for _ in 0..STEPS {
            self.connect();
            for count in 0..WORKERS {
                let worker = WorkerId::new(1, count);
                if !self.ended.contains_key(&worker) {
                    self.manager.take(worker);
                }
                self.take_at_client(worker);
            }
            self.settle();
            self.deliver();
            self.deliver_control(1);
            self.deliver_large(1);
            (0..MAIL_STREAMS).for_each(|lane| self.deliver_mail(lane, 1));
        }
        for count in 0..self.opened {
            let worker = WorkerId::new(1, count);
            let of = |counts: &BTreeMap<WorkerId, u64>| counts.get(&worker).copied().unwrap_or_default();
            assert_eq!(of(&self.client.received), of(&self.manager.sent), "{worker} to its client");
            let (sent, taken) = (of(&self.client.sent), of(&self.manager.received));
            match self.ended.get(&worker) {
                None => {
                    assert_eq!(taken, sent, "the client to {worker}");
                    let owed = [&self.manager, &self.client].map(|end| end.links[&worker].is_owed());
                    assert_eq!(owed, [false; 2], "{worker}");
                }
                Some(handled) => {
                    assert_eq!(*handled, taken, "{worker}");
                    let unanswered: Vec<_> = (handled + 1..=sent).collect();
                    assert_eq!(self.unanswered.get(&worker), Some(&unanswered), "{worker}");
                }
            }
        }
    }
}

#[test]
fn in_random_histories_each_message_is_handed_out_once_and_in_order_or_named_as_unanswered() {
    let asked = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match asked("HISTORY") {
        Some(seed) => seed..seed + 1,
        None => 0..asked("HISTORIES").unwrap_or(HISTORIES),
    };
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let mut history = SessionHistory::new(seed);
            (0..STEPS).for_each(|_| history.step());
            history.conclude();
        });
        assert!(run.is_ok(), "HISTORY={seed} fails");
    }
}
