//! The compiler's child process: limits itself, reads a request, compiles, and writes the reply.

use std::io::Write;
use std::num::NonZeroUsize;
#[cfg(unix)]
use std::os::fd::FromRawFd;
use std::sync::Arc;
use std::thread::available_parallelism;

use bytes::Bytes;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::child_process;
use crate::compile::clean_context::with_clean_contexts;
use crate::compile::exchange::{CompileReply, CompileRequest};
use crate::compile::functions::FunctionReuse;
use crate::compile::{COMPILE_BYTES_MAX, COMPILE_TIME_MAX, CompileError, EXIT_REFUSED, compile_with};
use crate::lockdown::{self, LockdownError, Walls};
use crate::sandbox::{CodeForm, engine};

/// Threads that compile one module, at most one for each processor: 4. Each compiles a function of its own, and together
/// they must stay within [`COMPILE_BYTES_MAX`].
const COMPILE_THREADS_MAX: usize = 4;

/// Stack of each: what the main thread of a program has.
const COMPILE_STACK_BYTES: usize = 8 << 20;

/// Runs the child process: reads a module from standard input and writes compiled code to standard output.
///
/// Standard output is closed when it has answered.
///
/// Limits itself first: processor time and address space on Unix; on Linux also no files, no network and no other
/// programs. If its second argument asks for that, it tells its walls instead of compiling. Returns the exit code, which
/// the caller's `main` must return.
pub fn run_child() -> u8 {
    let said = |message: &str| {
        // If standard error fails, too, there is no other way to report.
        let _ = writeln!(std::io::stderr(), "{message}");
    };
    let (walls, threads) = match limit_self() {
        Ok(limited) => limited,
        Err(error) => {
            said(&format!("the compiler cannot limit itself: {error}"));
            return 1;
        }
    };
    // Read only after the limits are set, although this host's own process wrote it.
    if child_process::is_to_tell_walls() {
        return child_process::tell_walls(walls);
    }
    let told = std::env::args_os().nth(2).and_then(|told| CodeForm::from_argument(told.to_str()?));
    let form = told.unwrap_or(CodeForm::SHARED);
    let request = match CompileRequest::read(&mut std::io::stdin().lock()) {
        Ok(request) => request,
        Err(error) => {
            said(&format!("no module: {error}"));
            return 1;
        }
    };
    match threads.install(|| answer(&request, form)) {
        Ok(parts) => match reply(&parts) {
            Ok(()) => 0,
            Err(error) => {
                said(&error.to_string());
                1
            }
        },
        Err(error) => {
            said(&error.to_string());
            u8::try_from(EXIT_REFUSED).unwrap_or(1)
        }
    }
}

/// Compiles; returns the parts of the reply.
fn answer(request: &CompileRequest, form: CodeForm) -> Result<[Bytes; 3], CompileError> {
    let reuse = request.known.as_deref().map(|packs| Arc::new(FunctionReuse::new(packs)));
    let store = reuse.clone().map(|reuse| reuse as _);
    let engine = engine::parallel_compiler(form, store).map_err(CompileError::unavailable)?;
    let compile = || compile_with(&engine, &request.wasm);
    let code = if reuse.is_some() { with_clean_contexts(&engine, compile) } else { compile() }?;
    let (new, reused, used) = reuse.map_or_else(Default::default, |reuse| reuse.outcome());
    Ok([CompileReply::head(code.len(), new.len(), reused, used).into(), code, new.into()])
}

/// Writes the reply, and ends standard output, so that the host does not wait until this process has given back its memory.
fn reply(parts: &[Bytes]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    parts.iter().try_for_each(|part| out.write_all(part))?;
    out.flush()?;
    drop(out);
    #[cfg(unix)]
    // SAFETY: nothing in this process writes to standard output any more, or opens a file that might get its number: it
    // ends.
    drop(unsafe { std::os::fd::OwnedFd::from_raw_fd(1) });
    Ok(())
}

fn limit_self() -> Result<(Walls, ThreadPool), LockdownError> {
    lockdown::close_inherited();
    // Before files are given up: it reads some.
    let threads = available_parallelism().map_or(1, NonZeroUsize::get).min(COMPILE_THREADS_MAX);
    lockdown::limit_resources(COMPILE_TIME_MAX, COMPILE_BYTES_MAX)?;
    lockdown::to_pure_computation(|| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).stack_size(COMPILE_STACK_BYTES).build();
        let pool = pool.map_err(LockdownError::at("threads"))?;
        // All of them run before anything is forbidden to them.
        pool.broadcast(|_| ());
        Ok(pool)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::compile_here;
    use crate::compile::functions::FunctionPack;

    #[test]
    fn code_with_reused_functions_is_the_same_as_without_to_the_last_byte() {
        let echo = include_str!("../../../modules/echo.wat").trim_end().strip_suffix(')').unwrap();
        let with = |more: &str| wat::parse_str(format!("{echo} {more})")).unwrap();
        let (first, second) =
            (with("(func $a nop)"), with("(func (export \"b\") (call $c)) (func $c unreachable)"));
        let compile = |wasm: &[u8], known: Option<Vec<FunctionPack>>| {
            let request = CompileRequest { wasm: wasm.to_vec().into(), known };
            let bytes = answer(&request, CodeForm::SHARED).unwrap().concat();
            CompileReply::from_bytes(bytes.into()).unwrap()
        };
        let full = compile_here(&second, CodeForm::SHARED).unwrap();
        assert_eq!(compile(&second, None), CompileReply { code: full.clone(), ..CompileReply::default() });
        let first = compile(&first, Some(Vec::new()));
        assert!(first.reused == 0 && !first.new.bytes().is_empty());
        let second = compile(&second, Some(vec![FunctionPack::default(), first.new.clone()]));
        assert_eq!(second.code, full);
        assert!(second.reused > 0 && second.used == 0b10, "{} {}", second.reused, second.used);
        assert!((1..first.new.bytes().len()).contains(&second.new.bytes().len()), "only what is new");
    }

    #[test]
    fn functions_behind_those_that_are_called_from_outside_are_found_again() {
        let functions = r#"(func (export "a") nop) (func (drop (i32.load (i32.const 0)))) (func unreachable)
            (func (export "b") nop) (func (export "c") (param i32) (result i32) (local.get 0)) (func (param i64))
            (func (param i32)) (func (param f32) (drop (f32.load (i32.const 8)))) (func (result i32) (i32.const 7))"#;
        let with = |data: &str| {
            let echo = include_str!("../../../modules/echo.wat").trim_end().strip_suffix(')').unwrap();
            wat::parse_str(format!("{echo} (data (i32.const 5000) \"{data}\") {functions})")).unwrap()
        };
        // One thread has all functions in their order.
        let threads = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let compile = |wasm: Vec<u8>, known: Vec<FunctionPack>| {
            let request = CompileRequest { wasm: wasm.into(), known: Some(known) };
            let bytes = threads.install(|| answer(&request, CodeForm::SHARED)).unwrap().concat();
            CompileReply::from_bytes(bytes.into()).unwrap()
        };
        let first = compile(with("first"), Vec::new());
        let second = compile(with("second"), vec![first.new.clone()]);
        assert!(second.new.bytes().is_empty(), "{:?}", second.new);
        assert_eq!(second.code, compile_here(&with("second"), CodeForm::SHARED).unwrap());
    }
}
