//! What both programs write to standard error: their log, and lines for the person who started them.
//!
//! If standard error cannot be written, because the disk is full or its reader has ended, the lines are lost and the
//! program continues.

use std::io::{IsTerminal, Write};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts writing the log to standard error: what `GRID_LOG` asks for, such as `info` or `warn,grid_host=debug`, or by
/// default warnings.
///
/// Lines are coloured only on a terminal, and only unless `NO_COLOR` is set.
///
/// # Panics
///
/// If it is called twice; `main` calls it once.
pub fn to_stderr() {
    let asked = std::env::var("GRID_LOG").ok().filter(|filter| !filter.is_empty());
    let asked = asked.and_then(|filter| filter.parse().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(Level::WARN));
    // The layer would report a line that cannot be written with `eprintln!`, which panics for the same reason.
    let lines = fmt::layer().with_writer(std::io::stderr).log_internal_errors(false).with_ansi(is_for_eyes());
    tracing_subscriber::registry().with(filter).with(lines).init();
}

/// True if standard error is a terminal and `NO_COLOR` is not set.
fn is_for_eyes() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !unwanted
}

/// Writes a line to standard error; if that fails, the line is lost.
pub fn say(line: &str) {
    // In one write, so that lines of several threads do not mix.
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
