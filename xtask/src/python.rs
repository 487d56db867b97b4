//! The Python package: put together for its tests, and as a wheel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::chore::{ChoreError, output, print, root, run, say};
use crate::install;
use crate::programs::{self, Profile};

/// What builds wheels, from PyPI.
const MATURIN: &str = "maturin==1.16.0";

/// What checks types, from the npm registry.
const PYRIGHT: &str = "pyright@1.1.414";

/// The oldest and the newest minor version of Python 3 that are looked for.
const MINORS: std::ops::RangeInclusive<u32> = 9..=20;

/// Builds the wheel: the extension module and the programs, in the release profile.
pub(crate) fn wheel() -> Result<(), ChoreError> {
    let programs = programs::build(Profile::Release, &["--bin", "grid", "--bin", "grid-host"])?;
    let scripts = root().join("python/wasm_grid.data/scripts");
    fs::create_dir_all(&scripts).map_err(|error| at(&scripts, &error))?;
    for name in ["grid", "grid-host"] {
        let copy = scripts.join(name);
        fs::copy(programs.join(name), &copy).map_err(|error| at(&copy, &error))?;
        run(Command::new("strip").arg(&copy))?;
    }
    let environment = programs::target_folder()?.join("toolchains/maturin");
    let maturin = environment.join("bin/maturin");
    if !maturin.exists() {
        install::pypi(&environment, &[MATURIN])?;
    }
    let wheels = programs::target_folder()?.join("wheels");
    let mut build = Command::new(maturin);
    build.args(["build", "--release", "--quiet", "--manifest-path"]).arg(root().join("python/Cargo.toml"));
    run(build.arg("--out").arg(&wheels))?;
    for wheel in fs::read_dir(&wheels).map_err(|error| at(&wheels, &error))?.flatten() {
        let mib = wheel.metadata().map_or(0.0, |data| data.len() as f64 / f64::from(1 << 20));
        print(&format!("{} · {mib:.1} MiB", wheel.path().display()));
    }
    Ok(())
}

/// Builds what the package needs, checks its types and runs its tests.
pub(crate) fn check() -> Result<(), ChoreError> {
    for name in ["primes", "echo", "thumbnail"] {
        crate::modules::build_named(name)?;
    }
    programs::build(Profile::Dev, &["--all-targets"])?;
    check_types()?;
    test()
}

/// Runs the package's tests against the programs of the dev profile, on the oldest and the newest Python of this machine.
pub(crate) fn test() -> Result<(), ChoreError> {
    let programs = programs::target_folder()?.join("debug");
    let package = package(&programs)?;
    let mut pythons = interpreters();
    pythons.sort();
    pythons.dedup_by_key(|(minor, _)| *minor);
    let (Some(oldest), Some(newest)) = (pythons.first(), pythons.last()) else {
        return Err(ChoreError::Other("there is no Python 3.9 or later here; install python3".to_owned()));
    };
    let mut chosen = vec![oldest];
    chosen.extend((newest.0 != oldest.0).then_some(newest));
    for (minor, python) in chosen {
        say(&format!("python: the tests on Python 3.{minor}"));
        let mut tests = Command::new(python);
        tests.args(["-m", "unittest", "discover", "--start-directory"]).arg(root().join("python/tests"));
        tests.env("PYTHONPATH", &package).env("GRID_PROGRAMS", &programs);
        tests.env("GRID_MODULES", root().join("modules/target/guests")).env_remove("GRID_MANAGER");
        tests.env("GRID_BUILDERS", install::python_programs()?);
        run(tests.env("GRID_TEST_HOME", programs.with_file_name("test-home")))?;
    }
    Ok(())
}

/// Checks the types of the package, its stubs, its tests and its examples.
pub(crate) fn check_types() -> Result<(), ChoreError> {
    let folder = programs::target_folder()?.join("toolchains/pyright");
    let pyright = folder.join("node_modules/.bin/pyright");
    if !pyright.exists() {
        say(&format!("toolchain: installing {PYRIGHT} from the npm registry"));
        fs::create_dir_all(&folder).map_err(|error| at(&folder, &error))?;
        let mut npm = Command::new("npm");
        run(npm
            .args(["install", "--silent", "--no-fund", "--no-audit", "--prefix"])
            .arg(&folder)
            .arg(PYRIGHT))?;
    }
    run(Command::new(pyright).arg("--project").arg(root().join("python")))
}

/// Puts the package together from its files and the extension module in `programs`; the folder that holds it.
fn package(programs: &Path) -> Result<PathBuf, ChoreError> {
    let folder = programs.with_file_name("python");
    let (from, to) = (root().join("python/wasm_grid"), folder.join("wasm_grid"));
    if to.exists() {
        fs::remove_dir_all(&to).map_err(|error| at(&to, &error))?;
    }
    fs::create_dir_all(&folder).map_err(|error| at(&folder, &error))?;
    run(Command::new("cp").arg("-R").arg(&from).arg(&folder))?;
    let (library, module) = (programs.join("lib_wasm_grid.so"), to.join("_wasm_grid.abi3.so"));
    fs::copy(&library, module).map_err(|error| at(&library, &error))?;
    Ok(folder)
}

/// The Pythons of this machine that are recent enough: the minor version of each, and its program.
fn interpreters() -> Vec<(u32, PathBuf)> {
    let mut candidates = vec![PathBuf::from("python3")];
    candidates.extend(MINORS.map(|minor| PathBuf::from(format!("python3.{minor}"))));
    let installed = std::env::home_dir().map(|home| home.join(".pyenv/versions"));
    let installed = installed.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    candidates.extend(installed.map(|version| version.path().join("bin/python3")));
    let minor = |python: &PathBuf| {
        let mut ask = Command::new(python);
        ask.args(["-c", "import sys; print(sys.version_info.minor)"]).stderr(Stdio::null());
        output(&mut ask).ok()?.trim().parse::<u32>().ok().filter(|minor| MINORS.contains(minor))
    };
    candidates.into_iter().filter_map(|python| Some((minor(&python)?, python))).collect()
}

fn at(path: &Path, error: &std::io::Error) -> ChoreError {
    ChoreError::Other(format!("{}: {error}", path.display()))
}
