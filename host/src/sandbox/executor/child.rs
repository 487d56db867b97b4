//! The executor itself: a process that locks itself down and runs the guests of one trust domain.
//!
//! It is given its set-up, its memory and its bell; builds the engine and starts all of its threads; waits, perhaps for
//! long, for the module that it is to run; loads it; gives up the last system calls; and then takes guests.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::executor::{ExecutorModule, ExecutorSetup, StartGuest};
use grid_protocol::wire::Wire;
use grid_protocol::worker::{End, Failure, FailureKind};
use parking_lot::{Mutex, MutexGuard};
use rustix::thread::futex;

use super::child_port::{ChildPort, ToHost};
use super::credit::gathered_bytes;
use super::duty::Shift;
use super::frame::{Frame, FrameKind};
use super::handover;
use super::notation;
use super::overseer::{Guests, Overseer, RunningGuest};
use super::ring::{BrokenRing, RingReader, RingWriter};
use super::shared_memory::{Direction, SharedMemory};
use crate::child_process;
use crate::lockdown::{self, LockdownError, NamespaceWall};
use crate::sandbox::command::Terms;
use crate::sandbox::direct_call;
use crate::sandbox::in_process::{InProcess, LoadedProgram};
use crate::sandbox::pool::{Inline, gather_with};
use crate::sandbox::{GuestEnd, GuestStart, SandboxError};

/// Runs an executor. Its standard input is the socket over which the host gives it everything else; if its second argument
/// asks for that, it locks itself down, tells its walls and ends. Returns the exit code, which the caller's `main` must
/// return.
pub fn run_child() -> u8 {
    lockdown::close_inherited();
    if child_process::is_to_tell_walls() {
        return match lockdown::before_threads().and_then(lockdown::before_guests) {
            Ok(walls) => child_process::tell_walls(walls),
            Err(error) => cannot_start(&error.into()),
        };
    }
    match Executor::set_up() {
        Ok((executor, threads)) => executor.run(threads),
        Err(error) => cannot_start(&error),
    }
}

/// The folder of this process's open files, kept open because no folder can be opened once it has namespaces of its own.
struct OwnFiles(Option<File>);

impl OwnFiles {
    fn open() -> Self {
        Self(File::open("/proc/self/fd").ok())
    }

    /// Does `work` with this as the working folder, if there is one; an empty folder is the working folder again, and this
    /// is closed, when it is done.
    fn during<T>(self, work: impl FnOnce() -> T) -> T {
        // Without it, a component's code is copied.
        let _ = self.0.as_ref().map(rustix::process::fchdir);
        let done = work();
        // The root, which can always be entered.
        let _ = rustix::process::chdir("/");
        done
    }
}

fn cannot_start(error: &ExecutorError) -> u8 {
    crate::log::say(&format!("an executor cannot start: {error}"));
    1
}

/// Why an executor cannot start.
#[derive(Debug, thiserror::Error)]
enum ExecutorError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Lockdown(#[from] LockdownError),
    #[error("the system gives it no namespaces any more, and its host tells that executors have them")]
    NoNamespaces,
    #[error("{0}")]
    Sandbox(#[from] SandboxError),
    #[error("the host's words make no sense: {0}")]
    Words(#[from] grid_protocol::DecodeError),
    #[error("no such entry point")]
    EntryPoint,
}

struct Executor {
    sandbox: Arc<InProcess>,
    program: LoadedProgram,
    terms: Terms,
    reading: Mutex<Reading>,
    to_host: Arc<ToHost>,
    guests: Guests,
    /// What a guest that has this executor to itself shares with the host.
    memory: Option<Arc<SharedMemory>>,
    overseer: Option<Overseer>,
}

/// The end of the ring that the thread on duty reads.
struct Reading {
    reader: RingReader,
    frames: Vec<Frame>,
}

/// Threads that wait for the executor whose guests share threads; `None` if it has one guest, which the main thread runs.
type DutyThreads = Option<[mpsc::Sender<(Arc<Executor>, Shift)>; 2]>;

/// How often the executor tells its memory, and that it does not hang.
const TELL_INTERVAL: Duration = Duration::from_millis(500);

impl Executor {
    fn set_up() -> Result<(Self, DutyThreads), ExecutorError> {
        let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
        let (setup, [memory_file, bell]) = handover::take(socket.as_fd())?;
        let setup = ExecutorSetup::from_body(&setup)?;
        let own_files = OwnFiles::open();
        let walls = lockdown::before_threads()?;
        if setup.namespaces && walls.namespaces != NamespaceWall::InForce {
            return Err(ExecutorError::NoNamespaces);
        }
        let memory = Arc::new(SharedMemory::open(memory_file.as_fd())?);
        drop(memory_file);
        let sandbox = Arc::new(InProcess::for_form(notation::policy(&setup), notation::form(&setup))?);
        let (module, [code]) = handover::take(socket.as_fd())?;
        let to_host = Arc::new(ToHost::new(RingWriter::new(memory.clone(), Direction::ToHost), bell));
        let guests = Guests::default();
        // Threads cannot be started later.
        watch(socket, memory.clone(), sandbox.clone())?;
        let threads = if setup.shared { Some([duty_thread(0)?, duty_thread(1)?]) } else { None };
        let overseer = if setup.shared { None } else { Some(Overseer::start(&guests, &to_host)?) };
        let module = ExecutorModule::from_body(&module)?;
        let entry_point = notation::read_entry_point(module.entry_point).ok_or(ExecutorError::EntryPoint)?;
        // SAFETY: the host gives only what it may give to its own engine, in a file that is sealed.
        let loaded = own_files.during(|| unsafe { sandbox.load_file(File::from(code), entry_point) });
        let program = loaded.inspect_err(|error| {
            to_host.send(Frame::new(FrameKind::Refused, 0, 0, error.to_string().into()));
        })?;
        let walls = lockdown::before_guests(walls)?;
        to_host.send(Frame::new(FrameKind::Ready, 0, 0, walls.to_line().into()));
        let reader = RingReader::new(memory.clone(), Direction::ToExecutor);
        let reader = reader.gathering(FrameKind::Message, gathered_bytes(!setup.shared));
        let executor = Self {
            sandbox,
            program,
            terms: Terms::named(&module.name, module.files),
            memory: (!setup.shared).then_some(memory),
            reading: Mutex::new(Reading { reader, frames: Vec::new() }),
            to_host,
            guests,
            overseer,
        };
        Ok((executor, threads))
    }

    /// Hands frames to guests until the host ends this process.
    fn run(self, threads: DutyThreads) -> u8 {
        let Some(threads) = threads else {
            return self.serve(None);
        };
        let executor = Arc::new(self);
        for (thread, shift) in threads.into_iter().zip(Shift::both(&executor.to_host)) {
            // It fails if the thread is gone, which ends this process.
            let _ = thread.send((executor.clone(), shift));
        }
        loop {
            std::thread::park();
        }
    }

    /// Hands frames to guests, on a thread that is on duty for the `shift` or alone, until the host breaks the rules.
    fn serve(&self, shift: Option<Shift>) -> u8 {
        let _context = self.sandbox.enter();
        let shift = shift.map(Arc::new);
        loop {
            if let Some(shift) = &shift {
                shift.begin();
            }
            let mut reading = self.reading.lock();
            let Reading { reader, frames } = &mut *reading;
            if let Err(error) = self.take_frames(reader, frames) {
                crate::log::say(&format!("an executor ends: {error}"));
                return 1;
            }
            if frames.is_empty() {
                if reader.sleep() {
                    // It fails if something has come meanwhile.
                    let _ = futex::wait(&reader.state().reader_sleeps, futex::Flags::empty(), 1, None);
                }
                continue;
            }
            let hand_out = || {
                self.handle(&mut reading.frames);
                drop(reading);
                // Before a guest runs on this thread.
                if let Some(overseer) = &self.overseer {
                    overseer.wake();
                }
            };
            self.to_host.wake_after(|| match &shift {
                // A guest that has this process to itself may run on this thread for as long as it takes.
                None => gather_with(Inline::Always, hand_out),
                Some(shift) if shift.has_standby() => {
                    direct_call::allow(shift.clone(), || gather_with(Inline::QuickRow, hand_out));
                }
                Some(_) => gather_with(Inline::QuickRow, hand_out),
            });
        }
    }

    fn take_frames(&self, reader: &mut RingReader, frames: &mut Vec<Frame>) -> Result<(), BrokenRing> {
        while frames.len() < FRAMES_AT_ONCE
            && let Some(frame) = reader.next()?
        {
            frames.push(frame);
        }
        if reader.release() {
            // The host sleeps in its own way, and looks for room when it is woken.
            self.to_host.ring();
        }
        Ok(())
    }

    fn handle(&self, frames: &mut Vec<Frame>) {
        let mut guests = self.guests.lock();
        for Frame { head, payload } in frames.drain(..) {
            if head.kind == FrameKind::Start {
                // It may end at once, which takes the lock.
                MutexGuard::unlocked(&mut guests, || self.start(head.guest, &payload));
                continue;
            }
            let Some(guest) = guests.get(&head.guest) else {
                // It has ended meanwhile.
                continue;
            };
            match head.kind {
                FrameKind::Message => guest.port.deliver(head.number, payload),
                FrameKind::Stop => guest.port.stop(),
                FrameKind::Withdrawn => guest.port.withdraw(head.number),
                FrameKind::Room => guest.port.add_room(head.number),
                FrameKind::Abort => {
                    if let Some(abort) = guest.abort.clone() {
                        MutexGuard::unlocked(&mut guests, || abort.end());
                    }
                }
                _ => {}
            }
        }
    }

    fn start(&self, guest: u32, start: &Bytes) {
        let start = match StartGuest::from_body(start) {
            Ok(start) => start,
            Err(error) => return self.on_end(guest)(GuestEnd::Ended(failed(error.to_string()))),
        };
        let port = Arc::new(ChildPort::new(guest, self.to_host.clone(), self.memory.clone()));
        self.guests.lock().insert(guest, RunningGuest { port: port.clone(), abort: None });
        let starting = port.clone();
        let start = GuestStart {
            arguments: Bytes::from(start.arguments),
            limits: notation::limits(&start.limits),
            mailbox: port,
            on_start: Box::new(move || starting.start()),
            on_end: Box::new(self.on_end(guest)),
        };
        match self.sandbox.start(&self.program, &self.terms, start) {
            Ok(abort) => {
                if let Some(running) = self.guests.lock().get_mut(&guest) {
                    running.abort = Some(abort);
                }
            }
            Err(error) => self.on_end(guest)(GuestEnd::Ended(failed(error.to_string()))),
        }
    }

    /// What is to be done when a guest has ended.
    fn on_end(&self, guest: u32) -> impl FnOnce(GuestEnd) + Send + 'static {
        let (to_host, guests) = (self.to_host.clone(), self.guests.clone());
        move |end| {
            let running = guests.lock().remove(&guest);
            if let Some(running) = running {
                running.port.put_held();
            }
            let end = match end {
                GuestEnd::Ended(end) => end,
                GuestEnd::Lost { reason } => failed(reason),
            };
            to_host.send(Frame::new(FrameKind::Ended, guest, 0, end.to_body().into()));
        }
    }
}

/// Starts a thread that waits for an executor, whose guests it runs when it is on duty; when it ends, this process does.
fn duty_thread(number: u8) -> std::io::Result<mpsc::Sender<(Arc<Executor>, Shift)>> {
    let (give, taken) = mpsc::channel::<(Arc<Executor>, Shift)>();
    let (begun, has_begun) = mpsc::channel();
    let name = format!("grid-duty-{number}");
    std::thread::Builder::new().name(name).stack_size(DUTY_STACK_BYTES).spawn(move || {
        drop(begun);
        if let Ok((executor, shift)) = taken.recv() {
            // Nobody else would notice that it has panicked.
            let served = catch_unwind(AssertUnwindSafe(|| executor.serve(Some(shift))));
            std::process::exit(served.map_or(1, i32::from));
        }
    })?;
    // Nothing is sent. It gives itself its name as it begins, which it may not do later.
    let _: Result<(), _> = has_begun.recv();
    Ok(give)
}

/// Stack of a thread that guests may be called on: four times what a guest may take of it.
const DUTY_STACK_BYTES: usize = 2 << 20;

/// Frames that are handed out before guests that they wake get a thread.
const FRAMES_AT_ONCE: usize = 256;

fn failed(message: String) -> End {
    End::Failed(Failure { kind: FailureKind::HostFault, message, backtrace: Vec::new() })
}

/// Starts the thread that tells how the executor is doing, and the one that ends this process with the host.
fn watch(socket: OwnedFd, memory: Arc<SharedMemory>, sandbox: Arc<InProcess>) -> std::io::Result<()> {
    std::thread::Builder::new().name("grid-parent".to_owned()).spawn(move || {
        // Nothing more is handed over, so this returns when the host is gone.
        let _ = rustix::io::read(&socket, &mut [0; 1]);
        std::process::exit(0);
    })?;
    std::thread::Builder::new().name("grid-tell".to_owned()).spawn(move || {
        let header = memory.header();
        loop {
            let bytes = sandbox.memory_bytes().load(Ordering::Relaxed);
            header.memory_bytes.store(bytes, Ordering::Relaxed);
            header.wedged.store(u32::from(sandbox.is_wedged()), Ordering::Relaxed);
            header.beats.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(TELL_INTERVAL);
        }
    })?;
    Ok(())
}
