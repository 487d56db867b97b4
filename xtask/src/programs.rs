//! Builds the project's own programs.
//!
//! Every chore selects the whole workspace and then the targets that it needs. Cargo unites the features of the
//! selected packages, so that chores share their builds; with `-p` each would build tokio and everything above it
//! again.

use std::path::PathBuf;
use std::process::Command;

use crate::chore::{ChoreError, cargo, output, root, run, say};

/// The cargo profile of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build.
    Dev,
    /// Quick to run.
    Release,
}

impl Profile {
    /// The profile's folder in the target folder.
    fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }

    /// Approximate processor time to build one package, in seconds: that of `cargo xtask demo` with an empty target
    /// folder, divided by the number of packages; twice that for a release.
    fn package_seconds(self) -> f64 {
        match self {
            Self::Dev => 2.0,
            Self::Release => 4.0,
        }
    }
}

/// Builds these targets (`--bin NAME`, `--example NAME`, `--bins`) of the workspace; returns the folder of the
/// programs.
pub(crate) fn build(profile: Profile, targets: &[&str]) -> Result<PathBuf, ChoreError> {
    let folder = target_folder()?.join(profile.folder());
    if !folder.join("grid").exists() {
        let packages = packages()?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let minutes = packages as f64 * profile.package_seconds() / 60.0 / cores as f64;
        say(&format!("building {packages} packages, about {minutes:.0} minutes on {cores} cores, once"));
    }
    let mut build = cargo(&["build", "--workspace"]);
    if profile == Profile::Release {
        build.arg("--release");
    }
    run(build.args(targets))?;
    Ok(folder)
}

/// The folder that cargo builds into.
pub(crate) fn target_folder() -> Result<PathBuf, ChoreError> {
    let metadata = output(&mut cargo(&["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)
        .map_err(|error| ChoreError::Other(format!("cargo's metadata: {error}")))?;
    let folder = metadata.get("target_directory").and_then(serde_json::Value::as_str);
    Ok(folder.map_or_else(|| root().join("target"), PathBuf::from))
}

/// Number of packages that the programs consist of.
fn packages() -> Result<usize, ChoreError> {
    let mut tree: Command =
        cargo(&["tree", "--quiet", "--prefix=none", "--edges=normal,build", "--package=grid-cli"]);
    let listed = output(tree.arg("--package=grid-host"))?;
    let names = listed.lines().filter_map(|line| Some(line.split_once(" v")?.0));
    Ok(names.collect::<std::collections::BTreeSet<_>>().len())
}
