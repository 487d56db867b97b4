//! Runs that no host takes up.

use grid_tests::{ChildProcess, Grid, echo};

/// Runs two tasks of the echo worker until it says why none of them runs, and then ends the run.
fn idles(grid: &Grid, more: &[&str], why: &str) {
    let file = grid.folder("echo.wasm");
    std::fs::write(&file, echo()).unwrap();
    let tasks = grid.folder("tasks");
    std::fs::write(&tasks, "1\n2\n").unwrap();
    let arguments = ["run", "-i", tasks.to_str().unwrap(), file.to_str().unwrap()];
    let mut run = ChildProcess::start("run", &mut grid.command(&[&arguments[..], more].concat()));
    let said = run.wait_for("no task runs");
    assert!(said.contains(why), "{said}");
    // It says so once, and stops when it is asked to.
    run.signal("TERM");
    assert_eq!(run.exit_code(), 130);
    let everything = run.everything();
    assert_eq!(everything.matches("no task runs").count(), 1, "{everything}");
    assert!(!everything.contains(" s left"), "a time was made up: {everything}");
}

#[test]
fn a_run_without_a_host_says_so_within_seconds() {
    idles(&Grid::closed(), &[], "no host is connected; `grid ticket new` prints the line that joins one");
}

#[test]
fn a_run_whose_label_no_host_has_says_so_within_seconds() {
    let grid = Grid::closed();
    let _host = grid.host("plain", &[]);
    idles(&grid, &["--label", "gpu=yes"], "host plain");
}

#[test]
fn a_run_that_asks_for_more_memory_than_a_host_gives_says_so_within_seconds() {
    let grid = Grid::closed();
    let _host = grid.host("small", &["--memory", "128MiB"]);
    idles(&grid, &["--memory", "3GiB"], "host small");
}

#[test]
fn a_run_beside_workers_that_hold_every_slot_says_so_within_seconds() {
    let grid = Grid::closed();
    let _host = grid.host("busy", &["--slots", "1"]);
    let file = grid.folder("holder.wasm");
    std::fs::write(&file, echo()).unwrap();
    grid.must(&["module", "upload", file.to_str().unwrap()]);
    grid.must(&["worker", "spawn", "holder"]);
    idles(&grid, &[], "host busy");
}
