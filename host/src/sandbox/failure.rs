//! Failures: explains why a guest failed, from the engine's error and the guest's last output.

use std::sync::atomic::{AtomicBool, Ordering};

use grid_protocol::limits::REASON_BYTES_MAX;
use grid_protocol::worker::{Failure, FailureKind};
use parking_lot::{Mutex, MutexGuard};
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::sandbox::symbol::{self, bounded};

/// Why the host ended a guest: a bad host call or return value, or the end of its time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error(
        "a grid call was given {length} bytes at {pointer}, outside of the guest's {memory} bytes of memory"
    )]
    OutOfBounds { pointer: u32, length: u32, memory: usize },
    #[error("a message of {length} bytes was sent; the limit is {max}")]
    MessageTooLarge { length: usize, max: usize },
    #[error(
        "it sent, without a loop or a function of its own between, more than the {most} bytes that may wait for room"
    )]
    NoRoom { most: usize },
    #[error("it was ended")]
    Ended,
    #[error("one call took longer on the processor than {budget:?}")]
    TimeLimit { budget: std::time::Duration },
    #[error("the guest aborted: {0}")]
    Abort(String),
    #[error("`loop` returned {0}; 0 is idle and 1 is again")]
    BadReturn(i32),
}

/// What a failure reports besides the engine's error: the guest's last output, and whether it was refused memory, since
/// its last message came.
#[derive(Debug, Default)]
pub(crate) struct FailureContext {
    /// There may be something to forget.
    any: AtomicBool,
    inner: Mutex<FailureNotes>,
}

#[derive(Debug, Default)]
struct FailureNotes {
    memory_refused: bool,
    /// The end of what the guest logged as errors.
    errors: Vec<u8>,
    /// The end of what the guest wrote to standard error.
    stderr: Vec<u8>,
}

/// Bytes of the guest's last output that a failure includes.
const LAST_WORDS_BYTES_MAX: usize = 2 << 10;

impl FailureContext {
    /// Forgets everything, because a new message is to be handled.
    pub(crate) fn forget(&self) {
        // Only the guest's own task writes and forgets, so a relaxed load suffices.
        if self.any.load(Ordering::Relaxed) {
            *self.lock() = FailureNotes::default();
            self.any.store(false, Ordering::Relaxed);
        }
    }

    pub(crate) fn note_memory_refused(&self) {
        self.lock().memory_refused = true;
    }

    /// Notes a line that the guest logged as an error.
    pub(crate) fn note_error(&self, line: &[u8]) {
        append(&mut self.lock().errors, line);
    }

    /// Notes a line that the guest wrote to standard error.
    pub(crate) fn note_stderr(&self, line: &[u8]) {
        append(&mut self.lock().stderr, line);
    }

    fn lock(&self) -> MutexGuard<'_, FailureNotes> {
        self.any.store(true, Ordering::Relaxed);
        self.inner.lock()
    }
}

fn append(tail: &mut Vec<u8>, line: &[u8]) {
    if !tail.is_empty() {
        tail.push(b'\n');
    }
    tail.extend_from_slice(line);
    let excess = tail.len().saturating_sub(LAST_WORDS_BYTES_MAX);
    tail.drain(..excess);
}

/// Turns an error of the engine into a failure. `starting` is true until the guest is ready for messages.
pub(crate) fn explain(error: &wasmtime::Error, starting: bool, failure_context: &FailureContext) -> Failure {
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
    let (mut kind, mut message) = classify(error);
    let left = failure_context.lock();
    if left.memory_refused && matches!(kind, FailureKind::Trap | FailureKind::Exit(_)) {
        kind = if starting { FailureKind::MemoryLimit } else { FailureKind::OutOfMemory };
        message = format!("it was refused memory beyond its limit, and then: {message}");
    }
    if starting && kind == FailureKind::Trap {
        kind = FailureKind::Start;
    }
    let words = if left.errors.is_empty() { &left.stderr } else { &left.errors };
    if !words.is_empty() {
        message = format!("{message}; it wrote: {}", String::from_utf8_lossy(words).trim());
    }
    Failure { kind, message: cut(message), backtrace }
}

fn classify(error: &wasmtime::Error) -> (FailureKind, String) {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        let kind = match stop {
            Stop::OutOfBounds { .. } => FailureKind::OutOfBounds,
            Stop::MessageTooLarge { .. } => FailureKind::MessageTooLarge,
            Stop::NoRoom { .. } => FailureKind::OutOfMemory,
            Stop::TimeLimit { .. } => FailureKind::TimeLimit,
            Stop::Abort(_) | Stop::Ended => FailureKind::Trap,
            Stop::BadReturn(_) => FailureKind::BadReturn,
        };
        return (kind, stop.to_string());
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return (FailureKind::Exit(exit.0), format!("the guest exited with code {}", exit.0));
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let kind = match trap {
            Trap::StackOverflow => FailureKind::StackOverflow,
            Trap::MemoryOutOfBounds | Trap::TableOutOfBounds => FailureKind::OutOfBounds,
            _ => FailureKind::Trap,
        };
        return (kind, trap.to_string());
    }
    // Bounded, because one cause is the backtrace, whose function names may be as long as the module.
    let text = bounded(error.root_cause(), REASON_BYTES_MAX);
    let mut causes = error.chain().map(|cause| bounded(cause, REASON_BYTES_MAX));
    let memory = ["memory minimum size", "exceeds memory limits", "exceeds the limit", "table minimum size"];
    if causes.any(|cause| memory.iter().any(|part| cause.contains(part))) {
        return (FailureKind::MemoryLimit, text);
    }
    (FailureKind::Trap, text)
}

fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let mut names =
        symbol::shown(backtrace.frames().iter().filter_map(wasmtime::FrameInfo::func_name)).into_iter();
    let frame = |frame: &wasmtime::FrameInfo| {
        let name = frame.func_name().and_then(|_| names.next());
        let offset = frame.module_offset().unwrap_or_default();
        format!("{} @ {offset:#x}", name.unwrap_or_else(|| format!("function {}", frame.func_index())))
    };
    backtrace.frames().iter().map(frame).collect()
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(REASON_BYTES_MAX));
    text
}
