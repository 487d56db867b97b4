//! The gate: everything that must hold, in the order in which it fails soonest.

use std::process::Command;
use std::time::Instant;

use grid_toolchains::Language;

use crate::chore::{ChoreError, output, root, run as run_command, say};
use crate::{demo, fetch, modules, sim};

/// Checks everything; the first thing that does not hold ends it.
pub(crate) fn run() -> Result<(), ChoreError> {
    let started = Instant::now();
    step("format", cargo(&["fmt", "--all", "--check"]))?;
    step("modules", modules::build_all(&Language::ALL).map(|built| modules::print(&built)))?;
    step("other people's programs", fetch::fetch_all())?;
    step("lints", cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    step("programs", cargo(&["build", "--workspace", "--bins", "--examples"]))?;
    install_nextest()?;
    step("tests", cargo(&["nextest", "run", "--workspace"]))?;
    step("conformance", cargo(&["test", "--quiet", "-p", "grid-tests", "--test", "conformance"]))?;
    step("simulation", sim::check())?;
    step("documentation tests", cargo(&["test", "--doc", "--workspace", "--quiet"]))?;
    let mut docs = tool(&["doc", "--workspace", "--no-deps", "--quiet"]);
    step("documentation", run_command(docs.env("RUSTDOCFLAGS", "-D warnings")))?;
    step("demonstration", demo::run(false))?;
    say(&format!("all of it holds, after {} s", started.elapsed().as_secs()));
    Ok(())
}

fn step(name: &str, done: Result<(), ChoreError>) -> Result<(), ChoreError> {
    say(&format!("gate: {name}: {}", if done.is_ok() { "holds" } else { "does not hold" }));
    done
}

fn tool(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(arguments);
    cargo
}

fn cargo(arguments: &[&str]) -> Result<(), ChoreError> {
    run_command(&mut tool(arguments))
}

fn install_nextest() -> Result<(), ChoreError> {
    if output(&mut tool(&["nextest", "--version"])).is_ok() {
        return Ok(());
    }
    say("gate: cargo-nextest is missing; installing it");
    cargo(&["install", "--locked", "--quiet", "cargo-nextest"])
}
