//! What goes wrong around `grid-host`.

use std::fs::File;
use std::process::{Command, Stdio};

use grid_tests::{Grid, Process, Said, echo, program};

use crate::mishaps::{Desk, mishaps};

/// A host of a grid, whose standard error is `stderr`, and that has joined.
fn joined_host(grid: &Grid, stderr: Stdio) -> Process {
    let mut command = Command::new(program("grid-host"));
    command.args(["--manager", &grid.ticket("host"), "--name", "unheard", "--slots", "1"]);
    command.arg("--state").arg(grid.folder("unheard")).env("GRID_LOG", "debug");
    let host = Process::start_with_stderr("unheard", &mut command, stderr);
    grid.wait_until(&["host", "ls"], |hosts| hosts["hosts"][0]["state"] == "ready");
    host
}

/// `grid-host` with a state folder of the case's own, run to its end.
fn host(desk: &Desk, arguments: &[&str]) -> Said {
    let mut command = desk.program(&program("grid-host"), arguments);
    command.arg("--state").arg(desk.path("host"));
    Said::of(&mut command, b"")
}

/// A host on a state folder that another has.
fn second_host(desk: &Desk) -> Said {
    let mut first = desk.program(&program("grid-host"), &["--manager", "127.0.0.1:1"]);
    first.arg("--state").arg(desk.path("host"));
    let mut first = Process::start("first", &mut first);
    first.wait_for("offers");
    let mut said = host(desk, &["--manager", "127.0.0.1:1"]);
    // The row names what must be said before the number is known.
    said.stderr = said.stderr.replace(&format!("process {} (grid-host)", first.id()), "process FIRST");
    said
}

mishaps! {
    the_second_host_on_a_state_folder_is_refused_with_the_first_named:
        second_host => 1, ["in use by process FIRST", "--state DIR"];
}

#[test]
fn a_host_whose_stderr_is_a_full_disk_serves_and_drains() {
    let grid = Grid::closed();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut host = joined_host(&grid, full.into());
    std::fs::write(grid.folder("echo.wasm"), echo()).unwrap();
    let module = grid.folder("echo.wasm");
    let said = grid.grid_given(&["run", "--lines", module.to_str().unwrap()], "one\ntwo\n");
    assert_eq!((said.code, said.stdout.lines().count()), (0, 2), "{said:?}");
    host.signal("TERM");
    assert_eq!(host.exit_code(), 0);
}

#[test]
fn a_host_whose_reader_has_gone_serves_and_drains() {
    let grid = Grid::closed();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut host = joined_host(&grid, writer.into());
    host.signal("TERM");
    assert_eq!(host.exit_code(), 0);
}

#[test]
fn a_host_that_was_killed_leaves_its_state_folder_to_the_next() {
    let desk = Desk::new();
    for _ in 0..2 {
        let mut command = desk.program(&program("grid-host"), &["--manager", "127.0.0.1:1"]);
        command.arg("--state").arg(desk.path("host"));
        let mut host = Process::start("host", &mut command);
        host.wait_for("offers");
        host.kill();
    }
}
