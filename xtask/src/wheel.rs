//! The Python package as a wheel: the package, its extension module, and the programs `grid` and `grid-host`.
//!
//! One build makes all three, and zig links them against an old C library, so that one wheel installs on the Linux
//! machines of ten years. Why maturin writes no more than the metadata is in ADR 0020.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::chore::{ChoreError, output, print, root, run};
use crate::install;
use crate::programs;

/// What builds against another C library, and what puts wheels together and checks them, from PyPI.
const TOOLS: [&str; 5] =
    ["maturin==1.16.0", "ziglang==0.17.1", "cargo-zigbuild==0.24.1", "wheel==0.48.0", "auditwheel==6.8.2"];

/// The oldest C library that a wheel runs with: that of Red Hat Enterprise Linux 7, the oldest that Rust supports.
const GLIBC: (u32, u32) = (2, 17);

/// The packages that a wheel consists of.
const PACKAGES: [&str; 3] = ["wasm-grid-python", "grid-cli", "grid-host"];

/// The profile of what is packaged.
const PROFILE: &str = "dist";

/// Builds the wheel, which takes a quarter of an hour, and checks that it runs where its name says.
pub(crate) fn build() -> Result<(), ChoreError> {
    let tools = tools()?;
    let arch = std::env::consts::ARCH;
    let (major, minor) = GLIBC;
    let target = format!("{arch}-unknown-linux-gnu");
    let mut build = Command::new(tools.join("cargo-zigbuild"));
    build.current_dir(root()).args(["zigbuild", "--profile", PROFILE, "--lib", "--bins"]);
    build.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    // cargo-zigbuild asks the first Python on the path for zig.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(tools.clone()).chain(std::env::split_paths(&path)))
        .map_err(|error| ChoreError::Other(format!("the PATH: {error}")))?;
    run(build.arg("--target").arg(format!("{target}.{major}.{minor}")).env("PATH", path))?;
    let programs = programs::target_folder()?.join(target).join(PROFILE);
    let platform = format!("manylinux_{major}_{minor}_{arch}");
    let wheel = put_together(&programs, &platform, &programs::target_folder()?.join("wheels"))?;
    let shown = output(Command::new(tools.join("auditwheel")).arg("show").arg(&wheel))?;
    if !shown.contains(&format!("\"{platform}\"")) {
        return Err(ChoreError::Other(format!("the wheel does not run wherever its name says: {shown}")));
    }
    let bytes = fs::metadata(&wheel).map_err(|error| at(&wheel, &error))?.len();
    print(&format!("{} · {:.1} MiB", wheel.display(), bytes as f64 / f64::from(1 << 20)));
    Ok(())
}

/// Puts a wheel together from what is in `programs`, into the folder `to`, which then has no other; its path.
pub(crate) fn put_together(programs: &Path, platform: &str, to: &Path) -> Result<PathBuf, ChoreError> {
    let tools = tools()?;
    let folder = programs.join("wheel");
    empty(&folder)?;
    empty(to)?;
    let library = package(programs, &folder)?;
    let mut metadata = Command::new(tools.join("maturin"));
    metadata.args(["pep517", "write-dist-info", "--quiet", "--interpreter"]).arg(tools.join("python"));
    metadata.arg("--manifest-path").arg(root().join("python/Cargo.toml"));
    let info = folder.join(output(metadata.arg("--metadata-directory").arg(&folder))?);
    let about = info.join("WHEEL");
    let text = fs::read_to_string(&about).map_err(|error| at(&about, &error))?;
    let native = format!("linux_{}", std::env::consts::ARCH);
    fs::write(&about, text.replace(&native, platform)).map_err(|error| at(&about, &error))?;
    let scripts = info.with_extension("data").join("scripts");
    fs::create_dir_all(&scripts).map_err(|error| at(&scripts, &error))?;
    let mut parts = vec![library];
    for name in ["grid", "grid-host"] {
        let part = scripts.join(name);
        fs::copy(programs.join(name), &part).map_err(|error| at(&part, &error))?;
        parts.push(part);
    }
    run(Command::new("strip").args(&parts))?;
    output(Command::new(tools.join("wheel")).arg("pack").arg(&folder).arg("--dest-dir").arg(to))?;
    let wheel = fs::read_dir(to).map_err(|error| at(to, &error))?.flatten().next();
    wheel.map(|entry| entry.path()).ok_or_else(|| ChoreError::Other("there is no wheel after all".to_owned()))
}

/// The folder of the tools, which are installed if they are not there.
fn tools() -> Result<PathBuf, ChoreError> {
    let environment = programs::target_folder()?.join("toolchains/wheel");
    if !environment.join("bin/auditwheel").exists() {
        install::pypi(&environment, &TOOLS)?;
    }
    Ok(environment.join("bin"))
}

fn empty(folder: &Path) -> Result<(), ChoreError> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| at(folder, &error))?;
    }
    fs::create_dir_all(folder).map_err(|error| at(folder, &error))
}

fn at(path: &Path, error: &std::io::Error) -> ChoreError {
    ChoreError::Other(format!("{}: {error}", path.display()))
}

/// Puts the package together in `folder`, from its files and the extension module in `programs`; where that is then.
pub(crate) fn package(programs: &Path, folder: &Path) -> Result<PathBuf, ChoreError> {
    let (from, to) = (root().join("python/wasm_grid"), folder.join("wasm_grid"));
    if to.exists() {
        fs::remove_dir_all(&to).map_err(|error| at(&to, &error))?;
    }
    fs::create_dir_all(folder).map_err(|error| at(folder, &error))?;
    run(Command::new("cp").arg("-R").arg(&from).arg(folder))?;
    let (library, module) = (programs.join("lib_wasm_grid.so"), to.join("_wasm_grid.abi3.so"));
    fs::copy(&library, &module).map_err(|error| at(&library, &error))?;
    Ok(module)
}
