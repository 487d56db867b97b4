//! Every verb and every flag of the command line is run by some test; those that no other test needs are run here.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use grid_tests::{Grid, Said, echo, program};

/// An echo, and a worker that never answers.
const SPIN: &str =
    r#"(module (memory (export "memory") 1) (func (export "handle_msg") (param i32) (loop br 0)))"#;

fn file(grid: &Grid, name: &str, contents: &[u8]) -> String {
    let path = grid.folder(name);
    std::fs::write(&path, contents).unwrap();
    path.to_str().unwrap().to_owned()
}

fn ids(said: &Said) -> Vec<String> {
    said.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn a_ticket_that_was_taken_back_is_listed_no_more_and_lets_nobody_in() {
    let grid = Grid::closed();
    let ticket = grid.ticket("client");
    let tickets = grid.must(&["ticket", "ls", "--json"]).json();
    let of_clients = |ticket: &&serde_json::Value| ticket["role"] == "client";
    let id = tickets["tickets"].as_array().unwrap().iter().find(of_clients).unwrap()["id"].clone();
    grid.must(&["ticket", "rm", id.as_str().unwrap()]);
    assert!(!grid.must(&["ticket", "ls"]).stdout.contains(id.as_str().unwrap()));
    let said = grid.grid_as("bearer", &["--manager", &ticket, "status"]);
    assert!(said.code != 0 && said.stderr.contains("no such ticket"), "{said:?}");
}

#[test]
fn a_host_that_is_drained_leaves() {
    let grid = Grid::closed();
    let mut host = grid.host("leaver", &[]);
    grid.must(&["host", "drain", "leaver"]);
    assert_eq!(host.exit_code(), 0);
    grid.wait_until(&["status"], |status| status["hosts"] == 0);
}

#[test]
fn a_module_is_shown_with_the_day_that_it_was_given() {
    let grid = Grid::closed();
    let echo = file(&grid, "echo.wasm", &echo());
    let uploaded = grid.must(&["module", "upload", &echo, "--expires", "30", "--json"]).json();
    let shown = grid.must(&["module", "show", "echo", "--json"]).json();
    assert_eq!((&shown["digest"], &shown["expires"]), (&uploaded["digest"], &uploaded["expires"]));
    let days = shown["expires"].as_u64().unwrap() - shown["serial"].as_u64().unwrap();
    assert_eq!(days / 86_400, 30);
}

#[test]
fn the_commands_of_a_toolchain_are_told_without_being_run() {
    let folder = tempfile::tempdir().unwrap();
    let grid = |arguments: &[&str]| {
        let mut grid = Command::new(program("grid"));
        Said::of(grid.args(arguments).current_dir(&folder).env("GRID_HOME", folder.path()), b"")
    };
    assert_eq!(grid(&["module", "new", "adder", "--lang", "c"]).code, 0);
    let said = grid(&["module", "build", "adder", "--dry-run"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("clang") || said.stderr.contains("clang"), "{said:?}");
    assert!(!folder.path().join("adder/adder.wasm").exists());
}

#[test]
fn workers_have_the_limits_and_the_restarts_that_they_are_given() {
    let grid = Grid::closed();
    let _host = grid.host("host", &["--worker-memory", "8MiB"]);
    grid.must(&["module", "upload", &file(&grid, "spin.wat", SPIN.as_bytes())]);
    let spawn = ["worker", "spawn", "spin", "--no-wait", "--restart", "1", "--call-limit", "0.2"];
    let spawned = ids(&grid.must(&[&spawn[..], &["--memory-limit", "2MiB", "--quiet"]].concat()));
    grid.wait_until(&["worker", "ls"], |workers| workers["workers"][0]["state"] == "running");
    let said = grid.grid(&["msg", "send", &spawned[0], "1"]);
    assert_eq!(said.code, 8, "{said:?}");
    assert!(said.stderr.contains("ended before it was through"), "{said:?}");
    // Another is there in its place, once.
    let again = grid.wait_until(&["worker", "ls"], |workers| workers["workers"][0]["state"] == "running");
    let again = again["workers"][0]["worker"].as_str().unwrap().to_owned();
    assert_ne!(again, spawned[0]);
    assert_eq!(grid.grid(&["msg", "send", &again, "1"]).code, 8);
    grid.wait_until(&["worker", "ls"], |workers| workers["workers"].as_array().unwrap().is_empty());
    assert_eq!(grid.must(&["worker", "ls", "--all", "--quiet"]).stdout.lines().count(), 2);
    let left = grid.must(&["msg", "collect", "--wait", "0.2"]).lines();
    assert!(
        left.iter().any(|line| line["left"].as_str().is_some_and(|end| end.contains("limit"))),
        "{left:?}"
    );
}

#[test]
fn a_job_is_awaited_read_from_any_outcome_on_and_tried_again() {
    let grid = Grid::closed();
    let _host = grid.host("host", &["--slots", "2"]);
    let tasks = file(&grid, "tasks", b"1\n2\n3\n");
    let run = ["run", "--detach", "--quiet", "-i", &tasks];
    let echo = file(&grid, "echo.wasm", &echo());
    let job = &ids(&grid.must(&[&run[..], &["--priority", "5", "--timeout", "20", &echo]].concat()))[0];
    assert_eq!(grid.must(&["job", "wait", job, "--json"]).json()["done"], 3);
    assert_eq!(grid.must(&["job", "results", job, "--after", "1"]).stdout.lines().count(), 2);
    assert_eq!(grid.must(&["job", "results", job, "--follow"]).stdout.lines().count(), 3);
    let spin = file(&grid, "spin.wat", SPIN.as_bytes());
    let job = &ids(&grid.must(&[&run[..], &["--timeout", "0.2", "--retries", "0", &spin]].concat()))[0];
    assert_eq!(grid.must(&["job", "wait", job, "--json"]).json()["dead"], 3);
    assert_eq!(grid.must(&["job", "retry", job, "--json"]).json()["dead"], 0);
    assert_eq!(grid.must(&["job", "wait", job, "--json"]).json()["dead"], 3);
}

#[test]
fn keys_versions_and_the_manual_are_printed() {
    let grid = Grid::closed();
    let keys = grid.must(&["key", "ls", "--json"]).json();
    assert!(keys["keys"][0]["key"].as_str().unwrap().starts_with("gk1"), "{keys}");
    assert!(grid.must(&["man"]).stdout.contains(".TH grid"));
    let home = grid.folder("elsewhere");
    let said = grid.grid(&["--home", home.to_str().unwrap(), "status"]);
    assert!(said.code == 2 && said.stderr.contains("no manager is known here"), "{said:?}");
    for name in ["grid", "grid-host"] {
        let said = Said::of(Command::new(program(name)).arg("--version"), b"");
        assert_eq!(said.stdout.trim(), format!("{name} {}", env!("CARGO_PKG_VERSION")));
    }
}

/// A verb, or a program: its name, and its flags.
struct Verb {
    words: Vec<String>,
    /// Each flag by its names.
    flags: Vec<Vec<String>>,
}

/// All verbs below `words`, from what their help says.
fn verbs(name: &str, words: &[String], found: &mut Vec<Verb>) {
    let help = Said::of(Command::new(program(name)).args(words).arg("--help"), b"").stdout;
    let (mut section, mut below, mut flags) = ("", Vec::new(), Vec::new());
    for line in help.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        let indent = line.len() - line.trim_start().len();
        match section {
            _ if indent == 0 && line.ends_with(':') => section = line,
            "Commands:" if indent == 2 && first != "help" => below.push(first.to_owned()),
            "Options:" if first.starts_with('-') => {
                let names = line.split_whitespace().take_while(|word| word.starts_with('-'));
                // A flag with a value that may be left out is shown as `--flag[=<VALUE>]`.
                let name = |name: &str| name.split(&[',', '[']).next().unwrap_or_default().to_owned();
                flags.push(names.map(name).collect());
            }
            _ => {}
        }
    }
    let leaf = below.is_empty();
    for verb in below {
        verbs(name, &[words, &[verb]].concat(), found);
    }
    found.push(Verb { words: if leaf { words.to_vec() } else { Vec::new() }, flags });
}

/// The text of all tests, a space for any space.
fn tests(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            text.extend(source.split_whitespace().flat_map(|word| [word, " "]));
        }
    }
}

#[test]
fn every_verb_and_every_flag_is_run_by_a_test() {
    let mut text = String::new();
    tests(Path::new(env!("CARGO_MANIFEST_DIR")), &mut text);
    let (mut found, mut missing) = (Vec::new(), BTreeSet::new());
    verbs("grid", &[], &mut found);
    verbs("grid-host", &[], &mut found);
    assert!(found.len() > 40, "{} verbs were found in the help", found.len());
    let quoted = |word: &String| format!("\"{word}\"");
    for Verb { words, flags } in &found {
        let words: Vec<_> = words.iter().map(quoted).collect();
        if !text.contains(&words.join(", ")) {
            missing.insert(words.join(" "));
        }
        for names in flags.iter().filter(|names| !names.contains(&"--help".to_owned())) {
            if !names.iter().any(|name| text.contains(&quoted(name)) || text.contains(&format!("\"{name}=")))
            {
                missing.insert(names.join(" "));
            }
        }
    }
    assert!(missing.is_empty(), "no test runs {missing:#?}");
}
