//! Modules that were compiled stay compiled, for all programs of one user.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use grid_tests::{ChildProcess, Grid, Page, Said, program};
use tempfile::TempDir;

/// The echo worker with so much data that its compilation is announced, in a home of its own.
fn home() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("echo.wasm");
    fs::write(&file, echo_with("")).unwrap();
    (home, file)
}

/// The echo worker with much data, and with something else.
fn echo_with(more: &str) -> Vec<u8> {
    let echo = include_str!("../../modules/echo.wat").trim_end();
    let data = format!("(data (i32.const 70000) \"{}\"))", "x".repeat(300 << 10));
    let text = echo
        .strip_suffix(')')
        .unwrap()
        .replace("(memory (export \"memory\") 1)", "(memory (export \"memory\") 8)");
    wat::parse_str(text + more + &data).unwrap()
}

fn grid(home: &Path, arguments: &[&str], input: &str) -> Said {
    let mut command = Command::new(program("grid"));
    command.args(arguments).env("GRID_HOME", home).env_remove("GRID_MANAGER");
    Said::of(&mut command, input.as_bytes())
}

/// Runs one task without a manager.
fn run(home: &Path, module: &Path) -> Said {
    let said = grid(home, &["run", "--local", "1", module.to_str().unwrap()], "1\n");
    assert_eq!((said.code, said.stdout.as_str()), (0, "{\"result\":1,\"task\":0}\n"), "{said:?}");
    said
}

fn compiled(home: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.join("compiled")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|kind| kind == "compiled")).collect()
}

/// Waits until the code of a module that runs is on disk, behind its functions: until then the host has locked a file.
fn wait_until_kept(folder: &Path, module: &str) {
    if let Ok(claim) = File::open(folder.join(format!("{module}.lock"))) {
        claim.lock().unwrap();
    }
}

#[test]
fn a_module_is_compiled_once_for_workers_and_once_for_tasks_and_the_first_start_of_each_says_so() {
    let (home, module) = home();
    let path = module.to_str().unwrap();
    let first = grid(home.path(), &["module", "test", path], "1\n");
    assert!(first.code == 0 && first.stderr.contains("compiling echo, 30"), "{first:?}");
    for _ in 0..2 {
        let said = grid(home.path(), &["module", "test", path], "1\n");
        assert!(said.code == 0 && !said.stderr.contains("compiling"), "{said:?}");
    }
    // Tasks run code of another form, which does not look whether it is to yield.
    assert!(run(home.path(), &module).stderr.contains("compiling echo, 30"));
    assert!(!run(home.path(), &module).stderr.contains("compiling"));
    assert_eq!(compiled(home.path()).len(), 2);
}

#[test]
fn a_module_that_was_compiled_ahead_is_found_compiled_for_workers_and_for_tasks() {
    let (home, module) = home();
    let ahead = grid(home.path(), &["module", "precompile", module.to_str().unwrap()], "");
    assert_eq!((ahead.code, compiled(home.path()).len()), (0, 2), "{ahead:?}");
    assert!(!run(home.path(), &module).stderr.contains("compiling"));
    let tested = grid(home.path(), &["module", "test", module.to_str().unwrap()], "1\n");
    assert!(tested.code == 0 && !tested.stderr.contains("compiling"), "{tested:?}");
}

#[test]
fn compiled_code_that_somebody_changed_is_compiled_anew() {
    let (home, module) = home();
    run(home.path(), &module);
    let file = compiled(home.path()).pop().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let said = run(home.path(), &module);
    assert!(said.stderr.contains("compiled code was not written by this host"), "{said:?}");
    let anew = compiled(home.path());
    assert!(anew.len() == 1 && fs::read(&anew[0]).unwrap() != bytes, "{anew:?}");
    assert!(!run(home.path(), &module).stderr.contains("not written by this host"));
}

#[test]
fn a_folder_that_cannot_be_used_keeps_no_module_from_running() {
    let (home, module) = home();
    fs::write(home.path().join("compiled"), b"a file in its place").unwrap();
    let said = run(home.path(), &module);
    assert!(said.stderr.contains("compiled modules are not shared"), "{said:?}");
}

#[test]
fn grid_under_the_name_of_grid_host_is_a_host() {
    let grid = Grid::closed();
    let linked = grid.folder("grid-host");
    symlink(program("grid"), &linked).unwrap();
    let mut host = Command::new(&linked);
    host.args(["--manager", &grid.ticket("host"), "--name", "linked", "--state"]).arg(grid.folder("linked"));
    let mut host = ChildProcess::start("linked", &mut host);
    host.wait_for("joined");
    fs::write(grid.folder("echo.wasm"), grid_tests::echo()).unwrap();
    let said = grid.grid_given(&["run", grid.folder("echo.wasm").to_str().unwrap()], "1\n");
    // Its compiler is a child of the same program.
    assert_eq!((said.code, said.stdout.as_str()), (0, "{\"result\":1,\"task\":0}\n"), "{said:?}");
}

#[test]
fn hosts_that_share_a_folder_compile_a_module_once() {
    let grid = Grid::closed();
    let shared = grid.folder("shared");
    let arguments = ["--slots", "1", "--compiled", shared.to_str().unwrap()];
    let _hosts = ["one", "two"].map(|name| grid.host(name, &arguments));
    let (_home, module) = home();
    grid.must(&["module", "upload", module.to_str().unwrap()]);
    grid.must(&["worker", "spawn", "echo", "-n", "2"]);
    let hosts = grid.must(&["host", "ls", "--json"]).json();
    let count = |host: &serde_json::Value| host["compilations"].as_u64().unwrap();
    assert_eq!(hosts["hosts"].as_array().unwrap().iter().map(count).sum::<u64>(), 1, "{hosts}");
}

#[test]
fn functions_are_compiled_once_for_all_modules_of_a_publisher_and_again_for_those_of_another() {
    let grid = Grid::closed();
    let shared = grid.folder("shared");
    let arguments = ["--slots", "1", "--metrics", "127.0.0.1:0", "--compiled", shared.to_str().unwrap()];
    let mut host = grid.host("one", &arguments);
    let page = Page::of_host(&mut host);
    let key = grid.folder("other.key");
    let other = grid.must(&["key", "new", key.to_str().unwrap(), "--quiet"]).stdout;
    grid.must(&["key", "trust", other.trim()]);
    let reused = |name: &str, more: &str, arguments: &[&str]| {
        let file = grid.folder(&format!("{name}.wasm"));
        fs::write(&file, echo_with(more)).unwrap();
        let upload = ["module", "upload", file.to_str().unwrap(), "--quiet"];
        let module = grid.must(&[&upload, arguments].concat()).stdout;
        // A worker that echoes was compiled into what it should be.
        let said = grid.grid_given(&["run", file.to_str().unwrap()], "1\n");
        assert_eq!((said.code, said.stdout.as_str()), (0, "{\"result\":1,\"task\":0}\n"), "{said:?}");
        wait_until_kept(&shared, module.trim());
        let metrics = page.get("/metrics").body;
        let line =
            metrics.lines().find_map(|line| line.strip_prefix("grid_host_compiled_functions_reused_total "));
        line.unwrap().parse::<f64>().unwrap()
    };
    assert_eq!(reused("first", "", &[]), 0.0);
    let function = |number: u32| format!("(func (export \"more\") (result i32) (i32.const {number}))");
    let second = reused("second", &function(1), &[]);
    assert!(second > 0.0, "all that it shares with the first");
    let with_key = ["--key", key.to_str().unwrap()];
    assert_eq!(reused("theirs", &function(2), &with_key), second, "of a publisher who has no other module");
    assert!(reused("theirs-too", &function(3), &with_key) > second);
}
