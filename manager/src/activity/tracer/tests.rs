use super::*;
use grid_protocol::key::SecretKey;

const JOB: JobId = JobId([7; 16]);

fn at(us: u64) -> Moment {
    Moment::ZERO + Duration::from_micros(us)
}

fn host() -> PublicKey {
    SecretKey::from_seed(&[1; 32]).public()
}

fn attempt(count: u64) -> AttemptId {
    AttemptId::new(1, count)
}

fn times(count: u64, told_us: u64) -> AttemptTimes {
    AttemptTimes {
        attempt: attempt(count),
        input_us: 10,
        module_us: 100,
        compile_us: 60,
        given_us: 120,
        begun_us: 150,
        ended_us: 900,
        told_us,
    }
}

fn parts(trace: &TaskTrace) -> Vec<(&'static str, u64)> {
    trace.parts.iter().map(|part| (part.kind.label(), part.us)).collect()
}

fn traced() -> Tracer {
    let mut tracer = Tracer::default();
    tracer.submitted(at(0), Duration::from_secs(1000), JOB, 0, 5);
    tracer
}

/// The trace of task 0, whose one attempt took from 1000 until 3000 there and back, as its host tells.
fn told(times: Option<AttemptTimes>) -> TaskTrace {
    let mut tracer = traced();
    tracer.leased(at(400), attempt(1), JOB, 0);
    assert!(tracer.follows(attempt(1)));
    tracer.sent(at(1000), host(), attempt(1));
    times.into_iter().for_each(|times| tracer.told(host(), times));
    assert!(tracer.ended(at(3000), attempt(1), (JOB, 0), "lab", AttemptEnding::Done));
    tracer.recorded(at(3500), JOB, 0).unwrap()
}

#[test]
fn the_parts_of_a_task_add_up_to_the_whole() {
    let trace = told(Some(times(1, 1000)));
    let expected = [
        ("wait", 400),
        ("lease", 600),
        ("send", 500),
        ("input", 10),
        ("module", 30),
        ("compile", 60),
        ("queue", 20),
        ("start", 30),
        ("run", 750),
        ("report", 600),
        ("record", 500),
    ];
    assert_eq!(parts(&trace), expected);
    assert_eq!((trace.whole_us, trace.submitted_unix_us), (3500, 1_000_000_000));
    assert_eq!(trace.parts.iter().map(|part| part.us).sum::<u64>(), trace.whole_us);
}

#[test]
fn a_host_that_tells_nothing_or_nonsense_is_one_part() {
    let expected = [("wait", 400), ("lease", 600), ("host", 2000), ("record", 500)];
    assert_eq!(parts(&told(None)), expected);
    assert_eq!(parts(&told(Some(times(1, 2001)))), expected, "it was not there for so long");
    assert_eq!(parts(&told(Some(AttemptTimes { begun_us: 3, ..times(1, 1000) }))), expected);
}

#[test]
fn an_attempt_that_is_lost_is_a_part_and_the_task_waits_again() {
    let mut tracer = traced();
    tracer.leased(at(100), attempt(1), JOB, 0);
    tracer.sent(at(200), host(), attempt(1));
    tracer.came_back(at(1200), attempt(1));
    assert!(!tracer.follows(attempt(1)));
    tracer.told(host(), times(1, 1000));
    tracer.leased(at(1500), attempt(2), JOB, 0);
    tracer.sent(at(1600), host(), attempt(2));
    tracer.told(host(), times(2, 1000));
    assert!(tracer.ended(at(2700), attempt(2), (JOB, 0), "rack", AttemptEnding::Done));
    let trace = tracer.recorded(at(2800), JOB, 0).unwrap();
    assert_eq!(trace.parts.iter().map(|part| part.us).sum::<u64>(), trace.whole_us);
    let first = [("wait", 100), ("lease", 100), ("host", 1000), ("wait", 300), ("lease", 100), ("send", 50)];
    assert_eq!(parts(&trace)[..6], first);
    assert_eq!((trace.host.as_str(), trace.ending), ("rack", AttemptEnding::Done));
}

#[test]
fn an_attempt_that_is_not_followed_may_be_the_one_that_ends_the_task() {
    let mut tracer = traced();
    tracer.leased(at(100), attempt(1), JOB, 0);
    tracer.sent(at(200), host(), attempt(1));
    tracer.leased(at(300), attempt(2), JOB, 0);
    tracer.sent(at(400), host(), attempt(2));
    tracer.told(host(), times(2, 100));
    assert!(tracer.ended(at(1000), attempt(1), (JOB, 0), "lab", AttemptEnding::Done));
    assert!(tracer.attempts.is_empty());
    let trace = tracer.recorded(at(1100), JOB, 0).unwrap();
    assert_eq!(trace.parts.iter().map(|part| part.us).sum::<u64>(), trace.whole_us);
    assert_eq!(parts(&trace)[4..], [("host", 600), ("record", 100)]);
}

#[test]
fn the_first_task_of_a_submission_is_chosen_ten_times_a_second() {
    let mut tracer = traced();
    assert!(tracer.open.contains_key(&(JOB, 0)) && tracer.open.len() == 1);
    for first in 1..100 {
        tracer.submitted(at(first), Duration::ZERO, JOB, first * 5, 5);
    }
    assert_eq!(tracer.open.len(), 10);
    tracer.submitted(at(1_000_000), Duration::ZERO, JOB, 1000, 5);
    assert_eq!(tracer.open.len(), 11);
}

#[test]
fn of_a_job_that_is_part_of_a_sampled_trace_a_hundred_tasks_a_second_are_traced() {
    for (sampled, expected) in [(true, 100), (false, 1)] {
        let mut tracer = Tracer::default();
        tracer.joins(JOB, TraceContext { trace: [1; 16], span: [2; 8], sampled });
        tracer.submitted(at(0), Duration::ZERO, JOB, 0, 1000);
        assert_eq!(tracer.open.len(), expected);
    }
}

#[test]
fn what_is_kept_is_bounded_and_goes_with_its_job() {
    let mut tracer = Tracer::default();
    for task in 0..10_000 {
        let now = at(task * 200_000);
        tracer.submitted(now, Duration::ZERO, JOB, task, 1);
        tracer.leased(now, attempt(task), JOB, task);
        assert!(tracer.ended(now, attempt(task), (JOB, task), "lab", AttemptEnding::Done));
        tracer.recorded(now, JOB, task).unwrap();
    }
    let kept: Vec<_> = tracer.traces(JOB).iter().map(|trace| trace.task).collect();
    assert_eq!(kept, (0..8).chain(9976..10_000).collect::<Vec<_>>());
    tracer.submitted(at(u64::MAX / 2000), Duration::ZERO, JOB, 20_000, 1);
    tracer.leased(at(u64::MAX / 2000), attempt(1), JOB, 20_000);
    tracer.forget(JOB);
    assert!(tracer.open.is_empty() && tracer.attempts.is_empty() && tracer.kept.is_empty());
    assert!(tracer.oldest.is_empty());
}
