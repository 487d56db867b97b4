//! Building the example workers.

use std::path::PathBuf;
use std::time::Instant;

use crate::chore::{ChoreError, print as print_line, root, run};
use crate::toolchain::{TARGET, find_or_install};

/// A worker that was built.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    /// Its name.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its length, in bytes.
    pub(crate) bytes: u64,
}

/// Builds all of them; what is up to date is not built again.
pub(crate) fn build_all() -> Result<Vec<Built>, ChoreError> {
    let toolchain = find_or_install()?;
    let folder = root().join("modules");
    let started = Instant::now();
    let mut cargo = toolchain.cargo();
    cargo.current_dir(&folder).args(["build", "--release", "--quiet", "--target", TARGET]);
    run(cargo.args(toolchain.arguments()))?;
    crate::chore::say(&format!("modules: built in {:.1} s", started.elapsed().as_secs_f64()));
    let release = folder.join("target").join(TARGET).join("release");
    let entries = std::fs::read_dir(&release)
        .map_err(|error| ChoreError::Other(format!("{}: {error}", release.display())))?;
    let mut built = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|kind| kind == "wasm") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = entry.metadata().map_or(0, |about| about.len());
            built.push(Built { name, path, bytes });
        }
    }
    built.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(built)
}

/// Prints what was built.
pub(crate) fn print(built: &[Built]) {
    print_line(&format!("{:<12} {:>9}  file", "module", "bytes"));
    for module in built {
        print_line(&format!("{:<12} {:>9}  {}", module.name, module.bytes, module.path.display()));
    }
}
