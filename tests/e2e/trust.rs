//! Trust on the host itself: it believes its pins, whatever its manager says.

use grid_tests::Grid;

#[test]
fn a_host_with_pins_refuses_a_module_of_another_publisher_that_its_manager_serves() {
    let grid = Grid::closed();
    let pinned = grid.must(&["key", "new", grid.folder("pinned.key").to_str().unwrap(), "--quiet"]).stdout;
    let _host = grid.host("careful", &["--trust-publisher", pinned.trim()]);
    let echo = grid.folder("echo.wat");
    std::fs::write(&echo, include_str!("../../modules/echo.wat")).unwrap();
    let echo = echo.to_str().unwrap();
    grid.must(&["module", "upload", echo, "--name", "mine"]);
    let refused = grid.grid(&["worker", "spawn", "mine"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("is not trusted here"), "{refused:?}");
    let kept = std::fs::read_dir(grid.folder("careful").join("modules")).unwrap();
    let kept: Vec<_> = kept.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(kept, ["cache.key"], "a refused module leaves no file behind");
    grid.must(&["key", "trust", pinned.trim(), "--role", "publisher"]);
    let key = grid.folder("pinned.key");
    grid.must(&["module", "upload", echo, "--name", "theirs", "--key", key.to_str().unwrap()]);
    grid.must(&["worker", "spawn", "theirs"]);
}

#[test]
fn a_revoked_publishers_module_runs_on_no_host_any_more() {
    let grid = Grid::closed();
    let _host = grid.host("host", &[]);
    let key = grid.folder("publisher.key");
    let publisher = grid.must(&["key", "new", key.to_str().unwrap(), "--quiet"]).stdout;
    grid.must(&["key", "trust", publisher.trim()]);
    let echo = grid.folder("echo.wat");
    std::fs::write(&echo, include_str!("../../modules/echo.wat")).unwrap();
    grid.must(&["module", "upload", echo.to_str().unwrap(), "--key", key.to_str().unwrap()]);
    grid.must(&["worker", "spawn", "echo"]);
    grid.must(&["key", "revoke", publisher.trim()]);
    let refused = grid.grid(&["worker", "spawn", "echo"]);
    assert!(refused.stderr.contains("was revoked"), "{refused:?}");
}
