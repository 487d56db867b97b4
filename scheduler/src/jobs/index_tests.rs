//! Indexes: after each step of random histories they say what a look at everything would.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use grid_protocol::digest::Digest;
use grid_protocol::host::{HostCapacity, Label};
use grid_protocol::job::{AttemptId, GiveUp, JobId, JobSpec, JobState};
use grid_protocol::key::{PublicKey, SecretKey};
use grid_protocol::time::Moment;
use grid_protocol::worker::FailureKind;

use super::host_order::{HostOrder, Standing, Traits};
use super::place_set::PlaceSet;
use super::{AttemptFate, JobDecision, Jobs, ScheduledJob, WorkHost};
use crate::roster::HostChange;
use grid_protocol::worker::End;

/// By what a host stands in an order, if it does.
type RankOf<'a> = &'a dyn Fn(&WorkHost) -> Option<u64>;

impl Jobs {
    /// Compares every index with what a full scan gives.
    fn check_indexes(&self, now: Moment) {
        self.check_hosts();
        self.check_jobs();
        self.check_clients();
        self.check_leases(now);
    }

    fn check_hosts(&self) {
        let all = || self.hosts().iter().map(|(key, host)| (*key, self.hosts.place(key).unwrap(), host));
        for (_, _, host) in all() {
            assert_eq!(host.traits, self.hosts.kinds.traits(host));
        }
        let scan = |rank: RankOf<'_>| {
            let stand =
                |(_, place, host): (_, _, &WorkHost)| Some((Standing::new(rank(host)?, place), host.traits));
            let mut stand: Vec<(Standing, Traits)> = all().filter_map(stand).collect();
            stand.sort_by_key(|(standing, _)| *standing);
            stand
        };
        let is_free = |host: &WorkHost| host.alone.is_none() && !host.is_reserved;
        let expected: [(&HostOrder, RankOf<'_>); 4] = [
            (&self.hosts.ready, &|host| (host.room() > 0).then(|| host.load())),
            (&self.hosts.idle, &|host| (host.idle() > 0).then_some(0)),
            (&self.hosts.open, &|host| host.is_open().then_some(host.joined)),
            (&self.hosts.unclaimed, &|host| (host.is_open() && is_free(host)).then_some(host.joined)),
        ];
        for (order, rank) in expected {
            assert_eq!(order.entries(), scan(rank));
        }
        let reserved: BTreeSet<_> =
            all().filter(|(_, _, host)| host.is_reserved).map(|(_, place, _)| place).collect();
        assert!(self.hosts.reserved.keys().eq(&reserved));
        let quarantined: BTreeSet<_> =
            all().filter_map(|(_, place, host)| Some((host.quarantine?, place))).collect();
        assert_eq!(self.hosts.quarantined, quarantined);
        let present = || all().map(|(_, _, host)| host).filter(|host| host.present);
        assert_eq!(self.hosts.idle_slots, all().map(|(_, _, host)| u64::from(host.idle())).sum::<u64>());
        assert_eq!(self.hosts.slots, present().map(|host| u64::from(host.slots)).sum::<u64>());
        assert_eq!(self.hosts.present, present().count());
        let quarantined = present().filter(|host| host.quarantine.is_some()).count();
        assert_eq!(self.hosts.present_quarantined, quarantined);
    }

    fn check_jobs(&self) {
        let all = || self.jobs().iter().map(|(id, job)| (*id, self.jobs.place(id).unwrap(), job));
        let places = |is_in: &dyn Fn(&ScheduledJob) -> bool| {
            all().filter(|(_, _, job)| is_in(job)).map(|(id, place, _)| (id, place)).collect::<BTreeSet<_>>()
        };
        let is_open = |job: &ScheduledJob| !job.state.is_over();
        assert_eq!(self.suspects, places(&|job| is_open(job) && !job.suspects.is_empty()));
        let pauses: BTreeSet<_> =
            all().filter_map(|(_, place, job)| Some((job.indexed.pause_ends?, place))).collect();
        assert_eq!(self.pauses, pauses);
        let mut offered = 0;
        for (id, _, job) in all() {
            job.live.check();
            if let Some(next) = job.next_pause() {
                assert!(job.indexed.pause_ends.is_some_and(|due| due <= next));
                assert!(self.pause_ends.is_some_and(|due| due <= next));
            }
            if is_open(job) && job.hopeless_since.is_some() {
                assert!(self.hopeless.contains(&id) && self.pause_ends.is_some());
            }
            if is_open(job) && (!job.again.is_empty() || job.fresh < job.submitted) {
                offered |= job.kind();
                assert!(job.indexed.kind.is_some());
            }
            let suited = self.hosts().values().filter(|host| host.present && host.suits(&job.spec)).count();
            assert_eq!(self.hosts.able(&job.spec, job.kind()), suited);
            for (_, host) in self.hosts() {
                let holds = host.suits(&job.spec) && host.modules.contains(&job.spec.module);
                assert!(job.kind() & host.traits.suits != 0 || !host.suits(&job.spec));
                assert!(job.kind() & host.traits.holds != 0 || !holds);
                assert_eq!(host.has_module_of(job), host.modules.contains(&job.spec.module));
            }
            let known = |place: u32| self.hosts.entry(place).is_some();
            assert!(job.done_by.iter().chain(job.tallied_by.iter()).all(known));
            assert!(!job.done_by_gone.iter().any(|key| self.hosts().contains_key(key)));
        }
        assert_eq!(self.hosts.kinds.offered(), offered);
    }

    fn check_clients(&self) {
        let mut expected: BTreeMap<PublicKey, (u64, BTreeSet<_>)> = BTreeMap::new();
        for (id, job) in self.jobs() {
            let share = expected.entry(job.owner).or_default();
            share.0 += job.attempts().count() as u64;
            if !job.state.is_over() && job.waiting() > 0 {
                let place = self.jobs.place(id).unwrap();
                share.1.insert((Reverse(job.spec.priority), job.order, place));
            }
            if !job.live.is_empty() || job.indexed.is_waiting {
                assert_eq!(self.clients.place(&job.owner), Some(job.indexed.client));
            }
        }
        expected.retain(|_, (live, waiting)| *live > 0 || !waiting.is_empty());
        self.clients.check(&expected);
    }

    fn check_leases(&self, now: Moment) {
        self.leases.check(now);
        for (key, _) in self.hosts() {
            let of_host: Vec<_> =
                self.leases().filter(|(_, lease)| lease.host == *key).map(|(attempt, _)| attempt).collect();
            assert_eq!(self.leases.of_host(self.hosts.place(key).unwrap()), of_host);
        }
        for (_, lease) in self.leases() {
            let at = lease.at;
            assert_eq!(self.jobs.place(&lease.job), Some(at.job));
            assert_eq!(self.hosts.place(&lease.host), Some(at.host));
        }
    }
}

/// Numbers that are the same in every run.
struct IndexDice(u64);

impl IndexDice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let sides = of.len().max(1) as u64;
        of.get(usize::try_from(self.roll(sides)).unwrap()).copied()
    }
}

fn label(number: u64) -> Label {
    Label { name: "label".into(), value: alloc::format!("{number}") }
}

fn job_id(number: u64) -> JobId {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    JobId(id)
}

/// A random history of jobs, and what its hosts have in hand.
struct History {
    jobs: Jobs,
    dice: IndexDice,
    now: Moment,
    hosts: Vec<PublicKey>,
    clients: Vec<PublicKey>,
    hands: BTreeMap<PublicKey, Vec<AttemptId>>,
    modules: u64,
    made: u64,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut dice = IndexDice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let keys = |range: core::ops::Range<u8>| {
            range.map(|seed| SecretKey::from_seed(&[seed; 32]).public()).collect::<Vec<_>>()
        };
        let hosts = keys(0..dice.pick(&[2, 5, 12]).unwrap());
        let clients = keys(100..101 + u8::try_from(dice.roll(4)).unwrap());
        // So many that kinds of work must share a bit, sometimes.
        let modules = dice.pick(&[1, 3, 90]).unwrap();
        let jobs = Jobs::new(1);
        Self { jobs, dice, now: Moment::ZERO, hosts, clients, hands: BTreeMap::new(), modules, made: 0 }
    }

    fn digest(&mut self) -> Digest {
        Digest::from_bytes([u8::try_from(self.dice.roll(self.modules)).unwrap(); 32])
    }

    fn add_job(&mut self) {
        self.made += 1;
        let labels = if self.dice.roll(3) == 0 { [label(self.dice.roll(3))].into() } else { Vec::new() };
        let spec = JobSpec {
            name: "job".into(),
            module: self.digest(),
            arguments: Vec::new(),
            labels,
            memory_bytes: self.dice.pick(&[0, 0, 0, 100, 300]).unwrap(),
            priority: self.dice.pick(&[0, 0, 1]).unwrap(),
            timeout_ms: 60_000,
            attempts_max: 3,
            give_up: self.dice.pick(&[GiveUp::Never, GiveUp::Count(5)]).unwrap(),
        };
        let owner = self.dice.pick(&self.clients).unwrap();
        self.jobs.add_job(job_id(self.made), ScheduledJob::new(Arc::new(spec), owner));
    }

    fn join(&mut self, host: PublicKey) {
        let capacity = HostCapacity {
            name: "host".into(),
            slots: 1 + u32::try_from(self.dice.roll(5)).unwrap(),
            memory_bytes: self.dice.roll(5) * 100,
            labels: (0..3).filter(|_| self.dice.roll(2) == 0).map(label).collect(),
            platform: String::new(),
            software: String::new(),
        };
        self.jobs.handle_host(self.now, host, HostChange::Joined { capacity: &capacity, resumed: true });
        let hand = self.hands.entry(host).or_default();
        if self.dice.roll(4) == 0 {
            hand.pop();
        }
        self.jobs.handle_holding(self.now, host, hand);
        self.jobs.handle_window(host, u32::try_from(self.dice.roll(10)).unwrap());
    }

    fn step(&mut self) {
        let host = self.dice.pick(&self.hosts).unwrap();
        match self.dice.roll(25) {
            0..4 => self.step_of_client(),
            4 => self.join(host),
            5 => self.jobs.handle_host(self.now, host, HostChange::Away),
            6 if self.dice.roll(2) == 0 => {
                self.jobs.handle_host(self.now, host, HostChange::Gone { end: &End::HostLost });
                self.hands.remove(&host);
            }
            7 => self.jobs.handle_window(host, self.dice.pick(&[0, 1, 4, 9]).unwrap()),
            8 => {
                let module = self.digest();
                self.jobs.handle_module(host, module);
            }
            9..11 => {
                let pause = self.dice.pick(&[1, 300, 300, 2_500, 16_000]).unwrap();
                self.now = self.now + Duration::from_millis(pause);
                self.jobs.handle_timeout(self.now);
            }
            kind => self.step_of_host(host, kind),
        }
        if self.dice.roll(5) > 0 {
            self.jobs.dispatch(self.now);
        }
    }

    fn step_of_client(&mut self) {
        let ids: Vec<_> = self.jobs.jobs().iter().map(|(id, _)| *id).collect();
        let Some(id) = self.dice.pick(&ids).filter(|_| ids.len() > 80 || self.dice.roll(4) > 0) else {
            return self.add_job();
        };
        let (submitted, over) = (self.jobs.jobs()[&id].submitted(), self.jobs.jobs()[&id].state.is_over());
        match self.dice.roll(12) {
            0 => self.jobs.close(id),
            1 if self.dice.roll(3) == 0 => self.jobs.end(self.now, id, JobState::Cancelled),
            2 if over => self.jobs.forget(id),
            3 if self.dice.roll(4) == 0 => self.jobs.forget_refusals(None),
            4 if self.jobs.jobs()[&id].done == 0 => {
                let dead: Vec<_> = (0..submitted.min(3)).collect();
                self.jobs.retry(self.now, id, &dead);
            }
            _ => self.jobs.handle_submitted(id, submitted + self.dice.roll(8), 1 << self.dice.roll(24)),
        }
    }

    fn step_of_host(&mut self, host: PublicKey, kind: u64) {
        let hand = self.hands.entry(host).or_default();
        let first = (!hand.is_empty()).then(|| hand[0]);
        match (kind, first) {
            (11, _) => self.jobs.handle_renewal(self.now, host, hand),
            (12..15, _) => self.jobs.handle_executing(self.now, host, hand),
            (15, Some(attempt)) => self.jobs.handle_returned(self.now, host, &[attempt]),
            (16, Some(attempt)) => drop(self.jobs.handle_unfit(self.now, host, attempt, "it refuses")),
            (_, Some(attempt)) => {
                let kinds = [FailureKind::Trap, FailureKind::HostFault, FailureKind::MessageTooLarge];
                let fails = self.dice.roll(3) == 0 || host == self.hosts[0];
                let kind = self.dice.pick(&kinds).filter(|_| fails);
                let fate = kind.map_or(AttemptFate::Done, AttemptFate::Failed);
                self.jobs.handle_end(self.now, host, attempt, fate, self.dice.roll(1_000_000));
            }
            _ => {}
        }
        if kind >= 15 && first.is_some() {
            self.hands.entry(host).or_default().remove(0);
        }
    }

    fn settle(&mut self) {
        while let Some(decision) = self.jobs.poll_decision() {
            match decision {
                JobDecision::Lease { host, attempts, .. } => {
                    self.hands.entry(host).or_default().extend(attempts.iter().map(|(attempt, _)| *attempt));
                }
                JobDecision::Abandon { host, attempts } | JobDecision::Stray { host, attempts } => {
                    self.hands.entry(host).or_default().retain(|attempt| !attempts.contains(attempt));
                }
                _ => {}
            }
        }
    }
}

#[test]
fn every_index_says_what_a_full_scan_does_after_each_step_of_sixty_random_histories() {
    for seed in 0..60 {
        let mut history = History::new(seed);
        for host in history.hosts.clone() {
            history.join(host);
        }
        for _ in 0..600 {
            history.step();
            history.jobs.check_indexes(history.now);
            history.settle();
        }
    }
}

#[test]
fn an_order_of_hosts_finds_what_a_full_scan_does() {
    let mut dice = IndexDice(77);
    let (mut order, mut scan) = (HostOrder::default(), BTreeMap::new());
    for _ in 0..20_000 {
        let host = Standing::new(dice.roll(9), u32::try_from(dice.roll(40)).unwrap());
        let traits = Traits { suits: 1 << dice.roll(4), holds: 1 << dice.roll(4) };
        match dice.roll(5) {
            0..2 if !scan.contains_key(&host) => {
                order.insert(host, traits);
                scan.insert(host, traits);
            }
            2 => {
                order.remove(host);
                scan.remove(&host);
            }
            3 => {
                order.set_traits(host, traits);
                scan.entry(host).and_modify(|known| *known = traits);
            }
            _ => {}
        }
        let wanted = Traits { suits: dice.roll(16), holds: dice.roll(16) };
        let after = (dice.roll(2) == 0).then_some(host);
        let fits = |(host, traits): &(&Standing, &Traits)| {
            after.is_none_or(|after| **host > after) && traits.meets(wanted)
        };
        assert_eq!(order.next(after, wanted), scan.iter().find(fits).map(|(host, _)| *host));
        let all: Vec<_> =
            scan.iter().filter(|(_, traits)| traits.meets(wanted)).map(|(host, _)| host.place()).collect();
        assert_eq!(order.all(wanted).collect::<Vec<_>>(), all);
    }
    assert_eq!(order.entries(), scan.into_iter().collect::<Vec<_>>());
}

#[test]
fn a_set_of_places_holds_what_a_set_of_numbers_does() {
    let mut dice = IndexDice(5);
    let (mut places, mut numbers) = (PlaceSet::default(), BTreeSet::new());
    for _ in 0..5_000 {
        let place = u32::try_from(dice.roll(300)).unwrap();
        if dice.roll(2) == 0 {
            assert_eq!(places.insert(place), numbers.insert(place));
        } else {
            assert_eq!(places.remove(place), numbers.remove(&place));
        }
        assert_eq!(places.contains(place), numbers.contains(&place));
    }
    assert!(places.iter().eq(numbers));
}
