//! Fingerprints: a digest of everything that a built module depends on. With the same fingerprint it need not be built
//! again.

use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::language::Language;
use crate::project::Project;
use crate::recipe::{Recipe, rust};

/// A digest of a project's sources, its SDK, and the toolchain with its version and flags: 32 hexadecimal digits.
///
/// Files that cannot be read are left out; the build itself will report them.
pub fn fingerprint(project: &Project, recipe: &Recipe) -> String {
    let mut hasher = Sha256::new();
    hasher.update(recipe.version.as_bytes());
    for step in &recipe.steps {
        hasher.update(format!("{step}\0"));
    }
    add(&mut hasher, &project.folder, &project.folder);
    add(&mut hasher, &project.sdk, &project.sdk);
    add(&mut hasher, &project.wit(), &project.wit());
    if project.language == Language::Rust {
        let abi = project.sdk.join("../abi");
        add(&mut hasher, &abi, &abi);
        let workspace = rust::workspace(&project.folder);
        for file in ["Cargo.toml", "Cargo.lock"] {
            hasher.update(fs::read(workspace.join(file)).unwrap_or_default());
        }
    }
    hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Folders that builds write to.
const NOT_SOURCES: [&str; 4] = ["target", "node_modules", "__pycache__", ".zig-cache"];

fn add(hasher: &mut Sha256, root: &Path, folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if NOT_SOURCES.contains(&name.as_str()) || name.ends_with(".wasm") {
            continue;
        }
        if path.is_dir() {
            add(hasher, root, &path);
        } else if let Ok(contents) = fs::read(&path) {
            let within = path.strip_prefix(root).unwrap_or(&path);
            hasher.update(format!("{}\0{}\0", within.display(), contents.len()));
            hasher.update(&contents);
        }
    }
}
