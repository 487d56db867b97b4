//! Ordeals: real processes under hard conditions, and the peers that do the same work.

use std::process::Command;

use crate::chore::{ChoreError, root, run as run_command, say};
use crate::install;
use crate::programs::{self, Profile};

/// Builds for release, and runs one stress.
pub(crate) fn run(words: &[String]) -> Result<(), ChoreError> {
    if words.first().is_some_and(|word| word == "lives") {
        install::faketime_if_missing()?;
    }
    let programs = programs::build(Profile::Release, &["--bins"])?;
    run_command(Command::new(programs.join("stress")).args(words))
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
