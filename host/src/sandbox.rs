//! The sandbox: runs guests, shares the processor among them, and enforces their limits.
//!
//! Guests run in processes of their own (`executor`), or in this one if the operator wants no walls (`in_process`); either
//! way on compute threads, so that no guest can block the network. One that waits occupies no thread, but for one at a
//! time in an executor (`direct_call`). The sandbox knows no connections: a guest communicates through its
//! [`MessagePort`](crate::mailbox::MessagePort) alone.

mod abort;
mod command;
mod component;
mod core;
mod direct_call;
pub(crate) mod engine;
#[cfg(target_os = "linux")]
mod executor;
mod failure;
mod grid_calls;
mod guest;
mod guest_clock;
mod guest_slice;
mod guest_start;
mod in_process;
mod limits;
mod log_budget;
mod memory_use;
mod message_loop;
mod meter;
#[cfg(not(target_os = "linux"))]
mod no_executors;
mod pool;
mod program;
mod simulated;
mod stdio;
mod stdio_calls;
mod symbol;
mod unsent;
pub(crate) mod wake_later;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use grid_inspect::EntryPoint;
use grid_protocol::digest::Digest;
use grid_protocol::wall::Wall;

pub use engine::CodeForm;
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub use executor::read_hostile_executor;
pub use executor::run_child as run_executor;
pub(crate) use guest_start::{GuestEnd, GuestStart, TrustDomain};
pub use limits::Limits;
pub use program::{Compiled, Program};
pub use simulated::{GuestHandle, SimulatedGuests};

use direct_call::all_sent;
use executor::Executors;
use guest::Guest;
use in_process::InProcess;
#[cfg(not(target_os = "linux"))]
use no_executors as executor;
pub(crate) use pool::gather;
use program::ProgramKind;

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
    InProcess(Arc<InProcess>),
    Executors(Arc<Executors>),
    Simulated(Arc<dyn SimulatedGuests>, Policy),
}

/// What a guest is for, which decides how its code is compiled and which process it runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GuestKind {
    /// It is spoken to, and mostly waits: it shares threads, and is interrupted when it computes for long.
    Worker,
    /// It works on the tasks of a job: it is not interrupted, and its deadline is the end of its process.
    Task,
}

/// Ends a guest, whatever it is doing.
#[derive(Debug, Clone)]
pub struct AbortHandle(pub(crate) Arc<dyn GuestHandle>);

impl AbortHandle {
    /// Ends the guest: immediately if it waits, at its next tick if it computes. Does not wait for the end.
    pub fn now(&self) {
        self.0.end();
    }

    /// If `over`, makes the current call trap at its next tick, with a backtrace, or ends the guest's process if it has
    /// one of its own; if not, takes that back.
    pub(crate) fn expire(&self, over: bool) {
        self.0.expire(over);
    }

    /// Takes back the messages up to `upto` that were handed over and that the guest has not begun with; returns the number
    /// of the last that it has. `None` if nothing can be taken back, or not before it has begun with the message `first`.
    pub(crate) fn withdraw(&self, first: u64, upto: u64) -> Option<u64> {
        self.0.withdraw(first, upto)
    }

    /// True if the guest has not yielded for so long (5 s) that its thread must hang.
    pub(crate) fn is_stuck(&self) -> bool {
        self.0.is_stuck()
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
    /// Runs guests in this process: sets up the engine, the threads and the address space.
    ///
    /// If the address space does not suffice for `policy.workers_max` guests, makes room for fewer, with bounds checks
    /// if `slots` guests do not fit without; [`Self::policy`] returns the number.
    ///
    /// # Errors
    ///
    /// [`SandboxError::AddressSpace`] if there is no room for one guest; [`SandboxError::Setup`] if anything else
    /// fails.
    pub fn in_process(policy: Policy, slots: usize) -> Result<Self, SandboxError> {
        Ok(Self(Backend::InProcess(Arc::new(InProcess::new(policy, slots)?))))
    }

    /// Runs guests in processes of their own: `program`, run with [`EXECUTOR`](crate::command::EXECUTOR), which must
    /// call [`run_executor`]. Each process has room for `slots` guests and those that are ending.
    ///
    /// # Errors
    ///
    /// As [`Self::in_process`], for the room in one such process.
    pub fn executors(policy: Policy, slots: usize, program: PathBuf) -> Result<Self, SandboxError> {
        Ok(Self(Backend::Executors(Executors::new(policy, slots, program)?)))
    }

    /// A sandbox for a simulation, in which `guests` run in place of modules.
    pub(crate) fn simulated(guests: Arc<dyn SimulatedGuests>, policy: Policy) -> Self {
        Self(Backend::Simulated(guests, policy))
    }

    /// The program of a module in a simulation, without any code; `None` if guests are real.
    pub(crate) fn program(&self, module: Digest) -> Option<Program> {
        matches!(self.0, Backend::Simulated(..)).then(|| Program::new(ProgramKind::Simulated(module)))
    }

    /// The policy in force, in which `workers_max` may be lower than the one given.
    pub fn policy(&self) -> &Policy {
        match &self.0 {
            Backend::InProcess(engine) => engine.policy(),
            Backend::Executors(executors) => executors.policy(),
            Backend::Simulated(_, policy) => policy,
        }
    }

    /// The form in which a module must be compiled for guests of this kind.
    pub(crate) fn form(&self, kind: GuestKind) -> CodeForm {
        match &self.0 {
            Backend::InProcess(engine) => engine.form(),
            Backend::Executors(executors) => executors.form(kind),
            Backend::Simulated(..) => CodeForm::default(),
        }
    }

    /// True if guests run in processes of their own, which may end without them.
    pub(crate) fn has_executors(&self) -> bool {
        matches!(self.0, Backend::Executors(_))
    }

    /// Starts processes that wait for guests, so that the first guest of each kind waits for none. To be called in the
    /// runtime that starts guests. From now on each process has the walls that the host has `told`, or does not start.
    pub(crate) fn warm_up(&self, told: &[Wall]) {
        if let Backend::Executors(executors) = &self.0 {
            executors.warm_up(told);
        }
    }

    /// Loads a module that was compiled by [`compile`](crate::compile) in the [form](Self::form) for this kind.
    ///
    /// # Errors
    ///
    /// [`SandboxError::NoComponents`] if the policy does not allow the module; [`SandboxError::Load`] if the engine
    /// refuses it or it imports what the host does not offer, which is found out later if guests have processes of their
    /// own.
    pub(crate) fn load(
        &self,
        module: Digest,
        kind: GuestKind,
        compiled: &Compiled,
        entry_point: EntryPoint,
    ) -> Result<Program, SandboxError> {
        self.check_entry_point(entry_point)?;
        let kind = match &self.0 {
            Backend::InProcess(engine) => ProgramKind::Loaded(engine.load(compiled, entry_point)?),
            Backend::Executors(executors) => {
                ProgramKind::Code(executors.load(module, kind, compiled, entry_point)?)
            }
            Backend::Simulated(..) => return Err(SandboxError::Load("nothing real runs here".to_owned())),
        };
        Ok(Program::new(kind))
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

    /// True if no compute thread has returned from a guest for so long (5 s) that all of them must hang. An executor
    /// process in that state is ended instead.
    pub(crate) fn is_wedged(&self) -> bool {
        match &self.0 {
            Backend::InProcess(engine) => engine.is_wedged(),
            Backend::Executors(_) => false,
            Backend::Simulated(guests, _) => guests.are_wedged(),
        }
    }

    /// Memory of all guests together, in bytes; 0 in a simulation.
    pub(crate) fn memory_bytes(&self) -> u64 {
        match &self.0 {
            Backend::InProcess(engine) => engine.memory_bytes().load(Ordering::Relaxed),
            Backend::Executors(executors) => executors.memory_bytes(),
            Backend::Simulated(..) => 0,
        }
    }

    /// Starts a guest and returns without waiting for it. Guests of different `domain`s never share a process of their
    /// own.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Full`] if there is no room for another guest; [`SandboxError::Load`] if another sandbox loaded
    /// the program; [`SandboxError::Setup`] if the system starts no process. No function of `start` is called then.
    pub(crate) fn start(
        &self,
        program: &Program,
        domain: TrustDomain,
        start: GuestStart,
    ) -> Result<AbortHandle, SandboxError> {
        let handle = match (&self.0, &program.kind) {
            (Backend::Simulated(guests, _), ProgramKind::Simulated(module)) => {
                let GuestStart { mailbox, on_start, on_end, .. } = start;
                guests.start(*module, mailbox, on_start, Box::new(move |end| on_end(GuestEnd::Ended(end))))
            }
            (Backend::InProcess(engine), ProgramKind::Loaded(loaded)) => {
                engine.start(loaded, &program.terms, start)?
            }
            (Backend::Executors(executors), ProgramKind::Code(code)) => {
                executors.start(code, &program.terms, domain, start)?
            }
            // Only the sandbox that loaded a program can run it.
            _ => return Err(SandboxError::Load("the module was loaded by another sandbox".to_owned())),
        };
        Ok(AbortHandle(handle))
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
    store.epoch_deadline_callback(|mut context| {
        guest_clock::note_computing();
        let guest = context.data_mut();
        if guest.meter.is_over() {
            return Err(failure::Stop::TimeLimit { budget: guest.meter.budget() }.into());
        }
        // What it has sent goes now, and not when a call that takes long has ended.
        guest.mailbox.flush();
        if guest.has_thread {
            if guest.abort.is_killed() {
                return Err(failure::Stop::Ended.into());
            }
            direct_call::end_slice();
            return Ok(wasmtime::UpdateDeadline::Continue(SLICE_TICKS));
        }
        Ok(match guest.take_unsent() {
            Some(sent) => wasmtime::UpdateDeadline::YieldCustom(SLICE_TICKS, Box::pin(sent)),
            None => wasmtime::UpdateDeadline::Yield(SLICE_TICKS),
        })
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
