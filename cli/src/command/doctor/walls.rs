//! Walls: those that stand around guests here, and why others do not.

use std::time::{Duration, Instant};

use grid_host::command::EXECUTOR;
use grid_host::{LandlockWall, NamespaceWall, Walls, told_walls};
use wasm_grid::Wall;
use wasm_grid::view::CheckView;

/// The walls that stand, and how long it took to start an executor behind them; or why none starts.
pub(super) type WallsFound = Result<(Walls, Duration), String>;

/// Has an executor lock itself down, tell its walls and end, as a host does when it starts.
pub(super) async fn probe() -> WallsFound {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let begun = Instant::now();
    let walls = told_walls(&program, EXECUTOR).await.map_err(|error| error.to_string())?;
    Ok((walls, begun.elapsed()))
}

/// Judges what stands.
pub(super) fn judge(found: WallsFound) -> CheckView {
    const CHECK: &str = "walls";
    let (walls, took) = match found {
        Ok(found) => found,
        Err(why) => {
            return CheckView::ok(CHECK, "no executor starts").fails(
                format!("a host runs no guest then, but with `--walls none`: {why}"),
                "in a container, allow the system calls seccomp, prctl and landlock_* and the starting of programs; \
                 else use a kernel with CONFIG_SECCOMP_FILTER",
            );
        }
    };
    if !walls.filters_calls {
        return CheckView::ok(CHECK, "none").warning(
            "this system has no such walls: guests run in the host's process, and the compiler has limits only",
            "run hosts on Linux",
        );
    }
    let names = walls.around_guests().into_iter().map(|wall| match (wall, walls.landlock) {
        (Wall::Landlock, LandlockWall::InForce(version)) => format!("landlock {version}"),
        _ => wall.name().to_owned(),
    });
    let names = names.collect::<Vec<_>>().join(", ");
    let check = CheckView::ok(CHECK, format!("{names}; an executor locked down in {} ms", took.as_millis()));
    let missing: Vec<_> = [without_landlock(walls.landlock), without_namespaces(walls.namespaces)]
        .into_iter()
        .flatten()
        .collect();
    if missing.is_empty() {
        return check;
    }
    let (reasons, advice): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
    check.warning(reasons.join("; "), advice.join("; "))
}

/// Why Landlock does not stand, and what mends it.
fn without_landlock(landlock: LandlockWall) -> Option<(String, &'static str)> {
    let (reason, advice) = match landlock {
        LandlockWall::InForce(_) => return None,
        LandlockWall::SwitchedOff => (
            "no landlock: the kernel has it, and it is off",
            "add landlock to the list lsm=… on the kernel's command line; /sys/kernel/security/lsm has the present one",
        ),
        LandlockWall::Missing => (
            "no landlock: the kernel does not have it",
            "use Linux 5.13 or later, built with CONFIG_SECURITY_LANDLOCK",
        ),
    };
    Some((reason.to_owned(), advice))
}

/// "No space left on device", by which Linux says that there are as many namespaces as there may be.
const ENOSPC: i32 = 28;

/// Why namespaces do not stand, and what mends it.
fn without_namespaces(namespaces: NamespaceWall) -> Option<(String, &'static str)> {
    let words = |error| match error {
        ENOSPC => "no more of them".to_owned(),
        error => std::io::Error::from_raw_os_error(error).to_string(),
    };
    Some(match namespaces {
        NamespaceWall::InForce => return None,
        NamespaceWall::Refused(error) => (
            format!("no namespaces: the kernel does not permit them: {}", words(error)),
            "allow user namespaces: `sysctl user.max_user_namespaces kernel.apparmor_restrict_unprivileged_userns` \
             shows what forbids them, where the kernel has it; in a container, allow the system call unshare",
        ),
        NamespaceWall::WithFiles(error) => (
            format!(
                "no namespaces: the kernel does not let a process leave the machine's files: {}",
                words(error)
            ),
            "in a container, allow the system calls mount, pivot_root and umount2",
        ),
        NamespaceWall::Missing => ("no namespaces: this system has none".to_owned(), "run hosts on Linux"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_grid::view::CheckState::{Fails, Ok as Well, Warning};

    /// "Operation not permitted", on every Unix.
    const EPERM: i32 = 1;

    fn judged(filters_calls: bool, landlock: LandlockWall, namespaces: NamespaceWall) -> CheckView {
        judge(Ok((Walls { filters_calls, landlock, namespaces }, Duration::from_millis(9))))
    }

    #[test]
    fn every_wall_that_stands_is_named_and_every_other_has_its_reason() {
        let all = judged(true, LandlockWall::InForce(6), NamespaceWall::InForce);
        assert_eq!(all.state, Well);
        assert_eq!(
            all.found,
            "process, landlock 6, system calls, namespaces; an executor locked down in 9 ms"
        );
        for landlock in [LandlockWall::SwitchedOff, LandlockWall::Missing] {
            for namespaces in [NamespaceWall::Refused(EPERM), NamespaceWall::WithFiles(EPERM)] {
                let few = judged(true, landlock, namespaces);
                assert_eq!(few.state, Warning);
                assert_eq!(few.found, "process, system calls; an executor locked down in 9 ms");
                let reason = few.reason.unwrap();
                for word in ["no landlock", "no namespaces", "not permitted"] {
                    assert!(reason.contains(word), "{reason}");
                }
            }
        }
    }

    #[test]
    fn a_system_without_such_walls_is_a_warning_and_an_executor_that_does_not_start_fails() {
        assert_eq!(judged(false, LandlockWall::Missing, NamespaceWall::Missing).state, Warning);
        let failed = judge(Err("an executor cannot start: Landlock: EPERM".to_owned()));
        assert!(failed.state == Fails && failed.reason.unwrap().contains("Landlock: EPERM"));
    }
}
