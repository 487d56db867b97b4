//! Shared by the grid's tests: the `Grid` harness and the modules that they run.
//!
//! A [`Grid`] is real: `grid up` and `grid-host` processes over QUIC on loopback, with state folders that are removed
//! at the end. A test waits for events, never for time, and every wait has a limit.

mod answered;
mod api_description;
mod collector;
mod dice;
mod grid;
mod http;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod injection;
mod process;
mod random;
mod relay;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use wasm_grid::{Client, Digest, Manager, ManagerBuilder};

pub use answered::Answered;
pub use api_description::ApiDescription;
pub use collector::{CollectedSpan, TraceCollector, tree as trace_tree};
pub use dice::Dice;
pub use grid::{Grid, Said, program};
pub use http::Page;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use injection::{Captive, has_in_memory, kill_at};
pub use process::{ChildProcess, Frozen};
pub use random::{RandomModules, random_module};
pub use relay::{NetworkConditions, Relay};

/// Runs a test that must end within a minute, a hundred times what the slowest needs.
///
/// # Panics
///
/// If it does not end.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), work).await {
        Ok(done) => done,
        Err(_) => panic!("the test did not end within a minute"),
    }
}

/// As [`within`], for tests that wait for leases to end.
///
/// # Panics
///
/// If it does not end.
pub async fn within_minutes<T>(minutes: u64, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60 * minutes), work).await {
        Ok(done) => done,
        Err(_) => panic!("the test did not end within {minutes} minutes"),
    }
}

/// A worker that sends back each message, written by hand.
///
/// # Panics
///
/// If its text is not a module.
pub fn echo() -> Vec<u8> {
    wat::parse_str(include_str!("../../modules/echo.wat")).expect("the module is good")
}

/// A worker that takes each message whole, and answers with its first eight bytes.
///
/// # Panics
///
/// If its text is not a module.
pub fn sink() -> Vec<u8> {
    wat::parse_str(include_str!("../../modules/sink.wat")).expect("the module is good")
}

/// A worker whose tasks sleep for the time in their input, and answer with the square of their number.
///
/// # Panics
///
/// If its text is not a module.
pub fn sleeper() -> Vec<u8> {
    wat::parse_str(include_str!("../../modules/sleeper.wat")).expect("the module is good")
}

/// A worker whose tasks compute for the time in their input, and answer with the square of their number.
///
/// # Panics
///
/// If its text is not a module.
pub fn busy() -> Vec<u8> {
    wat::parse_str(include_str!("../../modules/busy.wat")).expect("the module is good")
}

/// Describes a grid in this process that caches compiled modules in the project's target folder.
///
/// # Panics
///
/// If the project has no folder.
pub fn local() -> ManagerBuilder {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
    Manager::builder().home(root.join("target/test-home"))
}

/// Runs a job of no-op tasks, whose module echoes them, and checks each outcome; returns how long it took.
///
/// # Panics
///
/// If a task fails, or an outcome is missing or wrong.
pub async fn run_noops(client: &Client, module: Digest, tasks: u64) -> Duration {
    let began = Instant::now();
    let inputs = (0..tasks).map(|task| task.to_le_bytes().to_vec());
    let mut results = client.job("noop", module).map(inputs).await.unwrap();
    let mut count = 0;
    while let Some(outcome) = results.next().await.unwrap() {
        assert_eq!(outcome.results.unwrap()[0][..], outcome.task.to_le_bytes());
        count += 1;
    }
    assert_eq!(count, tasks);
    began.elapsed()
}

/// The path of an example worker that `cargo xtask modules` built.
///
/// # Panics
///
/// If it was not built.
pub fn module(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
    let path = root.join("modules/target/guests").join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is missing; `cargo xtask modules` builds it", path.display());
    path
}
