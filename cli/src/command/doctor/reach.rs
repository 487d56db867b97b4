//! The way to the manager: whether it is reached, and why not.

mod fault;

use std::path::Path;
use std::time::SystemTime;

use wasm_grid::view::CheckView;
use wasm_grid::{ManagerAddress, ManagerGreeting, ProbeError, ReachedManager};

use crate::command::doctor::folder::host_state;
use crate::command::doctor::{clock, path, role};

/// What is known of the manager.
pub(super) enum ProbedManager<'a> {
    /// There is none.
    Unknown,
    /// It was looked for.
    Probed {
        address: &'a ManagerAddress,
        source: ManagerSource,
        home: &'a Path,
        found: Box<Result<ReachedManager, ProbeError>>,
    },
}

/// Where the manager's address is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ManagerSource {
    /// From the command line, the environment or config.toml.
    Named,
    /// From the file of a manager on this machine, which runs or was killed.
    Here,
}

/// Why a check was not made that needs a manager.
const UNKNOWN: &str = "no manager is known here";
const UNREACHED: &str = "the manager was not reached";
const UNHEARD: &str = "the manager says it only to those that it lets in";

impl ProbedManager<'_> {
    /// What the manager says to the user; if nothing, why.
    pub(super) fn greeting(&self) -> Result<&ManagerGreeting, &'static str> {
        match self {
            Self::Unknown => Err(UNKNOWN),
            Self::Probed { found, .. } => match found.as_ref() {
                Ok(reached) => reached.greeting.as_ref().map_err(|_| UNHEARD),
                Err(_) => Err(UNREACHED),
            },
        }
    }
}

/// Judges the way to the manager: four checks.
pub(super) fn judge(manager: &ProbedManager<'_>) -> Vec<CheckView> {
    let not_checked = |why: &str| {
        ["role", "mtu", "clock"]
            .map(|check| CheckView::ok(check, "not known").warning(format!("not checked: {why}"), ""))
    };
    match manager {
        ProbedManager::Unknown => {
            let advice = "name one: grid doctor --manager TICKET|ADDR; or start one: grid up";
            let unknown =
                CheckView::ok("manager", "none").warning(format!("{UNKNOWN}: nothing was asked"), advice);
            [vec![unknown], not_checked(UNKNOWN).into()].concat()
        }
        ProbedManager::Probed { address, source, home, found } => match found.as_ref() {
            Ok(reached) => {
                let has_host = host_state(home).join("host.key").exists();
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                vec![
                    reached_manager(reached),
                    role::judge(&reached.greeting, address, has_host, now.as_secs()),
                    path::judge(reached.path),
                    clock::judge(manager.greeting().map(|greeting| greeting.clock)),
                ]
            }
            Err(error) => {
                [vec![fault::judge(error, address, *source, home)], not_checked(UNREACHED).into()].concat()
            }
        },
    }
}

fn reached_manager(reached: &ReachedManager) -> CheckView {
    let (key, milliseconds) = (reached.key.fingerprint(), reached.handshake.as_millis());
    let found = format!("{key} at {}, handshake in {milliseconds} ms", reached.address);
    let check = CheckView::ok("manager", found);
    if reached.is_known {
        return check;
    }
    check.warning(
        "its key is new here; the first command that is let in remembers it",
        format!("compare: grid status, on the manager, must say {key}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_grid::view::CheckState::Warning;

    #[test]
    fn without_a_manager_every_check_that_needs_one_is_a_warning_and_one_says_how_to_name_it() {
        let checks = judge(&ProbedManager::Unknown);
        let names: Vec<_> = checks.iter().map(|check| check.check).collect();
        assert_eq!(names, ["manager", "role", "mtu", "clock"]);
        for check in &checks {
            let reason = check.reason.as_deref().unwrap_or_default();
            assert!(check.state == Warning && reason.contains(UNKNOWN), "{check:?}");
        }
        let advice: Vec<_> = checks.iter().filter_map(|check| check.advice.as_deref()).collect();
        assert!(matches!(advice[..], [only] if only.contains("grid doctor --manager")), "{advice:?}");
    }
}
