//! Rust, with rustup's target, or with a compiler that comes with the source of its standard library.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::language::Language;
use crate::project::Project;
use crate::recipe::{Recipe, Step, absolute, without_outer_cargo};
use crate::tool::{Missing, Toolbox, output, version};

/// The target of every worker in Rust.
const TARGET: &str = "wasm32-wasip1";

/// The folder of Debian's WASI C library.
const WASI_LIBC: &str = "/usr/lib/wasm32-wasi";

/// A way to compile workers.
enum Toolchain {
    /// A compiler with the target's standard library: `rustc` on the path if `None`.
    Installed(Option<PathBuf>),
    /// A compiler that comes with the source of its standard library, which is built for the target.
    FromSource { rustc: PathBuf, linker: PathBuf },
}

pub(super) fn recipe(project: &Project, tools: &Toolbox) -> Result<Recipe, Missing> {
    let (steps, version) = cargo(&project.folder, tools)?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace(&project.folder).join("target"), PathBuf::from);
    // Cargo names the file after the library, with underscores instead of hyphens.
    let file = format!("{}.wasm", project.name.replace('-', "_"));
    let product = Some(target.join(TARGET).join("release").join(file));
    Ok(Recipe { product, ..Recipe::new(version, steps) })
}

/// The folder of a crate's workspace; without one, the crate's own.
pub(crate) fn workspace(folder: &Path) -> PathBuf {
    let folder = absolute(folder);
    let is_workspace = |folder: &&Path| {
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim() == "[workspace]")
    };
    folder.ancestors().find(is_workspace).unwrap_or(&folder).to_path_buf()
}

/// The command line that builds a crate, and the compiler's version.
fn cargo(folder: &Path, tools: &Toolbox) -> Result<(Vec<Step>, String), Missing> {
    let install =
        "rustup target add wasm32-wasip1 (or, as root: apt-get install rustc-web rust-web-src wasi-libc)";
    let missing = |what| Missing { language: Language::Rust, what, install };
    let cargo = tools.find(&["cargo"]).ok_or(missing("cargo"))?;
    let toolchain = find(tools).ok_or(missing("compiler for wasm32-wasip1"))?;
    let step = Step::new(folder, &cargo, ["build", "--release", "--quiet", "--target", TARGET]);
    Ok(match toolchain {
        Toolchain::Installed(None) => (vec![step], version(Path::new("rustc"), "--version")),
        Toolchain::Installed(Some(rustc)) => {
            let version = version(&rustc, "--version");
            (vec![step.environment("RUSTC", rustc)], version)
        }
        Toolchain::FromSource { rustc, linker } => {
            let version = version(&rustc, "--version");
            let step = step
                .argument("-Zbuild-std=std,panic_abort")
                .environment("RUSTC", rustc)
                .environment("RUSTC_BOOTSTRAP", "1")
                .environment("CARGO_TARGET_WASM32_WASIP1_LINKER", linker)
                .environment("CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS", format!("-L{WASI_LIBC}"));
            (vec![step], version)
        }
    })
}

fn find(tools: &Toolbox) -> Option<Toolchain> {
    if let Some(rustc) = std::env::var_os("GRID_WASM_RUSTC") {
        let rustc = PathBuf::from(rustc);
        if has_target(&rustc) {
            return Some(Toolchain::Installed(Some(rustc)));
        }
        return from_source(rustc, tools);
    }
    if has_target(Path::new("rustc")) {
        return Some(Toolchain::Installed(None));
    }
    let debian = PathBuf::from("/usr/bin/rustc");
    let usable = debian.exists() && Path::new(WASI_LIBC).is_dir() && has_source(&debian);
    usable.then(|| from_source(debian, tools)).flatten()
}

fn has_target(rustc: &Path) -> bool {
    let folder = ask(rustc, &["--print", "target-libdir", "--target", TARGET]);
    let Some(Ok(mut entries)) = folder.map(std::fs::read_dir) else {
        return false;
    };
    entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libstd-")))
}

fn has_source(rustc: &Path) -> bool {
    let sysroot = ask(rustc, &["--print", "sysroot"]).unwrap_or_default();
    Path::new(&sysroot).join("lib/rustlib/src/rust/library/std/Cargo.toml").exists()
}

fn from_source(rustc: PathBuf, tools: &Toolbox) -> Option<Toolchain> {
    let ours = Path::new("rustc");
    let sysroot = ask(ours, &["--print", "sysroot"])?;
    let about = ask(ours, &["-vV"])?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "))?;
    let beside = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
    let linker = if beside.exists() { beside } else { tools.find(&["wasm-ld-19", "wasm-ld"])? };
    Some(Toolchain::FromSource { rustc, linker })
}

fn ask(rustc: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(rustc);
    without_outer_cargo(&mut command);
    output(command.args(arguments))
}
