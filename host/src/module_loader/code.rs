//! A module's compiled code: read, checked, loaded and kept on other threads than the network's, for it may be long.

use std::sync::Arc;

use grid_inspect::EntryPoint;
use grid_protocol::digest::Digest;
use tokio::task::{JoinError, spawn_blocking};

use crate::compiled::{Claim, CompiledCache, ReuseScope, ReusingCode};
use crate::metrics::HostMetrics;
use crate::module_loader::turns::{LoadTurn, LoadTurns};
use crate::sandbox::{Compiled, GuestKind, Program, Sandbox, SandboxError};

/// Where the code of one module is, and what it is to become.
#[derive(Debug, Clone)]
pub(super) struct ModuleCode {
    pub(super) module: Digest,
    pub(super) kind: GuestKind,
    pub(super) entry_point: EntryPoint,
    /// Whose functions may be in it.
    pub(super) scope: ReuseScope,
    /// Hash of what compiled code depends on.
    pub(super) compatibility: u64,
    pub(super) sandbox: Sandbox,
    pub(super) cache: CompiledCache,
    pub(super) metrics: Arc<HostMetrics>,
    pub(super) turns: LoadTurns,
    /// Locked while nothing is to be kept.
    #[cfg(test)]
    pub(super) keep_gate: Arc<tokio::sync::Mutex<()>>,
}

impl ModuleCode {
    /// True if there is code on disk.
    pub(super) fn is_kept(&self) -> bool {
        self.cache.has(&self.module, self.compatibility, self.scope)
    }

    /// The program, if its code is on disk and can be loaded.
    ///
    /// # Errors
    ///
    /// [`JoinError`] if that panics, or if the host ends.
    pub(super) async fn find(&self) -> Result<Option<Program>, JoinError> {
        let turn = self.turns.to_read().await;
        let this = self.clone();
        let find = move || {
            // Held until the thread is done, even if nobody waits for it any more.
            let _turn = turn;
            let code = this.cache.get(&this.module, this.compatibility, this.scope)?;
            let loaded = this.load_here(&code);
            loaded
                .inspect_err(|error| {
                    tracing::warn!(module = %this.module, %error, "compiled code does not load; it is compiled anew");
                })
                .inspect(|_| this.metrics.compiled_code_found())
                .ok()
        };
        spawn_blocking(find).await
    }

    /// Loads code that was just compiled.
    ///
    /// # Errors
    ///
    /// [`JoinError`] if that panics, or if the host ends; [`SandboxError`] if it does not load.
    pub(super) async fn load(&self, code: &Compiled) -> Result<Result<Program, SandboxError>, JoinError> {
        let turn = self.turns.to_read().await;
        let (this, code) = (self.clone(), code.clone());
        let load = move || {
            let _turn = turn;
            this.load_here(&code)
        };
        spawn_blocking(load).await
    }

    fn load_here(&self, code: &Compiled) -> Result<Program, SandboxError> {
        self.sandbox.load(self.module, self.kind, code, self.entry_point)
    }

    /// Keeps the code, and the functions that are new in it, while its guests run already: to write those of a Python worker takes a
    /// quarter of a second, and seconds on a memory card. The claim and the turn are held until then: processes that need the module
    /// wait, and code that is still to be written is that of as many modules as may be compiled.
    pub(super) fn keep(self, compiled: ReusingCode, claim: Claim, turn: LoadTurn) {
        let keep = move || {
            #[cfg(test)]
            drop(self.keep_gate.blocking_lock());
            if let Err(error) = self.cache.keep_reusing(&compiled) {
                tracing::warn!(module = %self.module, %error, "compiled code is not kept; the next start compiles anew");
            }
            drop(turn);
            drop(claim);
        };
        // Once it has begun, the runtime waits for it before it ends.
        drop(spawn_blocking(keep));
    }
}
