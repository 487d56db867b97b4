//! `grid run`: tasks in, outcomes out, whatever happens in between.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use grid_tests::{ChildProcess, Grid, Said, echo, local, module, program, within};
use serde_json::{Value, json};

/// A grid with one host, and its folder for files.
fn grid() -> (Grid, ChildProcess) {
    let grid = Grid::closed();
    let host = grid.host("worker", &["--slots", "2"]);
    std::fs::write(grid.folder("echo.wasm"), echo()).unwrap();
    (grid, host)
}

fn primes() -> String {
    module("primes").to_str().unwrap().to_owned()
}

fn path(grid: &Grid, name: &str) -> String {
    grid.folder(name).to_str().unwrap().to_owned()
}

/// The numbers of the tasks in the order of the lines.
fn tasks(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["task"].as_u64().unwrap_or_else(|| panic!("{line}"))).collect()
}

/// `grid` for a user who knows no manager.
fn alone(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("grid"));
    command.args(arguments).env("GRID_HOME", home).env_remove("GRID_MANAGER");
    command
}

/// A hundred and fifty ranges of a thousand numbers, a line each.
fn thousands() -> String {
    (0..150).map(|thousand| format!("{}\n", thousand * 1000)).collect()
}

/// Fails unless these are the primes below 150 000, each range once.
fn check_thousands(lines: &[Value]) {
    let mut seen = tasks(lines);
    seen.sort_unstable();
    assert_eq!(seen, (0..150).collect::<Vec<_>>());
    for line in lines {
        assert_eq!(line["result"]["from"], json!(line["task"].as_u64().unwrap() * 1000));
    }
    let count: u64 = lines.iter().map(|line| line["result"]["count"].as_u64().unwrap()).sum();
    assert_eq!(count, 13848);
}

#[test]
fn a_job_is_called_what_a_person_likes_and_its_module_as_its_file() {
    let grid = Grid::closed();
    let _host = grid.host("one", &[]);
    std::fs::write(grid.folder("echo.wasm"), echo()).unwrap();
    let said =
        grid.grid_given(&["run", "--detach", "--name", "half of 10 000", &path(&grid, "echo.wasm")], "1\n");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(grid.must(&["job", "ls", "--json"]).json()["jobs"][0]["name"], json!("half of 10 000"));
    assert_eq!(grid.must(&["module", "ls", "--json"]).json()["modules"][0]["name"], json!("echo"));
}

#[test]
fn json_goes_in_and_comes_out_and_standard_output_has_nothing_else() {
    let (grid, _host) = grid();
    let said = grid.grid_given(&["run", &path(&grid, "echo.wasm")], "{\"a\":[1,null]}\n\n\"two\"\n3.5");
    assert_eq!(said.code, 0, "{said:?}");
    let mut lines = said.lines();
    lines.sort_by_key(|line| line["task"].as_u64());
    let expected = [
        json!({ "task": 0, "result": { "a": [1, null] } }),
        json!({ "task": 1, "result": "two" }),
        json!({ "task": 2, "result": 3.5 }),
    ];
    assert_eq!(lines, expected);
    assert!(said.stderr.contains("3 tasks done"), "{said:?}");
    let wrong = grid.grid_given(&["run", &path(&grid, "echo.wasm")], "1\n{\n");
    assert_eq!(wrong.code, 2, "{wrong:?}");
    assert!(wrong.stderr.contains("line 2"), "{wrong:?}");
    assert_eq!(tasks(&wrong.lines()), [0], "tasks before the wrong one are done");
}

#[test]
fn lines_are_counted_by_primes_without_an_escape_byte_and_the_second_run_sends_no_module() {
    let (grid, _host) = grid();
    for uploads in [true, false] {
        let said = grid.grid_given(&["run", "--lines", &primes()], &thousands());
        assert_eq!(said.code, 0, "{said:?}");
        check_thousands(&said.lines());
        assert_eq!(said.stderr.contains("uploaded"), uploads, "{said:?}");
        assert!(!said.stdout.contains('\x1b') && !said.stderr.contains('\x1b'), "{said:?}");
        assert!(!said.stderr.contains("1 hosts"), "{said:?}");
    }
    let jobs = grid.must(&["job", "ls", "--json"]).json();
    assert_eq!(jobs["jobs"], json!([]), "what was printed is forgotten");
}

#[test]
fn a_module_that_was_built_anew_and_then_restored_runs_again() {
    let (grid, _host) = grid();
    let file = grid.folder("changing.wasm");
    for source in ["wordcount", "primes", "wordcount", "primes"] {
        std::fs::copy(module(source), &file).unwrap();
        let said = grid.grid_given(&["run", "--lines", file.to_str().unwrap()], "0\n");
        assert_eq!(said.code, 0, "{source}: {said:?}");
    }
}

#[test]
fn a_task_of_a_mebibyte_is_a_task() {
    let (grid, _host) = grid();
    std::fs::write(grid.folder("long.txt"), "a word ".repeat(150_000)).unwrap();
    let said = grid
        .grid_given(&["run", "--files", &path(&grid, "long.txt"), module("wordcount").to_str().unwrap()], "");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.lines()[0]["result"]["text"], "1 300000 1050000\n", "{said:?}");
}

#[test]
fn a_run_needs_no_manager_and_says_so_unless_it_was_told() {
    let home = tempfile::tempdir().unwrap();
    let said = Said::of(
        &mut alone(home.path(), &["run", "--local", "2", "--lines", &primes()]),
        thousands().as_bytes(),
    );
    assert_eq!(said.code, 0, "{said:?}");
    check_thousands(&said.lines());
    assert!(!said.stderr.contains("--local"), "{said:?}");
    let said = Said::of(&mut alone(home.path(), &["run", "--lines", &primes()]), b"0\n");
    assert_eq!((said.code, said.lines()[0]["result"]["count"].as_u64()), (0, Some(168)), "{said:?}");
    assert!(said.stderr.contains("no manager is known here"), "{said:?}");
    // An address that was given must be right.
    let named = ["run", "--manager", "127.0.0.1:9", "--lines", &primes()];
    assert_eq!(Said::of(&mut alone(home.path(), &named), b"0\n").code, 3);
}

#[test]
fn outcomes_come_in_order_if_they_are_asked_for_in_order() {
    let (grid, _host) = grid();
    // The first takes longest.
    let input: String = (0..60).rev().map(|n| format!("[0,{}]\n", n * 200)).collect();
    let said = grid.grid_given(&["run", "--in-order", &primes()], &input);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(tasks(&said.lines()), (0..60).collect::<Vec<_>>());
}

#[test]
fn failed_tasks_are_exit_code_eight_and_the_failure_says_where_why_and_what_to_do() {
    let (grid, _host) = grid();
    let run = ["run", "--lines", "--retries", "1", &primes()];
    let said = grid.grid_given(&run, "0\nno number\n1000\n");
    assert_eq!(said.code, 8, "{said:?}");
    for part in ["task 1 failed", "on worker after", "failed:", "help: --retries", "1 of 3 tasks failed"] {
        assert!(said.stderr.contains(part), "{part}: {said:?}");
    }
    let lines = said.lines();
    let failed = lines.iter().find(|line| line["task"] == 1).unwrap();
    assert_eq!(failed["error"]["attempts"].as_array().unwrap().len(), 2, "{failed}");
    let said = grid.grid_given(&[&run[..], &["--json"]].concat(), "0\nno number\n1000\n");
    let lines = said.lines();
    let last = lines.last().unwrap();
    assert_eq!(said.code, 8, "{said:?}");
    assert_eq!((&last["summary"]["done"], &last["summary"]["failed"]), (&json!(2), &json!(1)), "{last}");
    assert_eq!(last["error"]["code"], 8, "{last}");
    let jobs = grid.must(&["job", "ls", "--json"]).json();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 2, "jobs with failures are kept");
    grid.must(&["job", "rm", "--over"]);
    assert_eq!(grid.must(&["job", "ls", "--json"]).json()["jobs"], json!([]));
}

#[test]
fn a_job_that_is_given_up_ends_with_its_outcomes_and_the_reason() {
    let (grid, _host) = grid();
    // More than are brought at once, so that some are brought to a job that is over.
    let input: String = (0..60_000).map(|_| "no number\n").collect();
    let run = ["run", "--lines", "--json", "--retries", "0", "--max-failures", "5", &primes()];
    let said = grid.grid_given(&run, &input);
    assert_eq!(said.code, 8, "{:?}", said.stderr);
    let lines = said.lines();
    let last = lines.last().unwrap();
    assert!(last["error"]["what"].as_str().unwrap().contains("given up"), "{last}");
    let failed = last["summary"]["failed"].as_u64().unwrap();
    assert!(failed > 5 && failed < 60_000, "{last}");
    assert_eq!(lines.len() as u64 - 1, failed, "each outcome is printed");
}

#[test]
fn a_run_whose_job_is_stopped_by_somebody_else_does_not_succeed() {
    let (grid, _host) = grid();
    let mut run = grid.command(&["run", &primes()]);
    let mut run = run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    run.stdin.as_mut().unwrap().write_all(b"[0,100]\n").unwrap();
    let jobs = grid.wait_until(&["job", "ls"], |jobs| jobs["jobs"][0]["done"] == 1);
    grid.must(&["job", "stop", jobs["jobs"][0]["id"].as_str().unwrap()]);
    // Its input is still open.
    let (input, began) = (run.stdin.take(), Instant::now());
    let output = run.wait_with_output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "it does not notice in time");
    drop(input);
    assert_eq!(output.status.code(), Some(8));
    assert!(String::from_utf8_lossy(&output.stderr).contains("stopped"), "{output:?}");
}

#[test]
fn each_file_that_matches_is_a_task_and_is_named_beside_its_outcome() {
    let (grid, _host) = grid();
    let folder = grid.folder("data");
    std::fs::create_dir_all(folder.join("deep")).unwrap();
    for (name, text) in [("a.txt", "0"), ("b.txt", "no number"), ("c.dat", "2000"), ("deep/d.txt", "3000")] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let (flat, deep) = (path(&grid, "data/*.txt"), path(&grid, "data/**/*.txt"));
    let run = ["run", &primes(), "--in-order", "--files", &flat, "--files", &deep];
    let said = grid.grid(&run);
    assert_eq!(said.code, 8, "{said:?}");
    let lines = said.lines();
    let names: Vec<_> = lines.iter().map(|line| line["file"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, [path(&grid, "data/a.txt"), path(&grid, "data/b.txt"), path(&grid, "data/deep/d.txt")]);
    assert_eq!(lines[2]["result"]["from"], 3000);
    assert!(said.stderr.contains("b.txt) failed"), "{said:?}");
    let none = grid.grid(&["run", &primes(), "--files", &path(&grid, "data/*.csv")]);
    assert_eq!(none.code, 5, "{none:?}");
}

#[test]
fn a_run_that_was_killed_goes_on_where_it_was_with_each_outcome_written_once() {
    let (grid, _host) = grid();
    killed_and_resumed(&grid, &[]);
}

#[test]
fn a_killed_run_in_order_or_without_a_manager_goes_on_where_it_was() {
    let (grid, _host) = grid();
    killed_and_resumed(&grid, &["--in-order"]);
    killed_and_resumed(&grid, &["--local", "2"]);
}

/// Kills a run twice, half-way, and lets it go on; then gives its journal to other runs.
fn killed_and_resumed(grid: &Grid, flags: &[&str]) {
    let name = flags.concat();
    let (input, out) = (path(grid, &format!("input{name}")), path(grid, &format!("out{name}")));
    let (journal, primes) = (path(grid, &format!("journal{name}")), primes());
    let lines: String = (0..400).map(|n| format!("[{},{}]\n", 60_000 + n, 60_300 + n)).collect();
    std::fs::write(&input, &lines).unwrap();
    let run = [&["run", "--resume", &journal, "-i", &input, "-o", &out, &primes], flags].concat();
    let written = || std::fs::read_to_string(&out).unwrap_or_default().lines().count();
    for enough in [40, 160] {
        let mut killed = ChildProcess::start("run", &mut grid.command(&run));
        let began = Instant::now();
        while written() < enough {
            assert!(began.elapsed() < Duration::from_secs(30), "{enough} were never written");
            std::thread::sleep(Duration::from_millis(2));
        }
        killed.kill();
    }
    assert!(written() < 400, "it was killed too late to show anything");
    let said = grid.grid(&[&run[..], &["--json"]].concat());
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.lines()[0]["summary"]["skipped"].as_u64().unwrap() >= 40, "{said:?}");
    let text = std::fs::read_to_string(&out).unwrap();
    let outcomes: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen = tasks(&outcomes);
    assert_eq!(seen.len(), 400, "each once");
    assert_eq!(seen.iter().copied().collect::<BTreeSet<_>>(), (0..400).collect());
    for outcome in &outcomes {
        assert_eq!(outcome["result"]["from"], json!(60_000 + outcome["task"].as_u64().unwrap()));
    }
    assert!(flags != ["--in-order"] || seen.is_sorted());
    // Once more is nothing more; another input or another module is refused.
    assert_eq!(grid.grid(&run).code, 0);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), text);
    let more = format!("{lines}[1,2]\n");
    for other in [lines.replacen("60000", "60001", 1), lines[..lines.len() - 14].to_owned(), more] {
        std::fs::write(&input, other).unwrap();
        let other = grid.grid(&run);
        assert!(other.code == 2 && other.stderr.contains("another input"), "{other:?}");
    }
    std::fs::write(&input, &lines).unwrap();
    let echo = path(grid, "echo.wasm");
    let other: Vec<_> = run.iter().map(|word| if *word == primes { &echo[..] } else { word }).collect();
    let other = grid.grid(&other);
    assert!(other.code == 2 && other.stderr.contains("another module"), "{other:?}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), text);
}

#[test]
fn a_run_whose_job_was_stopped_goes_on_with_another_job_for_the_rest() {
    let (grid, _host) = grid();
    let (journal, input, out) = (path(&grid, "journal"), path(&grid, "input"), path(&grid, "out"));
    std::fs::write(&input, (0..300).map(|n| format!("[{n},{}]\n", 9_000 + n)).collect::<String>()).unwrap();
    let run = ["run", "--resume", &journal, "-i", &input, "-o", &out, &primes()];
    let mut stopped = ChildProcess::start("run", &mut grid.command(&run));
    let jobs = grid.wait_until(&["job", "ls"], |jobs| jobs["jobs"][0]["done"].as_u64() > Some(2));
    grid.must(&["job", "stop", jobs["jobs"][0]["id"].as_str().unwrap()]);
    assert_eq!(stopped.exit_code(), 8);
    assert_eq!(grid.grid(&run).code, 0);
    let text = std::fs::read_to_string(&out).unwrap();
    let outcomes: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut seen = tasks(&outcomes);
    seen.sort_unstable();
    assert_eq!(seen, (0..300).collect::<Vec<_>>());
    assert!(outcomes.iter().all(|outcome| outcome["result"]["from"] == outcome["task"]));
}

#[test]
fn a_run_goes_on_after_a_kill_of_everything_and_prints_one_outcome_twice_at_the_most() {
    let (mut grid, mut host) = grid();
    let (journal, out) = (path(&grid, "journal"), path(&grid, "printed"));
    let input: String = (0..300).map(|n| format!("[{},{}]\n", 60_000 + n, 60_300 + n)).collect();
    std::fs::write(grid.folder("input"), &input).unwrap();
    let run = ["run", "--resume", &journal, &primes()];
    let start = |grid: &Grid| {
        let mut run = grid.command(&run);
        run.stdin(std::fs::File::open(grid.folder("input")).unwrap());
        run.stdout(std::fs::File::options().append(true).create(true).open(&out).unwrap());
        run.stderr(Stdio::null()).spawn().unwrap()
    };
    let printed = || std::fs::read_to_string(&out).unwrap_or_default();
    let mut killed = start(&grid);
    let began = Instant::now();
    while printed().lines().count() < 60 {
        assert!(began.elapsed() < Duration::from_secs(30), "nothing is printed");
        std::thread::sleep(Duration::from_millis(2));
    }
    killed.kill().unwrap();
    host.kill();
    grid.manager.kill();
    killed.wait().unwrap();
    assert!(printed().lines().count() < 300, "it was killed too late to show anything");
    grid.restart_manager(&["--open-join", "false"]);
    let _host = grid.host("another", &[]);
    assert_eq!(start(&grid).wait().unwrap().code(), Some(0));
    let outcomes: Vec<Value> = printed().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen = tasks(&outcomes);
    assert_eq!(seen.iter().copied().collect::<BTreeSet<_>>(), (0..300).collect());
    assert!(seen.len() <= 301, "{} were printed", seen.len());
    let jobs = grid.must(&["job", "ls", "--json"]).json();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "it went on with the same job");
}

#[test]
fn a_slow_producer_holds_up_neither_its_first_outcome_nor_an_interrupt() {
    let (grid, _host) = grid();
    let mut run = grid.command(&["run", "--lines", &primes()]);
    let mut run = run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut producer = run.stdin.take().unwrap();
    let mut outcomes = BufReader::new(run.stdout.take().unwrap()).lines();
    for thousand in ["0", "1000"] {
        producer.write_all(format!("{thousand}\n").as_bytes()).unwrap();
        // If it waited for more, this would wait for ever.
        let outcome: Value = serde_json::from_str(&outcomes.next().unwrap().unwrap()).unwrap();
        assert_eq!(outcome["result"]["from"].to_string(), thousand);
    }
    let interrupt = Command::new("kill").args(["-s", "INT", &run.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    assert_eq!(run.wait().unwrap().code(), Some(130));
    drop(producer);
}

#[tokio::test]
async fn a_programs_own_values_are_tasks_and_come_back_in_order() {
    within(async {
        let grid = local().local_slots(2).start_here().await.unwrap();
        let echo = grid.upload("echo", echo()).await.unwrap().digest;
        // More than may be under way at once.
        let tasks = (0..120_000u32).map(|number| (number, format!("number {number}")));
        let mut outcomes = grid.job("echo", echo).map_typed(tasks.clone()).await.unwrap().in_order();
        for task in tasks {
            let outcome = outcomes.next().await.unwrap().unwrap();
            assert_eq!(outcome.value::<(u32, String)>().unwrap(), task);
        }
        assert_eq!(outcomes.next().await, Ok(None));
        let one = grid.submit(echo, &"alone").await.unwrap();
        assert_eq!(one.value::<String>().unwrap(), "alone");
    })
    .await;
}
