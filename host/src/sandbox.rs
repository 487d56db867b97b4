//! The sandbox: runs guests, shares the processor among them, and enforces their limits.
//!
//! Guests run on compute threads, so that no guest can block the network. A guest that computes yields every 10 ms; one
//! that waits occupies no thread. The sandbox knows no connections: a guest communicates through its [`MessagePort`]
//! alone.

mod command;
mod component;
mod core;
pub(crate) mod engine;
mod failure;
mod grid_calls;
mod guest;
mod guest_slice;
mod limits;
mod log_budget;
mod memory_use;
mod message_loop;
mod meter;
mod pool;
mod simulated;
mod stdio;
mod stdio_calls;
mod symbol;
pub(crate) mod wake_later;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Poll, Wake};
use std::time::Duration;

use bytes::Bytes;
use grid_inspect::{ComponentEntry, CoreEntry, EntryPoint};
use grid_protocol::digest::Digest;
use grid_protocol::manifest::Manifest;
use grid_protocol::worker::{End, Failure, FailureKind};
use tokio::runtime;
use tokio::time::{MissedTickBehavior, interval};
use wasmtime::component::Component;
use wasmtime::{Engine, InstancePre, Linker, Module};

pub use limits::Limits;
pub use simulated::{GuestHandle, SimulatedGuests};

use crate::mailbox::MessagePort;
use core::Core;
use failure::explain;
use guest::Guest;
use memory_use::MemoryUse;
use message_loop::MessageLoop;
use meter::Meter;
pub(crate) use pool::gather;
use pool::{Pool, PoolTask};

/// What a host allows all of its guests together, and each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Limits of each guest.
    pub limits: Limits,
    /// Guests that may run concurrently. Each takes four of the process's memory mappings; Linux allows 65 530.
    pub workers_max: usize,
    /// Number of threads that run guests: one for each processor. At least two, so that one guest in a long memory
    /// operation does not block the others.
    pub compute_threads: usize,
    /// Whether components may run (they may). They expose a larger part of the engine than core modules do.
    pub components: bool,
}

/// Guests that fit into the 65 530 mappings that Linux allows a process, with some left for the host itself.
const WORKERS_MAX: usize = 15_000;

impl Default for Policy {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            limits: Limits::default(),
            workers_max: WORKERS_MAX,
            compute_threads: cores.max(2),
            components: true,
        }
    }
}

/// Runs guests. Clones refer to the same sandbox.
#[derive(Clone)]
pub struct Sandbox(Backend);

#[derive(Clone)]
enum Backend {
    Real(Arc<SandboxShared>),
    Simulated(Arc<dyn SimulatedGuests>, Policy),
}

struct SandboxShared {
    engine: Engine,
    linker: Linker<Guest>,
    /// For commands, with the calls for their own files.
    commands: Linker<Guest>,
    component_linker: wasmtime::component::Linker<Guest>,
    policy: Policy,
    reservation: engine::Reservation,
    running: AtomicUsize,
    /// Memory of all guests together, in bytes.
    memory_bytes: Arc<AtomicU64>,
    ticking: Arc<AtomicBool>,
    pool: Pool,
}

/// A module that is ready to run.
#[derive(Clone)]
pub struct Program(ProgramKind, command::Terms);

#[derive(Clone)]
enum ProgramKind {
    Core(InstancePre<Guest>, CoreEntry),
    Command(InstancePre<Guest>),
    Component(wasmtime::component::InstancePre<Guest>, ComponentEntry),
    Simulated(Digest),
}

impl Program {
    /// The program with the name and the access to files that its manifest states.
    #[must_use]
    pub fn published(self, manifest: &Manifest) -> Self {
        Self(self.0, command::Terms::of(manifest))
    }
}

/// Ends a guest, whatever it is doing.
#[derive(Debug, Clone)]
pub struct AbortHandle(Arc<dyn GuestHandle>);

#[derive(Debug, Default)]
struct Aborting {
    killed: AtomicBool,
    task: OnceLock<Weak<PoolTask>>,
    meter: OnceLock<Arc<Meter>>,
}

impl AbortHandle {
    /// Ends the guest: immediately if it waits, at its next tick if it computes. Does not wait for the end.
    pub fn now(&self) {
        self.0.end();
    }

    /// If `over`, makes the current call trap at its next tick, with a backtrace; if not, takes that back.
    pub(crate) fn expire(&self, over: bool) {
        self.0.expire(over);
    }

    /// True if the guest has not yielded for so long (5 s) that its thread must hang.
    pub(crate) fn is_stuck(&self) -> bool {
        self.0.is_stuck()
    }
}

impl GuestHandle for Aborting {
    fn end(&self) {
        self.killed.store(true, Ordering::Release);
        if let Some(task) = self.task.get().and_then(Weak::upgrade) {
            task.wake();
        }
    }

    fn expire(&self, over: bool) {
        if let Some(meter) = self.meter.get() {
            meter.expire(over);
        }
    }

    fn is_stuck(&self) -> bool {
        self.task.get().and_then(Weak::upgrade).is_some_and(|task| task.is_stuck())
    }
}

/// Why the sandbox could not be set up, or could not load or start a module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The system provides no memory or no threads: the operator must act.
    #[error("the sandbox cannot be set up: {0}")]
    Setup(String),
    /// The system provides too little address space: the operator must act.
    #[error(
        "there is no address space for even one worker: {0}; `ulimit -v unlimited` lifts the limit of a shell"
    )]
    AddressSpace(String),
    /// The module cannot be loaded: its author must act.
    #[error("the module cannot be loaded: {0}")]
    Load(String),
    /// The module is a component, which the operator of the host has disabled.
    #[error("the module is a component, and this host runs none (`grid-host --no-components`)")]
    NoComponents,
    /// There is no room for another guest.
    #[error("the host runs {max} workers and has no room for another")]
    Full {
        /// Number of guests that may run concurrently.
        max: usize,
    },
}

impl Sandbox {
    /// Sets up the engine, the threads and the address space.
    ///
    /// If the address space does not suffice for `policy.workers_max` guests, makes room for fewer, with bounds checks
    /// if `slots` guests do not fit without; [`Self::policy`] returns the number.
    ///
    /// # Errors
    ///
    /// [`SandboxError::AddressSpace`] if there is no room for one guest; [`SandboxError::Setup`] if anything else
    /// fails.
    pub fn new(policy: Policy, slots: usize) -> Result<Self, SandboxError> {
        let setup = |error: &dyn fmt::Display| SandboxError::Setup(format!("{error:#}"));
        let fitting = engine::fitting(&policy, slots);
        let (engine, policy, reservation) =
            fitting.map_err(|error| SandboxError::AddressSpace(format!("{error:#}")))?;
        let mut linker = Linker::new(&engine);
        grid_calls::link(&mut linker).map_err(|error| setup(&error))?;
        let mut commands = linker.clone();
        command::link(&mut commands).map_err(|error| setup(&error))?;
        let mut component_linker = wasmtime::component::Linker::new(&engine);
        component::link(&mut component_linker).map_err(|error| setup(&error))?;
        let timers =
            runtime::Builder::new_current_thread().enable_time().build().map_err(|error| setup(&error))?;
        let pool = Pool::start(policy.compute_threads, timers.handle()).map_err(|error| setup(&error))?;
        let ticking = Arc::new(AtomicBool::new(true));
        let (clock, ticks) = (engine.clone(), ticking.clone());
        // This thread also drives the timers of the guests.
        let tick = async move {
            let mut interval = interval(engine::EPOCH_TICK);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while ticks.load(Ordering::Relaxed) {
                interval.tick().await;
                clock.increment_epoch();
            }
        };
        std::thread::Builder::new()
            .name("grid-epoch".to_owned())
            .spawn(move || timers.block_on(tick))
            .map_err(|error| setup(&error))?;
        let running = AtomicUsize::new(0);
        Ok(Self(Backend::Real(Arc::new(SandboxShared {
            engine,
            linker,
            commands,
            component_linker,
            policy,
            reservation,
            running,
            memory_bytes: Arc::default(),
            ticking,
            pool,
        }))))
    }

    /// A sandbox for a simulation, in which `guests` run in place of modules.
    pub(crate) fn simulated(guests: Arc<dyn SimulatedGuests>, policy: Policy) -> Self {
        Self(Backend::Simulated(guests, policy))
    }

    /// The program of a module in a simulation, without any code; `None` if guests are real.
    pub(crate) fn program(&self, module: Digest) -> Option<Program> {
        matches!(self.0, Backend::Simulated(..))
            .then(|| Program(ProgramKind::Simulated(module), command::Terms::default()))
    }

    /// The policy in force, in which `workers_max` may be lower than the one given to [`Self::new`].
    pub fn policy(&self) -> &Policy {
        match &self.0 {
            Backend::Real(shared) => &shared.policy,
            Backend::Simulated(_, policy) => policy,
        }
    }

    /// The memory reservation that modules must be compiled for.
    pub(crate) fn reservation(&self) -> engine::Reservation {
        match &self.0 {
            Backend::Real(shared) => shared.reservation,
            Backend::Simulated(..) => engine::Reservation::WHOLE,
        }
    }

    /// A hash of everything that compiled code depends on: version, configuration and features of the engine.
    pub fn compatibility(&self) -> u64 {
        match &self.0 {
            Backend::Real(shared) => engine::compatibility(&shared.engine),
            Backend::Simulated(..) => 0,
        }
    }

    /// Loads a module that was compiled by [`compile`](crate::compile).
    ///
    /// # Errors
    ///
    /// [`SandboxError::NoComponents`] if the policy does not allow the module; [`SandboxError::Load`] if the engine
    /// refuses it or it imports what the host does not offer.
    pub fn load(&self, compiled: &Compiled, entry_point: EntryPoint) -> Result<Program, SandboxError> {
        self.check_entry_point(entry_point)?;
        let Backend::Real(shared) = &self.0 else {
            return Err(SandboxError::Load("nothing real runs here".to_owned()));
        };
        let load = |error: wasmtime::Error| SandboxError::Load(format!("{error:#}"));
        if let EntryPoint::Component(entry_point) = entry_point {
            // SAFETY: as for `Module::deserialize` below.
            let component = unsafe { Component::deserialize(&shared.engine, &compiled.0) }.map_err(load)?;
            let instance = shared.component_linker.instantiate_pre(&component).map_err(load)?;
            return Ok(Program(ProgramKind::Component(instance, entry_point), command::Terms::default()));
        }
        // SAFETY: `Compiled` is made by `vouch` alone, from bytes that our own compiler wrote, in this process, in its
        // child, or to a file whose MAC under this host's own key was checked.
        let module = unsafe { Module::deserialize(&shared.engine, &compiled.0) }.map_err(load)?;
        let linker = if entry_point == EntryPoint::Command { &shared.commands } else { &shared.linker };
        let instance = linker.instantiate_pre(&module).map_err(load)?;
        match entry_point {
            EntryPoint::Core(entry_point) => {
                Ok(Program(ProgramKind::Core(instance, entry_point), command::Terms::default()))
            }
            EntryPoint::Command => Ok(Program(ProgramKind::Command(instance), command::Terms::default())),
            _ => Err(SandboxError::Load("no entry point that this version knows".to_owned())),
        }
    }

    /// Checks that the policy allows modules with this entry point.
    ///
    /// # Errors
    ///
    /// [`SandboxError::NoComponents`] for a component, if the policy allows none.
    pub fn check_entry_point(&self, entry_point: EntryPoint) -> Result<(), SandboxError> {
        if matches!(entry_point, EntryPoint::Component(_)) && !self.policy().components {
            return Err(SandboxError::NoComponents);
        }
        Ok(())
    }

    /// True if no compute thread has returned from a guest for so long (5 s) that all of them must hang.
    pub(crate) fn is_wedged(&self) -> bool {
        match &self.0 {
            Backend::Real(shared) => shared.pool.is_wedged(),
            Backend::Simulated(guests, _) => guests.are_wedged(),
        }
    }

    /// Memory of all guests together, in bytes; 0 in a simulation.
    pub(crate) fn memory_bytes(&self) -> u64 {
        match &self.0 {
            Backend::Real(shared) => shared.memory_bytes.load(Ordering::Relaxed),
            Backend::Simulated(..) => 0,
        }
    }

    /// Starts a guest and returns without waiting for it.
    ///
    /// `on_start` is called when the guest is ready for messages, `on_end` exactly once when it has ended, even if it
    /// never became ready.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Full`] if there is no room for another guest; [`SandboxError::Load`] if another sandbox loaded
    /// the program. Neither function is called then.
    pub fn start(
        &self,
        program: &Program,
        arguments: Bytes,
        limits: Limits,
        mailbox: Arc<dyn MessagePort>,
        on_start: impl FnOnce() + Send + 'static,
        on_end: impl FnOnce(End) + Send + 'static,
    ) -> Result<AbortHandle, SandboxError> {
        let shared = match (&self.0, &program.0) {
            (Backend::Simulated(guests, _), ProgramKind::Simulated(module)) => {
                return Ok(AbortHandle(guests.start(*module, mailbox, Box::new(on_start), Box::new(on_end))));
            }
            (
                Backend::Real(shared),
                ProgramKind::Core(..) | ProgramKind::Command(_) | ProgramKind::Component(..),
            ) => shared,
            // Only the sandbox that loaded a program can run it.
            _ => return Err(SandboxError::Load("the module was loaded by another sandbox".to_owned())),
        };
        let max = shared.policy.workers_max;
        let claim = |running: usize| (running < max).then_some(running + 1);
        let claimed = shared.running.fetch_update(Ordering::AcqRel, Ordering::Acquire, claim);
        claimed.map_err(|_| SandboxError::Full { max })?;
        let abort = Arc::<Aborting>::default();
        let meter = Arc::new(Meter::new());
        let memory = MemoryUse::none(&shared.memory_bytes);
        let guest = Guest::new(mailbox.clone(), limits, meter.clone(), memory);
        let work = live(program.0.clone(), program.1.clone(), guest, arguments, on_start);
        let work = run(shared.clone(), mailbox, abort.clone(), work, on_end);
        // Both are set here alone, before the handle is returned, so neither call can fail.
        let _ = abort.meter.set(meter.clone());
        let _ = abort.task.set(shared.pool.spawn(meter, work));
        Ok(AbortHandle(abort))
    }
}

/// Compiled code that is trusted, so that it may be loaded.
#[derive(Clone)]
pub struct Compiled(Bytes);

impl Compiled {
    /// Declares compiled code trusted.
    ///
    /// # Safety
    ///
    /// The bytes must be what this version's compiler wrote, unchanged: running anything else is undefined behaviour.
    pub unsafe fn vouch(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The compiled code.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

/// Starts a guest and lets it handle messages until it stops or fails, whichever kind of entry point it has.
async fn live(
    program: ProgramKind,
    terms: command::Terms,
    guest: Guest,
    arguments: Bytes,
    on_start: impl FnOnce() + Send,
) -> Result<(), Failure> {
    let failure_context = guest.failure_context.clone();
    let start = |error: wasmtime::Error| explain(&error, true, &failure_context);
    match program {
        ProgramKind::Core(instance, entry_point) => {
            let core = Core::start(&instance, entry_point, guest, arguments).await.map_err(start)?;
            on_start();
            MessageLoop::new(core).live().await.map_err(|error| explain(&error, false, &failure_context))
        }
        ProgramKind::Component(instance, entry_point) => {
            let started = component::Component::start(&instance, entry_point, guest, arguments).await;
            let component = started.map_err(start)?;
            on_start();
            MessageLoop::new(component).live().await.map_err(|error| explain(&error, false, &failure_context))
        }
        ProgramKind::Command(instance) => command::run(&instance, &terms, guest, &arguments, on_start).await,
        ProgramKind::Simulated(_) => Ok(()),
    }
}

/// Runs a guest until it ends or is aborted, then calls `on_end`.
async fn run(
    shared: Arc<SandboxShared>,
    mailbox: Arc<dyn MessagePort>,
    abort: Arc<Aborting>,
    work: impl Future<Output = Result<(), Failure>> + Send,
    on_end: impl FnOnce(End) + Send,
) {
    let mut ending = EndNotice { shared, on_end: Some(on_end) };
    let end = {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|cx| {
            if abort.killed.load(Ordering::Acquire) {
                return Poll::Ready(End::Stopped);
            }
            work.as_mut().poll(cx).map(|ended| match ended {
                Ok(()) => End::Stopped,
                Err(failure) => End::Failed(failure),
            })
        })
        .await
    };
    mailbox.flush();
    ending.end(end);
}

/// Calls `on_end` exactly once when a guest has ended, even if its task panics or is dropped.
struct EndNotice<F: FnOnce(End)> {
    shared: Arc<SandboxShared>,
    on_end: Option<F>,
}

impl<F: FnOnce(End)> EndNotice<F> {
    fn end(&mut self, end: End) {
        if let Some(on_end) = self.on_end.take() {
            self.shared.running.fetch_sub(1, Ordering::AcqRel);
            on_end(end);
        }
    }
}

impl<F: FnOnce(End)> Drop for EndNotice<F> {
    fn drop(&mut self) {
        let message = "the guest's task panicked, or the host goes down".to_owned();
        self.end(End::Failed(Failure { kind: FailureKind::HostFault, message, backtrace: Vec::new() }));
    }
}

impl Drop for SandboxShared {
    fn drop(&mut self) {
        self.ticking.store(false, Ordering::Relaxed);
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ProgramKind::Core(_, entry_point) => {
                f.debug_struct("Program").field("entry_point", entry_point).finish_non_exhaustive()
            }
            ProgramKind::Component(_, entry_point) => {
                f.debug_struct("Program").field("entry_point", entry_point).finish_non_exhaustive()
            }
            ProgramKind::Command(_) => {
                f.debug_struct("Program").field("entry_point", &"command").finish_non_exhaustive()
            }
            ProgramKind::Simulated(module) => f.debug_tuple("Program").field(module).finish(),
        }
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("policy", self.policy()).finish_non_exhaustive()
    }
}

/// Messages that a guest may handle in a row before it yields to others: about 20 µs of small ones.
const MESSAGES_IN_A_ROW: u32 = 64;

/// Sets the limits of a guest's store, before anything runs in it.
fn prepare(store: &mut wasmtime::Store<Guest>) {
    store.limiter(|guest| guest);
    store.set_hostcall_fuel(HOST_CALL_BYTES_MAX);
    store.epoch_deadline_callback(|context| {
        let guest = context.data();
        if guest.meter.is_over() {
            return Err(failure::Stop::TimeLimit { budget: guest.meter.budget() }.into());
        }
        Ok(wasmtime::UpdateDeadline::Yield(SLICE_TICKS))
    });
    begin_slice(store);
}

/// Bytes of guest memory that one WASI call may pass to the host, such as a path or a list of what to wait for; a call
/// with more fails with `ENOMEM`. Wasmtime's own limit is 128 MiB, which a host call would copy without yielding.
const HOST_CALL_BYTES_MAX: usize = 1 << 20;

/// Length of a slice in epoch ticks: it ends at the next tick or the one after it.
const SLICE_TICKS: u64 = 1;

/// Begins a slice: called when the guest has waited or has just yielded.
///
/// Not called for each call into the guest: a guest whose calls are all shorter than a tick would never yield. The
/// deadline of the slice carries over from call to call, and the first call after it yields at its start.
fn begin_slice(store: &mut wasmtime::Store<Guest>) {
    store.set_epoch_deadline(SLICE_TICKS);
}

/// Begins to charge a call into the guest, which may take `budget` of processor time.
fn begin_call(store: &wasmtime::Store<Guest>, budget: Duration) {
    store.data().meter.begin(budget);
}
