//! Scenarios of jobs, and a storm of chance in which nothing may get lost.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use grid_protocol::digest::Digest;
use grid_protocol::host::HostCapacity;
use grid_protocol::job::{AttemptId, GiveUp, JobId, JobSpec, JobState};
use grid_protocol::key::{PublicKey, SecretKey};
use grid_protocol::time::Moment;
use grid_protocol::worker::FailureKind;

use super::{AttemptFate, JobDecision, Jobs, LEASE_TERM, Obstacle, ScheduledJob, Verdict};
use crate::roster::HostChange;

const DONE: AttemptFate = AttemptFate::Done;
const TRAP: AttemptFate = AttemptFate::Failed(FailureKind::Trap);
const FAULT: AttemptFate = AttemptFate::Failed(FailureKind::HostFault);

/// Jobs, the clock, and the attempts that hosts have in hand.
struct World {
    jobs: Jobs,
    now: Moment,
    hands: BTreeMap<PublicKey, Vec<(AttemptId, JobId, u64)>>,
    decisions: Vec<JobDecision>,
}

fn key(seed: u8) -> PublicKey {
    SecretKey::from_seed(&[seed; 32]).public()
}

fn job(number: u8) -> JobId {
    JobId([number; 16])
}

fn spec() -> JobSpec {
    JobSpec {
        name: "job".into(),
        module: Digest::from_bytes([1; 32]),
        arguments: Vec::new(),
        labels: Vec::new(),
        memory_bytes: 0,
        priority: 0,
        timeout_ms: 3_600_000,
        attempts_max: 3,
        give_up: GiveUp::Never,
    }
}

impl World {
    fn new(hosts: &[PublicKey], slots: u32, window: u32) -> Self {
        let mut world =
            Self { jobs: Jobs::new(1), now: Moment::ZERO, hands: BTreeMap::new(), decisions: Vec::new() };
        for host in hosts {
            world.join(*host, slots, window);
        }
        world
    }

    fn join(&mut self, host: PublicKey, slots: u32, window: u32) {
        let capacity = HostCapacity {
            name: "host".into(),
            slots,
            memory_bytes: 1 << 30,
            labels: Vec::new(),
            platform: String::new(),
            software: String::new(),
        };
        self.jobs.handle_host(self.now, host, HostChange::Joined { capacity: &capacity, resumed: true });
        let held: Vec<_> = self.hands.entry(host).or_default().iter().map(|hand| hand.0).collect();
        self.jobs.handle_holding(self.now, host, &held);
        self.jobs.handle_window(host, window);
        self.settle();
    }

    /// A job of so many tasks of a client.
    fn add(&mut self, id: JobId, owner: PublicKey, tasks: u64, spec: JobSpec) {
        self.jobs.add_job(id, ScheduledJob::new(Arc::new(spec), owner));
        self.jobs.handle_submitted(id, tasks, tasks * 10);
        self.jobs.close(id);
        self.settle();
    }

    /// Hands out, and does what was decided.
    fn settle(&mut self) {
        self.jobs.dispatch(self.now);
        while let Some(decision) = self.jobs.poll_decision() {
            match &decision {
                JobDecision::Lease { host, job, attempts } => {
                    let hand = self.hands.entry(*host).or_default();
                    hand.extend(attempts.iter().map(|(attempt, task)| (*attempt, *job, *task)));
                }
                JobDecision::Abandon { host, attempts } | JobDecision::Stray { host, attempts } => {
                    self.hands.entry(*host).or_default().retain(|hand| !attempts.contains(&hand.0));
                }
                _ => {}
            }
            self.decisions.push(decision);
        }
    }

    fn hand(&self, host: PublicKey) -> &[(AttemptId, JobId, u64)] {
        self.hands.get(&host).map(Vec::as_slice).unwrap_or_default()
    }

    fn tasks(&self, host: PublicKey) -> Vec<u64> {
        self.hand(host).iter().map(|(_, _, task)| *task).collect()
    }

    fn begin(&mut self, host: PublicKey) {
        let attempts: Vec<_> = self.hand(host).iter().map(|hand| hand.0).collect();
        self.jobs.handle_executing(self.now, host, &attempts);
    }

    /// The first attempt that a host has in hand ends.
    fn end(&mut self, host: PublicKey, fate: AttemptFate) -> Verdict {
        let (attempt, ..) = self.hands.get_mut(&host).unwrap().remove(0);
        let verdict = self.jobs.handle_end(self.now, host, attempt, fate, 1000);
        self.settle();
        verdict
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.jobs.handle_timeout(self.now);
        self.settle();
    }

    /// Hosts vouch for everything, second after second.
    fn live(&mut self, seconds: u64) {
        for _ in 0..seconds {
            for (host, hand) in self.hands.clone() {
                let attempts: Vec<_> = hand.iter().map(|hand| hand.0).collect();
                self.jobs.handle_renewal(self.now, host, &attempts);
            }
            self.wait(Duration::from_secs(1));
        }
    }

    fn state(&self, id: JobId) -> &JobState {
        &self.jobs.jobs()[&id].state
    }

    fn is_barred(&self, host: PublicKey, id: JobId) -> bool {
        self.jobs.jobs()[&id].barred.contains_key(&host)
    }

    fn is_quarantined(&self, host: PublicKey) -> bool {
        self.jobs.hosts()[&host].quarantine.is_some()
    }
}

#[test]
fn a_task_that_failed_is_tried_on_the_other_host() {
    let (a, b) = (key(1), key(2));
    let mut world = World::new(&[a, b], 8, 8);
    world.add(job(1), key(9), 1, spec());
    let (first, second) = if world.hand(a).is_empty() { (b, a) } else { (a, b) };
    assert!(matches!(world.end(first, TRAP), Verdict::Again { .. }));
    assert_eq!((world.tasks(first), world.tasks(second)), (vec![], vec![0]));
    assert!(matches!(world.end(second, DONE), Verdict::Done { .. }));
    assert_eq!(world.state(job(1)), &JobState::Finished);
}

#[test]
fn a_task_that_fails_three_times_is_dead_and_a_single_host_gets_all_three() {
    let mut world = World::new(&[key(1)], 8, 8);
    world.add(job(1), key(9), 1, spec());
    assert!(matches!(world.end(key(1), TRAP), Verdict::Again { .. }));
    assert!(matches!(world.end(key(1), TRAP), Verdict::Again { .. }));
    let Verdict::Dead { seq: 1, history, .. } = world.end(key(1), TRAP) else { panic!() };
    assert_eq!((history.guest, history.failures()), (3, 3));
    assert_eq!(world.state(job(1)), &JobState::Finished);
}

#[test]
fn a_failure_that_no_host_can_mend_is_final_once_another_host_says_so_where_there_is_one() {
    let permanent = AttemptFate::Failed(FailureKind::MessageTooLarge);
    let mut world = World::new(&[key(1)], 8, 8);
    world.add(job(1), key(9), 1, spec());
    assert!(matches!(world.end(key(1), permanent), Verdict::Dead { .. }));
    let mut world = World::new(&[key(1), key(2)], 8, 8);
    world.add(job(1), key(9), 1, spec());
    let (first, second) = if world.hand(key(1)).is_empty() { (key(2), key(1)) } else { (key(1), key(2)) };
    assert!(matches!(world.end(first, permanent), Verdict::Again { .. }));
    assert!(matches!(world.end(second, permanent), Verdict::Dead { .. }));
}

#[test]
fn tasks_of_a_host_that_cannot_run_the_module_go_to_one_that_can() {
    let (a, b) = (key(1), key(2));
    let mut world = World::new(&[a, b], 8, 8);
    world.add(job(1), key(9), 1, spec());
    let (unfit, fit) = if world.hand(a).is_empty() { (b, a) } else { (a, b) };
    let (attempt, ..) = world.hands.get_mut(&unfit).unwrap().remove(0);
    world.jobs.handle_unfit(world.now, unfit, attempt, "it refuses");
    world.settle();
    assert_eq!(world.tasks(fit), [0]);
    let obstacles = world.jobs.obstacles(world.now, &world.jobs.jobs()[&job(1)]);
    assert!(obstacles.contains(&(unfit, Obstacle::Unfit("it refuses".into()))));
}

/// A host refuses what it is given, second after second; how often it was asked.
fn refuse(world: &mut World, host: PublicKey, seconds: u64) -> usize {
    let mut asked = 0;
    for _ in 0..seconds {
        for (attempt, ..) in core::mem::take(world.hands.entry(host).or_default()) {
            world.jobs.handle_unfit(world.now, host, attempt, "it refuses");
            asked += 1;
        }
        world.wait(Duration::from_secs(1));
    }
    asked
}

#[test]
fn a_job_that_no_host_can_run_is_given_up_only_after_half_a_minute_without_hope() {
    let mut world = World::new(&[key(1)], 8, 8);
    world.add(job(1), key(9), 1, spec());
    assert_eq!(refuse(&mut world, key(1), 29), 3, "after 0, 5 and 15 s");
    assert_eq!(world.state(job(1)), &JobState::Closed);
    refuse(&mut world, key(1), 2);
    assert!(matches!(world.state(job(1)), JobState::GivenUp { .. }));

    let mut world = World::new(&[key(1)], 8, 8);
    world.add(job(1), key(9), 1, spec());
    refuse(&mut world, key(1), 29);
    world.join(key(2), 8, 8);
    world.live(5);
    assert_eq!((world.state(job(1)), world.tasks(key(2))), (&JobState::Closed, vec![0]));
}

#[test]
fn a_host_that_could_not_start_a_job_once_does_it_when_it_is_asked_again() {
    let mut world = World::new(&[key(1)], 8, 8);
    world.add(job(1), key(9), 1, spec());
    refuse(&mut world, key(1), 5);
    assert_eq!(world.tasks(key(1)), [0], "it is asked again after five seconds");
    world.begin(key(1));
    // It works for longer than a job without hope is kept.
    world.live(40);
    assert_eq!(world.state(job(1)), &JobState::Closed);
    world.end(key(1), AttemptFate::Done);
    assert_eq!(world.state(job(1)), &JobState::Finished);
    assert!(world.jobs.jobs()[&job(1)].unfit.is_empty(), "nothing is held against it");
}

#[test]
fn a_host_that_refused_is_asked_anew_as_soon_as_other_publishers_are_trusted() {
    let mut world = World::new(&[key(1)], 8, 8);
    world.add(job(1), key(9), 1, spec());
    refuse(&mut world, key(1), 1);
    assert!(world.tasks(key(1)).is_empty());
    world.jobs.forget_refusals(None);
    world.settle();
    assert_eq!(world.tasks(key(1)), [0]);
}

#[test]
fn long_tasks_spread_over_all_idle_slots() {
    let mut world = World::new(&[key(1), key(2)], 8, 16);
    world.add(job(1), key(9), 16, spec());
    assert_eq!((world.hand(key(1)).len(), world.hand(key(2)).len()), (8, 8));
}

#[test]
fn a_lease_that_is_renewed_lasts_and_one_that_is_not_fences_the_late_result_off() {
    let (a, b) = (key(1), key(2));
    let mut world = World::new(&[a], 1, 1);
    world.add(job(1), key(9), 1, spec());
    world.begin(a);
    world.live(3600);
    assert_eq!(world.tasks(a), [0]);
    let (attempt, ..) = world.hand(a)[0];
    world.join(b, 1, 1);
    world.wait(LEASE_TERM);
    assert_eq!(world.tasks(b), [0], "the other host has it");
    assert_eq!(world.jobs.handle_end(world.now, a, attempt, DONE, 5), Verdict::Fenced);
    assert!(matches!(world.end(b, DONE), Verdict::Done { seq: 1, .. }));
}

#[test]
fn a_result_in_the_moment_in_which_its_lease_ends_is_fenced_off() {
    let mut world = World::new(&[key(1)], 1, 1);
    world.add(job(1), key(9), 1, spec());
    world.now = world.now + LEASE_TERM;
    assert_eq!(world.end(key(1), DONE), Verdict::Fenced);
}

#[test]
fn another_hosts_attempt_is_nobody_elses_to_renew_or_to_end() {
    let mut world = World::new(&[key(1)], 1, 1);
    world.add(job(1), key(9), 1, spec());
    world.join(key(2), 1, 1);
    let (attempt, ..) = world.hand(key(1))[0];
    assert_eq!(world.jobs.handle_end(world.now, key(2), attempt, DONE, 5), Verdict::Fenced);
    world.jobs.handle_renewal(world.now, key(2), &[attempt]);
    world.settle();
    assert_eq!(world.decisions.last(), Some(&JobDecision::Stray { host: key(2), attempts: vec![attempt] }));
    assert!(world.jobs.lease(attempt).is_some());
}

#[test]
fn a_connected_host_that_lets_leases_end_gets_nothing_until_it_shows_life() {
    let mut world = World::new(&[key(1)], 2, 2);
    world.add(job(1), key(9), 4, spec());
    world.wait(LEASE_TERM);
    assert_eq!(world.tasks(key(1)), [] as [u64; 0]);
    world.wait(LEASE_TERM);
    assert_eq!(world.tasks(key(1)), [] as [u64; 0]);
    world.jobs.handle_window(key(1), 2);
    world.settle();
    assert_eq!(world.tasks(key(1)), [0, 1]);
}

#[test]
fn clients_share_the_slots_however_long_their_queues_are() {
    let mut world = World::new(&[key(1)], 4, 4);
    world.add(job(1), key(8), 1000, spec());
    world.add(job(2), key(9), 20, spec());
    for _ in 0..40 {
        world.end(key(1), DONE);
    }
    let done = |id| world.jobs.jobs()[&id].done;
    assert!((18..=20).contains(&done(job(2))), "{} and {}", done(job(1)), done(job(2)));
}

#[test]
fn the_higher_priority_of_a_client_goes_first_and_the_older_job_among_equals() {
    let mut world = World::new(&[key(1)], 1, 1);
    world.add(job(5), key(9), 2, spec());
    world.add(job(2), key(9), 2, spec());
    world.add(job(3), key(9), 2, JobSpec { priority: 1, ..spec() });
    let mut order = Vec::new();
    for _ in 0..6 {
        order.push(world.hand(key(1))[0].1);
        world.end(key(1), DONE);
    }
    assert_eq!(order, [job(5), job(3), job(3), job(5), job(2), job(2)]);
}

#[test]
fn a_host_that_fails_what_others_do_is_barred_from_the_job_and_the_job_is_done() {
    let (good, bad) = (key(1), key(2));
    let mut world = World::new(&[good, bad], 4, 4);
    world.add(job(1), key(9), 100, spec());
    for _ in 0..1000 {
        if !world.hand(bad).is_empty() {
            world.end(bad, TRAP);
        }
        if !world.hand(good).is_empty() {
            world.end(good, DONE);
        }
    }
    assert!(world.is_barred(bad, job(1)) && !world.is_barred(good, job(1)));
    assert!(!world.is_quarantined(bad), "one client alone has a host quarantined");
    assert_eq!(world.jobs.jobs()[&job(1)].done, 100);
}

#[test]
fn a_host_that_fails_the_jobs_of_two_clients_is_quarantined() {
    let hosts = [key(1), key(2), key(3), key(4)];
    let bad = key(2);
    let mut world = World::new(&hosts, 4, 4);
    world.add(job(1), key(8), 100, spec());
    world.add(job(2), key(9), 100, spec());
    for _ in 0..1000 {
        for host in hosts {
            if !world.hand(host).is_empty() {
                world.end(host, if host == bad { TRAP } else { DONE });
            }
        }
    }
    assert!(world.is_quarantined(bad));
    assert!(hosts.iter().filter(|host| world.is_quarantined(**host)).count() == 1);
    assert_eq!([1, 2].map(|number| world.jobs.jobs()[&job(number)].done), [100, 100]);
}

#[test]
fn a_module_that_traps_by_chance_costs_its_own_client_hosts_and_no_other() {
    let hosts = [key(1), key(2), key(3)];
    let mut world = World::new(&hosts, 4, 4);
    let mut dice = StormDice(7);
    world.add(job(1), key(8), 400, JobSpec { attempts_max: 20, ..spec() });
    world.add(job(2), key(9), 400, spec());
    for _ in 0..3000 {
        for host in hosts {
            if let Some((_, of, _)) = world.hand(host).first().copied() {
                let traps = of == job(1) && dice.roll(10) < 6;
                world.end(host, if traps { TRAP } else { DONE });
            }
            assert!(!world.is_quarantined(host));
        }
        let barred = hosts.iter().filter(|host| world.is_barred(**host, job(1))).count();
        assert!(barred <= 1, "{barred} of three hosts are barred");
    }
    assert_eq!((world.jobs.jobs()[&job(1)].done, world.jobs.jobs()[&job(2)].done), (400, 400));
}

#[test]
fn one_hosts_word_that_a_task_fails_everywhere_kills_no_task() {
    let permanent = AttemptFate::Failed(FailureKind::MessageTooLarge);
    let (liar, good) = (key(1), key(2));
    let mut world = World::new(&[liar, good], 4, 4);
    world.add(job(1), key(9), 100, spec());
    for _ in 0..1000 {
        if !world.hand(liar).is_empty() {
            world.end(liar, permanent);
        }
        if !world.hand(good).is_empty() {
            world.end(good, DONE);
        }
    }
    let counts = world.jobs.jobs()[&job(1)].counts();
    assert_eq!((counts.done, counts.dead), (100, 0));
    assert!(world.is_barred(liar, job(1)));
}

#[test]
fn a_host_that_begins_nothing_loses_what_it_holds_to_an_idle_one() {
    let (lazy, good) = (key(1), key(2));
    let mut world = World::new(&[lazy, good], 4, 16);
    world.add(job(1), key(9), 32, spec());
    assert_eq!(world.hand(lazy).len(), 16);
    for second in 0..20 {
        while !world.hand(good).is_empty() {
            world.end(good, DONE);
        }
        world.live(1);
        assert!(second < 1 || !world.hand(good).is_empty() || world.hand(lazy).is_empty());
    }
    assert_eq!(world.state(job(1)), &JobState::Finished);
}

#[test]
fn an_attempt_that_runs_for_ever_is_taken_from_its_host_whatever_it_renews() {
    let mut world = World::new(&[key(1), key(2)], 1, 1);
    world.add(job(1), key(9), 1, JobSpec { timeout_ms: 5000, ..spec() });
    let (liar, good) = if world.hand(key(1)).is_empty() { (key(2), key(1)) } else { (key(1), key(2)) };
    world.begin(liar);
    world.live(600);
    assert_eq!((world.tasks(liar), world.tasks(good)), (vec![0], vec![]));
    world.live(10);
    assert_eq!((world.tasks(liar), world.tasks(good)), (vec![], vec![0]));
}

#[test]
fn long_inputs_fill_all_slots_of_a_host() {
    let mut world = World::new(&[key(1)], 4, 100);
    world.jobs.add_job(job(1), ScheduledJob::new(Arc::new(spec()), key(9)));
    world.jobs.handle_submitted(job(1), 10, 10 * (16 << 20));
    world.settle();
    assert_eq!(world.hand(key(1)).len(), 5, "four run, and one waits");
}

#[test]
fn bad_inputs_quarantine_nobody() {
    let mut world = World::new(&[key(1), key(2)], 4, 4);
    world.add(job(1), key(9), 200, spec());
    while world.state(job(1)) == &JobState::Closed {
        for host in [key(1), key(2)] {
            if let Some((_, _, task)) = world.hand(host).first().copied() {
                // A stretch of inputs on which the worker traps, wherever it runs.
                world.end(host, if (50..100).contains(&task) { TRAP } else { DONE });
            }
        }
    }
    assert_eq!((world.jobs.jobs()[&job(1)].done, world.jobs.jobs()[&job(1)].dead), (150, 50));
    assert!(!world.is_quarantined(key(1)) && !world.is_quarantined(key(2)));
}

#[test]
fn a_module_that_a_host_cannot_fetch_once_is_one_fault_and_five_are_too_many() {
    let mut world = World::new(&[key(1), key(2)], 16, 16);
    world.add(job(1), key(9), 1000, spec());
    for _ in 0..16 {
        world.end(key(1), FAULT);
    }
    assert!(!world.is_barred(key(1), job(1)));
    for _ in 0..10 {
        world.live(2);
        if !world.hand(key(1)).is_empty() {
            world.end(key(1), FAULT);
        }
    }
    assert!(world.is_barred(key(1), job(1)));
}

#[test]
fn the_last_host_is_never_barred() {
    let mut world = World::new(&[key(1)], 1, 1);
    world.add(job(1), key(9), 100, spec());
    for _ in 0..20 {
        world.live(60);
        world.end(key(1), FAULT);
    }
    assert!(!world.is_barred(key(1), job(1)) && !world.is_quarantined(key(1)));
}

#[test]
fn a_task_under_which_hosts_are_lost_runs_alone_and_is_dead_after_five_more_tries() {
    let (a, b) = (key(1), key(2));
    let mut world = World::new(&[a, b], 4, 4);
    world.add(job(1), key(9), 50, spec());
    let mut losses = 0;
    for _ in 0..10_000 {
        for host in [a, b] {
            world.begin(host);
            if world.tasks(host).contains(&7) {
                if losses >= 2 {
                    assert_eq!(world.tasks(host), [7], "it shares a host after {losses} losses");
                }
                losses += 1;
                world.hands.remove(&host);
                world.join(host, 4, 4);
            } else if !world.hand(host).is_empty() {
                world.end(host, DONE);
            }
        }
    }
    assert_eq!(losses, 6);
    assert_eq!((world.jobs.jobs()[&job(1)].done, world.jobs.jobs()[&job(1)].dead), (49, 1));
}

#[test]
fn a_task_that_is_alone_is_not_kept_waiting_by_another_clients_queue() {
    let mut world = World::new(&[key(1)], 4, 4);
    world.add(job(1), key(8), 1, spec());
    for window in [4, 0] {
        world.begin(key(1));
        world.hands.remove(&key(1));
        world.join(key(1), 4, window);
    }
    world.add(job(2), key(9), 1000, spec());
    world.jobs.handle_window(key(1), 4);
    world.settle();
    for _ in 0..10 {
        if world.tasks(key(1)) == [0] && world.hand(key(1))[0].1 == job(1) {
            return;
        }
        world.end(key(1), DONE);
    }
    panic!("it waits for ever");
}

#[test]
fn dead_tasks_are_brought_back_once_however_often_that_is_asked() {
    let mut world = World::new(&[key(1)], 4, 4);
    world.add(job(1), key(9), 3, JobSpec { attempts_max: 1, ..spec() });
    world.end(key(1), TRAP);
    world.end(key(1), DONE);
    world.end(key(1), DONE);
    for _ in 0..2 {
        world.jobs.retry(world.now, job(1), &[0]);
        world.settle();
    }
    assert_eq!(world.tasks(key(1)), [0]);
    assert!(matches!(world.end(key(1), DONE), Verdict::Done { seq: 4, .. }));
    let counts = world.jobs.jobs()[&job(1)].counts();
    assert_eq!((counts.done, counts.dead, counts.waiting), (3, 0, 0));
}

#[test]
fn a_late_task_is_tried_elsewhere_too_and_the_first_result_counts() {
    let (a, b) = (key(1), key(2));
    let mut world = World::new(&[a, b], 4, 4);
    world.add(job(1), key(9), 8, spec());
    world.begin(a);
    world.begin(b);
    for host in [a, a, a, b, b, b, b] {
        world.end(host, DONE);
    }
    world.live(4);
    let (slow, ..) = world.hand(a)[0];
    assert_eq!(world.tasks(b), world.tasks(a), "nobody else tries it");
    assert!(matches!(world.end(b, DONE), Verdict::Done { .. }));
    assert_eq!(world.hand(a), [], "the slow one goes on");
    assert_eq!(world.jobs.handle_end(world.now, a, slow, DONE, 5), Verdict::Fenced);
    assert_eq!(world.state(job(1)), &JobState::Finished);
}

#[test]
fn a_job_with_too_many_failures_is_given_up_and_what_runs_is_stopped() {
    for (give_up, failures) in [(GiveUp::Count(3), 4), (GiveUp::Percent(10), 20)] {
        let mut world = World::new(&[key(1)], 4, 4);
        world.add(job(1), key(9), 100, JobSpec { attempts_max: 1, give_up, ..spec() });
        for _ in 0..failures {
            assert_eq!(world.state(job(1)), &JobState::Closed);
            world.end(key(1), TRAP);
        }
        assert!(matches!(world.state(job(1)), JobState::GivenUp { .. }));
        assert_eq!(world.hand(key(1)), []);
    }
}

#[test]
fn a_stopped_job_hands_out_nothing_and_takes_no_result() {
    let mut world = World::new(&[key(1)], 4, 4);
    world.add(job(1), key(9), 100, spec());
    let (attempt, ..) = world.hand(key(1))[0];
    world.jobs.end(world.now, job(1), JobState::Cancelled);
    world.settle();
    assert_eq!(world.hand(key(1)), []);
    assert_eq!(world.jobs.handle_end(world.now, key(1), attempt, DONE, 5), Verdict::Fenced);
    assert_eq!(world.jobs.jobs()[&job(1)].done, 0);
}

#[test]
fn large_inputs_fill_a_host_before_its_window_does() {
    let mut world = World::new(&[key(1)], 1, 4000);
    world.jobs.add_job(job(1), ScheduledJob::new(Arc::new(spec()), key(9)));
    world.jobs.handle_submitted(job(1), 1000, 1000 << 18);
    world.settle();
    assert_eq!(world.hand(key(1)).len(), 33, "one runs, and 32 inputs of 256 KiB that wait are 8 MiB");
}

/// Numbers that are the same in every run.
struct StormDice(u64);

impl StormDice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// What must hold at every moment.
fn check(world: &World, outcomes: &BTreeMap<(JobId, u64), u32>) {
    for (id, job) in world.jobs.jobs() {
        let counts = job.counts();
        let whole = counts.waiting + counts.leased + counts.done + counts.dead;
        assert_eq!(whole, counts.submitted, "{id}: {counts:?}");
        let over = outcomes.iter().filter(|((of, _), times)| of == id && **times > 0).count();
        assert_eq!(over as u64, counts.done + counts.dead, "{id}");
    }
    for (key, host) in world.jobs.hosts() {
        let held = world.jobs.leases().filter(|(_, lease)| lease.host == *key).count();
        assert_eq!(host.held as usize, held);
    }
    let live: u64 = world.jobs.clients.values().map(|client| client.live).sum();
    assert_eq!(live, world.jobs.leases().count() as u64);
    for (_, lease) in world.jobs.leases() {
        assert!(lease.until <= world.now + LEASE_TERM);
        assert!(!world.jobs.jobs()[&lease.job].state.is_over(), "a lease of a job that is over");
    }
}

fn storm(seed: u64) {
    let mut dice = StormDice(seed * 2 + 1);
    let hosts: Vec<_> = (1..=4).map(key).collect();
    let mut world = World::new(&hosts, 4, 6);
    let mut outcomes: BTreeMap<(JobId, u64), u32> = BTreeMap::new();
    for number in 1..=3 {
        let id = job(number);
        world.jobs.add_job(id, ScheduledJob::new(Arc::new(spec()), key(10 + number % 2)));
    }
    for _ in 0..3000 {
        let host = hosts[dice.roll(4)];
        let id = [job(1), job(2), job(3)][dice.roll(3)];
        match dice.roll(12) {
            0 => {
                let more = world.jobs.jobs()[&id].submitted() + dice.roll(5) as u64;
                world.jobs.handle_submitted(id, more.min(200), 100);
            }
            1 => world.wait(Duration::from_millis(dice.roll(9000) as u64)),
            2 => world.jobs.handle_host(world.now, host, HostChange::Away),
            3 => {
                // It comes back, with what it had, without it, or with what it never had.
                match dice.roll(3) {
                    0 => drop(world.hands.remove(&host)),
                    1 => {
                        let other = world.hand(hosts[dice.roll(4)]).to_vec();
                        world.hands.entry(host).or_default().extend(other);
                    }
                    _ => {}
                }
                world.join(host, 4, 6);
            }
            4 => world.begin(host),
            5 => {
                let attempts: Vec<_> = world.hand(host).iter().map(|hand| hand.0).collect();
                world.jobs.handle_renewal(world.now, host, &attempts);
            }
            6 => {
                let back = world.hands.entry(host).or_default().pop();
                world.jobs.handle_returned(
                    world.now,
                    host,
                    &back.map(|hand| hand.0).into_iter().collect::<Vec<_>>(),
                );
            }
            7 => world.jobs.handle_window(host, [0, 1, 4, 8][dice.roll(4)]),
            kind => {
                let Some((_, of, task)) = world.hand(host).first().copied() else { continue };
                let fate = [DONE, DONE, TRAP, FAULT][kind - 8];
                match world.end(host, fate) {
                    Verdict::Done { .. } | Verdict::Dead { .. } => {
                        *outcomes.entry((of, task)).or_default() += 1;
                    }
                    _ => {}
                }
            }
        }
        world.settle();
        for decision in world.decisions.drain(..) {
            if let JobDecision::Lost { verdict: Verdict::Dead { job, task, .. }, .. } = decision {
                *outcomes.entry((job, task)).or_default() += 1;
            }
        }
        assert!(outcomes.values().all(|times| *times == 1), "an outcome was recorded twice");
        check(&world, &outcomes);
    }
    // Then the faults end, and everything comes to its end.
    for number in 1..=3 {
        world.jobs.close(job(number));
    }
    for _ in 0..4000 {
        for host in &hosts {
            if world.jobs.hosts().get(host).is_none_or(|host| !host.present || host.window == 0) {
                world.join(*host, 4, 6);
            }
            if !world.hand(*host).is_empty() {
                world.end(*host, DONE);
            }
        }
        world.live(1);
    }
    for number in 1..=3 {
        assert_eq!(
            world.state(job(number)),
            &JobState::Finished,
            "seed {seed}: {:?}",
            world.jobs.jobs()[&job(number)].counts()
        );
    }
}

#[test]
fn nothing_is_lost_or_counted_twice_in_forty_storms() {
    for seed in 0..40 {
        storm(seed);
    }
}
