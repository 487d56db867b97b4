//! What the grid's tests share: the `Grid` harness and the modules that they send.
//!
//! A [`Grid`] is real: `grid up` and `grid-host` processes over QUIC on loopback, each with a state folder of its own
//! that goes away with it. A test waits for events, never for time, and everything is bounded.

mod dice;
mod grid;
mod process;
mod random;
mod relay;

use std::path::PathBuf;
use std::time::Duration;

use wasm_grid::{Manager, ManagerBuilder};

pub use dice::Dice;
pub use grid::{Grid, Said, program};
pub use process::{ChildProcess, Frozen};
pub use random::{RandomModules, random_module};
pub use relay::{NetworkConditions, Relay};

/// Runs a test that must end: a minute is a hundred times what the slowest needs.
///
/// # Panics
///
/// If it does not.
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

/// The worker that sends back what it gets, written by hand.
///
/// # Panics
///
/// If it is no module.
pub fn echo() -> Vec<u8> {
    wat::parse_str(include_str!("../../modules/echo.wat")).expect("the module is good")
}

/// The worker whose tasks take as long as they say, and answer with the square of their number.
///
/// # Panics
///
/// If it is no module.
pub fn sleeper() -> Vec<u8> {
    wat::parse_str(include_str!("../../modules/sleeper.wat")).expect("the module is good")
}

/// The worker whose tasks compute for as long as they say, and answer with the square of their number.
///
/// # Panics
///
/// If it is no module.
pub fn busy() -> Vec<u8> {
    wat::parse_str(include_str!("../../modules/busy.wat")).expect("the module is good")
}

/// Begins to describe a grid in this process, whose compiled modules lie in the project's target folder.
///
/// # Panics
///
/// If the project has no folder.
pub fn local() -> ManagerBuilder {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
    Manager::builder().home(root.join("target/test-home"))
}

/// Where an example worker is, built by `cargo xtask modules`.
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
