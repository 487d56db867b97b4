//! The compiler: its child process builds its walls, and compiles a module behind them.

use std::time::{Duration, Instant};

use grid_host::command::COMPILE;
use grid_host::compile::{CompileError, Compiler};
use grid_host::sandbox::CodeForm;
use tokio::time::timeout;
use wasm_grid::Bytes;
use wasm_grid::view::CheckView;

/// The shortest module: its magic number and its version.
const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// How long it may take to compile: a thousand times what it takes.
const COMPILE_TIME_MAX: Duration = Duration::from_secs(8);

/// How long a module took; or why a host compiles nothing here.
pub(super) type CompilerFound = Result<Duration, String>;

/// Has the compiler's own child compile a module, as a host does.
pub(super) async fn probe() -> CompilerFound {
    let said = |error: CompileError| error.to_string();
    let compiler = Compiler::child(COMPILE).map_err(said)?;
    let begun = Instant::now();
    let compiled = compiler.compile(Bytes::from_static(EMPTY_MODULE), CodeForm::ALONE, None);
    match timeout(COMPILE_TIME_MAX, compiled).await {
        Ok(compiled) => compiled.map(|_| begun.elapsed()).map_err(said),
        Err(_) => Err(format!("no module was compiled within {} s", COMPILE_TIME_MAX.as_secs())),
    }
}

/// Judges how it went.
pub(super) fn judge(found: CompilerFound) -> CheckView {
    const CHECK: &str = "compiler";
    match found {
        Ok(took) => CheckView::ok(CHECK, format!("a module compiled in {} ms", took.as_millis())),
        Err(why) => CheckView::ok(CHECK, "the compiler does not work").fails(
            format!("a host compiles nothing then: {why}"),
            "in a container, allow the system calls seccomp, prctl and landlock_* and the starting of programs; \
             else use a kernel with CONFIG_SECCOMP_FILTER",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_grid::view::CheckState::{Fails, Ok as Well};

    #[test]
    fn a_compiler_that_cannot_be_walled_in_fails() {
        assert_eq!(judge(Ok(Duration::from_millis(9))).state, Well);
        let failed = judge(Err("the compiler cannot limit itself: Landlock: EPERM".to_owned()));
        assert!(failed.state == Fails && failed.reason.unwrap().contains("Landlock: EPERM"));
    }
}
