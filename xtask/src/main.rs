//! The project's chores: `cargo xtask modules`, `demo`, `test`.

#![forbid(unsafe_code)]

mod chore;
mod demo;
mod gate;
mod modules;
mod toolchain;

use std::process::ExitCode;

use clap::Parser;

/// The project's chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Chore {
    /// Builds the example workers to WebAssembly, installing a toolchain if there is none.
    Modules,
    /// Counts primes on a grid of one manager and two hosts on this machine.
    Demo {
        /// Keeps the hosts' caches of the last run.
        #[arg(long)]
        again: bool,
    },
    /// Checks everything: format, lints, docs, tests, modules, end to end.
    Test,
}

fn main() -> ExitCode {
    let done = match Chore::parse() {
        Chore::Modules => modules::build_all().map(|built| modules::print(&built)),
        Chore::Demo { again } => demo::run(again),
        Chore::Test => gate::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            chore::say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
