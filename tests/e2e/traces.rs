//! Traces: where the time of tasks went, on the command line and at a collector.

use std::fs;

use grid_tests::{CollectedSpan, Grid, Page, TraceCollector, module, trace_tree};
use serde_json::{Value, json};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: [u8; 16] =
    [0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c];
const PARENT: [u8; 8] = [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31];

fn primes() -> String {
    module("primes").to_str().unwrap().to_owned()
}

/// The one span of this name.
fn named<'a>(spans: &'a [CollectedSpan], name: &str) -> &'a CollectedSpan {
    let mut found = spans.iter().filter(|span| span.span.name == name);
    match (found.next(), found.next()) {
        (Some(span), None) => span,
        _ => panic!("not one span {name} in:\n{}", trace_tree(spans)),
    }
}

fn has(spans: &[CollectedSpan], name: &str) -> bool {
    spans.iter().any(|span| span.span.name == name)
}

/// Fails unless these parts of the span take as long as it does, within five per cent.
fn check_parts(spans: &[CollectedSpan], whole: &CollectedSpan) {
    let parts = spans.iter().filter(|part| part.span.parent_span_id == whole.span.span_id);
    let sum: u64 = parts.map(CollectedSpan::us).sum();
    let (name, us) = (&whole.span.name, whole.us());
    assert!(sum.abs_diff(us) * 20 <= us, "{name}: {sum} us of {us} us\n{}", trace_tree(spans));
}

#[test]
fn a_trace_reaches_from_the_client_to_the_guest_and_its_parts_add_up_to_the_whole() {
    let collector = TraceCollector::start();
    let grid = Grid::start(&["--otlp", collector.url()]);
    let _host = grid.host("one", &["--slots", "1"]);
    let module = primes();
    let run = ["run", &module, "--otlp", collector.url(), "--traceparent", TRACEPARENT];
    let said = grid.grid_given(&run, "[0, 250000]\n");
    assert_eq!(said.code, 0, "{said:?}");
    let last = ["run primes", "job primes", "record"];
    let spans = collector.wait(|spans| last.iter().all(|name| has(spans, name)));
    println!("{}", trace_tree(&spans));
    assert!(spans.iter().all(|span| span.span.trace_id == TRACE));
    let [run, tasks, job, task] =
        ["run primes", "tasks", "job primes", "task 0"].map(|name| named(&spans, name));
    assert_eq!((&run.span.parent_span_id[..], run.service.as_str()), (&PARENT[..], "grid"));
    assert_eq!(tasks.span.parent_span_id, run.span.span_id);
    assert_eq!((&job.span.parent_span_id, job.service.as_str()), (&tasks.span.span_id, "grid-manager"));
    assert_eq!(task.span.parent_span_id, job.span.span_id);
    for part in ["wait", "lease", "send", "compile", "start", "run", "report", "record"] {
        assert_eq!(named(&spans, part).span.parent_span_id, task.span.span_id, "{part}");
    }
    for whole in [run, tasks, job, task] {
        check_parts(&spans, whole);
    }
}

#[test]
fn a_job_that_nobody_traces_has_traces_all_the_same() {
    let grid = Grid::closed();
    let _host = grid.host("one", &["--slots", "1"]);
    let made =
        grid.grid_given(&["run", &primes(), "--detach", "--quiet"], "[0,1000]\n[1000,2000]\n[2000,3000]\n");
    let job = made.stdout.trim();
    grid.must(&["job", "wait", job]);
    let traces = grid.must(&["job", "trace", job, "--json"]).json()["traces"].as_array().unwrap().clone();
    let first = &traces[0];
    assert_eq!(
        (&first["task"], &first["ending"], &first["host"]),
        (&json!(0), &json!("done"), &json!("one"))
    );
    let parts = first["parts"].as_array().unwrap();
    let us = |part: &Value| part["us"].as_u64().unwrap();
    assert_eq!(parts.iter().map(us).sum::<u64>(), first["whole_us"].as_u64().unwrap());
    let taken = |name: &str| parts.iter().filter(|part| part["part"] == name).map(us).sum::<u64>();
    assert!(taken("compile") > 0 && taken("run") > 0 && taken("host") == 0, "{first}");
    let printed = grid.must(&["job", "trace", job, "--task", "0"]).stdout;
    assert!(printed.starts_with("task 0: done on one in "), "{printed}");
    assert!(
        printed.lines().any(|line| line.starts_with("  run ") && line.ends_with("its guest ran it")),
        "{printed}"
    );
    let none = grid.must(&["job", "trace", job, "--task", "77"]);
    assert!(none.stderr.starts_with("task 77 was not traced"), "{none:?}");
    let stranger = grid.grid_as("stranger", &["job", "trace", job]);
    assert_ne!(stranger.code, 0, "{stranger:?}");
    assert_eq!(stranger.stdout, "");
}

#[test]
fn what_a_job_is_a_part_of_outlives_the_manager() {
    let collector = TraceCollector::start();
    let mut grid = Grid::closed();
    let made = grid
        .grid_given(&["run", &primes(), "--detach", "--quiet", "--traceparent", TRACEPARENT], "[0,1000]\n");
    let job = made.stdout.trim();
    grid.manager.kill();
    grid.restart_manager(&["--otlp", collector.url()]);
    let _host = grid.host("one", &["--slots", "1"]);
    grid.must(&["job", "wait", job]);
    let spans = collector.wait(|spans| has(spans, "job primes"));
    let job = named(&spans, "job primes");
    assert_eq!((&job.span.trace_id[..], &job.span.parent_span_id[..]), (&TRACE[..], &PARENT[..]));
}

#[test]
fn a_job_that_is_made_by_http_is_part_of_the_trace_that_its_request_names() {
    let collector = TraceCollector::start();
    let grid = Grid::start(&["--otlp", collector.url()]);
    let _host = grid.host("one", &["--slots", "1"]);
    grid.must(&["module", "upload", &primes()]);
    let token = grid.must(&["key", "token", "--quiet", "--role", "client"]).stdout;
    let page = Page::at(&grid.page()).described().token(token.trim()).with("traceparent", TRACEPARENT);
    assert_eq!(page.ask("POST", "/api/v1/jobs?module=primes", b"[0,1000]\n").status, 200);
    let nonsense = page.with("traceparent", "nonsense");
    assert_eq!(nonsense.ask("POST", "/api/v1/jobs?module=primes&name=other", b"[0,1000]\n").status, 200);
    let spans = collector.wait(|spans| has(spans, "job primes") && has(spans, "job other"));
    let job = named(&spans, "job primes");
    assert_eq!((&job.span.trace_id[..], &job.span.parent_span_id[..]), (&TRACE[..], &PARENT[..]));
    assert!(named(&spans, "job other").span.parent_span_id.is_empty());
}

#[test]
fn an_unsampled_trace_is_not_exported() {
    let collector = TraceCollector::start();
    let grid = Grid::start(&["--otlp", collector.url()]);
    let _host = grid.host("one", &["--slots", "1"]);
    let module = primes();
    let unsampled = TRACEPARENT.replace("-01", "-00");
    grid.grid_given(&["run", &module, "--otlp", collector.url(), "--traceparent", &unsampled], "[0,1000]\n");
    grid.grid_given(&["run", &module, "--name", "another"], "[0,1000]\n");
    let spans = collector.wait(|spans| has(spans, "job another"));
    assert!(spans.iter().all(|span| span.span.trace_id != TRACE), "{}", trace_tree(&spans));
}

#[test]
fn a_collector_that_is_not_there_harms_nobody() {
    let gone = TraceCollector::start().url().to_owned();
    let grid = Grid::start(&["--otlp", &gone]);
    let _host = grid.host("one", &["--slots", "1"]);
    let said = grid.grid_given(&["run", &primes(), "--otlp", &gone], "[0,1000]\n");
    assert_eq!((said.code, said.stdout.lines().count()), (0, 1), "{said:?}");
    let why = format!("no traces reach {gone}/v1/traces: it cannot be reached");
    assert!(said.stderr.contains(&why), "{said:?}");
}

#[test]
fn a_wrong_collector_or_traceparent_is_said_plainly() {
    let grid = Grid::closed();
    let _host = grid.host("one", &[]);
    let said = grid.grid_given(&["run", &primes(), "--otlp", "https://collector:4318"], "[0,1000]\n");
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.contains("traces go to a collector over plain HTTP"), "{said:?}");
    let said = grid.grid_given(&["run", &primes(), "--traceparent", "00-1-2-3"], "[0,1000]\n");
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.contains("a traceparent reads 00-"), "{said:?}");
    // From the environment, which another program set, it is passed over.
    let tasks = grid.folder("tasks.jsonl");
    fs::write(&tasks, "[0,1000]\n").unwrap();
    let mut run = grid.command(&["run", &primes(), "--input", tasks.to_str().unwrap()]);
    let done = run.env("TRACEPARENT", "nonsense").output().unwrap();
    assert!(done.status.success(), "{done:?}");
}
