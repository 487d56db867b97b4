//! The gate: all checks, those that fail soonest first.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use grid_toolchains::Language;

use crate::chore::{ChoreError, cargo, output, print, root, run as run_command, say};
use crate::programs::{self, Profile};
use crate::{browser, counts, demo, fetch, install, modules, python, sim};

/// What a gate from nothing adds to the disk, in GiB: what is built and fetched, measured.
const NEEDED_GIB: u32 = 12;

/// The workspaces, each formatted with what it names by a path.
const WORKSPACES: [&str; 3] = ["Cargo.toml", "modules/Cargo.toml", "tests/fuzz/Cargo.toml"];

/// Runs all checks; stops at the first that fails.
///
/// Two steps run at a time: two builds, then tests that mostly wait beside the simulation, which has a lower priority.
/// Tests that measure time run alone (`.config/nextest.toml` lists them).
pub(crate) fn run() -> Result<(), ChoreError> {
    let gate = Gate { began: Instant::now(), steps: Mutex::default() };
    say(&format!("gate: {:.1} GiB of the disk are free; from nothing it takes {NEEDED_GIB}", free_gib()?));
    let done = gate.run();
    gate.print();
    done?;
    say(&format!("all of it holds, after {} s", gate.began.elapsed().as_secs()));
    Ok(())
}

struct Gate {
    began: Instant,
    steps: Mutex<Vec<GateStep>>,
}

/// A step that has ended.
struct GateStep {
    name: &'static str,
    began: Duration,
    took: Duration,
    /// What was free of the disk at its end, in GiB; `NAN` if that cannot be read.
    free_gib: f64,
    holds: bool,
}

impl Gate {
    fn run(&self) -> Result<(), ChoreError> {
        self.step("format", || {
            WORKSPACES
                .iter()
                .try_for_each(|manifest| cargo_run(&["fmt", "--all", "--check", "--manifest-path", manifest]))
        })?;
        self.beside(
            || {
                self.step("modules", || {
                    modules::build_all(&Language::ALL).map(|built| modules::print(&built))
                })?;
                self.step("other people's programs", fetch::fetch_all)?;
                self.step("Prometheus", install::prometheus_if_missing)?;
                self.step("instruction counts", counts::check)
            },
            || {
                let lints = |features: &[&str]| {
                    let clippy = ["clippy", "--workspace", "--all-targets", "--quiet"];
                    cargo_run(&[&clippy[..], features, &["--", "-D", "warnings"]].concat())
                };
                self.step("lints", || lints(&[]))?;
                self.step("lints without features", || lints(&["--no-default-features"]))?;
                self.step("programs and tests", || {
                    programs::build(Profile::Dev, &["--all-targets"]).map(drop)
                })?;
                self.step("cargo-nextest", install_nextest)
            },
        )?;
        self.beside(
            || {
                let programs = programs::target_folder()?.join("debug");
                self.step("simulation", || sim::check(&programs))
            },
            || {
                self.step("tests", || cargo_run(&["nextest", "run", "--workspace", "--profile", "beside"]))?;
                self.step("conformance", || {
                    cargo_run(&["test", "--quiet", "--workspace", "--test", "conformance"])
                })?;
                self.step("types of the Python package", python::check_types)?;
                self.step("Python package", python::test)?;
                self.step("documentation tests", || cargo_run(&["test", "--doc", "--workspace", "--quiet"]))?;
                self.step("documentation", || {
                    let mut docs = cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
                    run_command(docs.env("RUSTDOCFLAGS", "-D warnings"))
                })
            },
        )?;
        self.step("page in a browser", browser::test)?;
        let alone = ["nextest", "run", "--workspace", "--profile", "alone"];
        self.step("tests that measure time", || cargo_run(&alone))?;
        self.step("demonstration", || demo::run(false))
    }

    fn step(
        &self,
        name: &'static str,
        work: impl FnOnce() -> Result<(), ChoreError>,
    ) -> Result<(), ChoreError> {
        let began = self.began.elapsed();
        let done = work();
        let took = self.began.elapsed().saturating_sub(began);
        let free_gib = free_gib().unwrap_or(f64::NAN);
        let step = GateStep { name, began, took, free_gib, holds: done.is_ok() };
        say(&format!("gate: {name}: {}, {:.0} s", step.verdict(), step.took.as_secs_f64()));
        if let Ok(mut steps) = self.steps.lock() {
            steps.push(step);
        }
        done
    }

    /// Runs two lists of steps at the same time; if both fail, returns the error of the second.
    fn beside(
        &self,
        one: impl FnOnce() -> Result<(), ChoreError> + Send,
        other: impl FnOnce() -> Result<(), ChoreError>,
    ) -> Result<(), ChoreError> {
        std::thread::scope(|scope| {
            let one = scope.spawn(one);
            let other = other();
            let one = one.join().unwrap_or_else(|_| Err(ChoreError::Other("a step panicked".to_owned())));
            other.and(one)
        })
    }

    fn print(&self) {
        let Ok(steps) = self.steps.lock() else { return };
        print(&format!("{:<28} {:>9} {:>9} {:>9}", "step", "from, s", "took, s", "free, GiB"));
        for step in steps.iter() {
            let (from, took) = (step.began.as_secs_f64(), step.took.as_secs_f64());
            let (name, free, verdict) = (step.name, step.free_gib, step.verdict());
            print(&format!("{name:<28} {from:>9.1} {took:>9.1} {free:>9.1}  {verdict}"));
        }
    }
}

impl GateStep {
    fn verdict(&self) -> &'static str {
        if self.holds { "holds" } else { "does not hold" }
    }
}

/// What is free of the disk that the project is on, in GiB.
#[expect(clippy::cast_precision_loss, reason = "a figure for a person, with one digit")]
fn free_gib() -> Result<f64, ChoreError> {
    let disk = rustix::fs::statvfs(root())
        .map_err(|error| ChoreError::Other(format!("cannot read what is free of the disk: {error}")))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize) as f64 / f64::from(1 << 30))
}

fn cargo_run(arguments: &[&str]) -> Result<(), ChoreError> {
    run_command(&mut cargo(arguments))
}

fn install_nextest() -> Result<(), ChoreError> {
    if output(&mut cargo(&["nextest", "--version"])).is_ok() {
        return Ok(());
    }
    say("gate: cargo-nextest is missing; installing it");
    cargo_run(&["install", "--locked", "--quiet", "cargo-nextest"])
}
