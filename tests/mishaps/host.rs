//! What goes wrong around `grid-host`.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use grid_tests::{ChildProcess, Grid, Said, echo, program};

use crate::mishaps::{Workspace, mishaps};

/// A host of a grid, whose standard error is `stderr`, and that has joined.
fn joined_host(grid: &Grid, stderr: Stdio) -> ChildProcess {
    let mut command = Command::new(program("grid-host"));
    command.args(["--manager", &grid.ticket("host"), "--name", "unheard", "--slots", "1"]);
    command.arg("--state").arg(grid.folder("unheard")).env("GRID_LOG", "debug");
    let host = ChildProcess::start_with_stderr("unheard", &mut command, stderr);
    grid.wait_until(&["host", "ls"], |hosts| hosts["hosts"][0]["state"] == "ready");
    host
}

/// `grid-host` with a state folder of the case's own, run to its end.
fn host(workspace: &Workspace, arguments: &[&str]) -> Said {
    let mut command = workspace.program(&program("grid-host"), arguments);
    command.arg("--state").arg(workspace.path("host"));
    Said::of(&mut command, b"")
}

/// A host on a state folder that another has.
fn second_host(workspace: &Workspace) -> Said {
    let mut first = workspace.program(&program("grid-host"), &["--manager", "127.0.0.1:1"]);
    first.arg("--state").arg(workspace.path("host"));
    let mut first = ChildProcess::start("first", &mut first);
    first.wait_for("offers");
    let mut said = host(workspace, &["--manager", "127.0.0.1:1"]);
    // The row names what must be said before the number is known.
    said.stderr = said.stderr.replace(&format!("process {} (grid-host)", first.id()), "process FIRST");
    said
}

/// A program with so many KiB of address space.
fn limited(kib: u32, program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -v {kib}; exec \"$0\" \"$@\"")]).arg(program);
    command
}

/// `grid run --local` with 4 GiB of address space.
fn limited_run(workspace: &Workspace) -> Said {
    std::fs::write(workspace.path("echo.wasm"), echo()).unwrap();
    let mut command = limited(4 << 20, &program("grid"));
    command.args(["run", "--local", "2", "--lines", "echo.wasm"]).current_dir(workspace.path(""));
    Said::of(command.env("GRID_HOME", workspace.path("")).env_remove("GRID_MANAGER"), b"one\ntwo\n")
}

/// `grid-host` with too little address space for a worker.
fn starved_host(workspace: &Workspace) -> Said {
    let mut command = limited(300_000, &program("grid-host"));
    command.args(["--manager", "127.0.0.1:1", "--state"]).arg(workspace.path("host"));
    Said::of(&mut command, b"")
}

/// `grid-host` whose file of this name in its state folder is no text.
fn host_with_garbage_in(workspace: &Workspace, name: &str) -> Said {
    std::fs::create_dir_all(workspace.path("host")).unwrap();
    std::fs::write(workspace.path("host").join(name), b"\xff\xfe").unwrap();
    let said = host(workspace, &["--manager", "127.0.0.1:1"]);
    assert_eq!(std::fs::read(workspace.path("host").join(name)).unwrap(), b"\xff\xfe", "it is not replaced");
    said
}

mishaps! {
    a_host_whose_known_managers_cannot_be_read_trusts_nobody_anew:
        |workspace: &Workspace| host_with_garbage_in(workspace, "known-managers") => 1, ["known-managers", "cannot read"];
    a_host_whose_serials_cannot_be_read_says_so_and_forgets_none:
        |workspace: &Workspace| host_with_garbage_in(workspace, "serials") => 1, ["serials", "cannot read"];
    a_host_whose_revocations_cannot_be_read_says_so:
        |workspace: &Workspace| host_with_garbage_in(workspace, "revoked") => 1, ["revoked", "cannot read"];
    a_word_that_is_no_command_is_exit_code_2: |workspace: &Workspace| workspace.grid(&["hots", "ls"]) => 2, ["--help"];
    a_run_with_4_gib_of_address_space_is_done_with_smaller_reservations:
        limited_run => 0, ["bounds checks", "2 tasks done"];
    a_host_without_address_space_for_one_worker_says_so_and_what_to_type:
        starved_host => 1, ["no address space for even one worker", "ulimit -v unlimited"];
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
fn a_host_with_4_gib_of_address_space_offers_fewer_slots_and_its_guests_reach_no_further() {
    let grid = Grid::closed();
    let mut command = limited(4 << 20, &program("grid-host"));
    command
        .args(["--manager", &grid.ticket("host"), "--slots", "100", "--state"])
        .arg(grid.folder("limited"));
    let mut host = ChildProcess::start("limited", &mut command);
    host.wait_for("of the 100 slots asked for");
    host.wait_for("joined");
    let run = |name: &str, wasm: Vec<u8>| {
        std::fs::write(grid.folder(name), wasm).unwrap();
        grid.grid_given(
            &["run", "--lines", "--retries", "0", grid.folder(name).to_str().unwrap()],
            "one\ntwo\n",
        )
    };
    let said = run("echo.wasm", echo());
    assert_eq!((said.code, said.stdout.lines().count()), (0, 2), "{said:?}");
    let reach = r#"(module (memory (export "memory") 1)
        (func (export "handle_msg") (param i32) (drop (i32.load offset=4294967280 (i32.const -1)))))"#;
    let said = run("reach.wasm", wat::parse_str(reach).unwrap());
    assert!(said.code == 8 && said.stderr.contains("out-of-bounds"), "{said:?}");
    assert!(!host.has_said("panicked") && !host.has_said("joined again"));
}

#[test]
fn a_host_that_was_killed_leaves_its_state_folder_to_the_next() {
    let workspace = Workspace::new();
    for _ in 0..2 {
        let mut command = workspace.program(&program("grid-host"), &["--manager", "127.0.0.1:1"]);
        command.arg("--state").arg(workspace.path("host"));
        let mut host = ChildProcess::start("host", &mut command);
        host.wait_for("offers");
        host.kill();
    }
}
