//! Jobs and their outcomes.

use std::collections::BTreeSet;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::job::BlobRef;
use grid_protocol::limits::{ARGUMENTS_BYTES_MAX, MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX};
use grid_tests::{echo, sleeper};
use wasm_grid::{
    Client, Denial, DenialCode, Digest, FailureKind, GiveUp, Inputs, Job, JobBuilder, JobId, JobState, Map,
    PartKind, Reply, Request, TaskOutcome, Wall,
};

use super::{HOUR, actor, on_both_sides, uploaded};
use crate::jobs::task;

/// A job whose tasks are done by [`actor`].
async fn acted(client: &Client) -> JobBuilder {
    client.job("acted", uploaded(client, actor()).await)
}

/// Submits these tasks to a new job and closes it.
async fn submitted(job: JobBuilder, inputs: &[&'static str]) -> Job {
    let job = job.start().await.unwrap();
    let inputs = inputs.iter().map(|input| Bytes::from(*input)).collect();
    job.submit(0, inputs).await.unwrap();
    job.close().await.unwrap();
    job
}

/// The number of the task and its only result.
fn result(outcome: TaskOutcome) -> (u64, Bytes) {
    let results = outcome.results.unwrap();
    assert_eq!(results.len(), 1);
    (outcome.task, results[0].clone())
}

async fn rest<I: Inputs>(mut outcomes: Map<I>) -> Vec<(u64, Bytes)> {
    let mut all = Vec::new();
    while let Some(outcome) = outcomes.next().await.unwrap() {
        all.push(result(outcome));
    }
    all
}

#[tokio::test]
async fn each_task_has_one_outcome_and_in_order_they_come_in_the_order_of_the_tasks() {
    on_both_sides(async |client| {
        let module = uploaded(client, echo()).await;
        let inputs: Vec<_> = (0..200u8).map(|number| vec![number]).collect();
        let expected: Vec<_> = (0..200u8).map(|number| (number.into(), vec![number].into())).collect();
        let mut all = rest(client.map(module, inputs.clone()).await.unwrap()).await;
        all.sort();
        assert_eq!(all, expected);
        let ordered = client.job("ordered", module).map(inputs).await.unwrap().in_order();
        assert_eq!(rest(ordered).await, expected);
    })
    .await;
}

#[tokio::test]
async fn a_programs_own_values_come_back_and_a_job_of_one_task_leaves_nothing_behind() {
    on_both_sides(async |client| {
        let module = uploaded(client, echo()).await;
        let mut outcomes = client.job("typed", module).map_typed([(1, "one")]).await.unwrap();
        let outcome = outcomes.next().await.unwrap().unwrap();
        assert_eq!(outcome.value::<(u8, String)>().unwrap(), (1, "one".to_owned()));
        assert!(outcome.seq == 1 && !outcome.host.is_empty(), "{outcome:?}");
        let id = outcomes.job().id();
        assert!(outcomes.next().await.unwrap().is_none());
        outcomes.job().forget().await.unwrap();
        let one: Vec<u64> = client.submit(module, &[1u64, 2]).await.unwrap().value().unwrap();
        assert_eq!(one, [1, 2]);
        let jobs = client.request(Request::JobList { everyones: false }).await.unwrap();
        assert_eq!(jobs, Reply::Jobs(Vec::new()), "{id} and another");
    })
    .await;
}

#[tokio::test]
async fn a_hundred_jobs_of_one_task_at_once_all_end() {
    on_both_sides(async |client| {
        let module = uploaded(client, echo()).await;
        let one = async |number: u64| client.submit(module, &number).await.unwrap().value::<u64>().unwrap();
        let all = futures::future::join_all((0..100).map(one)).await;
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn a_job_that_cannot_be_is_denied_with_the_same_code() {
    on_both_sides(async |client| {
        let module = uploaded(client, echo()).await;
        let job = || client.job("denied", module);
        let id = JobId([7; 16]);
        let taken = job().id(id).start().await.unwrap();
        assert_eq!(job().id(id).start().await.unwrap().id(), taken.id(), "the same job makes no second one");
        let arguments = |length| job().arguments(vec![0; length]);
        let denied = [
            ("no such module", client.job("denied", Digest::of(b"")), DenialCode::NotFound),
            ("the id of another", job().id(id).priority(1), DenialCode::Conflict),
            ("no time", job().timeout(Duration::ZERO), DenialCode::BadRequest),
            ("too many retries", job().retries(100), DenialCode::BadRequest),
            ("a label without a name", job().label("", "value"), DenialCode::BadRequest),
            ("a long name", client.job(&"n".repeat(256), module), DenialCode::BadRequest),
            ("long arguments", arguments(ARGUMENTS_BYTES_MAX + 1), DenialCode::BadRequest),
            ("longer than a frame", arguments(2 << 20), DenialCode::BadRequest),
        ];
        for (what, job, code) in denied {
            let denial = job.start().await.err().unwrap_or_else(|| panic!("{what}"));
            assert_eq!(denial.code, code, "{what}");
        }
    })
    .await;
}

/// Asks everything that can be asked of a job.
async fn asked(job: &Job) -> [(&'static str, Result<(), Denial>); 12] {
    let long = Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1]);
    [
        ("submit", job.submit(0, vec!["task".into()]).await.map(drop)),
        ("submit a long one", job.submit(0, vec![long]).await.map(drop)),
        ("close", job.close().await.map(drop)),
        ("show", job.show().await.map(drop)),
        ("explain", job.explain().await.map(drop)),
        ("traces", job.traces().await.map(drop)),
        ("stop", job.stop().await.map(drop)),
        ("retry", job.retry().await.map(drop)),
        ("forget", job.forget().await),
        ("outcomes", job.outcomes(0, HOUR).await.map(drop)),
        ("wait", job.wait().await.map(drop)),
        ("go on", job.go_on(0, ["task"].into_iter(), 0).next().await.map(drop)),
    ]
}

#[tokio::test]
async fn a_job_that_never_was_or_is_forgotten_is_not_found_whatever_is_asked() {
    on_both_sides(async |client| {
        let forgotten = submitted(acted(client).await, &["task"]).await;
        forgotten.wait().await.unwrap();
        forgotten.forget().await.unwrap();
        for job in [client.find_job(JobId([7; 16])), forgotten] {
            for (what, denied) in asked(&job).await {
                assert_eq!(denied.map_err(|denial| denial.code), Err(DenialCode::NotFound), "{what}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_job_keeps_what_it_was_made_with() {
    on_both_sides(async |client| {
        let job = acted(client).await.arguments("given").label("gpu", "yes").memory(1 << 20).priority(-3);
        let job = job.require_walls().require_wall(Wall::Namespaces);
        let job = job.timeout(Duration::from_millis(1500)).retries(4).max_failures(GiveUp::Count(9));
        let job = job.start().await.unwrap();
        let info = job.show().await.unwrap();
        assert_eq!((info.id, info.owner, &info.state), (job.id(), job.client().key(), &JobState::Open));
        let spec = info.spec;
        assert_eq!(
            (spec.name.as_str(), &spec.arguments[..], spec.memory_bytes),
            ("acted", &b"given"[..], 1 << 20)
        );
        assert_eq!((spec.priority, spec.timeout_ms, spec.attempts_max), (-3, 1500, 5));
        assert_eq!(spec.give_up, GiveUp::Count(9));
        // No host has the label.
        job.submit(0, vec!["task".into()]).await.unwrap();
        let said = job.explain().await.unwrap().join("\n");
        assert!(said.contains("1 waiting") && said.contains("lacks a label"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn the_tasks_of_a_job_that_is_part_of_a_trace_are_traced() {
    on_both_sides(async |client| {
        let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        let job = acted(client).await.part_of(context).start().await.unwrap();
        assert_eq!(job.traces().await.unwrap(), []);
        job.submit(0, vec!["a".into(), "b".into(), "c".into()]).await.unwrap();
        job.close().await.unwrap();
        job.wait().await.unwrap();
        let traces = job.traces().await.unwrap();
        assert_eq!(traces.iter().map(|trace| trace.task).collect::<BTreeSet<_>>(), [0, 1, 2].into());
        for trace in traces {
            let parts: u64 = trace.parts.iter().map(|part| part.us).sum();
            assert_eq!(parts, trace.whole_us, "{trace:?}");
            assert!(trace.parts.iter().all(|part| part.kind != PartKind::Host), "{trace:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_executors_of_a_job_have_its_arguments() {
    on_both_sides(async |client| {
        let job = acted(client).await.arguments("given");
        assert_eq!(rest(job.map([""]).await.unwrap()).await, [(0, "given".into())]);
    })
    .await;
}

#[tokio::test]
async fn tasks_that_are_submitted_again_are_skipped_and_those_out_of_turn_are_in_conflict() {
    on_both_sides(async |client| {
        let job = acted(client).await.start().await.unwrap();
        let submit = async |first, inputs: &[&'static str]| {
            let inputs = inputs.iter().map(|input| Bytes::from(*input)).collect();
            job.submit(first, inputs).await.map_err(|denial| denial.code)
        };
        assert_eq!(submit(0, &["a", "b"]).await, Ok(2));
        assert_eq!(submit(0, &["a", "b", "c"]).await, Ok(3));
        assert_eq!(submit(5, &["e"]).await, Err(DenialCode::Conflict));
        assert_eq!(job.close().await.unwrap().counts.submitted, 3);
        assert_eq!(submit(2, &["c"]).await, Ok(3), "it is there already");
        assert_eq!(submit(3, &["d"]).await, Err(DenialCode::Conflict));
        assert_eq!(job.wait().await.unwrap().counts.done, 3);
    })
    .await;
}

#[tokio::test]
async fn an_input_of_mebibytes_comes_back_whole_and_one_over_64_mib_is_refused() {
    on_both_sides(async |client| {
        let module = uploaded(client, echo()).await;
        let input = |task: u8| Bytes::from(vec![task; [10, 300_000, 3_000_000][usize::from(task)]]);
        let outcomes = client.map(module, (0..3).map(input)).await.unwrap().in_order();
        let expected: Vec<_> = (0..3).map(|task| (task.into(), input(task))).collect();
        assert!(rest(outcomes).await == expected, "a result is not its input");
        let job = client.job("long", module).start().await.unwrap();
        let denied = job.submit(0, vec![Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1])]).await.unwrap_err();
        assert_eq!(denied.code, DenialCode::BadRequest, "{denied:?}");
        // Nor is it kept before the task that it is for.
        let payload = BlobRef { length: MESSAGE_BYTES_MAX as u64 + 1, ..BlobRef::of(b"") };
        let denied = client.request(Request::PayloadKeep { job: job.id(), payload }).await.unwrap_err();
        assert_eq!(denied.code, DenialCode::BadRequest, "{denied:?}");
    })
    .await;
}

#[tokio::test]
async fn outcomes_are_numbered_and_given_from_any_number_on() {
    on_both_sides(async |client| {
        let job = acted(client).await.start().await.unwrap();
        let (none, info) = job.outcomes(0, Duration::ZERO).await.unwrap();
        assert_eq!((none, info.state), (vec![], JobState::Open));
        job.submit(0, vec!["a".into(), "b".into(), "c".into()]).await.unwrap();
        let (first, _) = job.outcomes(0, HOUR).await.unwrap();
        assert_eq!(first[0].seq, 1);
        let open = job.show().await.unwrap();
        assert!(!open.state.is_over() && open.counts.submitted == 3, "{open:?}");
        job.close().await.unwrap();
        let info = job.wait().await.unwrap();
        assert_eq!((&info.state, info.recorded, info.counts.done), (&JobState::Finished, 3, 3));
        let (later, shown) = job.outcomes(1, HOUR).await.unwrap();
        assert_eq!(later.iter().map(|outcome| outcome.seq).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(shown.state, job.show().await.unwrap().state);
        assert_eq!(job.outcomes(3, HOUR).await.unwrap().0, []);
    })
    .await;
}

#[tokio::test]
async fn a_job_shows_every_outcome_that_its_client_has() {
    on_both_sides(async |client| {
        let job = acted(client).await.start().await.unwrap();
        let feeder = async {
            for first in (0..4_000).step_by(20) {
                job.submit(first, vec!["a".into(); 20]).await.unwrap();
            }
        };
        let reader = async {
            let mut last = 0;
            while last < 4_000 {
                let (outcomes, info) = job.outcomes(last, HOUR).await.unwrap();
                last = outcomes.last().unwrap().seq;
                let shown = job.show().await.unwrap();
                for shown in [info, shown] {
                    assert!(shown.recorded >= last && shown.counts.done >= last, "{last} in {shown:?}");
                }
            }
        };
        tokio::join!(feeder, reader);
        job.stop().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_job_is_forgotten_only_when_it_is_over() {
    on_both_sides(async |client| {
        let job = acted(client).await.start().await.unwrap();
        assert_eq!(job.forget().await.unwrap_err().code, DenialCode::Conflict);
        assert_eq!(job.stop().await.unwrap().state, JobState::Cancelled);
        assert_eq!(job.forget().await, Ok(()));
    })
    .await;
}

#[tokio::test]
async fn a_job_that_is_stopped_gives_the_outcomes_that_it_has_and_takes_no_more_tasks() {
    on_both_sides(async |client| {
        let module = uploaded(client, sleeper()).await;
        let inputs = std::iter::once(task(3, Duration::ZERO)).chain((0..9).map(|_| task(1, HOUR)));
        let mut outcomes = client.job("stopped", module).map(inputs).await.unwrap();
        let first = outcomes.next().await.unwrap().unwrap();
        assert_eq!(result(first), (0, 9u64.to_le_bytes().to_vec().into()));
        outcomes.job().stop().await.unwrap();
        assert_eq!(outcomes.next().await, Ok(None));
        let info = outcomes.progress().unwrap();
        assert_eq!((&info.state, info.recorded), (&JobState::Cancelled, 1));
        let more = outcomes.job().submit(10, vec!["more".into()]).await;
        assert_eq!(more.unwrap_err().code, DenialCode::Conflict);
    })
    .await;
}

#[tokio::test]
async fn a_task_that_fails_is_dead_after_its_retries_with_its_reason_and_can_be_tried_again() {
    on_both_sides(async |client| {
        let job = submitted(acted(client).await.retries(1), &["good", "f: it is bad", "trap"]).await;
        let info = job.wait().await.unwrap();
        assert_eq!((info.counts.done, info.counts.dead, info.counts.retried), (1, 2, 2));
        let (recorded, _) = job.outcomes(0, Duration::ZERO).await.unwrap();
        for outcome in recorded.into_iter().map(TaskOutcome::from).filter(|outcome| outcome.task > 0) {
            let (kind, why) = [(FailureKind::Reported, "f: it is bad"), (FailureKind::Trap, "unreachable")]
                [usize::from(outcome.task == 2)];
            let failed = outcome.results.unwrap_err();
            let attempts: Vec<_> =
                failed.attempts.iter().filter_map(|attempt| attempt.failure.as_ref()).collect();
            assert!(attempts.len() == 2 && attempts.iter().all(|failure| failure.kind == kind), "{failed:?}");
            assert!(attempts[0].message.contains(why), "{failed:?}");
        }
        assert_eq!(job.retry().await.unwrap().counts.dead, 0);
        assert_eq!(job.wait().await.unwrap().counts.dead, 2);
    })
    .await;
}

#[tokio::test]
async fn a_task_that_takes_longer_than_its_timeout_is_dead_and_a_job_with_too_many_of_them_is_given_up() {
    on_both_sides(async |client| {
        let module = uploaded(client, sleeper()).await;
        let job = client.job("late", module).timeout(Duration::from_millis(100)).retries(0);
        let mut outcomes = job.max_failures(GiveUp::Count(0)).map([task(1, HOUR)]).await.unwrap();
        let failed = outcomes.next().await.unwrap().unwrap().results.unwrap_err();
        let failure = failed.attempts[0].failure.as_ref().unwrap();
        assert_eq!(failure.kind, FailureKind::Timeout);
        assert_eq!(outcomes.next().await, Ok(None));
        let state = outcomes.job().show().await.unwrap().state;
        assert!(matches!(state, JobState::GivenUp { .. }), "{state:?}");
    })
    .await;
}

#[tokio::test]
async fn a_job_is_gone_on_with_by_its_id_from_the_outcome_that_was_taken_last() {
    on_both_sides(async |client| {
        let mut begun =
            acted(client).await.map(["a"].into_iter().chain(std::iter::repeat("b"))).await.unwrap();
        let first = begun.next().await.unwrap().unwrap();
        assert_eq!(first.seq, 1);
        let id = begun.job().id();
        begun.job().stop().await.unwrap();
        drop(begun);
        let begun = client.find_job(id);
        let recorded = begun.wait().await.unwrap().recorded;
        let rest = rest(begun.go_on(1, std::iter::empty::<Bytes>(), first.seq)).await;
        assert_eq!(rest.len() as u64, recorded - 1);
        let job = acted(client).await.start().await.unwrap();
        job.submit(0, vec!["c".into()]).await.unwrap();
        let went_on = client.find_job(job.id()).go_on(1, ["d"].into_iter(), 0).in_order();
        assert_eq!(self::rest(went_on).await, [(0, "c".into()), (1, "d".into())]);
    })
    .await;
}

/// A source that has its next task only once the one before has its outcome.
struct OneByOne(tokio::sync::mpsc::Receiver<Bytes>);

impl Inputs for OneByOne {
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Denial>>> {
        self.0.poll_recv(cx).map(|input| input.map(Ok))
    }
}

#[tokio::test]
async fn a_source_that_has_no_task_yet_holds_up_no_outcome_and_brings_none_after_the_last() {
    on_both_sides(async |client| {
        let (give, given) = tokio::sync::mpsc::channel(1);
        let mut outcomes = acted(client).await.map_from(OneByOne(given)).await.unwrap();
        assert!(!outcomes.has_next() && outcomes.progress().is_none());
        for (number, input) in ["a", "b", "c"].into_iter().enumerate() {
            give.send(input.into()).await.unwrap();
            let outcome = outcomes.next().await.unwrap().unwrap();
            assert_eq!(result(outcome), (number as u64, input.into()));
        }
        outcomes.bring_no_more();
        give.send("d".into()).await.unwrap();
        assert_eq!(outcomes.next().await, Ok(None));
        assert_eq!(outcomes.progress().unwrap().counts.submitted, 3);
    })
    .await;
}
