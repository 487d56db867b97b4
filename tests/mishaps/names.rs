//! Names that nobody could type, and addresses where nobody is.

use std::process::Command;
use std::time::{Duration, Instant};

use grid_tests::{ChildProcess, Grid, Said, echo, program};

use crate::mishaps::{Workspace, mishaps};

/// `grid-host` on nobody's address, with these arguments.
fn host(workspace: &Workspace, arguments: &[&str]) -> Said {
    let mut host = workspace.program(&program("grid-host"), &["--manager", "127.0.0.1:9"]);
    Said::of(host.args(arguments), b"")
}

/// A run in this process under a name.
fn run_called(workspace: &Workspace, name: &str) -> Said {
    std::fs::write(workspace.path("echo.wasm"), echo()).unwrap();
    Said::of(&mut workspace.command(&["run", "--local", "1", "--name", name, "echo.wasm"]), b"1\n")
}

/// Asks nobody's manager with every variable of ours set, and empty.
fn empty_variables(workspace: &Workspace) -> Said {
    let mut run = workspace.command(&["ticket", "show", "127.0.0.1:9"]);
    for name in ["GRID_MANAGER", "GRID_LOG", "GRID_LISTEN", "GRID_MANAGER_STATE"] {
        run.env(name, "");
    }
    let said = Said::of(&mut run, b"");
    assert!(said.stderr.contains("this is an address"), "{said:?}");
    let mut run = workspace.command(&["job", "ls"]);
    Said::of(run.env("GRID_MANAGER", ""), b"")
}

/// Starts a host whose variables are empty; that it cannot keep its state says that it took no offence at them.
fn empty_variables_of_a_host(workspace: &Workspace) -> Said {
    let mut host = workspace.program(&program("grid-host"), &[]);
    for name in [
        "GRID_HOST_NAME",
        "GRID_SLOTS",
        "GRID_MEMORY",
        "GRID_WORKER_MEMORY",
        "GRID_CALL_SECONDS",
        "GRID_METRICS",
    ] {
        host.env(name, "");
    }
    Said::of(host.args(["--manager", "127.0.0.1:9", "--state", "/dev/null/state"]), b"")
}

/// Starts a host whose metrics are to be on a port that this test has.
fn metrics_on_a_taken_port(workspace: &Workspace) -> Said {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    host(workspace, &["--metrics", &taken.local_addr().unwrap().to_string()])
}

mishaps! {
    a_host_without_a_name_is_refused: |workspace| host(workspace, &["--name", ""]) => 2, ["--name", "at least one letter"];
    a_host_whose_name_turns_the_text_around_is_refused: |workspace| host(workspace, &["--name", "a\u{202e}b"])
        => 2, ["--name", "\\u{202e}"];
    a_label_without_a_name_is_refused: |workspace| host(workspace, &["--label", "=x"]) => 2, ["--label", "at least one letter"];
    a_job_without_a_name_is_refused: |workspace| run_called(workspace, " ") => 2, ["--name", "at least one letter"];
    a_job_whose_name_turns_the_text_around_is_refused: |workspace| run_called(workspace, "a\u{202e}b") => 2, ["--name"];
    an_empty_address_does_not_go_into_tickets: |workspace| workspace.grid(&["up", "--advertise", ""])
        => 2, ["--advertise", "host:port"];
    an_address_that_is_none_does_not_go_into_tickets: |workspace| workspace.grid(&["up", "--advertise", "a b:c"])
        => 2, ["--advertise", "host:port"];
    an_empty_variable_is_no_address: empty_variables => 2, ["no manager is known here"];
    an_empty_variable_of_a_host_is_no_value: empty_variables_of_a_host
        => 1, ["/dev/null/state"];
    metrics_whose_port_is_taken_keep_a_host_from_starting: metrics_on_a_taken_port
        => 1, ["error: this host cannot begin", "cause: cannot listen on 127.0.0.1:", "(TCP): Address already in use",
            "help: choose another address with --metrics"];
    metrics_on_an_address_of_another_machine_keep_a_host_from_starting:
        |workspace| host(workspace, &["--metrics", "192.0.2.1:0", "--metrics-public"])
        => 1, ["cause: cannot listen on 192.0.2.1:0 (TCP)", "help: choose another address with --metrics"];
    metrics_are_not_shown_to_everybody_by_accident: |workspace| host(workspace, &["--metrics", "0.0.0.0:0"])
        => 2, ["--metrics 0.0.0.0:0", "whoever reaches this address", "127.0.0.1:4749", "--metrics-public"];
    metrics_on_no_address_are_refused: |workspace| host(workspace, &["--metrics", "localhost"]) => 2, ["--metrics"];
}

/// A host of this name, in a folder of its own.
fn named(grid: &Grid, name: &str, folder: &str) -> ChildProcess {
    let mut command = Command::new(program("grid-host"));
    command.args(["--manager", &grid.ticket("host"), "--name", name, "--state"]).arg(grid.folder(folder));
    let mut host = ChildProcess::start(folder, command.env_remove("GRID_MANAGER"));
    host.wait_for("joined");
    host
}

#[test]
fn explain_names_hosts_that_share_a_name_and_those_with_a_slash() {
    let grid = Grid::closed();
    let _hosts = [named(&grid, "twin", "a"), named(&grid, "twin", "b"), named(&grid, "rack/7", "c")];
    let said = grid.grid(&["explain", "twin"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.stderr.contains("2 hosts are called `twin`"), "{said:?}");
    assert!(said.stderr.contains("help: name it by its fingerprint"), "{said:?}");
    let hosts = grid.must(&["host", "ls", "--json"]).json();
    for host in hosts["hosts"].as_array().unwrap() {
        grid.must(&["explain", host["fingerprint"].as_str().unwrap()]);
    }
    grid.must(&["explain", "rack/7"]);
    let said = grid.grid(&["explain", "nothing/7"]);
    assert!(said.code == 5 && said.stderr.contains("no job nothing"), "{said:?}");
}

#[test]
fn an_address_where_nobody_is_costs_no_ten_seconds_when_another_answers() {
    let mut grid = Grid::closed();
    let here = grid.bare_address().to_owned();
    grid.manager.kill();
    grid.restart_manager(&["--advertise", "127.0.0.2:9", "--advertise", &here]);
    let ticket = grid.ticket("client");
    let began = Instant::now();
    let said = grid.grid_as("elsewhere", &["--manager", &ticket, "status"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
}

/// Becomes the program that follows, with `$1` for the system's table of names, in a namespace of its own.
const WITH_HOSTS: &str = r#"mount --bind "$1" /etc/hosts && shift && exec "$@""#;

#[test]
fn a_name_whose_first_address_is_nobodys_costs_no_ten_seconds() {
    let grid = Grid::closed();
    let hosts = grid.folder("hosts");
    // The first is this machine's, and the manager listens on the second alone; nobody answers at the third.
    std::fs::write(&hosts, "::1 manager.test\n127.0.0.1 manager.test\n127.0.0.2 manager.test\n").unwrap();
    let (key, port) = (grid.address().split_once('@').unwrap().0, grid.address().rsplit(':').next().unwrap());
    let mut status = Command::new("unshare");
    status.args(["--user", "--map-root-user", "--mount", "sh", "-c", WITH_HOSTS, "sh"]);
    status.arg(hosts).arg(program("grid")).args([
        "status",
        "--manager",
        &format!("{key}@manager.test:{port}"),
    ]);
    let began = Instant::now();
    let said = Said::of(status.env("GRID_HOME", grid.folder("")).env_remove("GRID_MANAGER"), b"");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
}
