//! Waiting for the grid without the interpreter's lock.

use std::pin::pin;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::errors::GridError;

/// How often a wait looks whether a signal has come, such as Ctrl-C: only the interpreter knows, and only when asked.
const SIGNALS_PAUSE: Duration = Duration::from_millis(50);

/// The runtime of this process, and the process that made it: a child that was forked off has none of its threads.
static RUNTIME: Mutex<Option<(u32, &'static Runtime)>> = Mutex::new(None);

/// The runtime on which this process waits. It lasts as long as the process.
fn runtime() -> PyResult<&'static Runtime> {
    let process = std::process::id();
    let mut made = RUNTIME.lock();
    if let Some((maker, runtime)) = *made
        && maker == process
    {
        return Ok(runtime);
    }
    let built = Builder::new_multi_thread().worker_threads(1).thread_name("wasm-grid").enable_all().build();
    let runtime =
        built.map_err(|error| GridError::new_err(format!("the system gives no thread: {error}")))?;
    let runtime: &Runtime = Box::leak(Box::new(runtime));
    *made = Some((process, runtime));
    Ok(runtime)
}

/// Waits for a future. A signal's exception, such as `KeyboardInterrupt`, ends the wait and drops the future.
pub(crate) fn wait<T: Send>(py: Python<'_>, future: impl Future<Output = T> + Send) -> PyResult<T> {
    let mut future = pin!(future);
    loop {
        if let Some(done) = wait_until(py, None, &mut future)? {
            return Ok(done);
        }
    }
}

/// Waits for a future, but not beyond `end`: then it is dropped, and there is `None`.
pub(crate) fn wait_until<T: Send>(
    py: Python<'_>,
    end: Option<Instant>,
    future: impl Future<Output = T> + Send,
) -> PyResult<Option<T>> {
    let runtime = runtime()?;
    let mut future = pin!(future);
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let pause = left.map_or(SIGNALS_PAUSE, |left| left.min(SIGNALS_PAUSE));
        let waited = py.detach(|| runtime.block_on(async { timeout(pause, &mut future).await }));
        if let Ok(done) = waited {
            return Ok(Some(done));
        }
        py.check_signals()?;
        if left.is_some_and(|left| left <= pause) {
            return Ok(None);
        }
    }
}

/// Starts a future that goes on by itself; who wants to can wait for its end.
pub(crate) fn start(future: impl Future<Output = ()> + Send + 'static) -> PyResult<JoinHandle<()>> {
    Ok(runtime()?.spawn(future))
}

/// Waits for what blocks a thread. If a signal ends the wait, the thread goes on with it by itself.
pub(crate) fn wait_for_blocking<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let working = runtime()?.spawn_blocking(work);
    wait(py, working)?.map_err(|error| GridError::new_err(format!("an internal error: {error}")))
}
