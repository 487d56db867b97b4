//! The Python package: its types and its tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::chore::{ChoreError, output, root, run, say};
use crate::programs::{self, Profile};
use crate::{install, wheel};

/// What checks types, from the npm registry.
const PYRIGHT: &str = "pyright@1.1.414";

/// What arrays are tested with: the last that supports the oldest Python, and a recent one.
const NUMPY: [&str; 2] = ["numpy==2.0.2; python_version < '3.12'", "numpy==2.5.5; python_version >= '3.12'"];

/// The package whose programs run here with a line changed, from PyPI.
const ANCESTOR: &str = "distributed-worker==1.3.7 \
    --hash=sha256:20e804e48522bdd9ac37e44f31475531fd0821b5f27cf837c3f42f430a7db1aa";

/// The oldest and the newest minor version of Python 3 that are looked for.
const MINORS: std::ops::RangeInclusive<u32> = 9..=20;

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
    let folder = programs.with_file_name("python");
    wheel::package(&programs, &folder)?;
    let wheels = programs.join("wheels");
    wheel::put_together(&programs, &format!("linux_{}", std::env::consts::ARCH), &wheels)?;
    let ancestor = ancestor()?;
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
        let path = std::env::join_paths([&folder, &numpy(*minor, python)?])
            .map_err(|error| ChoreError::Other(error.to_string()))?;
        tests.env("PYTHONPATH", path).env("GRID_PROGRAMS", &programs).env("GRID_WHEELS", &wheels);
        tests.env("GRID_ANCESTOR", &ancestor);
        tests.env("GRID_MODULES", root().join("modules/target/guests")).env_remove("GRID_MANAGER");
        tests.env("GRID_BUILDERS", install::python_programs()?);
        run(tests.env("GRID_TEST_HOME", programs.with_file_name("test-home")))?;
    }
    Ok(())
}

/// The source package of distributed-worker, whose text the tests run; it is fetched if it is not there.
fn ancestor() -> Result<PathBuf, ChoreError> {
    let folder = programs::target_folder()?.join("toolchains/ancestor");
    let package = folder.join("distributed-worker-1.3.7.tar.gz");
    if !package.exists() {
        fs::create_dir_all(&folder).map_err(|error| at(&folder, &error))?;
        let wanted = folder.join("wanted.txt");
        fs::write(&wanted, ANCESTOR).map_err(|error| at(&wanted, &error))?;
        let mut pip = Command::new(install::python_programs()?.join("pip"));
        pip.args(["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--requirement"]);
        run(pip.arg(&wanted).arg("--dest").arg(&folder))?;
    }
    Ok(package)
}

/// The folder of numpy for this Python, in which it is installed if it is not there.
fn numpy(minor: u32, python: &Path) -> Result<PathBuf, ChoreError> {
    let environment = programs::target_folder()?.join(format!("toolchains/numpy-3.{minor}"));
    let packages = environment.join(format!("lib/python3.{minor}/site-packages"));
    if !packages.join("numpy").exists() {
        install::pypi_for(python, &environment, &NUMPY)?;
    }
    Ok(packages)
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
