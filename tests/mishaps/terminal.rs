//! Terminals: narrow ones, dumb ones, and none.

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use grid_tests::{ChildProcess, Grid, Said, echo};

use crate::mishaps::sleeper;

/// What a terminal of a size shows in the end of what a program wrote to it, and what it wrote.
struct Shown {
    screen: String,
    written: String,
}

/// The two ends of a new terminal: the person's, and the program's.
fn terminal(columns: u16) -> (File, OwnedFd) {
    let size = libc::winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let (mut person, mut program) = (-1, -1);
    // SAFETY: both numbers are written before they are read, the size is only read, and a null pointer means defaults.
    let opened =
        unsafe { libc::openpty(&mut person, &mut program, std::ptr::null_mut(), std::ptr::null(), &size) };
    assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the system has just opened both, and nobody else has them.
    unsafe { (File::from_raw_fd(person), OwnedFd::from_raw_fd(program)) }
}

/// Runs a command with a terminal as its standard error, and as its standard output if `both`.
fn run(command: &mut Command, term: &str, columns: u16, both: bool, input: &str) -> Shown {
    let (mut person, program) = terminal(columns);
    command.env("TERM", term).env_remove("NO_COLOR").stdin(Stdio::piped());
    let stdout = if both { program.try_clone().unwrap().into() } else { Stdio::null() };
    command.stdout(stdout).stderr(Stdio::from(program));
    let mut child = command.spawn().unwrap();
    // The last of the program's ends but its own.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        stdin.write_all(input.as_bytes())
    });
    let mut written = Vec::new();
    // A terminal whose other end is closed gives an error, not an end.
    let _ = person.read_to_end(&mut written);
    writer.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success(), "{}", String::from_utf8_lossy(&written));
    let mut parser = vt100::Parser::new(40, columns, 200);
    parser.process(&written);
    Shown { screen: parser.screen().contents(), written: String::from_utf8_lossy(&written).into_owned() }
}

fn grid() -> (Grid, ChildProcess) {
    let grid = Grid::closed();
    let host = grid.host("worker", &["--slots", "2"]);
    std::fs::write(grid.folder("echo.wasm"), echo()).unwrap();
    std::fs::write(grid.folder("nap.wat"), sleeper(Duration::from_millis(300))).unwrap();
    (grid, host)
}

/// Ten tasks that sleep for a third of a second each, so that progress is drawn many times.
fn naps() -> String {
    "1\n".repeat(10)
}

fn path(grid: &Grid, name: &str) -> String {
    grid.folder(name).to_str().unwrap().to_owned()
}

#[test]
fn progress_on_a_narrow_terminal_leaves_no_line_behind() {
    let (grid, _host) = grid();
    let shown = run(&mut grid.command(&["run", &path(&grid, "nap.wat")]), "xterm", 40, false, &naps());
    assert!(shown.written.contains("/10 done"), "no progress was drawn: {:?}", shown.written);
    let left = shown.screen.lines().filter(|line| line.contains("/10") || line.contains("done, ")).count();
    assert_eq!(left, 0, "{}", shown.screen);
    assert!(shown.screen.contains("10 tasks done in"), "{}", shown.screen);
}

#[test]
fn a_result_on_a_terminal_has_a_line_of_its_own() {
    let (grid, _host) = grid();
    let shown = run(&mut grid.command(&["run", &path(&grid, "nap.wat")]), "xterm", 100, true, &naps());
    let results: Vec<_> = shown.screen.lines().filter(|line| line.contains("\"task\"")).collect();
    assert_eq!(results.len(), 10, "{}", shown.screen);
    for line in results {
        assert!(line.starts_with('{') && line.trim_end().ends_with('}'), "{line:?} in {}", shown.screen);
    }
}

#[test]
fn a_raw_result_without_a_line_break_does_not_share_its_line_with_the_summary() {
    let (grid, _host) = grid();
    let shown =
        run(&mut grid.command(&["run", "--raw", &path(&grid, "echo.wasm")]), "xterm", 100, true, "raw");
    let lines: Vec<_> = shown.screen.lines().map(str::trim_end).collect();
    assert!(lines.contains(&"raw"), "{}", shown.screen);
}

#[test]
fn a_dumb_terminal_gets_no_escapes() {
    let (grid, _host) = grid();
    let shown = run(&mut grid.command(&["run", &path(&grid, "nap.wat")]), "dumb", 100, true, &naps());
    assert!(!shown.written.contains('\x1b'), "{:?}", shown.written);
    assert!(shown.written.contains("10 tasks done in"), "{:?}", shown.written);
}

#[test]
fn a_log_has_colours_on_a_terminal_and_none_in_a_file() {
    let (grid, _host) = grid();
    let mut list = grid.command(&["host", "ls"]);
    let in_a_file = Said::of(list.env("GRID_LOG", "trace"), b"");
    assert!(in_a_file.stderr.contains("TRACE") || in_a_file.stderr.contains("DEBUG"), "{in_a_file:?}");
    assert!(!in_a_file.stderr.contains('\x1b'), "{in_a_file:?}");
    let shown = run(&mut list, "xterm", 100, false, "");
    assert!(shown.written.contains("\x1b["), "{:?}", shown.written);
}

#[test]
fn a_qr_code_is_black_on_white_whatever_colours_the_terminal_has_and_plain_on_a_dumb_one() {
    let grid = Grid::closed();
    let shown = run(&mut grid.command(&["ticket", "new", "--qr"]), "xterm", 100, true, "");
    let coloured = shown.written.lines().filter(|line| line.starts_with("\x1b[38;5;16;48;5;231m"));
    assert!(coloured.clone().count() > 20, "{:?}", shown.written);
    assert!(coloured.clone().all(|line| line.trim_end().ends_with("\x1b[0m")), "{:?}", shown.written);
    let shown = run(&mut grid.command(&["ticket", "new", "--qr"]), "dumb", 100, true, "");
    assert!(shown.written.contains('█') && !shown.written.contains('\x1b'), "{:?}", shown.written);
}

#[test]
fn one_of_a_thing_is_said_in_the_singular() {
    let (grid, _host) = grid();
    std::fs::write(
        grid.folder("trap.wat"),
        r#"(module (memory (export "memory") 1) (func (export "handle_msg") (param i32) unreachable))"#,
    )
    .unwrap();
    let said = grid.grid_given(&["run", "--retries", "0", &path(&grid, "trap.wat")], "1\n");
    assert_eq!(said.code, 8, "{said:?}");
    assert!(said.stderr.contains("it failed once") && !said.stderr.contains("1 times"), "{said:?}");
    grid.must(&["module", "upload", &path(&grid, "echo.wasm")]);
    let worker = grid.must(&["worker", "spawn", "echo", "--quiet"]).stdout.trim().to_owned();
    let said = grid.must(&["msg", "broadcast", "1"]);
    assert!(said.stderr.contains("1 worker has handled it"), "{said:?}");
    let said = grid.must(&["worker", "stop", &worker]);
    assert!(said.stderr.contains("1 worker is stopping"), "{said:?}");
}
