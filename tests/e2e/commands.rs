//! WASI commands: arguments in, standard output and files out, each task in a fresh instance.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use grid_tests::{Grid, Said, local, program, within};
use serde_json::json;
use wasm_grid::{CommandOutput, Event, to_cbor};

/// A command that writes its arguments, each ended by a comma, and then its input.
const ARGUMENTS: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 4)
    (func $say (param $at i32) (param $length i32)
        (i32.store (i32.const 16) (local.get $at))
        (i32.store (i32.const 20) (local.get $length))
        (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24))))
    (func (export "_start")
        (local $i i32) (local $end i32)
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        (drop (call $get (i32.const 1024) (i32.const 65536)))
        (local.set $end (i32.load (i32.const 4)))
        (loop $next
            (if (i32.eqz (i32.load8_u offset=65536 (local.get $i)))
                (then (i32.store8 offset=65536 (local.get $i) (i32.const 44))))
            (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $end))))
        (call $say (i32.const 65536) (local.get $end))
        (i32.store (i32.const 16) (i32.const 131072))
        (i32.store (i32.const 20) (i32.const 65536))
        (drop (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)))
        (call $say (i32.const 131072) (i32.load (i32.const 24)))))"#;

/// A command that reads `/input`, writes it to `/out/copy` and `/out/deep/copy`, and says so. Where it finds the files
/// of a run before, it traps.
pub(crate) const COPY: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (data (i32.const 64) "input")
    (data (i32.const 80) "out/copy")
    (data (i32.const 96) "out/deep")
    (data (i32.const 112) "out/deep/copy")
    (data (i32.const 128) "copied\n")
    (func $do (param $errno i32) (if (local.get $errno) (then unreachable)))
    (func $opened (param $path i32) (param $length i32) (param $flags i32) (param $rights i64) (result i32)
        (call $do (call $open (i32.const 3) (i32.const 0) (local.get $path) (local.get $length)
            (local.get $flags) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 32)))
        (i32.load (i32.const 32)))
    (func $put (param $fd i32) (param $at i32) (param $length i32)
        (i32.store (i32.const 16) (local.get $at))
        (i32.store (i32.const 20) (local.get $length))
        (call $do (call $write (local.get $fd) (i32.const 16) (i32.const 1) (i32.const 24))))
    (func (export "_start")
        (local $length i32)
        (i32.store (i32.const 16) (i32.const 65536))
        (i32.store (i32.const 20) (i32.const 65536))
        (call $do (call $read (call $opened (i32.const 64) (i32.const 5) (i32.const 0) (i64.const 2))
            (i32.const 16) (i32.const 1) (i32.const 24)))
        (local.set $length (i32.load (i32.const 24)))
        (call $put (call $opened (i32.const 80) (i32.const 8) (i32.const 5) (i64.const 64))
            (i32.const 65536) (local.get $length))
        (call $do (call $mkdir (i32.const 3) (i32.const 96) (i32.const 8)))
        (call $put (call $opened (i32.const 112) (i32.const 13) (i32.const 5) (i64.const 64))
            (i32.const 65536) (local.get $length))
        (call $put (i32.const 1) (i32.const 128) (i32.const 7))))"#;

/// A folder with both commands, and what `grid run --local 2` says in there.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("arguments.wat"), ARGUMENTS).unwrap();
        fs::write(home.path().join("copy.wat"), COPY).unwrap();
        Self(home)
    }

    fn run(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = Command::new(program("grid"));
        command.args(["run", "--local", "2", "--in-order"]).args(arguments).current_dir(self.0.path());
        command.env("GRID_HOME", self.0.path()).env_remove("GRID_MANAGER").stdin(Stdio::piped());
        Said::of(&mut command, input.as_bytes())
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.path().join(path)).unwrap()
    }
}

#[test]
fn arguments_after_the_dashes_reach_a_command_with_the_task_in_the_place_of_braces() {
    let home = Home::new();
    let said =
        home.run(&["--lines", "arguments.wat", "--", "--size={}", "{{}}", "-t", "two words"], "7\nä\n");
    assert_eq!(said.code, 0, "{said:?}");
    let text = |task: u32, input: &str| {
        let text = format!("arguments,--size={input},{{}},-t,two words,{input}");
        json!({ "task": task, "result": { "text": text } })
    };
    assert_eq!(said.lines(), [text(0, "7"), text(1, "ä")]);
    // One text is one argument; nothing is none.
    let said = home.run(&["--raw", "--arg", "one word", "arguments.wat"], "input");
    assert_eq!(said.stdout, "arguments,one word,input");
    assert_eq!(home.run(&["--raw", "arguments.wat"], "input").stdout, "arguments,input");
    let both = home.run(&["--raw", "--arg", "a", "arguments.wat", "--", "b"], "input");
    assert_eq!(both.code, 2, "{both:?}");
}

#[test]
fn an_input_that_is_no_word_fails_its_task_with_the_reason_and_no_other() {
    let home = Home::new();
    let long = "x".repeat(5000);
    let said = home.run(&["--lines", "--retries", "0", "arguments.wat", "--", "{}"], &format!("{long}\na\n"));
    assert_eq!(said.code, 8, "{said:?}");
    assert!(said.stderr.contains("is longer than 4096 bytes"), "{said:?}");
    assert_eq!(said.lines()[1], json!({ "task": 1, "result": { "text": "arguments,a,a" } }));
    let many = vec!["a"; 257];
    let run = [&["--lines", "--retries", "0", "arguments.wat", "--"], &many[..]].concat();
    let said = home.run(&run, "a\n");
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.contains("a command takes 256 arguments"), "{said:?}");
}

#[test]
fn what_a_command_writes_to_its_folder_comes_back_as_files() {
    let home = Home::new();
    let said = home.run(&["--lines", "--with-files", "copy.wat"], "one\ntwo\n");
    assert_eq!(said.code, 0, "{said:?}");
    let line = |task: u32, text: &str| {
        let files = json!({ "copy": { "text": text }, "deep/copy": { "text": text } });
        json!({ "task": task, "result": { "text": "copied\n" }, "files": files })
    };
    assert_eq!(said.lines(), [line(0, "one"), line(1, "two")], "each task begins anew");
    let said = home.run(&["--lines", "--out-dir", "results", "copy.wat"], "one\ntwo\n");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.lines()[1]["files"]["deep/copy"], "results/1/deep/copy");
    assert_eq!(home.read("results/0/copy") + &home.read("results/1/deep/copy"), "onetwo");
    let names: BTreeSet<_> = fs::read_dir(home.0.path().join("results"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["0".into(), "1".into()].into());
    // As it is: standard output, and a word about the files that are not kept.
    let said = home.run(&["--raw", "--with-files", "copy.wat"], "one");
    assert_eq!(said.stdout, "copied\n");
    assert!(said.stderr.contains("2 files") && said.stderr.contains("--out-dir"), "{said:?}");
}

#[test]
fn a_command_that_was_granted_no_files_has_none() {
    let home = Home::new();
    let said = home.run(&["--lines", "--retries", "0", "copy.wat"], "one\n");
    assert_eq!(said.code, 8, "{said:?}");
    assert!(said.stderr.contains("unreachable"), "{said:?}");
    fs::write(home.0.path().join("echo.wasm"), grid_tests::echo()).unwrap();
    let said = home.run(&["--lines", "--with-files", "echo.wasm"], "one\n");
    assert_eq!(said.code, 6, "{said:?}");
    assert!(said.stderr.contains("only a WASI command"), "{said:?}");
}

#[test]
fn a_grid_of_processes_runs_a_module_with_files_beside_the_same_without() {
    let grid = Grid::closed();
    let _host = grid.host("worker", &["--slots", "2"]);
    fs::write(grid.folder("copy.wat"), COPY).unwrap();
    let copy = grid.folder("copy.wat").to_str().unwrap().to_owned();
    // Without files first: a host that knows it so must not take it for the other.
    let run = ["run", "--lines", "--retries", "0", &copy];
    assert_eq!(grid.grid_given(&run, "one\n").code, 8);
    let out = grid.folder("out").to_str().unwrap().to_owned();
    let run = ["run", "--lines", "--out-dir", &out, &copy];
    let said = grid.grid_given(&run, "one\n");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(fs::read_to_string(grid.folder("out").join("0/copy")).unwrap(), "one");
    grid.must(&["module", "upload", "--with-files", "--name", "copier", &copy]);
    let modules = grid.must(&["module", "ls", "--json"]).json();
    let entry_points =
        modules["modules"].as_array().unwrap().iter().map(|module| module["entry_point"].as_str().unwrap());
    assert_eq!(entry_points.collect::<BTreeSet<_>>(), ["command", "command with files"].into());
    // A worker of it has arguments, too.
    fs::write(grid.folder("arguments.wat"), ARGUMENTS).unwrap();
    grid.must(&["module", "upload", grid.folder("arguments.wat").to_str().unwrap()]);
    let spawned = grid.must(&["worker", "spawn", "arguments", "--json", "--", "-x", "{}"]).json();
    let worker = spawned["workers"][0].as_str().unwrap();
    grid.must(&["msg", "send", worker, "--raw", "hello"]);
    assert_eq!(grid.must(&["msg", "collect", "--raw"]).stdout, "arguments,-x,hello,hello");
}

#[tokio::test]
async fn a_programs_own_command_answers_with_its_output_and_its_files() {
    within(async {
        let grid = local().local_slots(1).start_here().await.unwrap();
        let copy = grid.upload_with_files("copy", wat::parse_str(COPY).unwrap()).await.unwrap();
        let mut outcomes = grid.job("copy", copy.digest).map(vec!["one", "two"]).await.unwrap().in_order();
        for expected in ["one", "two"] {
            let answer = outcomes.next().await.unwrap().unwrap().command_answer().unwrap();
            assert_eq!(answer.stdout, "copied\n");
            let files: Vec<_> =
                answer.files.iter().map(|(path, content)| (path.as_str(), &content[..])).collect();
            assert_eq!(files, [("copy", expected.as_bytes()), ("deep/copy", expected.as_bytes())]);
        }
        let arguments = grid.upload("arguments", wat::parse_str(ARGUMENTS).unwrap()).await.unwrap();
        let given = to_cbor(&["{}", "b"]).unwrap();
        let worker = grid.spawn(arguments.digest).arguments(given).anywhere(1).await.unwrap()[0];
        grid.send(worker, "a").await.unwrap();
        let answer = loop {
            if let Event::Message { payload, .. } = grid.next_event().await {
                break payload;
            }
        };
        assert_eq!(answer, "arguments,a,b,a");
        assert!(CommandOutput::read(&answer).is_err());
    })
    .await;
}

/// A command that writes as many zeros as its first argument says, to standard output.
const ZEROS: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1100)
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 65536))
        (i32.store (i32.const 4) (i32.const LENGTH))
        (loop $more
            (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
            (i32.store (i32.const 4) (i32.sub (i32.load (i32.const 4)) (i32.load (i32.const 8))))
            (br_if $more (i32.load (i32.const 4))))))"#;

#[test]
fn an_answer_of_64_mib_arrives_and_one_byte_more_fails() {
    let home = Home::new();
    let run = |length: usize| {
        fs::write(home.0.path().join("zeros.wat"), ZEROS.replace("LENGTH", &length.to_string())).unwrap();
        home.run(&["--raw", "--retries", "0", "zeros.wat"], "go\n")
    };
    let said = run(64 << 20);
    assert_eq!((said.code, said.stdout.trim_end_matches('\n').len()), (0, 64 << 20), "{}", said.stderr);
    let said = run((64 << 20) + 1);
    assert_eq!(said.code, 8, "{}", said.stderr);
    assert!(said.stderr.contains("message-too-large"), "{}", said.stderr);
}

#[test]
fn an_exit_code_above_125_is_told_as_it_is() {
    let home = Home::new();
    for code in [126, 200, 255] {
        let exit = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const CODE))))"#;
        fs::write(home.0.path().join("exit.wat"), exit.replace("CODE", &code.to_string())).unwrap();
        let said = home.run(&["--lines", "--retries", "0", "exit.wat"], "go\n");
        assert!(said.stderr.contains(&format!("exited with code {code}")), "{said:?}");
        assert!(said.stderr.contains("exit: ") && !said.stderr.contains("trap"), "{said:?}");
    }
}
