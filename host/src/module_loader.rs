//! The module loader: fetches modules from the manager and compiles them, each once, into programs ready to run.

mod apart;
mod code;
mod inspector;
mod turns;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use grid_inspect::ModuleReport;
use grid_net::{Conn, StreamError};
use grid_protocol::digest::Digest;
use grid_protocol::host::{HostEvent, ModuleOffered, Transfer};
use grid_protocol::key::PublicKey;
use grid_protocol::limits::{CONTROL_FRAME_BYTES_MAX, MODULE_BYTES_MAX};
use grid_protocol::manifest::{Manifest, ManifestRefusal, SignedManifest};
use grid_protocol::time::micros;
use grid_protocol::wire::Wire;
use grid_protocol::worker::{Failure, FailureKind, LimitsAsked};
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::sleep;

use crate::cache::{BoundedFolder, CacheError, ModuleCache};
use crate::compile::{CompileError, Compiler, compatibility};
use crate::compiled::{CLAIM_PAUSE, CompiledCache, ReuseScope};
use crate::metrics::{CacheUse, HostMetrics};
use crate::module_loader::code::ModuleCode;
use crate::module_loader::inspector::Inspector;
use crate::module_loader::turns::LoadTurns;
use crate::sandbox::{CodeForm, GuestKind, Program, Sandbox, SandboxError};
use crate::trust::HostTrust;

/// Loads the modules of a host and keeps them.
#[derive(Debug)]
pub(crate) struct ModuleLoader {
    /// Modules on disk; `None` if the host keeps none and fetches a module each time.
    modules: Option<ModuleCache>,
    inspector: Inspector,
    compiled: CompiledCache,
    compiler: Compiler,
    turns: LoadTurns,
    /// Locked while no code is to be kept.
    #[cfg(test)]
    keep_gate: Arc<AsyncMutex<()>>,
    /// Under which the program publishes that this host is part of.
    own_publisher: Option<PublicKey>,
    trust: Arc<HostTrust>,
    sandbox: Sandbox,
    metrics: Arc<HostMetrics>,
    entries: Mutex<HashMap<(Digest, CodeForm), LoadingModule>>,
}

/// Locked while the module is being loaded, so that it is loaded once.
type LoadingModule = Arc<AsyncMutex<Option<LoadedModule>>>;

/// A module that is ready to run.
#[derive(Debug, Clone)]
struct LoadedModule {
    signed: SignedManifest,
    program: Program,
    limits: LimitsAsked,
}

/// What loading a module took: bytes fetched from the manager, and the time to compile it, if it was compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoadStats {
    pub(crate) fetched_bytes: u64,
    pub(crate) compile_us: Option<u64>,
}

impl LoadStats {
    /// The report of it to the manager.
    pub(crate) fn report(self, module: Digest) -> HostEvent {
        HostEvent::ModuleReady { module, fetched_bytes: self.fetched_bytes, compile_us: self.compile_us }
    }
}

/// Why a module cannot run here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModuleError {
    #[error("{0}")]
    Refused(#[from] ManifestRefusal),
    #[error("{0}")]
    Inspected(#[from] grid_inspect::ScanRefusal),
    #[error("{0}")]
    Compile(#[from] CompileError),
    #[error("{0}")]
    Sandbox(#[from] SandboxError),
    #[error("{0}")]
    Cache(#[from] CacheError),
    #[error("{0}")]
    Disk(#[from] grid_disk::DiskError),
    #[error("the module starts with {start} bytes of memory, and this host gives {limit} at most")]
    Memory { start: u64, limit: u64 },
    #[error("the manager does not have the module")]
    Unknown,
    #[error("the module could not be fetched: {0}")]
    Fetch(#[from] StreamError),
    #[error("the manager's answer makes no sense: {0}")]
    Answer(#[from] grid_protocol::DecodeError),
    #[error("a thread of the host failed while it had the module: {0}")]
    Thread(#[from] JoinError),
}

impl ModuleError {
    /// The failure of a worker or a task that was to run the module.
    pub(crate) fn failure(&self) -> Failure {
        let kind = match self {
            Self::Refused(_) | Self::Inspected(_) | Self::Compile(CompileError::Refused(_)) => {
                FailureKind::ModuleRefused
            }
            Self::Sandbox(SandboxError::Full { .. }) => FailureKind::HostFull,
            Self::Sandbox(_) => FailureKind::ModuleRefused,
            Self::Memory { .. } => FailureKind::MemoryLimit,
            Self::Compile(CompileError::Limit(_)) => FailureKind::CompileLimit,
            // The module made it panic, and would do so elsewhere.
            Self::Thread(error) if error.is_panic() => FailureKind::CompileLimit,
            Self::Compile(_) | Self::Cache(_) | Self::Disk(_) | Self::Thread(_) => FailureKind::HostFault,
            Self::Unknown | Self::Fetch(_) | Self::Answer(_) => FailureKind::ModuleUnavailable,
        };
        Failure { kind, message: self.to_string(), backtrace: Vec::new() }
    }
}

/// Entries at which those that no caller is using are dropped: each may take as much memory as its compiled code.
const LOADED_MAX: usize = 64;

/// Attempts at fetching a module.
const FETCHES_MAX: u32 = 3;

/// Longest pause between two attempts; the loss of the connection ends it earlier.
const FETCH_PAUSE: Duration = Duration::from_secs(1);

/// True if the manager may have the same module with another, acceptable signature: a newer one, or one by a publisher whom
/// it trusts, as when this host has come to another manager.
fn is_renewable(refusal: &ManifestRefusal) -> bool {
    use ManifestRefusal::{Expired, RevokedPublisher, SerialTooOld, UntrustedPublisher};
    matches!(
        refusal,
        SerialTooOld { .. } | Expired { .. } | UntrustedPublisher { .. } | RevokedPublisher { .. }
    )
}

/// A module that was checked in full: signature, digest, trust, and contents.
struct Obtained {
    signed: SignedManifest,
    manifest: Manifest,
    wasm: Bytes,
    report: ModuleReport,
    /// Bytes that came from the manager; 0 if the module was on disk.
    fetched_bytes: u64,
    /// It is being written to disk meanwhile.
    keeping: Option<JoinHandle<Result<Result<(), CacheError>, JoinError>>>,
}

impl ModuleLoader {
    pub(crate) fn new(
        modules: Option<ModuleCache>,
        compiled: CompiledCache,
        compiler: Compiler,
        own_publisher: Option<PublicKey>,
        trust: Arc<HostTrust>,
        sandbox: Sandbox,
        metrics: Arc<HostMetrics>,
    ) -> Self {
        Self {
            modules,
            inspector: Inspector::default(),
            compiled,
            compiler,
            turns: LoadTurns::default(),
            #[cfg(test)]
            keep_gate: Arc::default(),
            own_publisher,
            trust,
            sandbox,
            metrics,
            entries: Mutex::default(),
        }
    }

    /// Whose modules may share functions with one of this publisher.
    fn scope(&self, publisher: PublicKey) -> ReuseScope {
        if self.own_publisher == Some(publisher) {
            ReuseScope::User
        } else {
            ReuseScope::Publisher(publisher)
        }
    }

    /// How full the folders of the caches are. Reads them.
    pub(crate) fn cache_use(&self) -> Vec<CacheUse> {
        let (own, compiled) = (self.modules.as_ref().map(ModuleCache::folder), self.compiled.folder());
        let shared = own.is_none_or(|own| !own.is_same(compiled));
        let of = |folder: &'static str, bounded: &BoundedFolder| CacheUse {
            folder,
            bytes: bounded.bytes(),
            limit_bytes: bounded.bytes_max(),
        };
        let own = own.map(|own| of("own", own));
        own.into_iter().chain(shared.then(|| of("shared", compiled))).collect()
    }

    /// Loads a module for guests of this kind; returns the program, the limits that its manifest asks for, and the load statistics, which are
    /// `None` if the module was loaded before.
    ///
    /// Concurrent calls for the same module fetch and compile it once. Every call checks the publisher again.
    ///
    /// # Errors
    ///
    /// [`ModuleError`] if the module is not trusted, cannot be fetched, or cannot run within the host's limits.
    pub(crate) async fn program(
        &self,
        module: Digest,
        kind: GuestKind,
        conns: &mut watch::Receiver<Option<Conn>>,
    ) -> Result<(Program, LimitsAsked, Option<LoadStats>), ModuleError> {
        let entry = {
            let mut entries = self.entries.lock();
            if entries.len() >= LOADED_MAX {
                // A dropped module is loaded from disk again when needed; running guests keep their own program.
                entries.retain(|_, entry| Arc::strong_count(entry) > 1);
            }
            entries.entry((module, self.sandbox.form(kind))).or_default().clone()
        };
        let mut entry = entry.lock().await;
        if let Some(loaded) = &*entry {
            // The publisher may have been revoked since the module was loaded.
            match self.trust.admit_manifest(&loaded.signed) {
                Err(refusal) if is_renewable(&refusal) => *entry = None,
                admitted => {
                    admitted?;
                    return Ok((loaded.program.clone(), loaded.limits, None));
                }
            }
        }
        let Obtained { signed, manifest, wasm, report, fetched_bytes, keeping } =
            self.obtain(module, conns).await?;
        let limit = self.sandbox.policy().limits.memory_bytes as u64;
        if report.memory_bytes > limit {
            return Err(ModuleError::Memory { start: report.memory_bytes, limit });
        }
        let (program, compile_us) =
            self.load(module, self.scope(signed.publisher()), kind, wasm, &report).await?;
        // The publisher may have been revoked while the module was compiled, or was waiting for it.
        self.trust.admit_manifest(&signed)?;
        if let Some(keeping) = keeping {
            keeping.await???;
        }
        let program = program.published(&manifest);
        let loaded = LoadedModule { signed, program, limits: manifest.limits };
        *entry = Some(loaded.clone());
        Ok((loaded.program, loaded.limits, Some(LoadStats { fetched_bytes, compile_us })))
    }

    /// The module's manifest and bytes, from disk or from the manager, checked in full either way, and the number of
    /// bytes fetched.
    async fn obtain(
        &self,
        module: Digest,
        conns: &mut watch::Receiver<Option<Conn>>,
    ) -> Result<Obtained, ModuleError> {
        if let Some((manifest, wasm)) = self.kept(module).await? {
            let signed = SignedManifest::from_bytes(&manifest)?;
            match self.check(module, &signed, &wasm).await? {
                Ok(manifest) => {
                    let report = self.inspector.inspect(module, &wasm).await?;
                    return Ok(Obtained { signed, manifest, wasm, report, fetched_bytes: 0, keeping: None });
                }
                Err(ManifestRefusal::WrongDigest { .. } | ManifestRefusal::WrongLength { .. }) => {
                    tracing::warn!(%module, "a module on disk is damaged; it is fetched anew");
                }
                Err(refusal) if is_renewable(&refusal) => {
                    tracing::info!(%module, %refusal, "the manager may have another signature");
                }
                Err(refusal) => return Err(refusal.into()),
            }
        }
        let mut tries = 0;
        let (manifest, wasm) = loop {
            tries += 1;
            // The watch closes only when the host ends.
            let Ok(conn) = conns.wait_for(Option::is_some).await.map(|conn| conn.clone()) else {
                return Err(ModuleError::Unknown);
            };
            let Some(conn) = conn else {
                return Err(ModuleError::Unknown);
            };
            match self.fetch(module, &conn).await {
                Err(ModuleError::Fetch(error)) if tries < FETCHES_MAX => {
                    tracing::info!(%module, %error, "a module stopped half-way; it is fetched again");
                    // If the connection is intact, the manager may be unable to read its disk for the moment.
                    let _ = tokio::time::timeout(FETCH_PAUSE, conn.closed()).await;
                }
                other => break other?,
            }
        };
        let signed = SignedManifest::from_bytes(&manifest)?;
        let checked = self.check(module, &signed, &wasm).await??;
        self.trust.note(signed.publisher(), &checked)?;
        // Before it is kept, so that the cache has no module that would be refused.
        let report = self.inspector.inspect(module, &wasm).await?;
        let keeping = self.modules.clone().map(|modules| {
            let (bytes, wasm) = (wasm.len(), wasm.clone());
            let keep = move || {
                modules.keep(&module, &manifest, &wasm).inspect_err(|error| {
                    tracing::warn!(%module, %error, "the module is not kept");
                })
            };
            tokio::spawn(apart::for_bytes(bytes, keep))
        });
        let fetched_bytes = wasm.len() as u64;
        self.metrics.module_fetched(fetched_bytes);
        Ok(Obtained { signed, manifest: checked, wasm, report, fetched_bytes, keeping })
    }

    /// The module and its manifest, if they are on disk. Nothing is checked yet.
    async fn kept(&self, module: Digest) -> Result<Option<(Vec<u8>, Bytes)>, JoinError> {
        let Some(modules) = self.modules.clone() else {
            return Ok(None);
        };
        apart::for_bytes(modules.length(&module), move || modules.module(&module)).await
    }

    async fn check(
        &self,
        module: Digest,
        signed: &SignedManifest,
        wasm: &Bytes,
    ) -> Result<Result<Manifest, ManifestRefusal>, JoinError> {
        let (bytes, trust, signed, wasm) = (wasm.len(), self.trust.clone(), signed.clone(), wasm.clone());
        let check = move || {
            let manifest = trust.admit(&signed, &wasm)?;
            if manifest.digest != module {
                // Module and manifest are valid, but are not those that were asked for.
                return Err(ManifestRefusal::WrongDigest { manifest: manifest.digest, module });
            }
            Ok(manifest)
        };
        apart::for_bytes(bytes, check).await
    }

    async fn fetch(&self, module: Digest, conn: &Conn) -> Result<(Vec<u8>, Bytes), ModuleError> {
        let (mut send, mut recv) = conn.open_bi().await?;
        send.write_frame(&Transfer::Module { module }.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
        send.finish().await;
        let offered = recv.read_frame(CONTROL_FRAME_BYTES_MAX).await?;
        let ModuleOffered::Found { manifest, length } = ModuleOffered::from_body(&offered)? else {
            return Err(ModuleError::Unknown);
        };
        // The publisher is checked before any byte of the module is read.
        let checked = self.trust.admit_manifest(&SignedManifest::from_bytes(&manifest)?)?;
        if checked.length != length || length > MODULE_BYTES_MAX as u64 {
            return Err(ManifestRefusal::WrongLength { manifest: checked.length, module: length }.into());
        }
        let length = usize::try_from(length).unwrap_or(MODULE_BYTES_MAX);
        Ok((manifest, recv.read_body(length).await?))
    }

    async fn load(
        &self,
        module: Digest,
        scope: ReuseScope,
        kind: GuestKind,
        wasm: Bytes,
        report: &ModuleReport,
    ) -> Result<(Program, Option<u64>), ModuleError> {
        self.sandbox.check_entry_point(report.entry_point)?;
        if let Some(program) = self.sandbox.program(module) {
            return Ok((program, None));
        }
        let form = self.sandbox.form(kind);
        let code = ModuleCode {
            module,
            kind,
            entry_point: report.entry_point,
            scope,
            compatibility: compatibility(form)?,
            sandbox: self.sandbox.clone(),
            cache: self.compiled.clone(),
            metrics: self.metrics.clone(),
            turns: self.turns.clone(),
            #[cfg(test)]
            keep_gate: self.keep_gate.clone(),
        };
        let (claim, turn) = loop {
            if let Some(program) = code.find().await? {
                return Ok((program, None));
            }
            let turn = self.turns.to_compile(module, wasm.len()).await;
            if let Some(claim) = self.compiled.try_claim(&module) {
                break (claim, turn);
            }
            // Another process compiles it. Until it has, the turn is somebody else's.
            drop(turn);
            sleep(CLAIM_PAUSE).await;
        };
        // It may have been kept after it was looked for, and before the claim.
        if code.is_kept()
            && let Some(program) = code.find().await?
        {
            return Ok((program, None));
        }
        self.metrics.compiled_code_missed();
        let started = Instant::now();
        let (whole, report) = (wasm.clone(), report.clone());
        let shortened = apart::for_bytes(wasm.len(), move || report.without_uncalled(&whole)).await?;
        let wasm = shortened.map_or(wasm, Bytes::from);
        let compiled = self.compiler.compile_reusing(&self.compiled, scope, module, wasm, form).await;
        self.metrics.compiled(compiled.is_ok().then(|| started.elapsed()));
        let compiled = compiled?;
        self.metrics.functions_reused(compiled.reused);
        let compile_us = micros(started.elapsed());
        let program = code.load(&compiled.code).await??;
        code.keep(compiled, claim, turn);
        Ok((program, Some(compile_us)))
    }
}

#[cfg(test)]
mod tests;
