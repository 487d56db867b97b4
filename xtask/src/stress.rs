//! Runs the stress tests.

use std::process::Command;

use crate::chore::{ChoreError, run as run_command};
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
