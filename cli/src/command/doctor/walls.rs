//! Walls: those that a host builds around its compiler before it reads a module.

use std::time::{Duration, Instant};

use grid_host::compile::{CompileError, Compiler};
use grid_host::sandbox::CodeForm;
use grid_host::{LandlockWall, Walls};
use tokio::time::timeout;
use wasm_grid::Bytes;
use wasm_grid::view::CheckView;

/// The shortest module: its magic number and its version.
const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// How long it may take to compile: a thousand times what it takes.
const COMPILE_TIME_MAX: Duration = Duration::from_secs(8);

/// The walls that stand, and how long a module took behind them; or why a host compiles nothing here.
pub(super) type WallsFound = Result<(Walls, Duration), String>;

/// Has the compiler's own child build its walls, and compile a module behind them, as a host does.
pub(super) async fn probe() -> WallsFound {
    let said = |error: CompileError| error.to_string();
    let compiler = Compiler::child(grid_host::command::COMPILE).map_err(said)?;
    let walls = compiler.walls().await.map_err(said)?;
    let begun = Instant::now();
    let compiled = compiler.compile(Bytes::from_static(EMPTY_MODULE), CodeForm::ALONE, None);
    match timeout(COMPILE_TIME_MAX, compiled).await {
        Ok(compiled) => compiled.map(|_| (walls, begun.elapsed())).map_err(said),
        Err(_) => Err(format!("no module was compiled within {} s", COMPILE_TIME_MAX.as_secs())),
    }
}

/// Judges what stands.
pub(super) fn judge(found: WallsFound) -> CheckView {
    const CHECK: &str = "walls";
    let (walls, took) = match found {
        Ok(found) => found,
        Err(why) => {
            return CheckView::ok(CHECK, "the compiler cannot be walled in").fails(
                format!("a host compiles nothing then: {why}"),
                "in a container, allow the system calls seccomp, prctl and landlock_* and the starting of programs; \
                 else use a kernel with CONFIG_SECCOMP_FILTER",
            );
        }
    };
    let landlock = match walls.landlock {
        LandlockWall::InForce(version) => format!("Landlock {version}"),
        LandlockWall::SwitchedOff | LandlockWall::Missing => "no Landlock".to_owned(),
    };
    let calls = if walls.filters_calls { "system calls filtered" } else { "system calls not filtered" };
    let found = format!("{calls}, {landlock}; a module compiled in {} ms", took.as_millis());
    let check = CheckView::ok(CHECK, found);
    if !walls.filters_calls {
        return check
            .warning("this system has no such walls: the compiler has limits only", "run hosts on Linux");
    }
    match walls.landlock {
        LandlockWall::InForce(_) => check,
        LandlockWall::SwitchedOff => check.warning(
            "the kernel has Landlock and it is off; the filter of system calls stands alone",
            "add landlock to the list lsm=… on the kernel's command line; /sys/kernel/security/lsm has the present one",
        ),
        LandlockWall::Missing => check.warning(
            "the kernel has no Landlock; the filter of system calls stands alone",
            "use Linux 5.13 or later, built with CONFIG_SECURITY_LANDLOCK",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_host::NamespaceWall;
    use wasm_grid::view::CheckState::{Fails, Ok as Well, Warning};

    #[test]
    fn a_compiler_without_walls_fails_and_one_without_landlock_is_a_warning() {
        let with = |filters_calls| {
            [LandlockWall::InForce(6), LandlockWall::SwitchedOff, LandlockWall::Missing].map(|landlock| {
                let namespaces = NamespaceWall::Missing;
                judge(Ok((Walls { filters_calls, landlock, namespaces }, Duration::from_millis(9)))).state
            })
        };
        assert_eq!(with(true), [Well, Warning, Warning]);
        assert_eq!(with(false), [Warning, Warning, Warning]);
        let failed = judge(Err("the compiler cannot limit itself: Landlock: EPERM".to_owned()));
        assert!(failed.state == Fails && failed.reason.unwrap().contains("Landlock: EPERM"));
    }
}
