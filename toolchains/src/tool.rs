//! Finding the programs that build workers.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::language::Language;

/// Where programs are looked for: folders of the caller's first, then the path.
#[derive(Debug, Clone, Default)]
pub struct Toolbox {
    folders: Vec<PathBuf>,
}

/// A toolchain is not here: whoever builds must install it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} here to build {language} with; type: {install}")]
pub struct Missing {
    /// The language.
    pub language: Language,
    /// What is missing.
    pub what: &'static str,
    /// A line that installs it.
    pub install: &'static str,
}

impl Toolbox {
    /// The path, and before it the folders that `GRID_TOOLCHAINS` names (separated as in `PATH`).
    pub fn new() -> Self {
        let folders = std::env::var_os("GRID_TOOLCHAINS");
        Self { folders: folders.iter().flat_map(std::env::split_paths).collect() }
    }

    /// Looks in this folder before all others.
    #[must_use]
    pub fn with(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folders.insert(0, folder.into());
        self
    }

    /// The first of these programs that is there.
    pub(crate) fn find(&self, names: &[&str]) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<_> = self.folders.iter().cloned().chain(std::env::split_paths(&path)).collect();
        let places = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        places.into_iter().find(|place| place.is_file())
    }

    pub(crate) fn need(
        &self,
        language: Language,
        names: &[&str],
        what: &'static str,
        install: &'static str,
    ) -> Result<PathBuf, Missing> {
        self.find(names).ok_or(Missing { language, what, install })
    }
}

/// What a program prints of itself, its first line; nothing if it does not say.
pub(crate) fn version(program: &Path, argument: impl AsRef<OsStr>) -> String {
    let said = Command::new(program).arg(argument).output();
    let said = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default();
    said.lines().next().unwrap_or_default().trim().to_owned()
}

/// The version in the `package.json` of a program from npm; nothing if there is none.
pub(crate) fn package_version(program: &Path) -> String {
    let Ok(program) = program.canonicalize() else {
        return String::new();
    };
    let manifest = program.ancestors().map(|folder| folder.join("package.json")).find(|path| path.is_file());
    let text = manifest.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let version = text.lines().find_map(|line| line.trim().strip_prefix("\"version\":"));
    version.unwrap_or_default().trim_matches(|letter: char| !letter.is_ascii_alphanumeric()).to_owned()
}

/// What a program prints, if it succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let said = command.output().ok().filter(|said| said.status.success())?;
    Some(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}
