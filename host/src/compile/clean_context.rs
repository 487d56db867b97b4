//! Contexts of the compiler without what functions before have left in them, so that a function that is known is found.
//!
//! Cranelift finds a function by a hash of all that it is compiled from, and hashes a table, too, that the function before
//! may have left in the same context (`DataFlowGraph::clear` forgets `exception_tables`). An entry, code through which a function is
//! called from outside, leaves one. A function that is compiled empties it, and one that is found does not. So what follows the
//! first function behind an entry would be asked for by one hash if that was compiled, and by another if it was found.
//!
//! Before that, therefore, a module of one type and nothing else is compiled, on the same thread and by the same engine: it consists of
//! code of another kind, which begins with a new context and leaves it without a table. What a thread is about to begin is in
//! nothing but the compiler's log. If a later version logs something else, or threads exchange contexts in spite of the
//! [gate](super::context_gate), some functions more are compiled, and no other code comes out.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Write};
use std::sync::OnceLock;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use wasmtime::Engine;

use crate::compile::context_gate::ContextGate;

/// A module with the type of a function without parameters and results. It is compiled to the code by which guests call the host.
const ONE_TYPE: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0";

/// What a thread of the compiler begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CompileStep {
    /// Code through which a function is called from outside.
    Entry,
    /// A function of the module.
    Function,
    /// Something else, with a new context.
    Other,
}

/// What is in the context that a thread had last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ContextState {
    step: CompileStep,
    /// True if an entry has left its table, which a function may have emptied.
    table: bool,
}

impl ContextState {
    const NEW: Self = Self { step: CompileStep::Other, table: false };

    /// Begins the next step; true if the context is to be cleaned before.
    ///
    /// The function that is first behind an entry has always the table of the same entry, whatever became of it.
    fn begin(&mut self, step: CompileStep) -> bool {
        let clean = self.table && (self.step, step) == (CompileStep::Function, CompileStep::Function);
        self.table = match step {
            CompileStep::Entry => true,
            CompileStep::Function => self.table && !clean,
            CompileStep::Other => false,
        };
        self.step = step;
        clean
    }
}

/// A thread of a compilation.
struct CompilingThread {
    engine: Engine,
    /// Its number in the pool.
    number: usize,
    context: ContextState,
    /// True if the log has said what it works on.
    has_begun: bool,
}

/// A thread needs 10 to 20 µs from one function to the next. One that has nothing more to compile never leaves the gate.
static GATE: ContextGate = ContextGate::new(Duration::from_micros(200));

thread_local! {
    /// `None` while it cleans its context, so that nothing is noted of what is compiled for that.
    static THREAD: RefCell<Option<CompilingThread>> = const { RefCell::new(None) };
    static CLEANING: Cell<bool> = const { Cell::new(false) };
}

/// Has the threads of the present pool keep their contexts clean while `compile` works with this engine.
///
/// Reads the compiler's log: only for a process that keeps no other. If there is another logger, nothing is cleaned.
pub(super) fn with_clean_contexts<T>(engine: &Engine, compile: impl FnOnce() -> T) -> T {
    static READS_LOG: OnceLock<bool> = OnceLock::new();
    if !READS_LOG.get_or_init(|| log::set_logger(&CompilerLog).is_ok()) {
        return compile();
    }
    log::set_max_level(LevelFilter::Trace);
    rayon::broadcast(|thread| {
        let (engine, number) = (engine.clone(), thread.index());
        THREAD.set(Some(CompilingThread { engine, number, context: ContextState::NEW, has_begun: false }));
    });
    let compiled = compile();
    rayon::broadcast(|_| THREAD.set(None));
    compiled
}

/// True if the calling thread cleans its context: what it asks for meanwhile belongs to no module.
pub(super) fn is_cleaning() -> bool {
    CLEANING.get()
}

/// Notes that the calling thread has what it began with, and is about to give its context back.
pub(super) fn done() {
    THREAD.with_borrow_mut(|thread| {
        let Some(thread) = thread else { return };
        // Some steps are not logged: nothing would tell when it leaves.
        if std::mem::take(&mut thread.has_begun) {
            GATE.enter(thread.number);
        } else {
            GATE.leave(thread.number);
        }
    });
}

/// Notes what the calling thread begins with, before it takes a context for it.
fn begin(step: CompileStep) {
    let Some(mut thread) = THREAD.take() else {
        return;
    };
    if thread.context.begin(step) {
        CLEANING.set(true);
        // An error: the context is as it was.
        let _ = thread.engine.precompile_module(ONE_TYPE);
        CLEANING.set(false);
    }
    GATE.leave(thread.number);
    thread.has_begun = true;
    THREAD.set(Some(thread));
}

struct CompilerLog;

impl Log for CompilerLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "wasmtime_internal_cranelift::compiler"
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let mut beginning = Beginning::default();
            // An error: there is more than the beginning.
            let _ = beginning.write_fmt(*record.args());
            if let Some(step) = beginning.step() {
                begin(step);
            }
        }
    }

    fn flush(&self) {}
}

/// The first bytes of a line.
#[derive(Default)]
struct Beginning {
    bytes: [u8; 24],
    length: usize,
}

impl Beginning {
    fn step(&self) -> Option<CompileStep> {
        let what = self.bytes.get(..self.length)?.strip_prefix(b"compiling ")?;
        Some(match what {
            _ if what.starts_with(b"Wasm function") => CompileStep::Function,
            _ if what.starts_with(b"array-to-wasm") => CompileStep::Entry,
            _ => CompileStep::Other,
        })
    }
}

impl Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        let taken = room.len().min(text.len());
        for (place, byte) in room.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        self.length += taken;
        if taken < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::CompileStep::{Entry, Function, Other};
    use super::*;

    /// Before which of these steps the context is cleaned.
    fn cleaned(steps: &[CompileStep]) -> Vec<usize> {
        let mut context = ContextState::NEW;
        (0..steps.len()).filter(|step| context.begin(steps[*step])).collect()
    }

    #[test]
    fn a_context_is_cleaned_before_the_second_function_behind_an_entry_and_then_no_more() {
        assert_eq!(cleaned(&[Entry, Function, Function, Function, Entry, Function, Function]), [2, 6]);
    }

    #[test]
    fn a_context_is_not_cleaned_where_it_has_no_table_or_the_next_step_brings_its_own() {
        assert_eq!(cleaned(&[Function, Function]), [0; 0]);
        assert_eq!(cleaned(&[Entry, Function, Entry, Function, Other, Function, Function]), [0; 0]);
        assert_eq!(cleaned(&[Entry, Other, Function, Function]), [0; 0]);
    }
}
