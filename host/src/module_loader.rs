//! The module loader: modules from the manager to programs that are ready to run, each fetched and compiled once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use grid_inspect::{EntryPoint, ModuleReport, ScanLimits, inspect_known};
use grid_net::{Conn, StreamError};
use grid_protocol::digest::Digest;
use grid_protocol::host::{HostEvent, ModuleOffered, Transfer};
use grid_protocol::limits::{CONTROL_FRAME_BYTES_MAX, MODULE_BYTES_MAX};
use grid_protocol::manifest::{Manifest, ManifestRefusal, SignedManifest};
use grid_protocol::wire::Wire;
use grid_protocol::worker::{Failure, FailureKind, LimitsAsked};
use tokio::sync::{Mutex as AsyncMutex, watch};

use crate::cache::{CacheError, ModuleCache};
use crate::compile::{CompileError, Compiler};
use crate::compiled::CompiledCache;
use crate::sandbox::{Program, Sandbox, SandboxError};
use crate::trust::HostTrust;

/// The modules of a host.
#[derive(Debug)]
pub(crate) struct ModuleLoader {
    /// `None` where each is fetched anew.
    modules: Option<ModuleCache>,
    compiled: CompiledCache,
    compiler: Compiler,
    trust: Arc<HostTrust>,
    sandbox: Sandbox,
    shelves: Mutex<HashMap<Digest, Arc<AsyncMutex<Option<LoadedModule>>>>>,
}

/// A module that is ready.
#[derive(Debug, Clone)]
struct LoadedModule {
    signed: SignedManifest,
    program: Program,
    limits: LimitsAsked,
}

/// What it took to make a module ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoadStats {
    pub(crate) fetched_bytes: u64,
    pub(crate) compile_us: Option<u64>,
}

impl LoadStats {
    /// What the manager is told of it.
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
}

impl ModuleError {
    /// What a worker that was to run the module died of.
    pub(crate) fn failure(&self) -> Failure {
        let kind = match self {
            Self::Refused(_) | Self::Inspected(_) | Self::Compile(CompileError::Refused(_)) => {
                FailureKind::ModuleRefused
            }
            Self::Sandbox(SandboxError::Full { .. }) => FailureKind::HostFull,
            Self::Sandbox(_) => FailureKind::ModuleRefused,
            Self::Memory { .. } => FailureKind::MemoryLimit,
            Self::Compile(CompileError::Limit(_)) => FailureKind::CompileLimit,
            Self::Compile(_) | Self::Cache(_) | Self::Disk(_) => FailureKind::HostFault,
            Self::Unknown | Self::Fetch(_) | Self::Answer(_) => FailureKind::ModuleUnavailable,
        };
        Failure { kind, message: self.to_string(), backtrace: Vec::new() }
    }
}

/// Modules that are kept ready: each may take as much memory as its code.
const SHELVES_MAX: usize = 64;

/// Tries to fetch a module, each on a connection of its own.
const FETCHES_MAX: u32 = 3;

/// Time between them, where the connection stands.
const FETCH_PAUSE: Duration = Duration::from_secs(1);

/// True if the same module may come back with a newer signature that is good.
fn is_renewable(refusal: &ManifestRefusal) -> bool {
    matches!(refusal, ManifestRefusal::SerialTooOld { .. } | ManifestRefusal::Expired { .. })
}

/// A module that was checked in full: signature, digest, trust, and contents.
struct Obtained {
    signed: SignedManifest,
    manifest: Manifest,
    wasm: Bytes,
    report: ModuleReport,
    /// Bytes that came from the manager; 0 if the module was on disk.
    fetched_bytes: u64,
}

/// A module that is no longer is inspected where it is: within some 5 ms.
const INSPECTED_HERE_BYTES_MAX: usize = 256 << 10;

/// Inspects a module whose digest was checked, a long one on another thread: one of Python takes a quarter of a second, in which this thread would
/// answer nobody.
async fn inspect_aside(module: Digest, wasm: &Bytes) -> Result<ModuleReport, ModuleError> {
    let inspect = move |wasm: &Bytes| inspect_known(wasm, module.as_bytes(), &ScanLimits::default());
    if wasm.len() <= INSPECTED_HERE_BYTES_MAX {
        return Ok(inspect(wasm)?);
    }
    let wasm = wasm.clone();
    let inspected = tokio::task::spawn_blocking(move || inspect(&wasm)).await;
    // Only a panic of the inspection gets here.
    Ok(inspected.map_err(|error| CompileError::Limit(error.to_string()))??)
}

impl ModuleLoader {
    pub(crate) fn new(
        modules: Option<ModuleCache>,
        compiled: CompiledCache,
        compiler: Compiler,
        trust: Arc<HostTrust>,
        sandbox: Sandbox,
    ) -> Self {
        Self { modules, compiled, compiler, trust, sandbox, shelves: Mutex::default() }
    }

    /// A program that is ready to run, with the limits that its manifest asks for. However many workers ask at
    /// once, the module is fetched and compiled once. What it took, if it took anything.
    pub(crate) async fn program(
        &self,
        module: Digest,
        conns: &mut watch::Receiver<Option<Conn>>,
    ) -> Result<(Program, LimitsAsked, Option<LoadStats>), ModuleError> {
        let shelf = {
            let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
            if shelves.len() >= SHELVES_MAX {
                // What nobody asks for just now comes back from the disk; guests that run keep their own.
                shelves.retain(|_, shelf| Arc::strong_count(shelf) > 1);
            }
            shelves.entry(module).or_default().clone()
        };
        let mut shelf = shelf.lock().await;
        if let Some(shelved) = &*shelf {
            // Its publisher may have been revoked since.
            match self.trust.admit_manifest(&shelved.signed) {
                Err(refusal) if is_renewable(&refusal) => *shelf = None,
                admitted => {
                    admitted?;
                    return Ok((shelved.program.clone(), shelved.limits, None));
                }
            }
        }
        let Obtained { signed, manifest, wasm, report, fetched_bytes } = self.obtain(module, conns).await?;
        let limit = self.sandbox.policy().limits.memory_bytes as u64;
        if report.memory_bytes > limit {
            return Err(ModuleError::Memory { start: report.memory_bytes, limit });
        }
        let (program, compile_us) = self.load(module, wasm, report.entry_point).await?;
        let program = program.published(&manifest);
        let shelved = LoadedModule { signed, program, limits: manifest.limits };
        *shelf = Some(shelved.clone());
        Ok((shelved.program, shelved.limits, Some(LoadStats { fetched_bytes, compile_us })))
    }

    /// The module's bytes, from the disk or from the manager, checked in full either way.
    async fn obtain(
        &self,
        module: Digest,
        conns: &mut watch::Receiver<Option<Conn>>,
    ) -> Result<Obtained, ModuleError> {
        if let Some((manifest, wasm)) = self.modules.as_ref().and_then(|modules| modules.module(&module)) {
            let signed = SignedManifest::from_bytes(&manifest)?;
            match self.check(module, &signed, &wasm) {
                Ok(manifest) => {
                    let report = inspect_aside(module, &wasm).await?;
                    return Ok(Obtained { signed, manifest, wasm, report, fetched_bytes: 0 });
                }
                Err(ManifestRefusal::WrongDigest { .. } | ManifestRefusal::WrongLength { .. }) => {
                    tracing::warn!(%module, "a module on disk is damaged; it is fetched anew");
                }
                Err(refusal) if is_renewable(&refusal) => {
                    tracing::info!(%module, %refusal, "the manager may have a newer signature");
                }
                Err(refusal) => return Err(refusal.into()),
            }
        }
        let mut tries = 0;
        let (manifest, wasm) = loop {
            tries += 1;
            // The watch ends only with the host itself.
            let Ok(conn) = conns.wait_for(Option::is_some).await.map(|conn| conn.clone()) else {
                return Err(ModuleError::Unknown);
            };
            let Some(conn) = conn else {
                return Err(ModuleError::Unknown);
            };
            match self.fetch(module, &conn).await {
                Err(ModuleError::Fetch(error)) if tries < FETCHES_MAX => {
                    tracing::info!(%module, %error, "a module stopped half-way; it is fetched again");
                    // A connection that stands may have a manager behind it that cannot read its disk just now.
                    let _ = tokio::time::timeout(FETCH_PAUSE, conn.closed()).await;
                }
                other => break other?,
            }
        };
        let signed = SignedManifest::from_bytes(&manifest)?;
        let checked = self.check(module, &signed, &wasm)?;
        self.trust.note(signed.publisher(), &checked)?;
        // Nothing that would be refused is ever kept.
        let report = inspect_aside(module, &wasm).await?;
        if let Some(modules) = &self.modules {
            modules.keep(&module, &manifest, &wasm)?;
        }
        let fetched_bytes = wasm.len() as u64;
        Ok(Obtained { signed, manifest: checked, wasm, report, fetched_bytes })
    }

    fn check(
        &self,
        module: Digest,
        signed: &SignedManifest,
        wasm: &Bytes,
    ) -> Result<Manifest, ManifestRefusal> {
        let manifest = self.trust.admit(signed, wasm)?;
        if manifest.digest != module {
            // A good module under a good manifest, but not the one that was asked for.
            return Err(ManifestRefusal::WrongDigest { manifest: manifest.digest, module });
        }
        Ok(manifest)
    }

    async fn fetch(&self, module: Digest, conn: &Conn) -> Result<(Vec<u8>, Bytes), ModuleError> {
        let (mut send, mut recv) = conn.open_bi().await?;
        send.write_frame(&Transfer::Module { module }.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
        send.finish().await;
        let offered = recv.read_frame(CONTROL_FRAME_BYTES_MAX).await?;
        let ModuleOffered::Found { manifest, length } = ModuleOffered::from_body(&offered)? else {
            return Err(ModuleError::Unknown);
        };
        // Whose module this is is known before a byte of it is taken in.
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
        wasm: Bytes,
        entry_point: EntryPoint,
    ) -> Result<(Program, Option<u64>), ModuleError> {
        self.sandbox.check_entry_point(entry_point)?;
        if let Some(program) = self.sandbox.program(module) {
            return Ok((program, None));
        }
        if let Some(program) = self.load_compiled(module, entry_point) {
            return Ok((program, None));
        }
        let claim = self.compiled.claim(&module).await;
        if claim.as_ref().is_some_and(|claim| claim.waited)
            && let Some(program) = self.load_compiled(module, entry_point)
        {
            return Ok((program, None));
        }
        let started = Instant::now();
        let compiled = self.compiler.compile_for(wasm, self.sandbox.reservation()).await?;
        let compile_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let program = self.sandbox.load(&compiled, entry_point)?;
        if let Err(error) = self.compiled.keep(&module, &compiled) {
            tracing::warn!(%module, %error, "compiled code is not kept; the next start compiles anew");
        }
        Ok((program, Some(compile_us)))
    }

    /// The program, if its compiled form is on disk.
    fn load_compiled(&self, module: Digest, entry_point: EntryPoint) -> Option<Program> {
        let loaded = self.sandbox.load(&self.compiled.get(&module)?, entry_point);
        loaded
            .inspect_err(|error| {
                tracing::warn!(%module, %error, "compiled code does not load; it is compiled anew");
            })
            .ok()
    }
}
