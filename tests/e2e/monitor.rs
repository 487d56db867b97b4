//! What a host shows of itself: its metrics, whether it answers, whether it takes work.

use std::path::PathBuf;

use grid_tests::{Grid, Page, module};

/// `grid-host`'s arguments for metrics on a port that the system chooses.
const SHOWN: [&str; 2] = ["--metrics", "127.0.0.1:0"];

/// An echo.
fn echo(grid: &Grid) -> PathBuf {
    let file = grid.folder("echo.wasm");
    std::fs::write(&file, grid_tests::echo()).unwrap();
    file
}

/// The value of a metric, by its name and labels.
fn value(page: &Page, name: &str) -> Option<f64> {
    value_in(&page.get("/metrics").body, name)
}

fn value_in(metrics: &str, name: &str) -> Option<f64> {
    let mut values =
        metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    values.next()
}

/// Waits until a metric has a value.
fn wait_for(page: &Page, name: &str, wanted: f64) {
    page.wait_until("/metrics", |metrics| value_in(&metrics.body, name) == Some(wanted));
}

/// Waits until the host says whether it takes work, with this status and reason.
fn wait_until_ready_is(page: &Page, status: u16, reason: &str) {
    page.wait_until("/readyz", |ready| ready.status == status && ready.body.contains(reason));
}

#[test]
fn a_host_counts_what_it_does_and_compiles_behind_its_walls_meanwhile() {
    let grid = Grid::closed();
    let state = ["--slots", "3", "--memory", "64MiB"];
    let mut host = grid.host("one", &[&SHOWN[..], &state].concat());
    let page = Page::of_host(&mut host);
    assert_eq!((page.get("/healthz").status, page.get("/readyz").status), (200, 200));
    let primes = module("primes").to_string_lossy().into_owned();
    let run = |tasks| grid.grid_given(&["run", "--retries", "0", &primes], tasks).code;
    assert_eq!(run("[0,1000]\n[1000,2000]\n\"nonsense\"\n"), 8);
    grid.must(&["module", "upload", &echo(&grid).to_string_lossy()]);
    grid.must(&["worker", "spawn", "echo", "--quiet"]);
    wait_for(&page, "grid_host_slots_used", 1.0);
    wait_for(&page, "grid_host_workers_running", 1.0);
    // An executor tells the memory of its guests twice a second.
    page.wait_until("/metrics", |metrics| {
        value_in(&metrics.body, "grid_host_guest_memory_bytes").is_some_and(|bytes| bytes >= 65536.0)
    });
    grid.must(&["worker", "stop", "--module", "echo", "--quiet"]);
    wait_for(&page, "grid_host_workers_ended_total{ending=\"stopped\"}", 1.0);
    for (name, expected) in [
        ("grid_host_connected", 1.0),
        ("grid_host_draining", 0.0),
        ("grid_host_reconnections_total", 0.0),
        ("grid_host_slots_offered", 3.0),
        ("grid_host_workers_running", 0.0),
        ("grid_host_workers_started_total", 1.0),
        ("grid_host_guest_memory_offered_bytes", f64::from(64 << 20)),
        ("grid_host_tasks_begun_total", 3.0),
        ("grid_host_tasks_ended_total{ending=\"done\"}", 2.0),
        ("grid_host_tasks_ended_total{ending=\"failed\"}", 1.0),
        ("grid_host_task_run_seconds_count", 3.0),
        ("grid_host_compile_seconds_count", 2.0),
        ("grid_host_compiled_code_misses_total", 2.0),
        ("grid_host_compiled_code_hits_total", 0.0),
        ("grid_host_cache_limit_bytes{folder=\"own\"}", 8.0 * f64::from(1 << 30)),
    ] {
        assert_eq!(value(&page, name), Some(expected), "{name}: {}", page.get("/metrics").body);
    }
    let length = std::fs::metadata(&primes).unwrap().len() as f64;
    for positive in ["sent_bytes_total", "received_bytes_total", "modules_fetched_bytes_total"] {
        assert!(value(&page, &format!("grid_host_{positive}")).unwrap() > length.min(1000.0), "{positive}");
    }
    let metrics = page.with("accept", "application/openmetrics-text").get("/metrics");
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    assert!(metrics.body.ends_with("# EOF\n"));
    if cfg!(target_os = "linux") {
        assert!(
            metrics.body.contains("grid_host_lockdown_info{system_calls=\"filtered\",landlock="),
            "{metrics:?}"
        );
    }
    // What was compiled is found by the next process of the host.
    host.signal("TERM");
    assert_eq!(host.exit_code(), 0);
    let mut host = grid.host("one", &[&SHOWN[..], &state].concat());
    let page = Page::of_host(&mut host);
    assert_eq!(run("[0,10]\n"), 0);
    wait_for(&page, "grid_host_compiled_code_hits_total", 1.0);
    assert_eq!(value(&page, "grid_host_compile_seconds_count"), Some(0.0));
    assert!(value(&page, "grid_host_cache_bytes{folder=\"own\"}").unwrap() > length);
}

#[test]
fn a_host_is_ready_while_it_is_connected_and_takes_work() {
    let mut grid = Grid::closed();
    let address = grid.address().to_owned();
    let mut host = grid.host_at(&address, "asks", &SHOWN);
    let page = Page::of_host(&mut host);
    wait_until_ready_is(&page, 503, "this host waits for approval");
    grid.must(&["host", "approve", "asks"]);
    wait_until_ready_is(&page, 200, "ok");
    grid.manager.signal("TERM");
    grid.manager.ended();
    wait_until_ready_is(&page, 503, "this host is not connected to its manager");
    assert_eq!(page.get("/healthz").status, 200);
    assert_eq!(value(&page, "grid_host_connected"), Some(0.0));
    grid.restart_manager(&["--open-join", "false"]);
    wait_until_ready_is(&page, 200, "ok");
    wait_for(&page, "grid_host_reconnections_total", 1.0);
    // A task that runs on keeps the draining host.
    let spin = grid.folder("spin.wat");
    let text =
        r#"(module (memory (export "memory") 1) (func (export "handle_msg") (param i32) (loop br 0)))"#;
    std::fs::write(&spin, text).unwrap();
    grid.must(&["module", "upload", &spin.to_string_lossy()]);
    let run = ["run", "--detach", "--quiet", "--timeout", "5", "--retries", "0", "-i"];
    let tasks = grid.folder("tasks");
    std::fs::write(&tasks, "1\n").unwrap();
    let (tasks, spin) = (tasks.to_string_lossy(), spin.to_string_lossy());
    grid.must(&[&run[..], &[&tasks, &spin]].concat());
    wait_for(&page, "grid_host_tasks_begun_total", 1.0);
    grid.must(&["host", "drain", "asks"]);
    wait_until_ready_is(&page, 503, "this host drains");
    assert_eq!(value(&page, "grid_host_draining"), Some(1.0));
    assert_eq!(host.exit_code(), 0);
}

#[test]
fn metrics_are_shown_to_those_who_know_the_hosts_name_and_nothing_else_is() {
    let grid = Grid::closed();
    let shown = ["--metrics", "0.0.0.0:0", "--metrics-public", "--metrics-name", "rack.example"];
    let mut host = grid.host("one", &shown);
    let port = Page::of_host(&mut host).address().rsplit_once(':').unwrap().1.to_owned();
    let page = Page::at(&format!("127.0.0.1:{port}"));
    assert_eq!(page.get("/metrics").status, 200);
    assert_eq!(page.with("host", "rack.example:4749").get("/metrics").status, 200);
    let stranger = page.with("host", "evil.example").get("/metrics");
    assert!(stranger.status == 421 && stranger.body.contains("--metrics-name"), "{stranger:?}");
    assert_eq!((page.get("/").status, page.get("/api/v1/status").status), (404, 404));
    assert_eq!(page.post("/metrics", "{}").status, 405);
    let quiet = grid.host("two", &[]);
    assert!(!listens(quiet.id()), "a host without --metrics listens");
    assert!(listens(host.id()), "the test sees nobody listen");
}

/// True if a process has a TCP socket that listens.
fn listens(process: u32) -> bool {
    let sockets: Vec<_> = std::fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    ["tcp", "tcp6"].iter().any(|table| {
        let table = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        table.lines().any(|line| {
            // The fourth word is the state, in which 0A is to listen; the tenth the socket.
            let words: Vec<_> = line.split_whitespace().collect();
            words.get(3) == Some(&"0A") && sockets.contains(&format!("socket:[{}]", words[9]))
        })
    })
}
