//! What the program is when a host runs it as its child: the first argument says so.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::lockdown::Walls;

/// First argument of the compiler's child process, for `grid` and `grid-host`.
pub const COMPILE: &str = "compile-module";

/// First argument of an executor process, for `grid` and `grid-host`.
pub const EXECUTOR: &str = "--executor";

/// Second argument of a child process that is to build its walls, tell them, and end.
const WALLS: &str = "walls";

/// Wall-clock time of that: it starts a program and ends it.
const WALLS_TIME_MAX: Duration = Duration::from_secs(5);

/// A child process did not tell its walls. Then none of its kind does its work here either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WallsError(String);

/// The walls of a child process on this machine: has one build them, as for its work, and tell.
///
/// `program` is run with `kind`, [`COMPILE`] or [`EXECUTOR`].
///
/// # Errors
///
/// [`WallsError`] if the child cannot be run, cannot build them, or does not answer within 5 s.
pub async fn told_walls(program: &Path, kind: &str) -> Result<Walls, WallsError> {
    let child = Command::new(program)
        .args([kind, WALLS])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let ended = timeout(WALLS_TIME_MAX, child)
        .await
        .map_err(|_| WallsError(format!("no answer for {WALLS_TIME_MAX:?}")))?;
    let ended = ended.map_err(|error| WallsError(error.to_string()))?;
    let told = std::str::from_utf8(&ended.stdout).ok().and_then(Walls::from_line);
    told.filter(|_| ended.status.success()).ok_or_else(|| {
        let said = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
        WallsError(if said.is_empty() { ended.status.to_string() } else { said })
    })
}

/// True if this process is a child that is to tell its walls, and do nothing else.
pub(crate) fn is_to_tell_walls() -> bool {
    std::env::args_os().nth(2).is_some_and(|word| word == WALLS)
}

/// Tells the walls of this process; returns its exit code.
pub(crate) fn tell_walls(walls: Walls) -> u8 {
    use std::io::Write;
    u8::from(writeln!(std::io::stdout(), "{}", walls.to_line()).is_err())
}
