//! `grid top` on a terminal: what it shows, and what it leaves.

mod screen;

use std::process::Command;

use grid_tests::{ChildProcess, Grid, Said, echo};

use crate::mishaps::sleeper;
use screen::Screen;

/// How many columns and lines a terminal has unless somebody says otherwise.
const SIZE: (u16, u16) = (80, 24);

/// A grid with a host of this name, and its program `grid top` on a terminal.
fn opened(arguments: &[&str], variables: &[(&str, &str)]) -> (Grid, ChildProcess, Screen) {
    let grid = Grid::closed();
    let host = grid.host("rack-1", &["--slots", "2"]);
    let screen = Screen::open(top(&grid, arguments).envs(variables.iter().copied()), SIZE);
    (grid, host, screen)
}

fn top(grid: &Grid, arguments: &[&str]) -> Command {
    let mut command = grid.command(&[&["top"], arguments].concat());
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
    command
}

#[test]
fn top_shows_the_host_and_the_jobs_that_there_are_and_filters_them() {
    let (grid, _host, mut screen) = opened(&[], &[]);
    std::fs::write(grid.folder("echo.wasm"), echo()).unwrap();
    let echo = grid.folder("echo.wasm").to_str().unwrap().to_owned();
    for name in ["sums", "words"] {
        let said = grid.grid_given(&["run", "--detach", "--name", name, &echo], "1\n2\n3\n");
        assert_eq!(said.code, 0, "{said:?}");
    }
    screen.wait_for("host rack-1 joined with 2 slots");
    screen.keys(":h\r");
    screen.wait_for("1 host\n");
    screen
        .wait_until("rack-1 is listed", |text| text.lines().nth(4).is_some_and(|row| row.contains("rack-1")));
    screen.keys(":jo\t\r");
    screen.wait_until("both are listed and finished", |text| {
        ["sums", "words"].iter().all(|name| {
            text.lines().any(|row| row.contains(name) && row.contains("finished") && row.contains("3"))
        })
    });
    screen.keys("/wor");
    screen.wait_until("one is left", |text| text.contains("1 job with `wor`") && !text.contains("sums"));
    screen.keys("\rd");
    screen.wait_for("[##############################] 100 % 3 of 3 done");
    screen.keys(":q\r");
    assert_eq!(screen.ended(), Some(0));
    screen.check_left_as_it_was();
}

#[test]
fn a_screen_of_another_size_is_drawn_right() {
    let (_grid, _host, mut screen) = opened(&[], &[]);
    screen.keys("2");
    screen.wait_for("1 host\n");
    for (columns, lines) in [(60, 20), (120, 40), (30, 8), (80, 24)] {
        screen.resize(columns, lines);
        if columns < 40 {
            screen.wait_for("grid top needs 40");
            continue;
        }
        screen.wait_until("the keys are in the last line, and the host in its row", |text| {
            let lines_now: Vec<_> = text.lines().collect();
            lines_now.len() == usize::from(lines)
                && lines_now[usize::from(lines) - 1].starts_with(" d describe")
                && lines_now[4].starts_with(" rack-1")
                && text.matches("rack-1").count() == 1
        });
    }
    // Something else has written on the screen.
    let before = screen.written().len();
    screen.scribble("\x1b[2Jlost");
    screen.keys("\x0c");
    screen.wait_until("everything is drawn again", |text| text.contains("rack-1") && !text.contains("lost"));
    let written = String::from_utf8_lossy(&screen.written()[before..]).into_owned();
    let cleared = written.split("\x1b[?2026l").find(|frame| frame.contains("\x1b[2J")).unwrap_or_default();
    assert!(cleared.contains("rack-1"), "no screen is empty in between: {written:?}");
    screen.keys("q");
    assert_eq!(screen.ended(), Some(0));
}

#[test]
fn what_does_not_change_is_not_drawn_again() {
    let (_grid, _host, mut screen) = opened(&["--interval", "0.1"], &[]);
    screen.keys("2");
    screen.wait_for("1 host\n");
    let before = screen.written().len();
    // Three changes of the time that the manager is up: at least two seconds, some twenty rounds.
    for _ in 0..3 {
        let summary = screen.text().lines().next().unwrap_or_default().to_owned();
        screen.wait_until("the time goes on", |text| text.lines().next() != Some(&summary));
    }
    let written = String::from_utf8_lossy(&screen.written()[before..]).into_owned();
    assert!(!written.contains("\x1b[2J") && !written.contains("\x1b[J"), "{written:?}");
    let frames = written.matches("\x1b[?2026h").count();
    assert!(frames >= 3, "{frames} frames: {written:?}");
    assert!(written.len() < 150 * frames, "{} bytes in {frames} frames: {written:?}", written.len());
    assert!(frames <= 60, "{frames} frames in two or three seconds");
    screen.keys("q");
    assert_eq!(screen.ended(), Some(0));
}

#[test]
fn a_signal_and_ctrl_c_leave_the_terminal_as_it_was() {
    let (grid, _host, mut screen) = opened(&[], &[]);
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        screen.wait_for("host rack-1 joined");
        screen.signal(signal);
        assert_eq!(screen.ended(), Some(130), "signal {signal}");
        screen.check_left_as_it_was();
        screen = Screen::open(&mut top(&grid, &[]), SIZE);
    }
    screen.wait_for("host rack-1 joined");
    screen.keys("/something\x03");
    assert_eq!(screen.ended(), Some(130));
    screen.check_left_as_it_was();
}

#[test]
fn a_panic_leaves_the_terminal_as_it_was_and_its_message_to_be_read() {
    for (place, code) in [("here", 101), ("elsewhere", 1)] {
        let (_grid, _host, mut screen) = opened(&[], &[("GRID_TEST_PANIC", place), ("RUST_BACKTRACE", "0")]);
        assert_eq!(screen.ended(), Some(code), "{place}: {}", screen.text());
        screen.check_left_as_it_was();
        assert!(screen.text().contains("a test asked for it"), "{place}: {}", screen.text());
    }
}

#[test]
fn a_manager_that_is_away_is_said_and_one_that_is_back_is_shown() {
    let (mut grid, _host, mut screen) = opened(&["--interval", "0.2"], &[]);
    screen.keys("2");
    screen.wait_for("1 host\n");
    grid.manager.kill();
    screen.wait_until("the host stays, and the loss is said", |text| {
        text.contains("no answer since") && text.contains("no connection") && text.contains("rack-1")
    });
    grid.restart_manager(&["--open-join", "false"]);
    screen.wait_until("it goes on", |text| !text.contains("no connection") && text.contains("ready"));
    screen.keys("6");
    screen.wait_for("the manager was started again");
    screen.keys("q");
    assert_eq!(screen.ended(), Some(0));
    screen.check_left_as_it_was();
}

#[test]
fn a_job_is_stopped_and_a_host_let_in_only_after_what_was_typed_says_so() {
    let (grid, _host, mut screen) = opened(&[], &[]);
    std::fs::write(grid.folder("nap.wat"), sleeper(std::time::Duration::from_secs(30))).unwrap();
    let nap = grid.folder("nap.wat").to_str().unwrap().to_owned();
    let said = grid.grid_given(&["run", "--detach", "--name", "naps", &nap], "1\n2\n3\n");
    assert_eq!(said.code, 0, "{said:?}");
    screen.keys("3");
    screen.wait_for("naps");
    screen.keys("\x0b");
    screen.wait_for("Stop job naps?");
    screen.keys("\r");
    screen.wait_for("nothing was changed");
    assert_eq!(grid.must(&["job", "ls", "--json"]).json()["jobs"][0]["state"], "running");
    screen.keys("\x0by");
    screen.wait_for("job naps is stopped");
    screen.wait_until("its row says so", |text| {
        text.lines().any(|row| row.contains("naps") && row.contains("stopped  "))
    });
    let mut stranger = grid.host_at(grid.address(), "stranger", &["--slots", "1"]);
    screen.keys(":hosts\r/strang\r");
    screen.wait_for("pending");
    screen.keys("a");
    stranger.wait_for("joined");
    screen.wait_until("it is in", |text| text.contains("stranger is in"));
    screen.keys("q");
    assert_eq!(screen.ended(), Some(0));
}

#[test]
fn a_viewer_sees_everything_and_changes_nothing() {
    let grid = Grid::closed();
    let _host = grid.host("rack-1", &["--slots", "2"]);
    let ticket = grid.ticket("viewer");
    let mut command = top(&grid, &["--manager", &ticket]);
    let mut screen = Screen::open(command.env("GRID_HOME", grid.folder("viewer")), SIZE);
    screen.keys("2");
    screen.wait_for("1 host\n");
    screen.keys("\x04");
    screen.wait_for("it takes the role admin, and has viewer");
    screen.keys("q");
    assert_eq!(screen.ended(), Some(0));
}

#[test]
fn with_read_only_an_admin_changes_nothing() {
    let (grid, _host, mut screen) = opened(&["--read-only"], &[]);
    screen.keys("2");
    screen.wait_for("1 host\n");
    screen.keys("\x04");
    screen.wait_for("was started with --read-only");
    screen.keys("q");
    assert_eq!(screen.ended(), Some(0));
    assert_eq!(grid.must(&["host", "ls", "--json"]).json()["hosts"][0]["state"], "ready");
}

#[test]
fn without_a_terminal_top_says_what_prints_instead() {
    let grid = Grid::closed();
    for arguments in [&["top"][..], &["top", "--json"], &["top", "-q"]] {
        let said = grid.grid(arguments);
        let told = format!("{}{}", said.stdout, said.stderr);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(told.contains("grid status") && told.contains("--json"), "{said:?}");
        assert!(!told.contains('\x1b'), "{said:?}");
    }
    let said = Said::of(&mut grid.command(&["top", "--interval", "0.01"]), b"");
    assert!(said.code == 2 && said.stderr.contains("write 0.1 or more"), "{said:?}");
}
