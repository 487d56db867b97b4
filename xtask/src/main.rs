//! The project's chores: `cargo xtask modules`, `demo`, `test`, `bench`, `counts`, `fuzz`, `sim`, `stress`, `peers`, `python`, `browser`, `wheel`.

#![forbid(unsafe_code)]

mod bench;
mod browser;
mod chore;
mod counts;
mod demo;
mod fetch;
mod fuzz;
mod gate;
mod install;
mod modules;
mod peers;
mod programs;
mod python;
mod sim;
mod stress;
mod wheel;

use std::process::ExitCode;

use clap::Parser;
use grid_toolchains::Language;

/// The project's chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Chore {
    /// Builds the example workers to WebAssembly, installing a toolchain if there is none; what is up to date stays.
    Modules {
        /// Every language, not Rust alone.
        #[arg(long)]
        all: bool,
        /// This language alone.
        #[arg(long, value_name = "LANG", conflicts_with = "all")]
        lang: Option<Language>,
    },
    /// Counts primes on a grid of one manager and two hosts on this machine.
    Demo {
        /// Keeps the hosts' caches of the last run.
        #[arg(long)]
        again: bool,
        /// Shows the page beside work that does not end, until Ctrl-C.
        #[arg(long)]
        ui: bool,
    },
    /// Measures speed and memory beside references taken in the same run.
    Bench(bench::BenchArgs),
    /// Counts the instructions and allocations of what every message and every task takes, under valgrind, and checks their bounds.
    Counts,
    /// Feeds random bytes to everything that reads a stranger's, with the nightly compiler.
    Fuzz {
        /// How long each target runs.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Real processes under hard conditions: `hosts TASKS KILLS`, `manager KILLS`, `queue TASKS`, `noop TASKS`, `long SECONDS`,
    /// `fair SLOTS`, `flood DATAGRAMS`, `lives STEPS SEED`, `modules FROM TO`.
    Stress {
        /// Which, and how much of it.
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// Compares the grid with Ray, Dask and pools of processes, fetching them if need be: no-op tasks a second, the memory of
    /// the program that maps, and the seconds of a function in Python.
    Peers {
        /// How many no-op tasks; Ray and Dask get fewer.
        #[arg(long, default_value_t = 100_000)]
        tasks: u32,
    },
    /// Runs manager, hosts, clients and network in one process, on a made-up clock, from a seed.
    Sim {
        /// Which seed; prints its trace.
        #[arg(long, conflicts_with = "seeds")]
        seed: Option<u64>,
        /// Which seeds, as A..B without B.
        #[arg(long)]
        seeds: Option<String>,
        /// Breaks a promise on purpose: `never-fence` or `acknowledge-early`.
        #[arg(long)]
        sabotage: Option<String>,
    },
    /// Checks the types of the Python package and runs its tests.
    Python,
    /// Tests the page in Chromium.
    Browser,
    /// Builds the Python package as a wheel, with the programs in it.
    Wheel,
    /// Checks everything: format, lints, docs, tests, modules, end to end.
    Test,
}

fn main() -> ExitCode {
    let done = match Chore::parse() {
        Chore::Modules { all, lang } => {
            let one = [lang.unwrap_or(Language::Rust)];
            let languages: &[Language] = if all { &Language::ALL } else { &one };
            let built = modules::build_all(languages).map(|built| modules::print(&built));
            built.and_then(|()| if all { fetch::fetch_all() } else { Ok(()) })
        }
        Chore::Demo { again, ui: false } => demo::run(again),
        Chore::Demo { again, ui: true } => demo::run_with_page(again),
        Chore::Bench(arguments) => bench::run(&arguments),
        Chore::Counts => counts::check(),
        Chore::Fuzz { seconds } => fuzz::run(seconds),
        Chore::Stress { words } => stress::run(&words),
        Chore::Peers { tasks } => peers::compare(tasks),
        Chore::Sim { seed, seeds, sabotage } => sim::run(seed, seeds.as_deref(), sabotage.as_deref()),
        Chore::Python => python::check(),
        Chore::Browser => browser::check(),
        Chore::Wheel => wheel::build(),
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
