//! Where a host serves its metrics, and to whom.

use std::net::SocketAddr;

use grid_http::{HostNames, HttpBindError, HttpListener};

use crate::HostMonitor;

/// Where to serve the metrics.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct MetricsArgs {
    /// Serve /metrics, /healthz and /readyz here, over plain HTTP [default: nowhere].
    #[arg(long, env = "GRID_METRICS", value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,
    /// Let the address of --metrics be other than loopback: whoever reaches it can read them.
    #[arg(long, requires = "metrics")]
    metrics_public: bool,
    /// A name by which readers reach the metrics, besides localhost and addresses; may be given again.
    #[arg(long, value_name = "NAME", requires = "metrics")]
    metrics_name: Vec<String>,
}

/// Why the metrics cannot be served: the host's operator must act.
#[derive(Debug, thiserror::Error)]
pub(super) enum MetricsError {
    /// The address can be reached from elsewhere, and nobody said that it may.
    #[error(
        "--metrics {0}: whoever reaches this address could read the metrics, and change them on their way"
    )]
    Public(SocketAddr),
    /// The address cannot be had.
    #[error(transparent)]
    Bind(#[from] HttpBindError),
    /// The system gives no thread.
    #[error("the metrics have no thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// A listener that is ready to be served, with the runtime that it belongs to.
pub(super) struct BoundMetrics {
    listener: HttpListener,
    runtime: tokio::runtime::Runtime,
    names: HostNames,
    address: SocketAddr,
}

impl MetricsArgs {
    /// Listens for readers; `None` if nothing is to be served.
    pub(super) fn bind(self) -> Result<Option<BoundMetrics>, MetricsError> {
        let Some(address) = self.metrics else {
            return Ok(None);
        };
        if !self.metrics_public && !address.ip().is_loopback() {
            return Err(MetricsError::Public(address));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(HttpListener::bind(address))?;
        let (address, names) = (listener.address()?, HostNames::new(self.metrics_name));
        Ok(Some(BoundMetrics { listener, runtime, names, address }))
    }
}

impl BoundMetrics {
    /// Serves the metrics of a host for as long as the process lives, on a thread of their own: a reader costs the
    /// network nothing. Returns their address.
    pub(super) fn serve(self, monitor: HostMonitor) -> Result<SocketAddr, MetricsError> {
        let Self { listener, runtime, names, address } = self;
        let serve = move || runtime.block_on(monitor.serve(listener, names));
        std::thread::Builder::new().name("grid-metrics".to_owned()).spawn(serve)?;
        Ok(address)
    }
}
