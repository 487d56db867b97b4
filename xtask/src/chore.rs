//! Shared by all chores: the project's root, running programs, printing.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Why a chore failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChoreError {
    /// A program failed or is missing.
    #[error("`{command}` {how}")]
    Command {
        /// The command line.
        command: String,
        /// How it failed.
        how: String,
    },
    /// Another failure, in words.
    #[error("{0}")]
    Other(String),
}

/// The root of the project.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The cargo that runs this chore, in the root of the project.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(arguments);
    cargo
}

/// Runs a program and waits for it.
pub(crate) fn run(command: &mut Command) -> Result<(), ChoreError> {
    let line = write(command);
    let failed = |how: String| ChoreError::Command { command: line.clone(), how };
    let status = command.status().map_err(|error| failed(format!("cannot be run: {error}")))?;
    if status.success() { Ok(()) } else { Err(failed(format!("failed: {status}"))) }
}

/// Runs a program and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String, ChoreError> {
    let line = write(command);
    let failed = |how: String| ChoreError::Command { command: line.clone(), how };
    let output = command.output().map_err(|error| failed(format!("cannot be run: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed(format!("failed: {} {said}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn write(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Prints a message for the person who runs the chore.
#[expect(clippy::print_stderr, reason = "chores talk to a person")]
pub(crate) fn say(what: &str) {
    eprintln!("{what}");
}

/// Prints a result.
#[expect(clippy::print_stdout, reason = "chores print results")]
pub(crate) fn print(what: &str) {
    println!("{what}");
}
