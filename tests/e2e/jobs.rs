//! Jobs on real hosts: leases, timeouts, poison, quarantine, fairness, and hosts that stop or hang.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use grid_tests::{ChildProcess, Grid, busy, echo, module, sleeper, within_minutes};
use wasm_grid::{Client, Digest, FailureKind, JobInfo, JobState, TaskOutcome};

/// A task for `busy` or `sleeper`: its number, and how long it takes.
pub(crate) fn task(number: u64, time: Duration) -> Vec<u8> {
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap();
    [number.to_le_bytes(), nanoseconds.to_le_bytes()].concat()
}

/// The result of a task that went well.
fn square(outcome: &TaskOutcome, number: u64) {
    let results = outcome.results.as_ref().unwrap_or_else(|failed| panic!("{}: {failed:#?}", outcome.task));
    assert_eq!(results[..], [number.wrapping_mul(number).to_le_bytes().to_vec()], "task {}", outcome.task);
}

/// All outcomes of a job, each task's once.
async fn outcomes(
    client: &Client,
    module: Digest,
    inputs: Vec<Vec<u8>>,
    timeout: Duration,
) -> (BTreeMap<u64, TaskOutcome>, JobInfo) {
    let mut results = client.job("test", module).timeout(timeout).map(inputs).await.unwrap();
    let mut all = BTreeMap::new();
    while let Some(outcome) = results.next().await.unwrap() {
        assert!(all.insert(outcome.task, outcome).is_none(), "a task came twice");
    }
    let info = results.job().show().await.unwrap();
    (all, info)
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_task_that_outlasts_its_lease_in_one_call_runs_once() {
    within_minutes(2, async {
        let grid = Grid::start(&[]);
        let log = [("GRID_LOG", "warn,grid_host::attempt=trace")];
        let ticket = grid.ticket("host");
        let mut host = grid.host_with(&ticket, "patient", &["--slots", "2"], &log);
        host.wait_for("joined");
        let client = grid.client();
        let module = client.upload("busy", busy()).await.unwrap().digest;
        let inputs = vec![task(3, Duration::from_secs(20))];
        let (all, info) = outcomes(&client, module, inputs, HOUR).await;
        square(&all[&0], 3);
        assert_eq!(info.counts.retried, 0);
        host.kill();
        assert_eq!(host.everything().matches(" begins").count(), 1);
    })
    .await;
}

/// Two hosts of which one goes silent with tasks in hand: they are done by the other, and what the first says later is
/// fenced off.
async fn with_a_host_that_goes_silent(
    walls: &str,
    silence: impl FnOnce(&ChildProcess),
    speak: impl FnOnce(&ChildProcess),
) {
    let grid = Grid::start(&[]);
    let silent = grid.host("silent", &["--slots", "4", "--walls", walls]);
    let client = grid.client();
    let module = client.upload("sleeper", sleeper()).await.unwrap().digest;
    let inputs = (0..4).map(|number| task(number, Duration::from_secs(2)).into()).collect();
    let job = client.job("test", module).start().await.unwrap();
    job.submit(0, inputs).await.unwrap();
    job.close().await.unwrap();
    let id = job.id().to_string();
    // All four run there before it goes silent.
    grid.wait_until(&["job", "show", &id], |job| job["leased"] == 4);
    grid.wait_until(&["explain", &format!("{id}/3")], |said| said.to_string().contains("running on silent"));
    silence(&silent);
    let since = Instant::now();
    let _other = grid.host("other", &["--slots", "4"]);
    let info = job.wait().await.unwrap();
    assert_eq!((info.counts.done, info.recorded), (4, 4));
    assert!(
        since.elapsed() < Duration::from_secs(30),
        "it took {:?}, two lease times and more",
        since.elapsed()
    );
    let (recorded, _) = job.outcomes(0, Duration::ZERO).await.unwrap();
    for outcome in recorded.into_iter().map(TaskOutcome::from) {
        square(&outcome, outcome.task);
        assert_eq!(outcome.host, "other");
    }
    speak(&silent);
    // It works on: what it had is fenced off, and it takes more.
    let more: Vec<_> = (0..40).map(|number| task(number, Duration::from_millis(50))).collect();
    let (all, info) = outcomes(&client, module, more, HOUR).await;
    assert_eq!((all.len(), info.counts.dead), (40, 0));
    assert_eq!(job.show().await.unwrap().recorded, 4);
}

#[tokio::test]
async fn tasks_of_a_stopped_host_are_done_elsewhere_within_two_lease_times_and_count_once() {
    let silent = with_a_host_that_goes_silent("full", |host| host.signal("STOP"), |host| host.signal("CONT"));
    within_minutes(2, silent).await;
}

#[tokio::test]
async fn tasks_of_hanging_threads_are_done_elsewhere_within_two_lease_times_and_count_once() {
    let frozen = std::cell::RefCell::new(None);
    let freeze = |host: &ChildProcess| *frozen.borrow_mut() = Some(host.freeze("grid-compute"));
    within_minutes(2, with_a_host_that_goes_silent("none", freeze, |_| drop(frozen.take()))).await;
}

#[tokio::test]
async fn tasks_of_executors_that_hang_are_begun_anew_and_count_once() {
    within_minutes(2, async {
        let grid = Grid::start(&[]);
        let host = grid.host("hung", &["--slots", "2"]);
        let client = grid.client();
        let module = client.upload("sleeper", sleeper()).await.unwrap().digest;
        let job = client.job("test", module).start().await.unwrap();
        let inputs = (0..2).map(|number| task(number, Duration::from_secs(2)).into()).collect();
        job.submit(0, inputs).await.unwrap();
        job.close().await.unwrap();
        let id = job.id().to_string();
        grid.wait_until(&["explain", &format!("{id}/1")], |said| said.to_string().contains("running on"));
        assert!(host.signal_executors("STOP") >= 2);
        let info = job.wait().await.unwrap();
        assert_eq!((info.counts.done, info.counts.dead, info.recorded), (2, 0, 2));
        let (recorded, _) = job.outcomes(0, Duration::ZERO).await.unwrap();
        for outcome in recorded.into_iter().map(TaskOutcome::from) {
            square(&outcome, outcome.task);
        }
    })
    .await;
}

#[tokio::test]
async fn tasks_whose_executors_are_killed_under_load_are_done_once_and_nobody_is_blamed() {
    within_minutes(2, async {
        let grid = Grid::start(&[]);
        let mut host = grid.host("killed", &["--slots", "4"]);
        let client = grid.client();
        let module = client.upload("busy", busy()).await.unwrap().digest;
        let inputs: Vec<_> = (0..4000).map(|number| task(number, Duration::from_millis(1))).collect();
        let mut results = client.job("test", module).timeout(HOUR).map(inputs).await.unwrap();
        let (mut all, mut killed, mut due) = (BTreeMap::new(), 0, 0);
        while let Some(outcome) = results.next().await.unwrap() {
            assert!(all.insert(outcome.task, outcome).is_none(), "a task came twice");
            // Outcomes may come many at a time: tasks that were lost have been done before the next are. A task that is lost
            // ten times in a row is charged.
            if all.len() % 5 == 0 && results.job().show().await.unwrap().counts.done >= due {
                killed += host.signal_executors("KILL");
                due = results.job().show().await.unwrap().counts.done + 5;
            }
        }
        let info = results.job().show().await.unwrap();
        assert!(killed >= 500, "only {killed} were killed");
        assert_eq!((all.len(), info.counts.done, info.counts.dead), (4000, 4000, 0));
        for (number, outcome) in &all {
            square(outcome, *number);
        }
        host.kill();
        assert_eq!(info.counts.retried, 0, "an attempt was charged: {}", host.everything());
    })
    .await;
}

/// A worker that sends `early` as it starts and answers each task with its input; `which` makes it another module.
fn sends_as_it_starts(which: u32) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "grid" "recv" (func $recv (param i32 i32) (result i32)))
            (import "grid" "send" (func $send (param i32 i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "early") (data (i32.const 64) "{which}")
            (func (export "init") (param i32) (call $send (i32.const 0) (i32.const 5)))
            (func (export "handle_msg") (param $length i32)
                (drop (call $recv (i32.const 128) (local.get $length)))
                (call $send (i32.const 128) (local.get $length))))"#
    );
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn what_a_guest_sends_as_it_starts_is_no_result_of_its_first_task() {
    within_minutes(2, async {
        for walls in ["full", "none"] {
            let grid = Grid::start(&[]);
            let _host = grid.host(walls, &["--slots", "1", "--walls", walls]);
            let client = grid.client();
            for which in 0..6 {
                let module = client.upload("early", sends_as_it_starts(which)).await.unwrap().digest;
                let (all, _) = outcomes(&client, module, vec![b"task".to_vec()], HOUR).await;
                assert_eq!(all[&0].results, Ok(vec![b"task".to_vec().into()]), "{walls}, {which}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_task_that_spins_is_stopped_at_its_timeout_and_blamed() {
    within_minutes(1, async {
        let grid = Grid::start(&[]);
        let _host = grid.host("spun", &["--slots", "2"]);
        let client = grid.client();
        let module = client.upload("busy", busy()).await.unwrap().digest;
        let inputs = vec![task(1, Duration::ZERO), task(2, Duration::from_millis(5))];
        let (all, _) = outcomes(&client, module, inputs, Duration::from_secs(1)).await;
        square(&all[&1], 2);
        let failed = all[&0].results.as_ref().unwrap_err();
        assert_eq!(failed.attempts.len(), 3);
        for attempt in &failed.attempts {
            assert_eq!(attempt.failure.as_ref().map(|failure| failure.kind), Some(FailureKind::Timeout));
            let ran = Duration::from_micros(attempt.ran_us);
            assert!(ran >= Duration::from_secs(1) && ran < Duration::from_millis(1200), "{ran:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_poison_task_among_a_thousand_is_dead_with_its_reason_and_no_host_is_left_out() {
    within_minutes(1, async {
        let grid = Grid::start(&[]);
        let hosts: Vec<_> = ["one", "two", "three"].map(|name| grid.host(name, &["--slots", "2"])).into();
        let client = grid.client();
        let module = client.upload("busy", busy()).await.unwrap().digest;
        let number = |place: u64| if place == 500 { u64::MAX } else { place };
        let inputs = (0..=1000).map(|place| task(number(place), Duration::from_micros(100))).collect();
        let (all, info) = outcomes(&client, module, inputs, HOUR).await;
        for outcome in all.values().filter(|outcome| outcome.task != 500) {
            square(outcome, outcome.task);
        }
        assert_eq!((info.counts.done, info.counts.dead), (1000, 1));
        let failed = all[&500].results.as_ref().unwrap_err();
        assert_eq!(failed.attempts.len(), 3, "{failed:?}");
        let names: std::collections::BTreeSet<_> =
            failed.attempts.iter().map(|attempt| &attempt.host_name).collect();
        assert_eq!(names.len(), 3, "it was not tried on three hosts: {names:?}");
        for host in grid.must(&["host", "ls", "--json"]).json()["hosts"].as_array().unwrap() {
            let said = grid.must(&["explain", host["key"].as_str().unwrap()]).stdout;
            assert!(!said.contains("gets nothing"), "{said}");
        }
        drop(hosts);
    })
    .await;
}

/// The sleeper, which wants four mebibytes more for each task before it sleeps.
fn grower() -> Vec<u8> {
    let sleeper = include_str!("../../modules/sleeper.wat");
    let (head, sleeps) = sleeper.split_once("(drop (call $recv").expect("the sleeper receives its task");
    let grows = "(if (i32.eq (memory.size) (i32.const 1))
        (then (if (i32.eq (memory.grow (i32.const 64)) (i32.const -1)) (then unreachable))))";
    wat::parse_str(format!("{head}{grows}(drop (call $recv{sleeps}")).expect("the module is good")
}

#[tokio::test]
async fn a_host_that_fails_everything_is_quarantined_and_named_and_the_others_do_the_job() {
    within_minutes(1, async {
        let grid = Grid::start(&[]);
        let _good = grid.host("good", &["--slots", "2"]);
        // Whatever runs there runs out of memory.
        let _bad = grid.host("bad", &["--slots", "2", "--worker-memory", "1MiB"]);
        let client = grid.client();
        let module = client.upload("grower", grower()).await.unwrap().digest;
        let inputs = (0..100).map(|number| task(number, Duration::from_millis(30))).collect();
        let (all, info) = outcomes(&client, module, inputs, HOUR).await;
        assert!(all.values().all(|outcome| outcome.host == "good"), "{:?}", info.counts);
        assert_eq!((info.counts.done, info.state), (100, JobState::Finished));
        let hosts = grid.must(&["host", "ls", "--json"]).json();
        let bad = hosts["hosts"].as_array().unwrap().iter().find(|host| host["name"] == "bad").unwrap();
        let said = grid.must(&["explain", bad["key"].as_str().unwrap()]).stdout;
        assert!(
            said.contains("host bad failed what other hosts did") && said.contains("gets nothing"),
            "{said}"
        );
    })
    .await;
}

#[tokio::test]
async fn two_clients_with_unequal_queues_share_the_slots() {
    within_minutes(1, async {
        let grid = Grid::start(&[]);
        let _host = grid.host("shared", &["--slots", "4"]);
        let (rich, poor) = (grid.client(), grid.another_client("poor"));
        let module = rich.upload("sleeper", sleeper()).await.unwrap().digest;
        let inputs = |count: u64| (0..count).map(|number| task(number, Duration::from_millis(20)));
        let mut long = rich.job("long", module).map(inputs(2000)).await.unwrap();
        for _ in 0..40 {
            long.next().await.unwrap();
        }
        let began = Instant::now();
        let mut short = poor.job("short", module).map(inputs(200)).await.unwrap();
        while short.next().await.unwrap().is_some() {}
        let took = began.elapsed();
        // Two slots of four: 2 s. With all four it would be one, behind the other's queue ten.
        assert!(took > Duration::from_millis(1500) && took < Duration::from_millis(3500), "{took:?}");
        long.job().stop().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_job_that_no_host_suits_says_why_it_waits() {
    within_minutes(1, async {
        let grid = Grid::start(&[]);
        let client = grid.client();
        let digest = client.upload("echo", echo()).await.unwrap().digest;
        let job = client.job("picky", digest).label("gpu", "yes").start().await.unwrap();
        job.submit(0, vec!["hello".into()]).await.unwrap();
        let id = job.id().to_string();
        let said = grid.must(&["explain", &id]).stdout;
        assert!(said.contains("no host is connected"), "{said}");
        let _host = grid.host("plain", &[]);
        let said = grid.must(&["explain", &id]).stdout;
        assert!(said.contains("host plain lacks a label or the memory"), "{said}");
        let _other = grid.host("fitting", &["--label", "gpu=yes"]);
        job.close().await.unwrap();
        assert_eq!(job.wait().await.unwrap().counts.done, 1);
    })
    .await;
}

#[tokio::test]
async fn a_draining_host_finishes_what_runs_and_gives_the_rest_back_without_blame() {
    within_minutes(1, async {
        let grid = Grid::start(&[]);
        let mut leaving = grid.host("leaving", &["--slots", "2"]);
        let client = grid.client();
        let module = client.upload("sleeper", sleeper()).await.unwrap().digest;
        let inputs = (0..100).map(|number| task(number, Duration::from_millis(50)));
        let mut results = client.job("test", module).map(inputs).await.unwrap();
        for _ in 0..10 {
            results.next().await.unwrap();
        }
        leaving.signal("TERM");
        assert_eq!(leaving.exit_code(), 0);
        let _other = grid.host("other", &["--slots", "2"]);
        while results.next().await.unwrap().is_some() {}
        let counts = results.job().show().await.unwrap().counts;
        assert_eq!((counts.done, counts.retried), (100, 0));
    })
    .await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_manager_that_is_killed_and_a_client_that_is_gone() {
    within_minutes(1, async {
        let mut grid = Grid::start(&[]);
        let primes = std::fs::read(module("primes")).unwrap();
        let id = {
            let client = grid.client();
            let digest = client.upload("primes", primes).await.unwrap().digest;
            let job = client.job("kept", digest).start().await.unwrap();
            let inputs = (0..100).map(|line| (line * 1000).to_string().into()).collect();
            job.submit(0, inputs).await.unwrap();
            job.close().await.unwrap();
            job.id()
        };
        grid.manager.kill();
        grid.restart_manager(&[]);
        let _host = grid.host("late", &[]);
        let client = grid.client();
        let job = client.find_job(id);
        let info = job.wait().await.unwrap();
        assert_eq!((info.counts.done, info.state), (100, JobState::Finished));
        let (recorded, _) = job.outcomes(0, Duration::ZERO).await.unwrap();
        assert_eq!(recorded.len(), 100);
    })
    .await;
}

#[tokio::test]
async fn inputs_and_results_of_many_mebibytes_come_and_go_and_leave_nothing_behind() {
    within_minutes(1, async {
        let mut grid = Grid::start(&[]);
        let host = grid.host("roomy", &["--slots", "2"]);
        let client = grid.client();
        let module = client.upload("echo", echo()).await.unwrap().digest;
        let input = |task: u64| -> Vec<u8> {
            let length = [10, 300_000, 3_000_000, 20_000_000][usize::try_from(task % 4).unwrap()];
            (0..length).map(|place| (place * 7 + task) as u8).collect()
        };
        let job = client.job("bulky", module).start().await.unwrap();
        job.submit(0, (0..8).map(|task| input(task).into()).collect()).await.unwrap();
        job.close().await.unwrap();
        // What was acknowledged is there after a kill, long or short.
        grid.manager.kill();
        grid.restart_manager(&[]);
        let (mut after, mut seen) = (0, 0);
        loop {
            let (outcomes, info) = job.outcomes(after, Duration::from_secs(10)).await.unwrap();
            for recorded in outcomes {
                after = recorded.seq;
                let outcome = TaskOutcome::from(recorded);
                let results = outcome.results.unwrap();
                assert!(results.len() == 1 && results[0] == input(outcome.task), "task {}", outcome.task);
                seen += 1;
            }
            if info.state.is_over() && after >= info.recorded {
                break;
            }
        }
        assert_eq!(seen, 8);
        let kept = || std::fs::read_dir(grid.folder("manager").join("payloads")).unwrap().count();
        assert_eq!(kept(), 6, "six inputs are long, and each result is the same bytes");
        job.forget().await.unwrap();
        assert_eq!(kept(), 0);
        drop(host);
    })
    .await;
}
