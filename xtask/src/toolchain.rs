//! Finding a compiler for `wasm32-wasip1`, or installing one.
//!
//! Most people have rustup's target. Where rustup cannot fetch it, Debian's packages build the standard library for the
//! same target, driven by the cargo that is here.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::chore::{ChoreError, output, run, say};

/// The target of every worker.
pub(crate) const TARGET: &str = "wasm32-wasip1";

/// A way to compile workers.
#[derive(Debug, Clone)]
pub(crate) enum Toolchain {
    /// The compiler that is here has the target's standard library.
    Installed,
    /// Another compiler has its library's source beside it; the standard library is built from that.
    FromSource {
        /// The compiler.
        rustc: PathBuf,
        /// The linker.
        linker: PathBuf,
        /// Where the C library of WASI is.
        wasi_libc: PathBuf,
    },
}

/// Debian's packages: a compiler, its library's source, and WASI's C library.
const PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "wasi-libc"];

const WASI_LIBC: &str = "/usr/lib/wasm32-wasi";

/// The toolchain that is here, or that could be installed.
pub(crate) fn find_or_install() -> Result<Toolchain, ChoreError> {
    if let Some(found) = find()? {
        return Ok(found);
    }
    install()?;
    find()?.ok_or_else(|| ChoreError::Other(advice("the packages are installed and no compiler was found")))
}

fn find() -> Result<Option<Toolchain>, ChoreError> {
    if let Some(rustc) = std::env::var_os("GRID_WASM_RUSTC") {
        let rustc = PathBuf::from(rustc);
        say(&format!("toolchain: $GRID_WASM_RUSTC, {}", rustc.display()));
        return if has_target(&rustc)? {
            Ok(Some(Toolchain::Installed))
        } else {
            from_source(&rustc).map(Some)
        };
    }
    if has_target(Path::new("rustc"))? {
        say(&format!("toolchain: the {TARGET} target of the rustc that is here"));
        return Ok(Some(Toolchain::Installed));
    }
    let debian = Path::new("/usr/bin/rustc");
    if debian.exists() && has_source(debian)? && Path::new(WASI_LIBC).is_dir() {
        say("toolchain: Debian's rustc and its library's source");
        return from_source(debian).map(Some);
    }
    Ok(None)
}

fn has_target(rustc: &Path) -> Result<bool, ChoreError> {
    let Ok(folder) = output(clean(rustc).args(["--print", "target-libdir", "--target", TARGET])) else {
        return Ok(false);
    };
    let Ok(mut entries) = std::fs::read_dir(folder) else {
        return Ok(false);
    };
    Ok(entries
        .any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))))
}

fn has_source(rustc: &Path) -> Result<bool, ChoreError> {
    let sysroot = output(clean(rustc).args(["--print", "sysroot"]))?;
    Ok(Path::new(&sysroot).join("lib/rustlib/src/rust/library/std/Cargo.toml").exists())
}

fn from_source(rustc: &Path) -> Result<Toolchain, ChoreError> {
    let sysroot = output(clean(Path::new("rustc")).args(["--print", "sysroot"]))?;
    let host = output(clean(Path::new("rustc")).arg("-vV"))?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
    let beside = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
    let linkers = [beside, PathBuf::from("/usr/bin/wasm-ld-19"), PathBuf::from("/usr/bin/wasm-ld")];
    let linker = linkers.into_iter().find(|linker| linker.exists());
    let linker = linker.ok_or_else(|| ChoreError::Other(advice("there is no linker for WebAssembly")))?;
    Ok(Toolchain::FromSource { rustc: rustc.to_path_buf(), linker, wasi_libc: WASI_LIBC.into() })
}

fn install() -> Result<(), ChoreError> {
    let apt = Path::new("/usr/bin/apt-get");
    let root = output(Command::new("id").arg("-u")).is_ok_and(|id| id == "0");
    if !apt.exists() || !root {
        return Err(ChoreError::Other(advice("there is no compiler for it here")));
    }
    say(&format!("toolchain: none for {TARGET}; installing Debian's {}", PACKAGES.join(", ")));
    run(Command::new(apt).args(["update", "-qq"]))?;
    let mut install = Command::new(apt);
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(PACKAGES);
    run(install.env("DEBIAN_FRONTEND", "noninteractive").stdout(std::process::Stdio::null()))
}

fn advice(why: &str) -> String {
    format!(
        "cannot build {TARGET}: {why}; type `rustup target add {TARGET}`, or as root `apt-get install {}`",
        PACKAGES.join(" ")
    )
}

impl Toolchain {
    /// A cargo that builds workers, with nothing of the cargo around it.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = clean(Path::new("cargo"));
        if let Self::FromSource { rustc, linker, wasi_libc } = self {
            cargo
                .env("RUSTC", rustc)
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_WASIP1_LINKER", linker)
                .env("CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS", format!("-L{}", wasi_libc.display()));
        } else if let Some(rustc) = std::env::var_os("GRID_WASM_RUSTC") {
            cargo.env("RUSTC", rustc);
        }
        cargo
    }

    /// What such a cargo needs to hear besides.
    pub(crate) fn arguments(&self) -> &'static [&'static str] {
        match self {
            Self::Installed => &[],
            Self::FromSource { .. } => &["-Zbuild-std=std,panic_abort"],
        }
    }
}

/// A program without the settings of the cargo that runs this one.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let keep = text == "CARGO_HOME";
        if !keep && (text.starts_with("CARGO") || text.starts_with("RUSTC") || text == "RUSTFLAGS") {
            command.env_remove(&name);
        }
    }
    command
}
