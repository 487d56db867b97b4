//! What the grid's tests share: the `Grid` harness and the modules that they send.

use std::time::Duration;

/// Runs a test that must end: a minute is a hundred times what the slowest needs.
///
/// # Panics
///
/// If it does not.
#[expect(clippy::panic, reason = "a test that hangs must fail")]
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), work).await {
        Ok(done) => done,
        Err(_) => panic!("the test did not end within a minute"),
    }
}

/// The worker that sends back what it gets.
#[expect(clippy::expect_used, reason = "the file is part of the project")]
pub fn echo() -> Vec<u8> {
    wat::parse_str(include_str!("../../modules/echo.wat")).expect("the module is good")
}
