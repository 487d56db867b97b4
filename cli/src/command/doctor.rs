//! `grid doctor`: what stands in the way on this machine, and the command that mends it.
//!
//! Each noun has a file. What is measured and what is made of it are apart: a judgement takes figures and does nothing else.

mod clock;
mod compiler;
mod folder;
mod limits;
mod machine;
mod path;
mod patience;
mod reach;
mod role;
mod versions;
mod walls;

use grid_host::HostNeeds;
use wasm_grid::probe_manager;
use wasm_grid::view::{CheckState, CheckView, DiagnosisView};

use crate::command::cli_error::CliError;
use crate::command::output::{Output, counted};
use crate::command::shown::Lines;
use crate::command::{Address, Common};
use machine::MachineFigures;
use patience::within_patience;
use reach::{ManagerSource, ProbedManager};

/// Checks this machine, and the way from it to the manager.
///
/// # Errors
///
/// Exit code 1 without a message if a check fails: the checks say it.
pub(crate) async fn run(common: &Common, output: &Output) -> Result<(), CliError> {
    let config = common.home.join("config.toml");
    if within_patience(move || drop(std::fs::metadata(config))).await.is_none() {
        let cause = format!("the disk of {} does not answer", common.home.display());
        return Err(CliError::failed("nothing can be checked", cause)
            .help("mend that disk, or name another folder: grid --home DIR doctor"));
    }
    let (address, source) = match common.known()? {
        Address::Named(address) => (Some(address), ManagerSource::Named),
        Address::Running(address) => (Some(address), ManagerSource::Here),
        Address::None => (None, ManagerSource::Named),
    };
    let probe = async {
        match &address {
            Some(address) => {
                let found = probe_manager(&common.home, address).await;
                ProbedManager::Probed { address, source, home: &common.home, found: Box::new(found) }
            }
            None => ProbedManager::Unknown,
        }
    };
    let needs = HostNeeds::usual();
    let (manager, walls, compiler, folders, room, machine) = tokio::join!(
        probe,
        walls::probe(),
        compiler::probe(),
        folder::check_all(&common.home),
        within_patience(move || grid_host::room_for(needs.slots).map_err(|error| error.to_string())),
        within_patience(MachineFigures::read),
    );
    let machine = machine.unwrap_or_default();
    let mut checks = reach::judge(&manager);
    checks.push(versions::judge(&manager));
    checks.extend([
        limits::descriptors(&machine, needs),
        limits::mappings(&machine, needs),
        limits::address_space(&machine, needs, room),
        limits::memory(&machine, needs),
    ]);
    checks.push(walls::judge(walls));
    checks.push(compiler::judge(compiler));
    checks.extend(folders);
    checks.push(limits::buffer(&machine));
    print(output, DiagnosisView::from(checks))
}

fn print(output: &Output, diagnosis: DiagnosisView) -> Result<(), CliError> {
    let failing = diagnosis.checks.iter().filter(|check| check.state == CheckState::Fails);
    let names: Vec<_> = failing.map(|check| check.check).collect();
    output.one(lines(&diagnosis.checks), &names[..], &diagnosis)?;
    let (fails, warnings) = (diagnosis.fails, counted(diagnosis.warnings as u64, "warning"));
    if fails == 0 {
        output.say(&format!("nothing stands in the way; {warnings}"));
        return Ok(());
    }
    let verb = if fails == 1 { "check fails" } else { "checks fail" };
    output.say(&format!("{fails} {verb}; {warnings}"));
    Err(CliError::told_already())
}

/// A row for each check; below it, if it is not well, why and what mends it.
fn lines(checks: &[CheckView]) -> Lines {
    let mut lines = Lines::default();
    let width = checks.iter().map(|check| check.check.len()).max().unwrap_or_default();
    lines.push(0, &format!("{:width$}  {:7}  FOUND", "CHECK", "STATE"));
    for check in checks {
        lines.push(0, &format!("{:width$}  {:7}  {}", check.check, check.state.label(), check.found));
        for (label, text) in [("cause", &check.reason), ("help", &check.advice)] {
            if let Some(text) = text {
                lines.push(4, &format!("{label}: {text}"));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_well_says_why_and_what_mends_it_below_its_row() {
        let checks = [
            CheckView::ok("mtu", "1452 bytes"),
            CheckView::ok("descriptors", "12").fails("too few", "ulimit -n 64"),
        ];
        let expected = "CHECK        STATE    FOUND\n\
                        mtu          ok       1452 bytes\n\
                        descriptors  fails    12\n    cause: too few\n    help: ulimit -n 64\n";
        assert_eq!(lines(&checks).as_str(), expected);
    }
}
