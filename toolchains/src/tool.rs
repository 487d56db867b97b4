//! Finding the programs that build workers.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::language::Language;

/// The folders in which programs are searched: those of the caller first, then `PATH`.
#[derive(Debug, Clone, Default)]
pub struct Toolbox {
    folders: Vec<PathBuf>,
}

/// A toolchain is not installed: the user must install it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} here to build {language} with; type: {install}")]
pub struct Missing {
    /// The language that needs it.
    pub language: Language,
    /// What is missing.
    pub what: &'static str,
    /// A command line that installs it.
    pub install: &'static str,
}

impl Toolbox {
    /// Searches the folders of `GRID_TOOLCHAINS` (separated as in `PATH`), then `PATH`.
    pub fn new() -> Self {
        let folders = std::env::var_os("GRID_TOOLCHAINS");
        Self { folders: folders.iter().flat_map(std::env::split_paths).collect() }
    }

    /// Searches this folder before all others.
    #[must_use]
    pub fn with(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folders.insert(0, folder.into());
        self
    }

    /// The path of the first of these programs that is installed.
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

/// The first line that a program prints when run with `argument`; empty if it prints none.
pub(crate) fn version(program: &Path, argument: impl AsRef<OsStr>) -> String {
    let said = Command::new(program).arg(argument).output();
    let said = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default();
    said.lines().next().unwrap_or_default().trim().to_owned()
}

/// The version in the `package.json` of a program from npm; empty if there is none.
pub(crate) fn package_version(program: &Path) -> String {
    let Ok(program) = program.canonicalize() else {
        return String::new();
    };
    let manifest = program.ancestors().map(|folder| folder.join("package.json")).find(|path| path.is_file());
    let text = manifest.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let version = text.lines().find_map(|line| line.trim().strip_prefix("\"version\":"));
    version.unwrap_or_default().trim_matches(|letter: char| !letter.is_ascii_alphanumeric()).to_owned()
}

/// What a program prints, trimmed; `None` if it fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let said = command.output().ok().filter(|said| said.status.success())?;
    Some(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}
