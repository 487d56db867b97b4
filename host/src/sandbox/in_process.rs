//! Guests in this process: in an executor those of one trust domain; in a host without executor processes, all of them.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;

use bytes::Bytes;
use grid_inspect::{ComponentEntry, CoreEntry, EntryPoint};
use grid_protocol::worker::{End, Failure, FailureKind};
use tokio::runtime;
use wasmtime::component::Component;
use wasmtime::{Engine, InstancePre, Linker, Module};

use crate::mailbox::MessagePort;
use crate::sandbox::abort::Abort;
use crate::sandbox::core::Core;
use crate::sandbox::direct_call::CallKind;
use crate::sandbox::engine::{self, CodeForm};
use crate::sandbox::failure::explain;
use crate::sandbox::guest::Guest;
use crate::sandbox::memory_use::MemoryUse;
use crate::sandbox::message_loop::MessageLoop;
use crate::sandbox::meter::Meter;
use crate::sandbox::pool::Pool;
use crate::sandbox::simulated::GuestHandle;
use crate::sandbox::{
    Compiled, GuestEnd, GuestStart, Policy, SandboxError, command, component, grid_calls, guest_clock,
};

/// An engine, and the threads that run its guests.
pub(super) struct InProcess {
    engine: Engine,
    linker: Linker<Guest>,
    /// For commands, with the calls for their own files.
    commands: Linker<Guest>,
    component_linker: wasmtime::component::Linker<Guest>,
    policy: Policy,
    form: CodeForm,
    running: Arc<AtomicUsize>,
    /// Memory of all guests together, in bytes.
    memory_bytes: Arc<AtomicU64>,
    /// Drives the timers of the guests.
    timers: runtime::Handle,
    pool: Pool,
}

/// A module that this process has loaded.
#[derive(Clone)]
pub(super) enum LoadedProgram {
    Core(InstancePre<Guest>, CoreEntry, CallKind),
    Command(InstancePre<Guest>),
    Component(wasmtime::component::InstancePre<Guest>, ComponentEntry),
}

impl InProcess {
    /// Sets up the engine, the threads and the address space, with room for fewer guests than the policy has if the
    /// address space does not suffice; the code is compiled with bounds checks if `slots` guests do not fit without.
    ///
    /// # Errors
    ///
    /// [`SandboxError::AddressSpace`] if there is no room for one guest; [`SandboxError::Setup`] if anything else
    /// fails.
    pub(super) fn new(policy: Policy, slots: usize) -> Result<Self, SandboxError> {
        let (engine, policy, form) = engine::fitting(&policy, slots).map_err(no_address_space)?;
        Self::with_engine(engine, policy, form)
    }

    /// As [`Self::new`], for code that was compiled in this form.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub(super) fn for_form(policy: Policy, form: CodeForm) -> Result<Self, SandboxError> {
        let (engine, policy) = engine::fitting_form(&policy, form).map_err(no_address_space)?;
        Self::with_engine(engine, policy, form)
    }

    fn with_engine(engine: Engine, policy: Policy, form: CodeForm) -> Result<Self, SandboxError> {
        let setup = |error: &dyn fmt::Display| SandboxError::Setup(format!("{error:#}"));
        let mut linker = Linker::new(&engine);
        grid_calls::link(&mut linker, form).map_err(|error| setup(&error))?;
        let mut commands = linker.clone();
        command::link(&mut commands).map_err(|error| setup(&error))?;
        let mut component_linker = wasmtime::component::Linker::new(&engine);
        component::link(&mut component_linker).map_err(|error| setup(&error))?;
        let timers = guest_clock::timers().map_err(|error| setup(&error))?;
        let pool = Pool::start(policy.compute_threads, &timers).map_err(|error| setup(&error))?;
        if form.interruptible {
            guest_clock::watch(&engine, pool.watch());
        }
        let memory_bytes = Arc::default();
        Ok(Self {
            engine,
            linker,
            commands,
            component_linker,
            policy,
            form,
            running: Arc::default(),
            memory_bytes,
            timers,
            pool,
        })
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The form of the code that runs here.
    pub(super) fn form(&self) -> CodeForm {
        self.form
    }

    /// Lets this thread run guests, inline, until what is returned is dropped.
    pub(super) fn enter(&self) -> runtime::EnterGuard<'_> {
        self.timers.enter()
    }

    /// Memory of all guests together, in bytes.
    pub(super) fn memory_bytes(&self) -> &Arc<AtomicU64> {
        &self.memory_bytes
    }

    /// True if no compute thread has returned from a guest for so long (5 s) that all of them must hang.
    pub(super) fn is_wedged(&self) -> bool {
        self.pool.is_wedged()
    }

    /// Loads a module that was compiled by [`compile`](crate::compile), in the form of this engine.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Load`] if the engine refuses it or it imports what the host does not offer.
    pub(super) fn load(
        &self,
        compiled: &Compiled,
        entry_point: EntryPoint,
    ) -> Result<LoadedProgram, SandboxError> {
        if matches!(entry_point, EntryPoint::Component(_)) {
            // SAFETY: `Compiled` is made by `vouch` alone, from bytes that our own compiler wrote, in this process, in
            // its child, or to a file whose MAC under this host's own key was checked.
            let component = unsafe { Component::deserialize(&self.engine, compiled.bytes()) };
            return self.link_component(&component.map_err(not_loaded)?, entry_point);
        }
        // SAFETY: as above.
        let module = unsafe { Module::deserialize(&self.engine, compiled.bytes()) };
        self.link_module(&module.map_err(not_loaded)?, entry_point)
    }

    /// As [`Self::load`], from a file, which is mapped and not copied; a component's if the working folder is the one of this
    /// process's open files.
    ///
    /// # Safety
    ///
    /// The file must have what [`Compiled`] may have, and nobody may be able to change it.
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub(super) unsafe fn load_file(
        &self,
        mut file: File,
        entry_point: EntryPoint,
    ) -> Result<LoadedProgram, SandboxError> {
        if matches!(entry_point, EntryPoint::Component(_)) {
            use std::os::fd::AsRawFd;
            let path = file.as_raw_fd().to_string();
            // SAFETY: by the caller.
            let component = if File::open(&path).is_ok() {
                // SAFETY: by the caller.
                unsafe { Component::deserialize_file(&self.engine, &path) }
            } else {
                // There is no such folder.
                let mut code = Vec::new();
                let read = file.rewind().and_then(|()| file.read_to_end(&mut code));
                read.map_err(|error| SandboxError::Load(error.to_string()))?;
                // SAFETY: by the caller.
                unsafe { Component::deserialize(&self.engine, &code) }
            };
            let component = component.map_err(not_loaded)?;
            // Before the last system calls are given up.
            component.initialize_copy_on_write_image().map_err(not_loaded)?;
            return self.link_component(&component, entry_point);
        }
        // SAFETY: by the caller.
        let module = unsafe { Module::deserialize_open_file(&self.engine, file) }.map_err(not_loaded)?;
        module.initialize_copy_on_write_image().map_err(not_loaded)?;
        self.link_module(&module, entry_point)
    }

    fn link_component(
        &self,
        component: &Component,
        entry_point: EntryPoint,
    ) -> Result<LoadedProgram, SandboxError> {
        let EntryPoint::Component(entry_point) = entry_point else {
            return Err(SandboxError::Load("a component that is to be called as a module".to_owned()));
        };
        let instance = self.component_linker.instantiate_pre(component).map_err(not_loaded)?;
        Ok(LoadedProgram::Component(instance, entry_point))
    }

    fn link_module(&self, module: &Module, entry_point: EntryPoint) -> Result<LoadedProgram, SandboxError> {
        let linker = if entry_point == EntryPoint::Command { &self.commands } else { &self.linker };
        let instance = linker.instantiate_pre(module).map_err(not_loaded)?;
        match entry_point {
            EntryPoint::Core(entry_point) => {
                let calls = CallKind::of(module, self.form);
                Ok(LoadedProgram::Core(instance, entry_point, calls))
            }
            EntryPoint::Command => Ok(LoadedProgram::Command(instance)),
            _ => Err(SandboxError::Load("no entry point that this version knows".to_owned())),
        }
    }

    /// Starts a guest and returns without waiting for it; see [`Sandbox::start`](crate::sandbox::Sandbox::start).
    ///
    /// # Errors
    ///
    /// [`SandboxError::Full`] if there is no room for another guest.
    pub(super) fn start(
        self: &Arc<Self>,
        program: &LoadedProgram,
        terms: &command::Terms,
        start: GuestStart,
    ) -> Result<Arc<dyn GuestHandle>, SandboxError> {
        let GuestStart { arguments, limits, mailbox, on_start, on_end } = start;
        let max = self.policy.workers_max;
        let claim = |running: usize| (running < max).then_some(running + 1);
        let claimed = self.running.fetch_update(Ordering::AcqRel, Ordering::Acquire, claim);
        claimed.map_err(|_| SandboxError::Full { max })?;
        let abort = Arc::<Abort>::default();
        let meter = Arc::new(Meter::new());
        let memory = MemoryUse::none(&self.memory_bytes);
        let mut guest = Guest::new(mailbox.clone(), limits, meter.clone(), memory, abort.clone());
        guest.is_alone = !self.form.interruptible;
        let work = live(program.clone(), terms.clone(), guest, arguments, on_start);
        let work = run(self.clone(), mailbox, abort.clone(), work, on_end);
        abort.of(meter.clone(), self.pool.spawn(meter, work));
        Ok(abort)
    }
}

fn no_address_space(error: wasmtime::Error) -> SandboxError {
    SandboxError::AddressSpace(format!("{error:#}"))
}

fn not_loaded(error: wasmtime::Error) -> SandboxError {
    SandboxError::Load(format!("{error:#}"))
}

/// What a guest does until it stops or fails.
type Life = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// Starts a guest and lets it handle messages until it stops or fails, whichever kind of entry point it has.
///
/// Each kind has a box of its own size: an idle worker keeps what this returns, and that of a command is the largest.
fn live(
    program: LoadedProgram,
    terms: command::Terms,
    guest: Guest,
    arguments: Bytes,
    on_start: Box<dyn FnOnce() + Send>,
) -> Life {
    let context = guest.failure_context.clone();
    match program {
        LoadedProgram::Core(instance, entry_point, calls) => Box::pin(async move {
            // Boxed, so that it takes no room once the guest has started.
            let started = Box::pin(Core::start(&instance, entry_point, calls, guest, arguments)).await;
            let core = started.map_err(|error| explain(&error, true, &context))?;
            on_start();
            MessageLoop::new(core).live().await.map_err(|error| explain(&error, false, &context))
        }),
        LoadedProgram::Component(instance, entry_point) => Box::pin(async move {
            let started =
                Box::pin(component::Component::start(&instance, entry_point, guest, arguments)).await;
            let component = started.map_err(|error| explain(&error, true, &context))?;
            on_start();
            MessageLoop::new(component).live().await.map_err(|error| explain(&error, false, &context))
        }),
        LoadedProgram::Command(instance) => {
            Box::pin(async move { command::run(&instance, &terms, guest, &arguments, on_start).await })
        }
    }
}

/// Runs a guest until it ends or is aborted, then calls `on_end`.
async fn run(
    shared: Arc<InProcess>,
    mailbox: Arc<dyn MessagePort>,
    abort: Arc<Abort>,
    work: Life,
    on_end: Box<dyn FnOnce(GuestEnd) + Send>,
) {
    let mut ending = EndNotice { shared, on_end: Some(on_end) };
    // Whatever happens, the guest is gone before its end is told.
    let mut work = work;
    let end = std::future::poll_fn(|cx| {
        if abort.is_killed() {
            return Poll::Ready(End::Stopped);
        }
        match work.as_mut().poll(cx) {
            // It was ended in the middle of a call.
            Poll::Ready(Err(_)) if abort.is_killed() => Poll::Ready(End::Stopped),
            Poll::Ready(Ok(())) => Poll::Ready(End::Stopped),
            Poll::Ready(Err(failure)) => Poll::Ready(End::Failed(failure)),
            Poll::Pending => {
                // What it sent before it waits, in the midst of a call perhaps.
                mailbox.flush();
                Poll::Pending
            }
        }
    })
    .await;
    drop(work);
    mailbox.flush();
    ending.end(end);
}

/// Calls `on_end` exactly once when a guest has ended, even if its task panics or is dropped.
struct EndNotice {
    shared: Arc<InProcess>,
    on_end: Option<Box<dyn FnOnce(GuestEnd) + Send>>,
}

impl EndNotice {
    fn end(&mut self, end: End) {
        if let Some(on_end) = self.on_end.take() {
            self.shared.running.fetch_sub(1, Ordering::AcqRel);
            on_end(GuestEnd::Ended(end));
        }
    }
}

impl Drop for EndNotice {
    fn drop(&mut self) {
        let message = "the guest's task panicked, or the host goes down".to_owned();
        self.end(End::Failed(Failure { kind: FailureKind::HostFault, message, backtrace: Vec::new() }));
    }
}
