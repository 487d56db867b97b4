//! A disk that is full.

use std::fs::{self, File};
use std::io::Write;

use grid_tests::{ChildProcess, Grid};
use serde_json::Value;

/// A worker that takes a second for a task, and answers with a MiB.
const LONG_ANSWER: &str = r#"(module
    (import "grid" "send" (func $send (param i32 i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 17)
    (data (i32.const 80) "\01")
    (func (export "handle_msg") (param $len i32)
        (i64.store (i32.const 88) (i64.const 1000000000))
        (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 192)))
        (call $send (i32.const 0) (i32.const 1048576))))"#;

/// A grid whose manager has a disk of 64 MiB, a host of one slot, and a run of so many tasks, of which one is under way.
fn running(tasks: usize) -> (Grid, ChildProcess, ChildProcess) {
    let grid = Grid::on_disk_of(64);
    let host = grid.host("one", &["--slots", "1"]);
    fs::write(grid.folder("long.wat"), LONG_ANSWER).unwrap();
    fs::write(grid.folder("tasks"), "1\n".repeat(tasks)).unwrap();
    let (input, module) = (grid.folder("tasks"), grid.folder("long.wat"));
    let output = grid.folder("results");
    let run =
        ["run", "-i", input.to_str().unwrap(), "-o", output.to_str().unwrap(), module.to_str().unwrap()];
    let run = ChildProcess::start("run", &mut grid.command(&run));
    grid.wait_until(&["job", "ls"], |jobs| jobs["jobs"][0]["leased"].as_u64() > Some(0));
    (grid, host, run)
}

/// Takes all room that there is on the manager's disk.
fn fill(grid: &Grid) {
    let mut file = File::create(grid.on_disk("filler")).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
}

fn make_room(grid: &Grid) {
    fs::remove_file(grid.on_disk("filler")).unwrap();
}

fn in_trouble(status: &Value) -> bool {
    status["store_trouble"].as_str().is_some_and(|why| why.contains("MiB left"))
}

#[test]
fn a_full_disk_is_said_wherever_people_look_and_jobs_can_be_stopped_and_removed() {
    let (grid, _host, mut run) = running(1000);
    fill(&grid);
    grid.wait_until(&["status"], in_trouble);
    assert!(grid.must(&["status"]).stdout.contains("store       takes nothing"));
    let said = run.wait_for("no task runs");
    assert!(said.contains("MiB left"), "{said}");
    let jobs = grid.must(&["job", "ls", "--json"]).json();
    let job = jobs["jobs"][0]["id"].as_str().unwrap();
    for explained in [job, &format!("{job}/999"), "one"] {
        let said = grid.must(&["explain", explained]);
        assert!(said.stdout.contains("none is handed out"), "{said:?}");
    }
    let (input, module) = (grid.folder("tasks"), grid.folder("long.wat"));
    let output = grid.folder("more results");
    let run_again =
        ["run", "-i", input.to_str().unwrap(), "-o", output.to_str().unwrap(), module.to_str().unwrap()];
    fs::write(&input, "1\n").unwrap();
    let mut another = ChildProcess::start("another run", &mut grid.command(&run_again));
    another.wait_for("MiB left");
    grid.must(&["job", "stop", job]);
    run.exit_code();
    grid.must(&["job", "rm", job]);
    make_room(&grid);
    // What waited for the disk goes on by itself.
    assert_eq!(another.exit_code(), 0, "{}", another.everything());
    assert!(grid.must(&["status", "--json"]).json()["store_trouble"].is_null());
}

#[test]
fn a_run_goes_on_when_a_full_disk_has_room_again_and_long_answers_are_not_lost() {
    let (grid, host, mut run) = running(3);
    fill(&grid);
    grid.wait_until(&["status"], in_trouble);
    make_room(&grid);
    assert_eq!(run.exit_code(), 0, "{}", run.everything());
    let said = run.everything();
    assert!(said.contains("3 tasks done") && said.contains("0 failed"), "{said}");
    drop(host);
}
