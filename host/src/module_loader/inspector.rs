//! The inspector: the one place where this host inspects modules, each once between its arrival and its code.

use bytes::Bytes;
use grid_inspect::{ModuleReport, ScanLimits, inspect_known};
use grid_protocol::digest::Digest;

use crate::compile::CompileError;
use crate::module_loader::ModuleError;

/// Inspects modules.
#[derive(Debug, Default)]
pub(crate) struct Inspector {
    /// Inspections so far.
    #[cfg(test)]
    count: std::sync::atomic::AtomicUsize,
}

/// Length up to which a module is inspected on the calling thread, which takes about 5 ms.
const INSPECTED_HERE_BYTES_MAX: usize = 256 << 10;

impl Inspector {
    /// Inspects a module whose digest was checked. A long one is inspected on another thread: a Python module takes a
    /// quarter of a second, which would block the network thread.
    pub(crate) async fn inspect(&self, module: Digest, wasm: &Bytes) -> Result<ModuleReport, ModuleError> {
        #[cfg(test)]
        self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let inspect = move |wasm: &Bytes| inspect_known(wasm, module.as_bytes(), &ScanLimits::default());
        if wasm.len() <= INSPECTED_HERE_BYTES_MAX {
            return Ok(inspect(wasm)?);
        }
        let wasm = wasm.clone();
        let inspected = tokio::task::spawn_blocking(move || inspect(&wasm)).await;
        // The only error here is a panic of the inspection.
        Ok(inspected.map_err(|error| CompileError::Limit(error.to_string()))??)
    }

    /// Number of inspections so far.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.count.load(std::sync::atomic::Ordering::Relaxed)
    }
}
