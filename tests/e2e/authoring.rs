//! The author's inner loop: `grid module new`, `build`, `check`, `test`, `upload`, and a run, in every language.

use std::path::{Path, PathBuf};
use std::process::Command;

use grid_tests::{Grid, Said, module, program};
use serde_json::json;

/// `grid` for an author, who has the toolchains that `cargo xtask modules --all` installed.
fn author(home: &Path, arguments: &[&str]) -> Said {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
    let tools =
        ["python/bin", "node/node_modules/.bin"].map(|folder| root.join("target/toolchains").join(folder));
    let mut command = Command::new(program("grid"));
    command.args(arguments).env("GRID_HOME", home).env_remove("GRID_MANAGER");
    command.env("GRID_TOOLCHAINS", std::env::join_paths(tools).unwrap());
    // The standard library of Rust is built once for all workers.
    command.env("CARGO_TARGET_DIR", root.join("modules/target"));
    Said::of(&mut command, b"")
}

fn must(home: &Path, arguments: &[&str]) -> Said {
    let said = author(home, arguments);
    assert_eq!(said.code, 0, "grid {arguments:?}: {said:?}");
    said
}

/// From an empty folder to a result.
fn from_nothing_to_a_result(language: &str) {
    let grid = Grid::closed();
    let home = grid.folder("");
    // What `module test` has compiled, the host need not compile again.
    let compiled = home.join("compiled");
    let _host = grid.host("only", &["--slots", "1", "--compiled", compiled.to_str().unwrap()]);
    let folder = grid.folder("adder");
    let folder = folder.to_str().unwrap();
    must(&home, &["module", "new", "adder", "--lang", language, "--dir", folder]);
    let built = must(&home, &["module", "build", folder, "--json"]).json();
    let wasm = built["path"].as_str().unwrap();
    let checked = must(&home, &["module", "check", folder, "--json"]).json();
    let entry_point = if ["python", "js"].contains(&language) { "component" } else { "core" };
    assert_eq!(checked["entry_point"], entry_point, "{checked}");
    let tried = must(&home, &["module", "test", folder, "--json"]).json();
    // Some add as floats.
    let sums = tried["answers"].as_array().unwrap().iter().map(|answer| answer["message"].as_f64());
    assert!(sums.eq([Some(1.0), Some(3.0), Some(42.0)]), "{tried}");
    must(&home, &["module", "upload", wasm]);
    let ran = grid.grid_given(&["run", wasm], "5\n");
    assert_eq!((ran.code, ran.lines()[0]["result"].as_f64()), (0, Some(5.0)), "{ran:?}");
}

#[test]
fn a_worker_in_rust_is_made_built_tried_and_run() {
    from_nothing_to_a_result("rust");
}

#[test]
fn a_worker_in_c_is_made_built_tried_and_run() {
    from_nothing_to_a_result("c");
}

#[test]
fn a_worker_in_cpp_is_made_built_tried_and_run() {
    from_nothing_to_a_result("cpp");
}

#[test]
fn a_worker_in_go_is_made_built_tried_and_run() {
    from_nothing_to_a_result("go");
}

#[test]
fn a_worker_in_zig_is_made_built_tried_and_run() {
    from_nothing_to_a_result("zig");
}

#[test]
fn a_worker_in_assemblyscript_is_made_built_tried_and_run() {
    from_nothing_to_a_result("assemblyscript");
}

#[test]
fn a_worker_in_python_is_made_built_tried_and_run() {
    from_nothing_to_a_result("python");
}

#[test]
fn a_worker_in_js_is_made_built_tried_and_run() {
    from_nothing_to_a_result("js");
}

#[test]
fn a_toolchain_that_is_missing_is_named_with_the_line_that_installs_it() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("adder");
    let folder = folder.to_str().unwrap();
    must(home.path(), &["module", "new", "adder", "--lang", "zig", "--dir", folder]);
    let mut command = Command::new(program("grid"));
    command.args(["module", "build", folder]).env("GRID_HOME", home.path()).env("PATH", "/nowhere");
    let said = Said::of(command.env_remove("GRID_TOOLCHAINS"), b"");
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.stderr.contains("pip install ziglang==0.17.1"), "{said:?}");
    let said = author(home.path(), &["module", "new", "adder", "--lang", "cobol"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.contains("assemblyscript"), "{said:?}");
}

#[test]
fn what_does_not_compile_is_shown_in_the_compilers_own_words() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("adder");
    let folder = folder.to_str().unwrap();
    must(home.path(), &["module", "new", "adder", "--lang", "c", "--dir", folder]);
    std::fs::write(Path::new(folder).join("worker.c"), "int x = \"no\" + ;\n").unwrap();
    let said = author(home.path(), &["module", "build", folder]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("worker.c:1"), "{said:?}");
}

#[test]
fn a_trial_shows_the_log_the_failure_and_the_stack() {
    let home = tempfile::tempdir().unwrap();
    let input = home.path().join("messages");
    std::fs::write(&input, "ga line\nfno\ntboom\n").unwrap();
    let conformance = module("conformance-rust");
    let trial = ["module", "test", conformance.to_str().unwrap(), "--lines", "-i", input.to_str().unwrap()];
    let said = author(home.path(), &trial);
    assert_eq!(said.code, 8, "{said:?}");
    for part in [
        "limits: 256.0 MiB",
        "trace a line",
        "! failed: no",
        "boom",
        "at conformance_rust::deliberate_trap",
        "3 messages",
    ] {
        assert!(said.stderr.contains(part) || said.stdout.contains(part), "{part}: {said:?}");
    }
}

#[test]
fn a_near_miss_is_explained_by_check() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("near.wat");
    let wat = r#"(module (memory (export "memory") 1) (func (export "handleMsg") (param i32)))"#;
    std::fs::write(&file, wat).unwrap();
    let said = author(home.path(), &["module", "check", file.to_str().unwrap()]);
    assert_eq!(said.code, 6, "{said:?}");
    assert!(said.stderr.contains("did you mean `handle_msg` by `handleMsg`?"), "{said:?}");
    assert!(said.stderr.contains("help: docs/guest-abi.md"), "{said:?}");
}

/// The first two lines that differ, of the ancestor's worker and of ours.
const CHANGED: [(&str, &str); 1] = [(
    "from distributed_worker import DistributedWorker",
    "from grid_worker import DistributedWorker, export",
)];

const ADDED: &str = "export(PrimeWorker)";

/// The block of Python in a README that has all of these words.
fn snippet<'a>(readme: &'a str, words: &[&str]) -> &'a str {
    let blocks = readme.split("```py\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut fitting = blocks.filter(|block| words.iter().all(|word| block.contains(word)));
    fitting.next().unwrap_or_else(|| panic!("no block with {words:?}"))
}

#[test]
fn the_ancestors_worker_from_its_readme_runs_with_two_lines_changed_on_hosts_without_python() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
    let readme = root.join("modules/target/fetched/ancestor.md");
    let readme = std::fs::read_to_string(&readme).expect("`cargo xtask test` fetches it");
    let grid = Grid::closed();
    let nothing = [("PATH", "/nowhere")];
    // One of them compiles, and the other waits for it.
    let compiled = grid.folder("compiled");
    let hosts = ["one", "two"].map(|name| {
        let arguments = ["--slots", "1", "--compiled", compiled.to_str().unwrap()];
        let mut host = grid.host_with(&grid.ticket("host"), name, &arguments, &nothing);
        host.wait_for("joined");
        host
    });
    let folder = grid.folder("primes");
    let home = grid.folder("");
    must(&home, &["module", "new", "ancestor", "--lang", "python", "--dir", folder.to_str().unwrap()]);
    let mut worker = snippet(&readme, &["class PrimeWorker"]).to_owned();
    for (before, after) in CHANGED {
        assert_eq!(worker.matches(before).count(), 1);
        worker = worker.replace(before, after);
    }
    let source = format!("{}\n{worker}\n{ADDED}\n", snippet(&readme, &["def is_prime"]));
    std::fs::write(folder.join("worker.py"), source).unwrap();
    must(&home, &["module", "build", folder.to_str().unwrap()]);
    let lists = (0..20).map(|hundred| {
        let numbers: Vec<u32> = (hundred * 100 + 2..hundred * 100 + 102).collect();
        format!("{}\n", json!(numbers))
    });
    let wasm = folder.join("ancestor.wasm");
    let said = grid.grid_given(&["run", wasm.to_str().unwrap()], &lists.collect::<String>());
    assert_eq!(said.code, 0, "{said:?}");
    let results = said.lines();
    let primes = |line: &serde_json::Value| {
        let numbers = line["result"].as_object().unwrap_or_else(|| panic!("{line}"));
        assert_eq!(numbers.len(), 100, "{line}");
        numbers.values().filter(|is_prime| **is_prime == json!(true)).count()
    };
    // There are 303 primes below 2000, and none in 2000 and 2001.
    assert_eq!(results.iter().map(primes).sum::<usize>(), 303);
    drop(hosts);
}
