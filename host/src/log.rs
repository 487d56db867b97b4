//! What both programs say on standard error: their log, and lines to whoever started them.
//!
//! Nothing here panics where nobody can be told: on a full disk, or when the reader has gone, the program goes on.

use std::io::{IsTerminal, Write};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Writes the log to standard error: what `GRID_LOG` asks for, such as `info` or `warn,grid_host=debug`; else warnings.
///
/// Colours go to a terminal alone. A standard error that cannot be written loses the line and ends nothing.
///
/// Call it once, from `main`.
pub fn to_stderr() {
    let asked = std::env::var("GRID_LOG").ok().filter(|filter| !filter.is_empty());
    let asked = asked.and_then(|filter| filter.parse().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(Level::WARN));
    // The layer would tell of a line that cannot be written by `eprintln!`, which panics for the same reason.
    let lines = fmt::layer().with_writer(std::io::stderr).log_internal_errors(false).with_ansi(is_for_eyes());
    tracing_subscriber::registry().with(filter).with(lines).init();
}

/// Colours are for a terminal, unless its owner wants none.
fn is_for_eyes() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !unwanted
}

/// Says a line on standard error; where nobody can read it, it is lost.
pub fn say(line: &str) {
    // In one piece, so that lines of several threads do not mix.
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
