//! Standard streams that cannot be written, readers that go, and signals.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use grid_tests::{ChildProcess, Grid, Said, echo};
use serde_json::{Value, json};

use crate::mishaps::{Workspace, mishaps, sleeper};

/// A grid with a host, an echo and a sleeper.
fn grid() -> (Grid, ChildProcess) {
    let grid = Grid::closed();
    let host = grid.host("worker", &["--slots", "2"]);
    std::fs::write(grid.folder("echo.wasm"), echo()).unwrap();
    std::fs::write(grid.folder("minute.wat"), sleeper(Duration::from_secs(60))).unwrap();
    (grid, host)
}

fn path(grid: &Grid, name: &str) -> String {
    grid.folder(name).to_str().unwrap().to_owned()
}

/// A command with an input and whatever standard error it has by now; its exit code and standard output.
fn given(command: &mut Command, input: &str) -> (Option<i32>, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// The other end of a pipe that nobody reads.
fn deserted() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn a_run_whose_stderr_cannot_be_written_gives_all_results_and_leaves_no_job() {
    let (grid, _host) = grid();
    let full = || File::options().write(true).open("/dev/full").unwrap().into();
    for stderr in [full as fn() -> Stdio, deserted] {
        // The log of the library is written there, too.
        let mut run = grid.command(&["run", &path(&grid, "echo.wasm")]);
        let (code, stdout) = given(run.env("GRID_LOG", "debug").stderr(stderr()), "1\n2\n");
        assert_eq!((code, stdout.lines().count()), (Some(0), 2), "{stdout}");
        assert_eq!(grid.must(&["job", "ls", "--json"]).json()["jobs"], json!([]));
    }
}

#[test]
fn a_manager_whose_stderr_cannot_be_written_serves_and_stops() {
    let full = || File::options().write(true).open("/dev/full").unwrap().into();
    for stderr in [full as fn() -> Stdio, deserted] {
        let workspace = Workspace::new();
        std::fs::write(workspace.path("echo.wasm"), echo()).unwrap();
        // It writes a line for each packet and more.
        let mut up = workspace.command(&["up", "--listen", "127.0.0.1:0", "--local", "1"]);
        let mut manager = ChildProcess::start_with_stderr("manager", up.env("GRID_LOG", "debug"), stderr());
        manager.wait_for("grid-host --manager");
        for _ in 0..3 {
            let (code, stdout) = given(&mut workspace.command(&["run", "echo.wasm"]), "1\n2\n");
            assert_eq!((code, stdout.lines().count()), (Some(0), 2), "{stdout}");
        }
        manager.signal("TERM");
        assert_eq!(manager.exit_code(), 0);
    }
}

#[test]
fn an_error_that_cannot_be_told_keeps_its_exit_code() {
    let workspace = tempfile::tempdir().unwrap();
    let mut show = Command::new(grid_tests::program("grid"));
    show.args(["job", "ls", "--manager", "grid1broken"]).env("GRID_HOME", workspace.path());
    let (code, _) = given(show.stderr(deserted()), "");
    assert_eq!(code, Some(2));
}

/// Begins a run of a task that sleeps for a minute, and waits until it is under way.
fn under_way(grid: &Grid, command: &mut Command) -> (Child, String) {
    let mut run =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    run.stdin.as_mut().unwrap().write_all(b"1\n").unwrap();
    let jobs = grid.wait_until(&["job", "ls"], |jobs| {
        jobs["jobs"]
            .as_array()
            .is_some_and(|jobs| jobs.iter().any(|job| job["state"] == "open" && job["leased"] == 1))
    });
    let jobs = jobs["jobs"].as_array().unwrap();
    let open = jobs.iter().find(|job| job["state"] == "open").unwrap();
    (run, open["id"].as_str().unwrap().to_owned())
}

fn signal(run: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &run.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_run_that_is_terminated_or_hung_up_stops_its_job_first() {
    let (grid, _host) = grid();
    for name in ["TERM", "HUP"] {
        let (mut run, id) = under_way(&grid, &mut grid.command(&["run", &path(&grid, "minute.wat")]));
        signal(&run, name);
        assert_eq!(run.wait().unwrap().code(), Some(130), "SIG{name}");
        let job = grid.must(&["job", "show", &id, "--json"]).json();
        assert_eq!(job["state"], "stopped", "SIG{name}: {job}");
    }
}

#[test]
fn a_run_under_nohup_outlives_its_terminal() {
    let (grid, _host) = grid();
    let run = grid.command(&["run", &path(&grid, "echo.wasm")]);
    let mut nohup = Command::new("nohup");
    nohup
        .arg(run.get_program())
        .args(run.get_args())
        .env("GRID_HOME", grid.folder(""))
        .env_remove("GRID_MANAGER");
    nohup.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut run = nohup.spawn().unwrap();
    let mut producer = run.stdin.take().unwrap();
    let mut outcomes = BufReader::new(run.stdout.take().unwrap()).lines();
    for number in ["1", "2"] {
        producer.write_all(format!("{number}\n").as_bytes()).unwrap();
        let outcome: Value = serde_json::from_str(&outcomes.next().unwrap().unwrap()).unwrap();
        assert_eq!(outcome["result"].to_string(), number);
        signal(&run, "HUP");
    }
    drop(producer);
    assert_eq!(run.wait().unwrap().code(), Some(0));
}

#[test]
fn a_detached_job_outlives_the_command_that_made_it() {
    let (grid, _host) = grid();
    let said = grid.grid_given(&["run", "--detach", "--quiet", &path(&grid, "minute.wat")], "1\n");
    assert_eq!(said.code, 0, "{said:?}");
    let job = grid.must(&["job", "show", said.stdout.trim(), "--json"]).json();
    assert_eq!((&job["submitted"], &job["done"]), (&json!(1), &json!(0)), "{job}");
}

#[test]
fn a_reader_of_results_that_has_had_enough_ends_the_run_and_its_job_quietly() {
    let (grid, _host) = grid();
    let mut run = grid.command(&["run", &path(&grid, "echo.wasm")]);
    let mut run = run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut producer = run.stdin.take().unwrap();
    producer.write_all(b"1\n").unwrap();
    let mut reader = BufReader::new(run.stdout.take().unwrap());
    reader.read_line(&mut String::new()).unwrap();
    drop(reader);
    producer.write_all(b"2\n").unwrap();
    let output = run.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("error") && !stderr.contains("panicked"), "{stderr}");
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    grid.wait_until(&["job", "ls"], |jobs| {
        jobs["jobs"].as_array().is_some_and(|jobs| jobs.iter().all(|job| job["state"] == "stopped"))
    });
}

/// Prints more than a pipe holds to a reader that takes one line.
fn one_line_of(workspace: &Workspace, arguments: &[&str]) -> Said {
    let mut child =
        workspace.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut stdout).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    Said { code: output.status.code().unwrap_or(-1), stdout, stderr }
}

/// Fails unless it said nothing but the line.
fn quiet(said: Said) -> Said {
    assert_eq!(said.stderr, "");
    said
}

mishaps! {
    a_reader_that_takes_one_line_of_a_listing_hears_no_error: |workspace|
        quiet(one_line_of(workspace, &["completions", "zsh"])) => 0, ["#compdef"];
}
