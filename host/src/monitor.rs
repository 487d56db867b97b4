//! What machines look at: a host's metrics, whether its process answers, whether it takes work.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use grid_http::{HostNames, HttpListener, guarded, metrics_response};
use tokio::sync::Mutex as AsyncMutex;

use crate::compile::Compiler;
use crate::lockdown::Walls;
use crate::metrics::{CacheUse, HostSnapshot};
use crate::worker_supervisor::WorkerSupervisor;

/// Shows how a host is doing. Clones show the same host.
#[derive(Clone)]
pub struct HostMonitor(Arc<Monitored>);

struct Monitored {
    supervisor: Arc<WorkerSupervisor>,
    compiler: Compiler,
    memory_bytes: u64,
    /// What confines the compiler, once it is known.
    lockdown: OnceLock<Walls>,
    /// The disk cache as it was counted last, and when.
    caches: AsyncMutex<Option<(Instant, Vec<CacheUse>)>>,
}

/// Time for which the disk cache is not counted again: a folder may have thousands of files, and a reader may ask often.
const CACHE_COUNT_PAUSE: Duration = Duration::from_secs(10);

impl HostMonitor {
    pub(crate) fn new(supervisor: Arc<WorkerSupervisor>, compiler: Compiler, memory_bytes: u64) -> Self {
        let (lockdown, caches) = (OnceLock::new(), AsyncMutex::default());
        Self(Arc::new(Monitored { supervisor, compiler, memory_bytes, lockdown, caches }))
    }

    /// Serves `/metrics`, `/healthz` and `/readyz` on a listener to whoever connects; never returns.
    ///
    /// Answers only requests that are meant for `localhost`, an address, or one of `names`. Takes short locks of the host,
    /// and may run on a thread of its own, so that readers do not hold up the network.
    pub async fn serve(self, listener: HttpListener, names: HostNames) {
        let router = guarded(self.router(), names);
        let lockdown = async {
            // If it cannot be told, nothing can be compiled either, and each attempt to says why.
            if let Ok(walls) = self.0.compiler.walls().await {
                let _ = self.0.lockdown.set(walls);
            }
        };
        tokio::join!(lockdown, listener.serve(router));
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .with_state(self.clone())
    }

    fn now(&self) -> HostSnapshot {
        self.0.supervisor.snapshot(self.0.memory_bytes)
    }

    async fn caches(&self) -> Vec<CacheUse> {
        let mut caches = self.0.caches.lock().await;
        if let Some((counted, caches)) = &*caches
            && counted.elapsed() < CACHE_COUNT_PAUSE
        {
            return caches.clone();
        }
        let supervisor = self.0.supervisor.clone();
        let counted = tokio::task::spawn_blocking(move || supervisor.cache_use()).await.unwrap_or_default();
        *caches = Some((Instant::now(), counted.clone()));
        counted
    }
}

async fn metrics(State(monitor): State<HostMonitor>, headers: HeaderMap) -> Response {
    let caches = monitor.caches().await;
    let lockdown = monitor.0.lockdown.get().copied();
    match monitor.0.supervisor.metrics.text(&monitor.now(), &caches, lockdown) {
        Ok(text) => metrics_response(&headers, text),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn ready(State(monitor): State<HostMonitor>) -> Response {
    match monitor.now().not_ready() {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

impl fmt::Debug for HostMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostMonitor").finish_non_exhaustive()
    }
}
