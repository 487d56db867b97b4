//! Files and values as people have them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use grid_tests::{Grid, Said, echo};
use serde_json::{Value, json};

use crate::mishaps::{Workspace, mishaps};

/// A command in text form that sends its standard input back.
const CAT: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 1024))
        (i32.store (i32.const 4) (i32.const 65536))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Runs a command in the folder `data` on each of its files that matches, in this process.
fn run_on(workspace: &Workspace, files: &[&str], patterns: &[&str]) -> Said {
    for file in files {
        let path = workspace.path("data").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file).unwrap();
    }
    std::fs::write(workspace.path("cat.wat"), CAT).unwrap();
    let mut run = workspace.command(&["run", "--local", "1", "--in-order"]);
    for pattern in patterns {
        run.args(["--files", pattern]);
    }
    Said::of(run.arg("../cat.wat").current_dir(workspace.path("data")), b"")
}

/// The texts of the results.
fn results(said: &Said) -> Vec<String> {
    said.lines().iter().map(|line| line["result"]["text"].as_str().unwrap_or_default().to_owned()).collect()
}

fn a_name_that_is_no_text(workspace: &Workspace) -> Said {
    std::fs::create_dir_all(workspace.path("data")).unwrap();
    std::fs::write(workspace.path("data").join(OsStr::from_bytes(b"\xff.txt")), "no text").unwrap();
    let said = run_on(workspace, &["a.txt"], &["*.txt"]);
    assert_eq!(results(&said), ["a.txt", "no text"], "{said:?}");
    said
}

fn a_link_to_its_own_folder(workspace: &Workspace) -> Said {
    std::fs::create_dir_all(workspace.path("data/b")).unwrap();
    symlink(".", workspace.path("data/b/loop")).unwrap();
    let said = run_on(workspace, &["a.txt", "b/c.txt"], &["**/*.txt"]);
    assert_eq!(results(&said), ["a.txt", "b/c.txt"], "{said:?}");
    said
}

fn one_file_by_two_names(workspace: &Workspace) -> Said {
    let said = run_on(workspace, &["a.txt"], &["*.txt", "./*.txt"]);
    assert_eq!(results(&said), ["a.txt"], "{said:?}");
    said
}

fn a_name_like_a_pattern(workspace: &Workspace) -> Said {
    let said = run_on(workspace, &["br[1].txt", "br1.txt"], &["br[1].txt"]);
    assert_eq!(results(&said), ["br[1].txt"], "{said:?}");
    said
}

/// Runs the echo on an input, in this process.
fn echoed(workspace: &Workspace, input: &[u8]) -> Said {
    std::fs::write(workspace.path("echo.wasm"), echo()).unwrap();
    Said::of(&mut workspace.command(&["run", "--local", "1", "--in-order", "echo.wasm"]), input)
}

fn a_byte_order_mark(workspace: &Workspace) -> Said {
    let said = echoed(workspace, b"\xef\xbb\xbf[1]\r\n2\r\n");
    let results: Vec<_> = said.lines().iter().map(|line| line["result"].clone()).collect();
    assert_eq!(results, [json!([1]), json!(2)], "{said:?}");
    said
}

fn a_big_integer(workspace: &Workspace) -> Said {
    let said = echoed(workspace, b"18446744073709551616\n[-123456789012345678901234567890]\n");
    let results: Vec<Value> = said.lines().iter().map(|line| line["result"].clone()).collect();
    assert_eq!(
        results,
        [json!("18446744073709551616"), json!(["-123456789012345678901234567890"])],
        "{said:?}"
    );
    said
}

fn an_output_that_is_the_input(workspace: &Workspace) -> Said {
    std::fs::write(workspace.path("echo.wasm"), echo()).unwrap();
    std::fs::write(workspace.path("tasks"), "1\n2\n").unwrap();
    std::fs::hard_link(workspace.path("tasks"), workspace.path("same")).unwrap();
    let mut said = None;
    for output in ["tasks", "./tasks", "same", "echo.wasm"] {
        said = Some(workspace.grid(&["run", "--local", "1", "-i", "tasks", "-o", output, "echo.wasm"]));
        assert_eq!(std::fs::read(workspace.path("tasks")).unwrap(), b"1\n2\n", "{output}: {said:?}");
    }
    assert_eq!(std::fs::read(workspace.path("echo.wasm")).unwrap(), echo());
    said.unwrap()
}

fn an_output_whose_name_is_no_text(workspace: &Workspace) -> Said {
    std::fs::write(workspace.path("echo.wasm"), echo()).unwrap();
    let mut run = workspace.command(&["run", "--local", "1", "--resume", "journal", "echo.wasm", "-o"]);
    let said = Said::of(run.arg(OsStr::from_bytes(b"out\xff")), b"1\n");
    assert!(workspace.path("").join(OsStr::from_bytes(b"out\xff")).is_file(), "{said:?}");
    said
}

mishaps! {
    a_file_whose_name_is_no_text_is_a_task_like_others: a_name_that_is_no_text => 0, ["2 tasks done"];
    a_link_to_its_own_folder_is_not_followed_by_two_asterisks: a_link_to_its_own_folder => 0, ["2 tasks done"];
    two_patterns_for_the_same_file_are_one_task: one_file_by_two_names => 0, ["1 task done"];
    a_file_whose_name_looks_like_a_pattern_can_be_given: a_name_like_a_pattern => 0, ["1 task done"];
    a_byte_order_mark_is_no_part_of_the_first_task: a_byte_order_mark => 0, [];
    an_integer_of_more_than_64_bits_is_not_rounded: a_big_integer => 0, [];
    an_integer_of_more_than_128_bits_is_refused_with_its_line:
        |workspace| echoed(workspace, format!("1\n{}\n", "9".repeat(60)).as_bytes())
        => 2, ["line 2 of the tasks", "128 bits", "help:"];
    tasks_in_utf_16_are_called_so: |workspace| echoed(workspace, b"\xff\xfe1\0\n\0") => 2, ["UTF-16", "save it as UTF-8"];
    an_output_that_is_an_input_is_refused_and_keeps_its_contents: an_output_that_is_the_input
        => 2, ["is read by this run", "help:"];
    an_output_whose_name_is_no_text_is_written: an_output_whose_name_is_no_text => 0, [];
}

#[test]
fn what_job_logs_prints_as_json_is_one_document() {
    let grid = Grid::closed();
    let _host = grid.host("worker", &["--slots", "1"]);
    let failing = r#"(module
        (import "grid" "fail" (func $fail (param i32 i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "boom")
        (func (export "handle_msg") (param i32) (call $fail (i32.const 0) (i32.const 4))))"#;
    std::fs::write(grid.folder("failing.wat"), failing).unwrap();
    let module = grid.folder("failing.wat");
    let said = grid.grid_given(&["run", "--retries", "0", module.to_str().unwrap()], "1\n");
    assert_eq!(said.code, 8, "{said:?}");
    let jobs = grid.must(&["job", "ls", "--json"]).json();
    let logs = grid.must(&["job", "logs", jobs["jobs"][0]["id"].as_str().unwrap(), "--json"]).json();
    assert_eq!(logs["failures"][0]["task"], 0, "{logs}");
    assert_eq!(logs["failures"][0]["error"]["attempts"][0]["message"], "boom", "{logs}");
}
