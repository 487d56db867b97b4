//! What a guest, a host or a file says is shown, and never obeyed.

use std::path::Path;

use grid_tests::{ChildProcess, Grid, Said};

use crate::mishaps::{Workspace, mishaps};

/// A worker that logs a text and fails with it: a title for the window, a cleared screen, red, `error:` on a line of
/// its own, a reversed direction of reading, and a control character of eight bits.
const ESCAPES: &str = r#"(module
    (import "grid" "log" (func $log (param i32 i32 i32)))
    (import "grid" "fail" (func $fail (param i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\1b]0;owned\07\1b[2J\1b[31mhelp: pay\1b[0m\r\0aerror: forged\0ahelp: forged\e2\80\aegnp\c2\9b2J")
    (func (export "handle_msg") (param $len i32)
        (call $log (i32.const 0) (i32.const 0) (i32.const 69))
        (call $fail (i32.const 0) (i32.const 69))))"#;

/// A command that writes one file, whose name is `$path` below `/out`.
fn writes(path: &str) -> String {
    let length = path.len() + 4;
    let bytes: String = format!("out/{path}").bytes().map(|byte| format!("\\{byte:02x}")).collect();
    format!(
        r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "{bytes}")
    (func (export "_start")
        (drop (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const {length})
            (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 32)))))"#
    )
}

/// Fails if a terminal would obey any of it, or take a line of it for one of ours.
fn harmless(said: Said) -> Said {
    let text = format!("{}{}", said.stdout, said.stderr);
    let obeyed =
        |letter: char| letter != '\n' && (letter.is_control() || ('\u{202a}'..='\u{202e}').contains(&letter));
    assert!(!text.contains(obeyed), "a terminal would obey it: {said:?}");
    assert!(!text.lines().any(|line| line.trim_end() == "error: forged"), "a line is forged: {said:?}");
    assert!(text.contains("forged"), "it is not shown at all: {said:?}");
    said
}

fn grid() -> (Grid, ChildProcess, String) {
    let grid = Grid::closed();
    let host = grid.host("worker", &["--slots", "2"]);
    std::fs::write(grid.folder("esc.wat"), ESCAPES).unwrap();
    let module = grid.folder("esc.wat").to_str().unwrap().to_owned();
    (grid, host, module)
}

#[test]
fn no_escape_of_a_guest_reaches_a_terminal_through_run_logs_or_explain() {
    let (grid, _host, module) = grid();
    for flags in [&[][..], &["--json"]] {
        let run = [&["run", "--lines", "--retries", "0", &module], flags].concat();
        assert_eq!(harmless(grid.grid_given(&run, "x\n")).code, 8);
    }
    let jobs = grid.must(&["job", "ls", "--json"]).json();
    let id = jobs["jobs"][0]["id"].as_str().unwrap();
    for flags in [&[][..], &["--json"]] {
        harmless(grid.must(&[&["job", "logs", id], flags].concat()));
        harmless(grid.must(&[&["explain", &format!("{id}/0")], flags].concat()));
        harmless(grid.must(&[&["job", "results", id], flags].concat()));
    }
}

#[test]
fn no_escape_of_a_worker_reaches_a_terminal_through_its_log_or_its_failures() {
    let (grid, _host, module) = grid();
    grid.must(&["module", "upload", &module]);
    let worker = grid.must(&["worker", "spawn", "esc", "--quiet"]).stdout.trim().to_owned();
    grid.grid(&["msg", "send", &worker, "1"]);
    harmless(grid.grid(&["msg", "collect"]));
    grid.wait_until(&["worker", "logs", &worker], |logs| {
        logs["lines"].as_array().is_some_and(|lines| !lines.is_empty())
    });
    for flags in [&[][..], &["--json"], &["--quiet"]] {
        let said = grid.must(&[&["worker", "logs", &worker], flags].concat());
        assert!(!said.stdout.contains(['\x1b', '\u{202e}', '\u{9b}']), "{said:?}");
    }
    harmless(grid.must(&["worker", "logs", &worker]));
}

/// Runs a command with files on one task in this process, with `out` as its folder.
fn run_writing(workspace: &Workspace, path: &str) -> Said {
    std::fs::write(workspace.path("writes.wat"), writes(path)).unwrap();
    let run = ["run", "--local", "1", "--retries", "0", "--lines", "--out-dir", "out", "writes.wat"];
    Said::of(&mut workspace.command(&run), b"a\nb\n")
}

/// Two tasks whose files have a name that the folder cannot take, for a folder has it already.
fn a_folder_in_the_files_place(workspace: &Workspace) -> Said {
    std::fs::create_dir_all(workspace.path("out/0/name")).unwrap();
    run_writing(workspace, "name")
}

#[cfg(unix)]
fn a_link_at_the_tasks_place(workspace: &Workspace) -> Said {
    std::fs::create_dir_all(workspace.path("elsewhere")).unwrap();
    std::fs::create_dir_all(workspace.path("out")).unwrap();
    std::os::unix::fs::symlink(workspace.path("elsewhere"), workspace.path("out/0")).unwrap();
    let said = run_writing(workspace, "name");
    assert!(is_empty(&workspace.path("elsewhere")), "the link was followed: {said:?}");
    assert!(workspace.path("out/1/name").is_file(), "the other task was not written: {said:?}");
    said
}

#[cfg(unix)]
fn a_link_in_the_files_place(workspace: &Workspace) -> Said {
    std::fs::create_dir_all(workspace.path("out/0")).unwrap();
    std::fs::write(workspace.path("precious"), "precious").unwrap();
    std::os::unix::fs::symlink(workspace.path("precious"), workspace.path("out/0/name")).unwrap();
    let said = run_writing(workspace, "name");
    assert_eq!(std::fs::read(workspace.path("precious")).unwrap(), b"precious", "the link was followed");
    said
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

/// A file that is no module, and whose name says something.
fn a_module_with_a_name(workspace: &Workspace) -> Said {
    let name = "\x1b[31m\nerror: forged.wasm";
    std::fs::write(workspace.path(name), "no module").unwrap();
    harmless(workspace.grid(&["module", "check", name]))
}

mishaps! {
    a_file_that_cannot_be_written_fails_its_task_and_not_the_job: a_folder_in_the_files_place
        => 8, ["task 0 failed: its file", "1 task done", "the files of 1 task could not be written", "\"task\":1"];
    a_link_at_the_place_of_a_tasks_files_is_not_followed: a_link_at_the_tasks_place
        => 8, ["task 0 failed", "is a link, which is not followed", "\"task\":1"];
    a_link_at_the_place_of_a_file_is_not_followed: a_link_in_the_files_place
        => 8, ["task 0 failed", "is a link, which is not followed"];
    the_name_of_a_file_cannot_forge_a_line: a_module_with_a_name => 6, ["error: the grid does not run"];
}
