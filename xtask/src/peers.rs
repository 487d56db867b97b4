//! The same work by the grid and by what people use today, in one run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use crate::chore::{ChoreError, root, run};
use crate::programs::{self, Profile};
use crate::{install, modules, wheel};

/// What the grid is compared with, from PyPI; the pools are the standard library's.
const PEERS: [&str; 3] = ["ray==2.60.0", "dask==2026.8.0", "distributed==2026.8.0"];

/// Numbers below which primes are counted.
const PRIMES_BELOW: u32 = 150_000;

/// Counts no-op tasks a second, and the seconds of a function in Python, of the grid, Ray, Dask and pools of processes.
pub(crate) fn compare(tasks: u32) -> Result<(), ChoreError> {
    let target = programs::target_folder()?;
    let environment = target.join("peers");
    let python = environment.join("bin/python");
    if !python.exists() {
        install::pypi(&environment, &PEERS)?;
    }
    let builders = install::python_programs()?;
    let programs = programs::build(Profile::Release, &["--lib", "--bins"])?;
    let package = programs.join("python");
    wheel::package(&programs, &package)?;
    let found_by_python = join([package, root().join("python/tests"), root().join("python/examples")])?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = join([programs.clone(), builders].into_iter().chain(std::env::split_paths(&path)))?;
    for (what, number) in [("noop", tasks), ("primes", PRIMES_BELOW)] {
        let mut compare = Command::new(&python);
        compare.arg(root().join("tests/bench/peers.py")).arg(what).arg(number.to_string());
        compare.env("PATH", &path).env("PYTHONPATH", &found_by_python).env("GRID_PROGRAMS", &programs);
        compare.env("GRID_MODULES", modules::folder()).env_remove("GRID_MANAGER");
        run(&mut compare)?;
    }
    Ok(())
}

fn join(folders: impl IntoIterator<Item = PathBuf>) -> Result<OsString, ChoreError> {
    std::env::join_paths(folders).map_err(|error| ChoreError::Other(format!("a path: {error}")))
}
