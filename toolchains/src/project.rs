//! A worker's project: a folder with a `grid.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::language::Language;
use crate::sdk;

/// A worker's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The folder.
    pub folder: PathBuf,
    /// The module's name: 1 to 64 of `a`–`z`, `0`–`9`, `-`, `_` and `.`.
    pub name: String,
    /// The language that the worker is written in.
    pub language: Language,
    /// The folder of the SDK.
    pub sdk: PathBuf,
}

/// The contents of `grid.toml`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    name: String,
    language: Language,
    #[serde(default = "default_sdk")]
    sdk: PathBuf,
}

/// The file that makes a folder a worker's.
const SETTINGS: &str = "grid.toml";

const SDK: &str = "sdk";

/// The messages that `grid module test` sends; a new worker adds them up.
const MESSAGES: &str = "messages.jsonl";

fn default_sdk() -> PathBuf {
    SDK.into()
}

/// Why a folder is not a worker's: its author must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// There is no `grid.toml`.
    #[error("{0} has no grid.toml; `grid module new NAME --lang LANG` makes a worker")]
    NoSettings(String),
    /// The `grid.toml` is not valid.
    #[error("{path}: {reason}")]
    BadSettings {
        /// The path of the file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The source file that the language needs is missing.
    #[error("{0} is missing: that is where a worker in {1} is written")]
    NoSource(String, Language),
    /// The SDK is not where `grid.toml` says.
    #[error("the SDK is not at {0}; `sdk` in grid.toml says where it is")]
    NoSdk(String),
}

/// Why a new worker could not be made: its author must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NewError {
    /// The name cannot be a module's.
    #[error("`{0}` cannot be a module's name: 1 to 64 of a-z, 0-9, -, _ and ., a letter first")]
    BadName(String),
    /// The folder exists and is not empty.
    #[error("{0} exists and is not empty")]
    Exists(String),
    /// A file cannot be written.
    #[error("{path}: {error}")]
    Disk {
        /// The path of the file.
        path: String,
        /// The system's reason.
        error: std::io::Error,
    },
}

impl Project {
    /// Opens a worker's folder: reads its `grid.toml`, and checks that source and SDK are there.
    ///
    /// # Errors
    ///
    /// [`ProjectError`], each variant with its cause.
    pub fn open(folder: &Path) -> Result<Self, ProjectError> {
        let path = folder.join(SETTINGS);
        let text =
            fs::read_to_string(&path).map_err(|_| ProjectError::NoSettings(folder.display().to_string()))?;
        let bad = |reason: String| ProjectError::BadSettings { path: path.display().to_string(), reason };
        let settings: Settings = toml::from_str(&text).map_err(|error| bad(error.message().to_owned()))?;
        if !is_name(&settings.name) {
            return Err(bad(NewError::BadName(settings.name).to_string()));
        }
        let source = folder.join(settings.language.source());
        // In Rust, a WASI command is a program rather than a library.
        let is_program = settings.language == Language::Rust && folder.join("src/main.rs").is_file();
        if !source.is_file() && !is_program {
            return Err(ProjectError::NoSource(source.display().to_string(), settings.language));
        }
        let sdk = folder.join(settings.sdk);
        if !sdk.is_dir() {
            return Err(ProjectError::NoSdk(sdk.display().to_string()));
        }
        Ok(Self { folder: folder.to_path_buf(), name: settings.name, language: settings.language, sdk })
    }

    /// Writes a worker that builds and runs into a new folder, with the SDK in a folder of it. The folder may exist if
    /// it is empty.
    ///
    /// # Errors
    ///
    /// [`NewError`]; files that were written before the error stay.
    pub fn create(folder: &Path, name: &str, language: Language) -> Result<Self, NewError> {
        if !is_name(name) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Err(NewError::BadName(name.to_owned()));
        }
        if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(NewError::Exists(folder.display().to_string()));
        }
        let settings = format!("name = \"{name}\"\nlanguage = \"{language}\"\n");
        write(&folder.join(SETTINGS), settings.as_bytes())?;
        write(&folder.join(MESSAGES), b"1\n2\n39\n")?;
        for (path, contents) in sdk::template(language) {
            write(&folder.join(path), &named(&contents, name))?;
        }
        for (path, contents) in sdk::files(language) {
            write(&folder.join(SDK).join(path), &contents)?;
        }
        Ok(Self { folder: folder.to_path_buf(), name: name.to_owned(), language, sdk: folder.join(SDK) })
    }

    /// The default path of the module: `NAME.wasm` in the folder.
    pub fn output(&self) -> PathBuf {
        self.folder.join(format!("{}.wasm", self.name))
    }

    /// The folder with the WIT of components: inside the SDK if that is a copy of its own, else beside it.
    pub(crate) fn wit(&self) -> PathBuf {
        let own = self.sdk.join("wit");
        if own.is_dir() { own } else { self.sdk.join("../wit") }
    }
}

/// A template with the project's name filled in.
fn named(contents: &[u8], name: &str) -> Vec<u8> {
    match std::str::from_utf8(contents) {
        Ok(text) => text.replace("{{name}}", name).into_bytes(),
        Err(_) => contents.to_vec(),
    }
}

fn write(path: &Path, contents: &[u8]) -> Result<(), NewError> {
    let folder = path.parent().unwrap_or(path);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, contents));
    written.map_err(|error| NewError::Disk { path: path.display().to_string(), error })
}

fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_worker_can_be_opened_in_every_language() {
        let folder = tempfile::tempdir().unwrap();
        for language in Language::ALL {
            let place = folder.path().join(language.name());
            let made = Project::create(&place, "adder", language).unwrap();
            assert_eq!(Project::open(&place).unwrap(), made);
            let source = fs::read_to_string(place.join(language.source())).unwrap();
            assert!(!source.contains("{{"), "{language}: {source}");
            let again = Project::create(&place, "adder", language).unwrap_err();
            assert!(matches!(again, NewError::Exists(_)));
        }
    }

    #[test]
    fn settings_that_say_something_else_are_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = |settings: &str| {
            fs::write(folder.path().join(SETTINGS), settings).unwrap();
            Project::open(folder.path()).unwrap_err().to_string()
        };
        assert!(refusal("name = \"x\"\nlanguage = \"cobol\"").contains("cobol"));
        assert!(refusal("name = \"X Y\"\nlanguage = \"go\"").contains("X Y"));
        assert!(refusal("name = \"x\"\nlanguage = \"go\"\ncolour = 1").contains("colour"));
        assert!(refusal("name = \"x\"\nlanguage = \"go\"").contains("worker.go is missing"));
    }
}
