//! The log of both programs.

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Writes the log to standard error: what `GRID_LOG` asks for, such as `info` or `warn,grid_host=debug`; else warnings.
///
/// Call it once, from `main`.
pub fn to_stderr() {
    let asked = std::env::var("GRID_LOG").ok().and_then(|filter| filter.parse().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(Level::WARN));
    tracing_subscriber::registry().with(filter).with(fmt::layer().with_writer(std::io::stderr)).init();
}
