//! The page in a browser: its tests, and its pictures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::chore::{ChoreError, root, run, say};
use crate::install;
use crate::programs::{self, Profile};

/// What the tests upload.
const MODULES: [&str; 2] = ["primes", "echo"];

/// What says which packages are installed, and is copied beside them.
const LISTS: [&str; 2] = ["package.json", "package-lock.json"];

/// Builds what the tests need and runs them; with `GRID_BLESS` set, writes the pictures in `docs/pictures`, too.
pub(crate) fn check() -> Result<(), ChoreError> {
    for name in MODULES {
        crate::modules::build_named(name)?;
    }
    programs::build(Profile::Dev, &["--all-targets"])?;
    test()
}

/// Runs the tests against the programs of the dev profile, in Debian's Chromium.
pub(crate) fn test() -> Result<(), ChoreError> {
    let chromium = install::chromium()?;
    let packages = packages()?;
    let programs = programs::target_folder()?.join("debug");
    let node = |script: &mut Command| {
        script.current_dir(root().join("tests/browser")).env_remove("GRID_MANAGER");
        script.env("GRID_CHROMIUM", chromium).env("GRID_BROWSER_PACKAGES", &packages);
        script.env("GRID_PROGRAMS", &programs).env("GRID_MODULES", root().join("modules/target/guests"));
        run(script)
    };
    // One file at a time: each starts a grid and a browser, and one measures.
    let files = test_files()?;
    node(Command::new("node").args(["--test", "--test-concurrency=1", "--test-timeout=600000"]).args(files))?;
    if std::env::var_os("GRID_BLESS").is_some() {
        node(Command::new("node").arg("pictures.js"))?;
    }
    Ok(())
}

/// The files of tests, in order.
fn test_files() -> Result<Vec<PathBuf>, ChoreError> {
    let folder = root().join("tests/browser");
    let entries = fs::read_dir(&folder).map_err(|error| at(&folder, &error))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(".test.js"));
    files.sort();
    Ok(files)
}

/// The folder of the packages from the npm registry, which are installed unless just those are there.
fn packages() -> Result<PathBuf, ChoreError> {
    let wanted = root().join("tests/browser");
    let folder = programs::target_folder()?.join("toolchains/browser");
    let is_same = |list: &&str| fs::read(wanted.join(list)).ok() == fs::read(folder.join(list)).ok();
    if folder.join("node_modules/playwright-core").exists() && LISTS.iter().all(is_same) {
        return Ok(folder);
    }
    say("toolchain: installing playwright-core and axe-core from the npm registry");
    fs::create_dir_all(&folder).map_err(|error| at(&folder, &error))?;
    for list in LISTS {
        fs::copy(wanted.join(list), folder.join(list)).map_err(|error| at(&folder, &error))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--silent", "--no-fund", "--no-audit", "--prefix"]).arg(&folder);
    run(npm.stdout(Stdio::null()))?;
    Ok(folder)
}

fn at(path: &Path, error: &std::io::Error) -> ChoreError {
    ChoreError::Other(format!("{}: {error}", path.display()))
}
