//! Ordeals: real processes under hard conditions, and the peers that do the same work.

use std::process::Command;

use crate::chore::{ChoreError, root, run as run_command, say};

/// Builds for release, and runs one ordeal.
pub(crate) fn run(words: &[String]) -> Result<(), ChoreError> {
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.current_dir(root()).args(["build", "--release", "--quiet"]);
    build.args(["-p", "grid-host", "-p", "wasm-grid", "-p", "grid-tests", "--bins", "--example", "ordeal"]);
    say("ordeal: building for release");
    run_command(&mut build)?;
    run_command(Command::new(root().join("target/release/examples/ordeal")).args(words))
}

/// Counts the no-op tasks a second of Ray, Dask and a pool of processes, in an environment of their own.
pub(crate) fn run_peers() -> Result<(), ChoreError> {
    let environment = root().join("target/peers");
    let python = environment.join("bin/python");
    if !python.exists() {
        say("peers: fetching Ray and Dask");
        run_command(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        run_command(Command::new(&python).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "ray",
            "dask",
            "distributed",
        ]))?;
    }
    run_command(Command::new(python).arg(root().join("tests/bench/peers.py")))
}
