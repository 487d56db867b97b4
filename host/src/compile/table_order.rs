//! Which functions are not worth keeping, because the compiler will not ask for the next one as it did before.
//!
//! Cranelift finds a function by a hash of all that it is compiled from, and hashes a table, too, that the function before
//! may have left in the same context: a trampoline for calls from outside leaves one, a function that is compiled empties
//! it, and one that is found in a pack does not. So of the two functions behind a trampoline, the second is asked for by
//! another hash as soon as the first is found: one of them is compiled again in any case, and it had better be the
//! shorter one. If that is the first, it is not kept.
//!
//! That a context has just had a trampoline is in nothing but the compiler's log. Threads exchange contexts now and then, a
//! module's start logs nothing, and a later version of the compiler may log something else: then a function more is
//! compiled, and no other code comes out.

use std::cell::Cell;
use std::fmt::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};

/// The compiler's hash of what a function was compiled from.
pub(super) type FunctionKey = [u8; KEY_BYTES];

pub(super) const KEY_BYTES: usize = 32;

/// What a thread of the compiler works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CompileStep {
    /// Code through which a function is called from outside.
    Trampoline,
    /// A function of the module.
    Function,
    /// Something that begins with a new context.
    Other,
}

/// The table of exceptions in a thread's context.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum LeftTable {
    /// There is none.
    #[default]
    None,
    /// A trampoline left it.
    Left,
    /// A function emptied it when it was compiled. It is named, with the length of what came out, until the next has come.
    Emptied { by: Option<(FunctionKey, usize)> },
}

impl LeftTable {
    /// The table once a step is done, and the function that is not to be kept, if there is one.
    fn after(
        self,
        step: CompileStep,
        function: FunctionKey,
        bytes: usize,
        found: bool,
    ) -> (Self, Option<FunctionKey>) {
        match (step, self) {
            (CompileStep::Trampoline, _) => (Self::Left, None),
            (CompileStep::Other, _) => (Self::None, None),
            (CompileStep::Function, Self::Left) if !found => {
                (Self::Emptied { by: Some((function, bytes)) }, None)
            }
            (CompileStep::Function, Self::Emptied { by: Some((first, first_bytes)) }) => {
                (Self::Emptied { by: None }, (first_bytes < bytes).then_some(first))
            }
            (CompileStep::Function, table) => (table, None),
        }
    }
}

thread_local! {
    static STEP: Cell<CompileStep> = const { Cell::new(CompileStep::Other) };
    static TABLE: Cell<LeftTable> = const { Cell::new(LeftTable::None) };
}

/// Notes that the calling thread has a function: so many bytes, found or compiled. Returns the one that is not to be kept, if there is one.
pub(super) fn done(function: FunctionKey, bytes: usize, found: bool) -> Option<FunctionKey> {
    let (table, dropped) = TABLE.get().after(STEP.get(), function, bytes, found);
    TABLE.set(table);
    dropped
}

/// Begins to read the compiler's log. Only for a process that keeps no other.
pub(super) fn read_log() {
    // If there is another logger, each step is unknown, and everything is kept.
    if log::set_logger(&CompilerLog).is_ok() {
        log::set_max_level(LevelFilter::Trace);
    }
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
                STEP.set(step);
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
            _ if what.starts_with(b"array-to-wasm") => CompileStep::Trampoline,
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
    use super::*;

    #[test]
    fn the_shorter_of_the_two_functions_behind_a_trampoline_is_the_one_that_is_compiled_again() {
        let [one, two] = [1, 2].map(|key| [key; 32]);
        let steps = |first_bytes, second_bytes, first_found| {
            let (table, _) = LeftTable::default().after(CompileStep::Trampoline, [0; 32], 100, true);
            let (table, none) = table.after(CompileStep::Function, one, first_bytes, first_found);
            assert_eq!(none, None);
            table.after(CompileStep::Function, two, second_bytes, false).1
        };
        assert_eq!(steps(10, 20, false), Some(one));
        assert_eq!(steps(20, 10, false), None, "the second one is compiled again");
        assert_eq!(steps(10, 20, true), None, "what is found empties no table");
    }

    #[test]
    fn a_function_whose_table_nobody_left_is_kept() {
        let function =
            |table: LeftTable, key: u8, bytes| table.after(CompileStep::Function, [key; 32], bytes, false);
        let (table, none) = function(LeftTable::default(), 1, 10);
        assert_eq!((table, none), (LeftTable::None, None));
        let (table, _) = table.after(CompileStep::Trampoline, [0; 32], 100, false);
        let (table, _) = table.after(CompileStep::Other, [0; 32], 100, false);
        assert_eq!(function(function(table, 1, 10).0, 2, 20), (LeftTable::None, None));
    }
}
