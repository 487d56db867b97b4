//! Runs the stress tests, and other systems on the same work for comparison.

use std::process::Command;

use crate::chore::{ChoreError, root, run as run_command};
use crate::install;
use crate::programs::{self, Profile};

/// Builds for release, and runs one stress test.
pub(crate) fn run(words: &[String]) -> Result<(), ChoreError> {
    if words.first().is_some_and(|word| word == "lives") {
        install::faketime_if_missing()?;
    }
    let programs = programs::build(Profile::Release, &["--bins"])?;
    run_command(Command::new(programs.join("stress")).args(words))
}

/// Counts the no-op tasks per second of Ray, Dask and a process pool, in a Python environment of their own.
pub(crate) fn run_peers() -> Result<(), ChoreError> {
    let environment = root().join("target/peers");
    let python = environment.join("bin/python");
    if !python.exists() {
        install::pypi(&environment, &["ray", "dask", "distributed"])?;
    }
    run_command(Command::new(python).arg(root().join("tests/bench/peers.py")))
}
