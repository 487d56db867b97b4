//! The inspector: the one place where this host inspects modules, each once between its arrival and its code.

use bytes::Bytes;
use grid_inspect::{ModuleReport, ScanLimits, inspect_known};
use grid_protocol::digest::Digest;

use crate::compile::CompileError;
use crate::module_loader::{ModuleError, apart};

/// Inspects modules.
#[derive(Debug, Default)]
pub(crate) struct Inspector {
    /// Inspections so far.
    #[cfg(test)]
    count: std::sync::atomic::AtomicUsize,
}

impl Inspector {
    /// Inspects a module whose digest was checked, a long one on another thread.
    pub(crate) async fn inspect(&self, module: Digest, wasm: &Bytes) -> Result<ModuleReport, ModuleError> {
        #[cfg(test)]
        self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (bytes, wasm) = (wasm.len(), wasm.clone());
        let inspect = move || inspect_known(&wasm, module.as_bytes(), &ScanLimits::default());
        // A module that makes the inspection panic is to blame for it.
        let inspected = apart::for_bytes(bytes, inspect).await;
        Ok(inspected.map_err(|error| CompileError::Limit(error.to_string()))??)
    }

    /// Number of inspections so far.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.count.load(std::sync::atomic::Ordering::Relaxed)
    }
}
