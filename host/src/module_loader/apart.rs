//! Work on the bytes of modules and of their code, apart from the network thread, which everybody waits for.

use tokio::task::{JoinError, spawn_blocking};

/// Bytes of a module up to which work on them is done on the calling thread: to inspect as many takes about 5 ms.
const HERE_BYTES_MAX: usize = 256 << 10;

/// Does what takes longer the more bytes a module has: on another thread if they are many. To inspect a Python module takes
/// a tenth of a second, to hash 64 MiB twice as long, and to write as many to a memory card ten seconds.
///
/// # Errors
///
/// [`JoinError`] if the work panics on another thread, or if the host ends.
pub(super) async fn for_bytes<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if bytes <= HERE_BYTES_MAX { Ok(work()) } else { spawn_blocking(work).await }
}
