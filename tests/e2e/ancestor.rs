//! The ancestor's program: hand out chunks, and mind who comes and goes.

use std::process::Command;

use grid_tests::{ChildProcess, Grid, module};

/// Runs the example, which is beside the tests' own folder.
fn primes(grid: Option<&Grid>) -> ChildProcess {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/primes");
    let mut command = Command::new(program);
    command.arg(module("primes"));
    if let Some(grid) = grid {
        let home = grid.folder("");
        command.arg(grid.address()).env("GRID_HOME", home);
    }
    ChildProcess::start("primes", &mut command)
}

const RIGHT: &str = "13848 primes below 150000; the largest is 149993";

#[test]
fn the_ancestors_program_counts_right_with_local_workers() {
    primes(None).wait_for(RIGHT);
}

#[test]
fn the_ancestors_program_counts_right_on_hosts_that_come_and_are_killed() {
    let grid = Grid::start(&[]);
    let _one = grid.host("one", &["--slots", "1"]);
    let mut two = grid.host("two", &["--slots", "1"]);
    // Both hosts have the module compiled before they race each other for the chunks.
    grid.must(&["module", "upload", module("primes").to_str().unwrap()]);
    grid.must(&["worker", "spawn", "primes", "--on", "one", "--on", "two"]);
    grid.must(&["worker", "stop", "--module", "primes", "--grace", "0"]);
    grid.wait_until(&["worker", "ls"], |workers| workers["workers"].as_array().unwrap().is_empty());
    let mut counting = primes(Some(&grid));
    grid.wait_until(&["worker", "ls", "--everyone"], |workers| {
        workers["workers"].as_array().unwrap().iter().filter(|worker| worker["state"] == "running").count()
            == 2
    });
    let _three = grid.host("three", &["--slots", "1"]);
    two.kill();
    // A host that starts anew has lost its workers; what they owed comes back.
    let _two = grid.host("two", &["--slots", "1"]);
    counting.wait_for("chunks unanswered");
    counting.wait_for(RIGHT);
    assert_eq!(counting.exit_code(), 0);
}
