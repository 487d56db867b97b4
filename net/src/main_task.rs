//! The main task of a thread.

use tokio::runtime::Runtime;

/// Runs `work` to its end on this thread, which drives `runtime`.
///
/// As a task, not as the future that the thread blocks on: before it goes on with that one, the runtime asks the system for
/// events each time, which is a system call for each message.
///
/// # Panics
///
/// If `work` does.
pub fn run_as_task<T: Send + 'static>(
    runtime: &Runtime,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    runtime.block_on(async {
        match tokio::spawn(work).await {
            Ok(value) => value,
            // Nobody cancels it.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    })
}
