//! Joining: tickets, pinned keys, trust on first use, approval, revocation.

use std::time::{Duration, Instant};

use grid_tests::Grid;

#[test]
fn the_line_that_grid_up_prints_works_pasted_as_it_is() {
    let grid = Grid::closed();
    let words: Vec<_> = grid.join_line().split(' ').collect();
    let ["grid-host", "--manager", ticket] = words[..] else { panic!("{words:?}") };
    let mut host = grid.host_at(ticket, "pasted", &[]);
    host.wait_for("joined");
}

#[test]
fn a_ticket_used_by_another_machine_is_refused_with_exit_code_4() {
    let grid = Grid::closed();
    let ticket = grid.ticket("host");
    let mut first = grid.host_at(&ticket, "first", &[]);
    first.wait_for("joined");
    let mut second = grid.host_at(&ticket, "second", &[]);
    assert_eq!(second.exit_code(), 4);
    assert!(second.everything().contains("used already"));
}

#[test]
fn an_expired_ticket_is_refused_with_exit_code_4() {
    let grid = Grid::closed();
    let ticket = grid.must(&["ticket", "new", "--quiet", "--hours", "0"]).stdout;
    let mut host = grid.host_at(ticket.trim(), "late", &[]);
    assert_eq!(host.exit_code(), 4);
    assert!(host.everything().contains("expired"));
}

#[test]
fn another_managers_key_at_the_address_is_refused_with_exit_code_4() {
    let (grid, other) = (Grid::closed(), Grid::closed());
    let (_, elsewhere) = other.address().split_once('@').unwrap();
    let (key, _) = grid.address().split_once('@').unwrap();
    let mut host = grid.host_at(&format!("{key}@{elsewhere}"), "lost", &[]);
    assert_eq!(host.exit_code(), 4);
    let said = host.everything();
    assert!(said.contains("another key"), "{said}");
}

#[test]
fn a_bare_address_whose_key_has_changed_shows_both_fingerprints() {
    let mut grid = Grid::start(&["--open-join", "true"]);
    let mut host = grid.host_at(grid.bare_address(), "trusting", &[]);
    host.wait_for("is remembered");
    host.wait_for("joined");
    host.kill();
    let before = fingerprint(&grid);
    grid.manager.kill();
    std::fs::remove_dir_all(grid.folder("manager")).unwrap();
    grid.restart_manager(&["--open-join", "true"]);
    let after = fingerprint(&grid);
    let mut host = grid.host_at(grid.bare_address(), "trusting", &[]);
    assert_eq!(host.exit_code(), 4);
    let said = host.everything();
    assert!(said.contains(&before) && said.contains(&after) && before != after, "{said}");
}

fn fingerprint(grid: &Grid) -> String {
    let (key, _) = grid.address().split_once('@').unwrap();
    key.parse::<wasm_grid::PublicKey>().unwrap().fingerprint()
}

#[test]
fn a_pending_host_runs_nothing_until_it_is_approved() {
    let grid = Grid::closed();
    let mut host = grid.host_at(grid.address(), "stranger", &[]);
    host.wait_for("waiting for approval");
    let echo = grid.folder("echo.wat");
    std::fs::write(&echo, include_str!("../../modules/echo.wat")).unwrap();
    grid.must(&["module", "upload", echo.to_str().unwrap()]);
    let refused = grid.grid(&["worker", "spawn", "echo"]);
    assert_eq!(refused.code, 7, "{refused:?}");
    let order = grid.must(&["worker", "spawn", "echo", "--every-slot", "--quiet"]);
    assert!(grid.must(&["worker", "ls", "--quiet"]).stdout.is_empty(), "{order:?}");
    grid.must(&["host", "approve", "stranger"]);
    host.wait_for("joined");
    grid.wait_until(&["worker", "ls"], |workers| workers["workers"][0]["state"] == "running");
}

#[test]
fn a_revoked_host_is_gone_within_a_second_and_stays_out() {
    let grid = Grid::closed();
    let mut host = grid.host("leaving", &[]);
    let removed = Instant::now();
    grid.must(&["host", "rm", "leaving"]);
    assert_eq!(host.exit_code(), 4);
    assert!(removed.elapsed() < Duration::from_secs(1), "{:?}", removed.elapsed());
    let mut back = grid.host_at(&grid.ticket("host"), "leaving", &[]);
    assert_eq!(back.exit_code(), 4);
    assert!(back.everything().contains("revoked"));
}

#[test]
fn a_hosts_key_is_refused_as_a_clients() {
    let grid = Grid::closed();
    let _host = grid.host("host", &[]);
    let home = grid.folder("thief");
    std::fs::create_dir(&home).unwrap();
    std::fs::copy(grid.folder("host").join("host.key"), home.join("user.key")).unwrap();
    let refused = grid.grid_as("thief", &["--manager", grid.address(), "status"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("not allowed in as a client"), "{refused:?}");
}

#[test]
fn a_client_without_the_publisher_role_cannot_upload() {
    let grid = Grid::closed();
    let ticket = grid.ticket("client");
    let echo = grid.folder("echo.wat");
    std::fs::write(&echo, include_str!("../../modules/echo.wat")).unwrap();
    let as_client =
        |arguments: &[&str]| grid.grid_as("client", &[&["--manager", ticket.as_str()], arguments].concat());
    assert_eq!(as_client(&["status"]).code, 0);
    let refused = as_client(&["module", "upload", echo.to_str().unwrap(), "--json"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert_eq!(refused.json()["error"]["code"], 4);
    assert!(grid.must(&["module", "ls", "--quiet"]).stdout.is_empty());
}

#[test]
fn nobody_at_the_address_is_exit_code_3_for_a_client() {
    let grid = Grid::closed();
    let said = grid.grid(&["--manager", "127.0.0.1:9", "status"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.stderr.contains("help: "), "{said:?}");
}

#[test]
fn a_ticket_is_drawn_below_its_line_where_that_is_asked_for_and_for_people_alone() {
    let grid = Grid::closed();
    let drawn = |said: &grid_tests::Said| said.stdout.contains('█') || said.stdout.contains('▀');
    assert!(!drawn(&grid.must(&["ticket", "new"])));
    let said = grid.must(&["ticket", "new", "--qr"]);
    let mut lines = said.stdout.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("grid-host --manager grid1")), "{said:?}");
    let width = lines.clone().next().unwrap().chars().count();
    assert!(lines.all(|line| line.chars().count() == width && line.starts_with("████")), "{said:?}");
    assert!(drawn(&said) && !said.stdout.contains('\x1b'), "{said:?}");
    for quiet in ["--json", "--quiet"] {
        let said = grid.must(&["ticket", "new", "--qr", quiet]);
        assert!(!drawn(&said) && said.stdout.contains("grid1"), "{said:?}");
    }
}
