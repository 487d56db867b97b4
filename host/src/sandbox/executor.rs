//! Executors: locked-down processes in which the guests of one trust domain run.
//!
//! The host's own process has its keys and its connection, and runs no code of guests. It starts executors (`process`), which
//! lock themselves down before they run anything (`child`); mail passes between them through shared memory (`ring`). An
//! executor is as hostile as its guests: the host checks whatever it writes.
//!
//! Guests that are spoken to share the executor of their domain. A guest that works on tasks has one for itself, because it
//! cannot be interrupted: its deadline is the end of its process.

mod adaptive_wait;
mod child;
mod child_port;
mod credit;
mod duty;
mod frame;
mod handover;
mod hostile;
mod notation;
mod overseer;
mod process;
mod process_driver;
mod process_events;
mod remote_guest;
mod ring;
mod shared_memory;
mod spare;
mod unhandled;
mod usage;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use grid_inspect::EntryPoint;
use grid_protocol::digest::Digest;
use grid_protocol::executor::ExecutorModule;
use grid_protocol::wall::Wall;
use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

pub use child::run_child;
pub use hostile::read_hostile_executor;

use crate::sandbox::command::Terms;
use crate::sandbox::engine::{self, CodeForm};
use crate::sandbox::simulated::GuestHandle;
use crate::sandbox::{Compiled, GuestKind, GuestStart, Policy, SandboxError, TrustDomain};
use process::Process;
use spare::Spare;

/// The compiled code of a module, for executors.
#[derive(Debug)]
pub(super) struct ExecutorCode {
    module: Digest,
    kind: GuestKind,
    entry_point: u32,
    /// Sealed: nobody can change it.
    file: OwnedFd,
}

/// Processes without guests that are kept for the next guest of their domains: each takes a few MiB.
const IDLE_PROCESSES_MAX: usize = 8;

/// The executors of a host.
#[derive(Debug)]
pub(super) struct Executors {
    me: Weak<Self>,
    program: PathBuf,
    policy: Policy,
    forms: [CodeForm; 2],
    /// True if the host tells that executors have namespaces of their own: then one that gets none does not start.
    namespaces: AtomicBool,
    /// Messages on their way to guests of all processes.
    unanswered: Arc<AtomicUsize>,
    inner: Mutex<ExecutorsState>,
}

#[derive(Default)]
struct ExecutorsState {
    domains: HashMap<(TrustDomain, Digest), Vec<Arc<Process>>>,
    /// Processes without a module, by kind.
    spare: HashMap<GuestKind, Spare>,
}

impl std::fmt::Debug for ExecutorsState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecutorsState").field("domains", &self.domains.len()).finish_non_exhaustive()
    }
}

impl Executors {
    /// Looks how much address space a process has, and keeps it no longer.
    ///
    /// # Errors
    ///
    /// [`SandboxError::AddressSpace`] if there is no room for one guest.
    pub(super) fn new(policy: Policy, slots: usize, program: PathBuf) -> Result<Arc<Self>, SandboxError> {
        // Guests that are ending may stand beside those that take their slots.
        let workers_max = slots.saturating_mul(2).clamp(2, policy.workers_max.max(2));
        let wanted = Policy { workers_max, ..policy };
        let (_, fitting, shared) = engine::fitting(&wanted, slots)
            .map_err(|error| SandboxError::AddressSpace(format!("{error:#}")))?;
        let alone = CodeForm { interruptible: false, ..shared };
        Ok(Arc::new_cyclic(|me| Self {
            me: me.clone(),
            program,
            policy: fitting,
            forms: [shared, alone],
            namespaces: AtomicBool::new(false),
            unanswered: Arc::default(),
            inner: Mutex::default(),
        }))
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(super) fn form(&self, kind: GuestKind) -> CodeForm {
        let [shared, alone] = self.forms;
        match kind {
            GuestKind::Worker => shared,
            GuestKind::Task => alone,
        }
    }

    /// Memory of all guests, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        let inner = self.inner.lock();
        inner.domains.values().flatten().map(|process| process.memory_bytes()).sum()
    }

    /// Starts a process of each kind for guests to come. From now on each has the walls that the host tells, or does not
    /// start.
    pub(super) fn warm_up(&self, told: &[Wall]) {
        self.namespaces.store(told.contains(&Wall::Namespaces), Ordering::Relaxed);
        self.replenish(GuestKind::Worker);
        self.replenish(GuestKind::Task);
    }

    /// Puts compiled code into a file that nobody can change.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Load`] if there is no memory for it.
    pub(super) fn load(
        &self,
        module: Digest,
        kind: GuestKind,
        compiled: &Compiled,
        entry_point: EntryPoint,
    ) -> Result<Arc<ExecutorCode>, SandboxError> {
        let unknown = || SandboxError::Load("no entry point that this version knows".to_owned());
        let entry_point = notation::write_entry_point(entry_point).ok_or_else(unknown)?;
        let file = sealed(compiled.bytes()).map_err(|error| SandboxError::Load(error.to_string()))?;
        Ok(Arc::new(ExecutorCode { module, kind, entry_point, file }))
    }

    /// Starts a guest, in a process of its domain or in a new one.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Setup`] if the system starts no process. Then neither function of `start` was called.
    pub(super) fn start(
        &self,
        code: &ExecutorCode,
        terms: &Terms,
        domain: TrustDomain,
        start: GuestStart,
    ) -> Result<Arc<dyn GuestHandle>, SandboxError> {
        let key = (domain, code.module);
        let mut start = Box::new(start);
        let mut inner = self.inner.lock();
        for process in inner.domains.get(&key).into_iter().flatten() {
            match process.start(start) {
                Ok(handle) => return Ok(handle),
                Err(back) => start = back,
            }
        }
        self.end_surplus(&inner);
        let spare = inner.spare.remove(&code.kind);
        let process = self
            .begin(code, terms, key, spare)
            .map_err(|error| SandboxError::Setup(format!("no executor process could be started: {error}")))?;
        inner.domains.entry(key).or_default().push(process.clone());
        drop(inner);
        process.start(start).map_err(|_| SandboxError::Setup("the executor process ended at once".to_owned()))
    }

    /// Gives a module to a process that waits for one, or to a new one if there is none or it is gone.
    fn begin(
        &self,
        code: &ExecutorCode,
        terms: &Terms,
        key: (TrustDomain, Digest),
        spare: Option<Spare>,
    ) -> std::io::Result<Arc<Process>> {
        let module = ExecutorModule {
            name: terms.name().to_owned(),
            files: terms.grants_files(),
            entry_point: code.entry_point,
        };
        let on_ready = || {
            let (me, kind) = (self.me.clone(), code.kind);
            move |walls: &str| {
                tracing::debug!(walls, "an executor is ready");
                if let Some(executors) = me.upgrade() {
                    executors.replenish(kind);
                }
            }
        };
        let on_end = || {
            let me = self.me.clone();
            move |process: &Arc<Process>| {
                if let Some(executors) = me.upgrade() {
                    executors.forget(key, process);
                }
            }
        };
        if let Some(spare) = spare
            && let Ok(process) = spare.drive(&module, &code.file, on_ready(), on_end())
        {
            return Ok(process);
        }
        self.new_spare(code.kind)?.drive(&module, &code.file, on_ready(), on_end())
    }

    /// Ends those that have been idle for longest, of more than [`IDLE_PROCESSES_MAX`] that are.
    fn end_surplus(&self, inner: &ExecutorsState) {
        let processes = inner.domains.values().flatten();
        let mut idle: Vec<_> =
            processes.filter_map(|process| Some((process.idle_since()?, process))).collect();
        idle.sort_by_key(|(since, _)| *since);
        let surplus = idle.len().saturating_sub(IDLE_PROCESSES_MAX);
        idle.iter().take(surplus).for_each(|(_, process)| process.end_if_idle());
    }

    /// Forgets a process that has ended.
    fn forget(&self, key: (TrustDomain, Digest), process: &Arc<Process>) {
        let mut inner = self.inner.lock();
        if let Some(processes) = inner.domains.get_mut(&key) {
            processes.retain(|known| !Arc::ptr_eq(known, process));
            if processes.is_empty() {
                inner.domains.remove(&key);
            }
        }
    }

    fn new_spare(&self, kind: GuestKind) -> std::io::Result<Spare> {
        // What is spawned, and what is watched, belongs to a runtime.
        tokio::runtime::Handle::try_current().map_err(std::io::Error::other)?;
        let policy = match kind {
            GuestKind::Worker => self.policy,
            // One guest, and one that is ending.
            GuestKind::Task => Policy { workers_max: 2, compute_threads: 1, ..self.policy },
        };
        let setup = notation::setup(&policy, self.form(kind), self.namespaces.load(Ordering::Relaxed));
        let process = |memory| Process::new(kind, memory, self.unanswered.clone());
        Spare::start(&self.program, process, &setup)
    }

    /// Starts a process for guests to come, if there is none.
    fn replenish(&self, kind: GuestKind) {
        if self.inner.lock().spare.contains_key(&kind) {
            return;
        }
        match self.new_spare(kind) {
            Ok(spare) => drop(self.inner.lock().spare.insert(kind, spare)),
            // The next guest tries again, and fails if this persists.
            Err(error) => tracing::warn!(%error, "no executor process could be started"),
        }
    }
}

/// A file in memory with these bytes, which nobody can change.
fn sealed(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    use std::io::Write;
    let file = memfd_create("grid-code", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(file);
    file.write_all(bytes)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file.into())
}
