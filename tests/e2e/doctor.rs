//! `grid doctor`: what it finds on a machine where all is well, and on one where something is not.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use grid_tests::{Grid, Said, kill_at, program};
use serde_json::Value;
use tempfile::TempDir;

use crate::walls::without_namespaces;

/// Every check together: no step takes longer than its limit, and most go on at the same time.
const LIMIT: Duration = Duration::from_secs(25);

/// A check of a diagnosis.
fn check<'a>(diagnosis: &'a Value, name: &str) -> &'a Value {
    let mut checks = diagnosis["checks"].as_array().unwrap().iter();
    checks.find(|check| check["check"] == name).unwrap_or_else(|| panic!("no check {name}: {diagnosis:#}"))
}

#[track_caller]
fn assert_state(diagnosis: &Value, name: &str, state: &str, words: &[&str]) {
    let check = check(diagnosis, name);
    assert_eq!(check["state"], state, "{check:#}");
    for word in words {
        assert!(check.to_string().contains(word), "`{word}` is not said: {check:#}");
    }
}

/// `grid doctor` with a folder of its own as home, and no manager.
fn alone(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("grid"));
    command.arg("doctor").args(arguments).env("GRID_HOME", folder.path()).env_remove("GRID_MANAGER");
    command
}

/// What it prints, which must take no longer than its limit.
fn diagnosed(command: &mut Command) -> (Said, Value) {
    let begun = Instant::now();
    let said = Said::of(command.arg("--json"), b"");
    assert!(begun.elapsed() < LIMIT, "it took {:?}", begun.elapsed());
    let diagnosis = said.json();
    assert_eq!(diagnosis["schema"], 1, "{said:?}");
    (said, diagnosis)
}

/// The program, run by a shell that does this first.
fn after(shell: &str, folder: &TempDir) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{shell} && exec \"$0\" doctor \"$@\"")]).arg(program("grid"));
    command.env("GRID_HOME", folder.path()).env_remove("GRID_MANAGER");
    command
}

#[test]
fn nothing_fails_on_a_machine_with_a_manager_and_a_host() {
    let grid = Grid::closed();
    let _host = grid.host("lab", &[]);
    let (said, diagnosis) = diagnosed(&mut grid.command(&["doctor"]));
    assert_eq!((said.code, &diagnosis["fails"]), (0, &Value::from(0)), "{diagnosis:#}");
    assert_state(&diagnosis, "manager", "ok", &[grid.bare_address(), "handshake"]);
    assert_state(&diagnosis, "role", "ok", &["admin"]);
    assert_state(&diagnosis, "mtu", "ok", &["1452 bytes"]);
    assert_state(&diagnosis, "clock", "ok", &["within a second"]);
    assert_state(&diagnosis, "versions", "ok", &["1 host "]);
    for name in [
        "descriptors",
        "mappings",
        "address-space",
        "memory",
        "walls",
        "compiler",
        "home",
        "manager-state",
        "buffer",
    ] {
        assert_ne!(check(&diagnosis, name)["state"], "fails", "{diagnosis:#}");
    }
    let table = grid.must(&["doctor"]);
    assert!(
        table.stdout.starts_with("CHECK ") && table.stderr.contains("nothing stands in the way"),
        "{table:?}"
    );
    assert_eq!(grid.must(&["doctor", "-q"]).stdout, "");
}

#[test]
fn without_a_manager_the_machine_is_checked_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (said, diagnosis) = diagnosed(&mut alone(&folder, &[]));
    assert_eq!(said.code, 0, "{diagnosis:#}");
    assert_state(&diagnosis, "manager", "warning", &["no manager is known here", "--manager"]);
    for name in ["role", "mtu", "clock", "versions"] {
        assert_state(&diagnosis, name, "warning", &["no manager is known here"]);
    }
    assert_state(&diagnosis, "compiler", "ok", &["compiled in"]);
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "it leaves nothing behind");
}

#[test]
fn an_executor_is_started_and_each_wall_that_does_not_stand_around_it_has_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (_, diagnosis) = diagnosed(&mut alone(&folder, &[]));
    let usual = ["process, landlock ", "system calls", "an executor locked down in"];
    assert_state(&diagnosis, "walls", "ok", &[&usual[..], &["namespaces"]].concat());
    let mut command = without_namespaces(&program("grid"));
    let (said, diagnosis) = diagnosed(command.arg("doctor").env("GRID_HOME", folder.path()));
    assert_eq!(said.code, 0, "{diagnosis:#}");
    let reason = ["no namespaces: the kernel does not permit them", "max_user_namespaces", "unshare"];
    assert_state(&diagnosis, "walls", "warning", &[&usual[..], &reason].concat());
    assert!(!check(&diagnosis, "walls")["found"].to_string().contains("namespaces"), "{diagnosis:#}");
}

#[test]
fn where_a_system_call_of_entering_namespaces_is_death_executors_and_compiler_do_without() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = alone(&folder, &[]);
    kill_at(&mut command, libc::SYS_pivot_root);
    let (said, diagnosis) = diagnosed(&mut command);
    assert_eq!(said.code, 0, "{diagnosis:#}");
    assert_state(&diagnosis, "walls", "warning", &["process, landlock ", "no namespaces"]);
    assert_state(&diagnosis, "compiler", "ok", &["compiled in"]);
}

#[test]
fn a_port_where_nothing_answers_is_told_from_one_where_nothing_listens_and_from_a_name_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = deaf.local_addr().unwrap().to_string();
    let port = deaf.local_addr().unwrap().port().to_string();
    let (said, diagnosis) = diagnosed(&mut alone(&folder, &["--manager", &address]));
    assert_eq!(said.code, 1);
    assert_state(&diagnosis, "manager", "fails", &["nothing answers", "UDP", &port]);
    assert_state(&diagnosis, "clock", "warning", &["was not reached"]);
    drop(deaf);
    let (said, diagnosis) = diagnosed(&mut alone(&folder, &["--manager", &address]));
    assert_eq!(said.code, 1);
    assert_state(&diagnosis, "manager", "fails", &["nothing listens", &port]);
    let (_, diagnosis) = diagnosed(&mut alone(&folder, &["--manager", "no-such-machine.invalid:4747"]));
    assert_state(
        &diagnosis,
        "manager",
        "fails",
        &["does not resolve", "getent hosts no-such-machine.invalid"],
    );
    let said = Said::of(&mut alone(&folder, &["-q", "--manager", &address]), b"");
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (1, "manager\n", ""), "{said:?}");
}

#[test]
fn a_port_where_something_else_answers_is_called_no_manager() {
    let folder = tempfile::tempdir().unwrap();
    let parrot = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = parrot.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut datagram = [0; 2000];
        while let Ok((length, from)) = parrot.recv_from(&mut datagram) {
            // The doctor may be gone.
            let _ = parrot.send_to(&datagram[..length], from);
        }
    });
    let (said, diagnosis) = diagnosed(&mut alone(&folder, &["--manager", &address]));
    assert_eq!(said.code, 1);
    assert_state(&diagnosis, "manager", "fails", &["something answers", "no manager"]);
}

#[test]
fn another_key_than_the_remembered_one_is_forgotten_by_the_command_that_is_advised() {
    let (grid, other) = (Grid::closed(), Grid::closed());
    let bare = grid.bare_address();
    let (key, _) = other.address().split_once('@').unwrap();
    let known = grid.folder("known-managers");
    std::fs::write(&known, format!("{bare}1 {key}\n{bare} {key}\n")).unwrap();
    let (said, diagnosis) = diagnosed(&mut grid.command(&["doctor", "--manager", bare]));
    assert_eq!(said.code, 1);
    assert_state(&diagnosis, "manager", "fails", &["another key than the remembered one", "sed -i"]);
    let advice = check(&diagnosis, "manager")["advice"].as_str().unwrap();
    let command = &advice[advice.find("sed").unwrap()..advice.find("; if not").unwrap()];
    assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
    assert_eq!(std::fs::read_to_string(&known).unwrap(), format!("{bare}1 {key}\n"));
    let (said, diagnosis) = diagnosed(&mut grid.command(&["doctor", "--manager", bare]));
    assert_eq!(said.code, 0, "{diagnosis:#}");
    assert_state(&diagnosis, "manager", "warning", &["new here"]);
    assert_eq!(std::fs::read_to_string(&known).unwrap(), format!("{bare}1 {key}\n"), "it remembers no key");
}

#[test]
fn a_ticket_is_looked_at_and_not_used_up() {
    let grid = Grid::closed();
    let ticket = grid.ticket("host");
    let newcomer = |arguments: &[&str]| grid.grid_as("newcomer", &[arguments, &["--json"]].concat());
    let said = newcomer(&["doctor", "--manager", &ticket]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_state(&said.json(), "role", "ok", &["lets one host in"]);
    assert_state(&said.json(), "manager", "ok", &[]);
    assert!(!grid.folder("newcomer").exists(), "it makes no key");
    grid.host_at(&ticket, "newcomer-host", &[]).wait_for("joined");
    let said = newcomer(&["doctor", "--manager", grid.address()]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_state(&said.json(), "role", "fails", &["grid ticket new --role client"]);
}

#[test]
fn too_few_descriptors_are_found_and_how_to_have_more() {
    let folder = tempfile::tempdir().unwrap();
    let (said, diagnosis) = diagnosed(&mut after("ulimit -S -n 30", &folder));
    assert_eq!(said.code, 1, "{diagnosis:#}");
    assert_state(&diagnosis, "descriptors", "fails", &["30; a host", "ulimit -n "]);
}

#[test]
fn too_little_address_space_is_found_as_a_host_finds_it() {
    let folder = tempfile::tempdir().unwrap();
    let (said, diagnosis) = diagnosed(&mut after("ulimit -v 4194304", &folder));
    assert_eq!(said.code, 0, "{diagnosis:#}");
    assert_state(&diagnosis, "address-space", "warning", &["bounds checks", "ulimit -v unlimited"]);
}

#[test]
fn a_state_folder_that_cannot_be_written_fails_and_one_in_memory_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    let (said, diagnosis) = diagnosed(alone(&folder, &[]).env("GRID_HOME", &file));
    assert_eq!(said.code, 1);
    assert_state(&diagnosis, "home", "fails", &["is a file, not a folder", "GRID_HOME"]);
    for (options, state, word) in
        [("ro,size=1g", "fails", "Read-only"), ("mode=700,size=2g", "warning", "in memory")]
    {
        let mut mounted = Command::new("unshare");
        let mount = format!("mount -t tmpfs -o {options} small \"$GRID_HOME\" && exec \"$0\" doctor --json");
        mounted.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount]).arg(program("grid"));
        mounted.env("GRID_HOME", folder.path()).env_remove("GRID_MANAGER");
        assert_state(&Said::of(&mut mounted, b"").json(), "home", state, &[word]);
    }
}

#[test]
fn rights_that_others_have_are_found_and_mended_by_the_commands_that_are_advised() {
    let grid = Grid::closed();
    let mend = |state: &str| {
        let said = grid.grid(&["doctor", "--json"]);
        let diagnosis = said.json();
        assert_state(&diagnosis, "home", state, &["chmod "]);
        let advice = check(&diagnosis, "home")["advice"].as_str().unwrap();
        assert!(Command::new("sh").args(["-c", advice]).status().unwrap().success(), "{advice}");
    };
    let set = |name: &str, mode| {
        std::fs::set_permissions(grid.folder(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set("user.key", 0o644);
    mend("fails");
    set("", 0o755);
    mend("warning");
    let said = grid.grid(&["doctor", "--json"]);
    assert_ne!(check(&said.json(), "home")["state"], "fails", "{said:?}");
    assert!(!said.stdout.contains("chmod"), "{said:?}");
}
