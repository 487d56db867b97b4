//! The same Rust source as tasks of a job and as a program of this machine.

use std::path::PathBuf;
use std::process::Command;

use crate::bench::testbed::{Cores, Testbed, figures, first};
use crate::chore::{ChoreError, cargo, output, root, run};
use crate::{modules, programs};

/// Tasks of a measurement, in three turns of each side; each takes 50 to 100 ms, and a job some 10 ms besides.
const TASKS: u32 = 60;

/// Thousands of numbers that are searched for primes.
const THOUSANDS: u32 = 150;

/// The kernel that looks at a thousand numbers.
const THOUSAND: &str = "thousand";

/// Tasks of a kernel a second: as a job on one slot, and native on one core.
pub(super) fn kernel(testbed: &Testbed, name: &str) -> Result<(f64, f64), ChoreError> {
    let native = native_program()?.to_string_lossy().into_owned();
    let arguments = ["compute", &module()?, name, &native, &TASKS.to_string()];
    let said = output(testbed.program("bench", Cores::All).args(arguments))?;
    let [done, native] = WorkDone::parse_both(&said)?;
    done.agrees_with(&native, name)?;
    Ok((f64::from(TASKS) / done.seconds, f64::from(TASKS) / native.seconds))
}

/// Seconds of the primes below 150 000: on two hosts, and half of what one core takes without a grid.
pub(super) fn primes_on_two_hosts(testbed: &Testbed) -> Result<(f64, f64), ChoreError> {
    let (tasks, step) = (THOUSANDS.to_string(), "1000");
    let native = native(&[THOUSAND, &tasks, step])?;
    let done = work(testbed, &["two-hosts", &module()?, THOUSAND, step, &tasks])?;
    done.agrees_with(&native, THOUSAND)?;
    Ok((done.seconds, native.seconds / 2.0))
}

/// What some tasks took, and what came out.
struct WorkDone {
    seconds: f64,
    /// The sum of all results, as the program wrote it: a number of 64 bits.
    sum: String,
}

impl WorkDone {
    fn parse(said: &str) -> Result<Self, ChoreError> {
        Self::next(&mut said.split_whitespace(), said)
    }

    /// Of the grid, and of the native program.
    fn parse_both(said: &str) -> Result<[Self; 2], ChoreError> {
        let mut words = said.split_whitespace();
        Ok([Self::next(&mut words, said)?, Self::next(&mut words, said)?])
    }

    fn next<'a>(words: &mut impl Iterator<Item = &'a str>, said: &str) -> Result<Self, ChoreError> {
        let wrong = || ChoreError::Other(format!("`{said}` is no time with a sum"));
        let seconds = words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
        Ok(Self { seconds, sum: words.next().ok_or_else(wrong)?.to_owned() })
    }

    /// The same source must give the same result, to the last bit.
    fn agrees_with(&self, native: &Self, kernel: &str) -> Result<(), ChoreError> {
        if self.sum == native.sum {
            return Ok(());
        }
        let both = format!("{} on the grid, {} native", self.sum, native.sum);
        Err(ChoreError::Other(format!("{kernel} gave two results: {both}")))
    }
}

fn work(testbed: &Testbed, arguments: &[&str]) -> Result<WorkDone, ChoreError> {
    WorkDone::parse(&output(testbed.program("bench", Cores::All).args(arguments))?)
}

fn module() -> Result<String, ChoreError> {
    Ok(modules::build_named("kernels")?.path.to_string_lossy().into_owned())
}

fn native(arguments: &[&str]) -> Result<WorkDone, ChoreError> {
    WorkDone::parse(&output(Command::new(native_program()?).args(arguments))?)
}

/// Builds the kernels for this machine, with the profile of the modules: `-O`, and the target's own features.
fn native_program() -> Result<PathBuf, ChoreError> {
    let target = programs::target_folder()?.join("kernels");
    let mut build = cargo(&["build", "--release", "--quiet", "--example", "native", "--manifest-path"]);
    build.arg(root().join("modules/kernels/Cargo.toml")).arg("--target-dir").arg(&target);
    run(build.env_remove("RUSTFLAGS"))?;
    Ok(target.join("release/examples/native"))
}

/// Seconds of the first worker of a module on a host, of its compilation there, and of one from the host's cache.
pub(super) fn first_use(testbed: &Testbed) -> Result<[f64; 3], ChoreError> {
    let module = modules::build_named("sql")?.path;
    let said = output(testbed.program("bench", Cores::All).arg("first-use").arg(module))?;
    first(&figures(&said)?)
}
