//! A limit to how long anybody waits for the system.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long the system may take to answer. A folder on a server that is gone answers never.
const PATIENCE: Duration = Duration::from_secs(5);

/// Does work that the system may hold up; `None` if it takes too long. The thread that does it is then left behind, and ends
/// with this program at the latest.
pub(super) async fn within_patience<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (tell, told) = oneshot::channel();
    // Not on the runtime's own threads: at its end it would wait for them.
    let begun = std::thread::Builder::new().name("grid-doctor".to_owned()).spawn(move || {
        // Nobody may be waiting any more.
        let _ = tell.send(work());
    });
    begun.ok()?;
    timeout(PATIENCE, told).await.ok()?.ok()
}
