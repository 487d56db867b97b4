//! What the scheduler decides, told as what happened and what it says to do.

use std::time::Duration;

use grid_protocol::client::Channel;
use grid_protocol::digest::Digest;
use grid_protocol::host::{HostCapacity, Label};
use grid_protocol::id::{DeploymentId, WorkerId};
use grid_protocol::key::{PublicKey, SecretKey};
use grid_protocol::worker::{End, Failure, FailureKind, LimitsAsked, Restart};
use grid_scheduler::{
    Decision, Deployment, HostChange, Moment, Owner, Placement, PlacementError, Scheduler, SchedulerConfig,
    Spec,
};

const GRACE: Duration = Duration::from_secs(10);

fn scheduler() -> Scheduler {
    Scheduler::new(SchedulerConfig { incarnation: 3, away_grace: GRACE })
}

fn key(seed: u8) -> PublicKey {
    SecretKey::from_seed(&[seed; 32]).public()
}

fn capacity(slots: u32) -> HostCapacity {
    HostCapacity {
        name: String::new(),
        slots,
        memory_bytes: 1000,
        labels: vec![Label { name: "gpu".into(), value: "no".into() }],
        platform: String::new(),
        software: String::new(),
    }
}

fn spec() -> Spec {
    Spec {
        owner: Owner { key: key(99), channel: Channel(1) },
        module: Digest::from_bytes([0; 32]),
        arguments: Vec::new(),
        labels: Vec::new(),
        memory_bytes: 0,
        limits: LimitsAsked::default(),
        restart: Restart::Never,
        ttl_ms: 0,
    }
}

fn at(seconds: u64) -> Moment {
    Moment::from_epoch(Duration::from_secs(seconds))
}

fn failed() -> End {
    End::Failed(Failure { kind: FailureKind::Trap, message: String::new(), backtrace: Vec::new() })
}

/// The starts among the decisions, as host and count.
fn starts(scheduler: &mut Scheduler) -> Vec<(PublicKey, usize)> {
    let decisions = std::iter::from_fn(|| scheduler.poll_decision());
    decisions
        .filter_map(|decision| match decision {
            Decision::Start { host, workers, .. } => Some((host, workers.len())),
            _ => None,
        })
        .collect()
}

fn left(scheduler: &mut Scheduler) -> Vec<(WorkerId, End)> {
    let decisions = std::iter::from_fn(|| scheduler.poll_decision());
    decisions
        .filter_map(|decision| match decision {
            Decision::Left { worker, end, .. } => Some((worker, end)),
            _ => None,
        })
        .collect()
}

#[test]
fn workers_spread_over_hosts_and_what_does_not_fit_places_nothing() {
    let mut scheduler = scheduler();
    scheduler.handle_host(at(0), key(1), HostChange::Joined { capacity: &capacity(3), resumed: false });
    scheduler.handle_host(at(0), key(2), HostChange::Joined { capacity: &capacity(1), resumed: false });
    let refused = scheduler.spawn(spec(), &Placement::Anywhere { count: 5 }).unwrap_err();
    assert_eq!((refused.asked, refused.room), (5, 4));
    assert!(scheduler.workers().is_empty());
    scheduler.spawn(spec(), &Placement::Anywhere { count: 4 }).unwrap();
    let mut placed = starts(&mut scheduler);
    placed.sort_by_key(|(_, count)| *count);
    assert_eq!(placed, [(key(2), 1), (key(1), 3)]);
}

#[test]
fn a_host_that_does_not_fit_is_named_with_the_reason() {
    let mut scheduler = scheduler();
    scheduler.handle_host(at(0), key(1), HostChange::Joined { capacity: &capacity(1), resumed: false });
    let labels = vec![Label { name: "gpu".into(), value: "yes".into() }];
    let refused = scheduler.spawn(Spec { labels, ..spec() }, &Placement::Anywhere { count: 1 }).unwrap_err();
    assert_eq!(refused.reasons, [(key(1), PlacementError::Label { name: "gpu".into() })]);
    let refused = scheduler.spawn(Spec { memory_bytes: 1001, ..spec() }, &Placement::On(vec![key(1)]));
    assert_eq!(refused.unwrap_err().reasons, [(key(1), PlacementError::Memory { free: 1000 })]);
    let refused = scheduler.spawn(spec(), &Placement::On(vec![key(7)])).unwrap_err();
    assert_eq!(refused.reasons, [(key(7), PlacementError::Unknown)]);
}

#[test]
fn a_deployment_fills_every_slot_of_hosts_present_and_future() {
    let mut scheduler = scheduler();
    scheduler.handle_host(at(0), key(1), HostChange::Joined { capacity: &capacity(2), resumed: false });
    let placed = scheduler.add_deployment(Deployment { id: DeploymentId(1), spec: spec().into() });
    assert_eq!(placed.len(), 2);
    assert_eq!(starts(&mut scheduler), [(key(1), 2)]);
    scheduler.handle_host(at(1), key(2), HostChange::Joined { capacity: &capacity(3), resumed: false });
    assert_eq!(starts(&mut scheduler), [(key(2), 3)]);
}

#[test]
fn a_deployment_whose_worker_fails_fills_the_slot_again_after_a_growing_pause() {
    let mut scheduler = scheduler();
    scheduler.handle_host(at(0), key(1), HostChange::Joined { capacity: &capacity(1), resumed: false });
    let always = Spec { restart: Restart::Always, ..spec() };
    let mut worker = scheduler.add_deployment(Deployment { id: DeploymentId(1), spec: always.into() })[0];
    let mut now = at(0);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        starts(&mut scheduler);
        scheduler.handle_worker_ended(now, worker, failed());
        assert_eq!(starts(&mut scheduler), [], "not at once");
        let due = scheduler.poll_timeout().unwrap();
        pauses.push(due.since(now));
        now = due;
        scheduler.handle_timeout(now);
        worker = *scheduler.workers().keys().next().unwrap();
    }
    assert!(pauses.windows(2).all(|pair| pair[1] >= pair[0] * 2), "{pauses:?}");
}

#[test]
fn a_worker_without_a_restart_policy_is_reported_and_its_standing_slot_stays_empty() {
    let mut scheduler = scheduler();
    scheduler.handle_host(at(0), key(1), HostChange::Joined { capacity: &capacity(1), resumed: false });
    let worker = scheduler.add_deployment(Deployment { id: DeploymentId(1), spec: spec().into() })[0];
    scheduler.handle_worker_ended(at(1), worker, failed());
    assert_eq!(left(&mut scheduler), [(worker, failed())]);
    scheduler.handle_timeout(at(1000));
    assert!(scheduler.workers().is_empty());
}

#[test]
fn a_host_that_comes_back_in_time_keeps_its_workers_and_one_that_does_not_loses_them() {
    let mut scheduler = scheduler();
    scheduler.handle_host(at(0), key(1), HostChange::Joined { capacity: &capacity(1), resumed: false });
    let worker = scheduler.spawn(spec(), &Placement::Anywhere { count: 1 }).unwrap()[0];
    scheduler.handle_host(at(5), key(1), HostChange::Away);
    assert_eq!(scheduler.poll_timeout(), Some(at(15)));
    scheduler.handle_timeout(at(14));
    scheduler.handle_host(at(14), key(1), HostChange::Joined { capacity: &capacity(1), resumed: true });
    assert_eq!(left(&mut scheduler), []);
    scheduler.handle_host(at(20), key(1), HostChange::Away);
    scheduler.handle_timeout(at(30));
    assert_eq!(left(&mut scheduler), [(worker, End::HostLost)]);
    assert!(scheduler.hosts().is_empty());
}

#[test]
fn a_host_that_comes_back_without_its_memory_has_lost_its_workers() {
    let mut scheduler = scheduler();
    scheduler.handle_host(at(0), key(1), HostChange::Joined { capacity: &capacity(1), resumed: false });
    let worker = scheduler.spawn(spec(), &Placement::Anywhere { count: 1 }).unwrap()[0];
    starts(&mut scheduler);
    scheduler.handle_host(at(1), key(1), HostChange::Joined { capacity: &capacity(1), resumed: false });
    assert_eq!(left(&mut scheduler), [(worker, End::HostLost)]);
}

#[test]
fn a_worker_whose_host_is_lost_starts_elsewhere_as_soon_as_there_is_room_and_names_whom_it_replaces() {
    let mut scheduler = scheduler();
    scheduler.handle_host(at(0), key(1), HostChange::Joined { capacity: &capacity(1), resumed: false });
    let restart = Restart::OnFailure { at_most: 1 };
    let lost = scheduler.spawn(Spec { restart, ..spec() }, &Placement::Anywhere { count: 1 }).unwrap()[0];
    scheduler.handle_host(at(1), key(1), HostChange::Gone { end: &End::HostLost });
    starts(&mut scheduler);
    scheduler.handle_host(at(2), key(2), HostChange::Joined { capacity: &capacity(1), resumed: false });
    assert_eq!(starts(&mut scheduler), [(key(2), 1)]);
    let (second, worker) = scheduler.workers().iter().next().unwrap();
    assert_eq!(worker.replaces, Some(lost));
    assert_ne!(*second, lost);
    let second = *second;
    scheduler.handle_worker_ended(at(3), second, failed());
    scheduler.handle_timeout(at(1000));
    assert!(scheduler.workers().is_empty(), "one restart was allowed");
}

#[test]
fn a_worker_that_is_stopped_on_purpose_is_not_started_again() {
    let mut scheduler = scheduler();
    scheduler.handle_host(at(0), key(1), HostChange::Joined { capacity: &capacity(1), resumed: false });
    let always = Spec { restart: Restart::Always, ..spec() };
    let worker = scheduler.spawn(always, &Placement::Anywhere { count: 1 }).unwrap()[0];
    scheduler.stop(&[worker], 100);
    scheduler.handle_worker_ended(at(1), worker, failed());
    scheduler.handle_timeout(at(1000));
    assert!(scheduler.workers().is_empty());
}

#[test]
fn a_draining_host_gets_nothing_more_even_when_it_was_away_meanwhile() {
    let mut scheduler = scheduler();
    scheduler.handle_host(at(0), key(1), HostChange::Joined { capacity: &capacity(2), resumed: false });
    scheduler.handle_host(at(0), key(1), HostChange::Draining);
    scheduler.handle_host(at(1), key(1), HostChange::Away);
    scheduler.handle_host(at(2), key(1), HostChange::Joined { capacity: &capacity(2), resumed: true });
    let refused = scheduler.spawn(spec(), &Placement::Anywhere { count: 1 }).unwrap_err();
    assert_eq!(refused.reasons, [(key(1), PlacementError::Draining)]);
}

#[test]
fn no_worker_id_is_used_twice() {
    let mut scheduler = scheduler();
    let mut ids = std::collections::BTreeSet::new();
    for round in 0..50 {
        scheduler.handle_host(
            at(round),
            key(1),
            HostChange::Joined { capacity: &capacity(4), resumed: false },
        );
        for id in scheduler.spawn(spec(), &Placement::Anywhere { count: 4 }).unwrap() {
            assert!(ids.insert(id));
        }
    }
}

#[test]
fn a_host_with_room_for_some_of_the_workers_says_for_how_many_whatever_it_lacks() {
    let mut scheduler = scheduler();
    scheduler.handle_host(at(0), key(1), HostChange::Joined { capacity: &capacity(9), resumed: false });
    let three = Placement::On(vec![key(1); 3]);
    let refused = scheduler.spawn(Spec { memory_bytes: 400, ..spec() }, &three).unwrap_err();
    assert_eq!(refused.reasons, [(key(1), PlacementError::Few { room: 2 })]);
}

#[test]
fn a_worker_that_ran_for_a_minute_is_restarted_as_if_it_had_never_failed() {
    let mut scheduler = scheduler();
    scheduler.handle_host(at(0), key(1), HostChange::Joined { capacity: &capacity(1), resumed: false });
    let restart = Restart::OnFailure { at_most: 1 };
    let mut worker =
        scheduler.spawn(Spec { restart, ..spec() }, &Placement::Anywhere { count: 1 }).unwrap()[0];
    for minutes in 1..4 {
        scheduler.handle_worker_started(at(minutes * 61 - 61), worker);
        scheduler.handle_worker_ended(at(minutes * 61), worker, failed());
        scheduler.handle_timeout(at(minutes * 61));
        let next = scheduler.workers().keys().copied().next();
        worker = next.expect("it has run for a minute, and is allowed one restart");
    }
    // It fails in less than a minute, twice in a row.
    scheduler.handle_worker_started(at(190), worker);
    scheduler.handle_worker_ended(at(191), worker, failed());
    scheduler.handle_timeout(at(200));
    assert!(scheduler.workers().is_empty(), "the restart that it was allowed is used up");
}

#[test]
fn the_workers_of_a_deployment_stay_when_their_client_leaves() {
    let mut scheduler = scheduler();
    scheduler.handle_host(at(0), key(1), HostChange::Joined { capacity: &capacity(2), resumed: false });
    let deployed = scheduler.add_deployment(Deployment { id: DeploymentId(1), spec: spec().into() });
    scheduler.handle_host(at(0), key(2), HostChange::Joined { capacity: &capacity(1), resumed: false });
    assert!(!deployed.is_empty());
    while scheduler.poll_decision().is_some() {}
    scheduler.stop_owner(spec().owner, 0);
    let stopped = std::iter::from_fn(|| scheduler.poll_decision())
        .filter(|decision| matches!(decision, Decision::Stop { .. }))
        .count();
    assert_eq!(stopped, 0);
}
