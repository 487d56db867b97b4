//! The languages that workers are written in, as far as this crate knows them.

use std::fmt;
use std::str::FromStr;

/// A language with an SDK here. Others need none: the guest ABI is a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust, with its standard library.
    Rust,
    /// C11.
    C,
    /// C++17 without exceptions.
    Cpp,
    /// Go, its own compiler.
    Go,
    /// Zig.
    Zig,
    /// AssemblyScript.
    AssemblyScript,
    /// Python 3, as a component.
    Python,
    /// JavaScript on QuickJS, as a component.
    Js,
}

impl Language {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 8] =
        [Self::Rust, Self::C, Self::Cpp, Self::Go, Self::Zig, Self::AssemblyScript, Self::Python, Self::Js];

    /// The name that is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Cpp => "cpp",
            Self::Go => "go",
            Self::Zig => "zig",
            Self::AssemblyScript => "assemblyscript",
            Self::Python => "python",
            Self::Js => "js",
        }
    }

    /// The file that a worker is written in.
    pub fn source(self) -> &'static str {
        match self {
            Self::Rust => "src/lib.rs",
            Self::C => "worker.c",
            Self::Cpp => "worker.cpp",
            Self::Go => "worker.go",
            Self::Zig => "worker.zig",
            Self::AssemblyScript => "worker.ts",
            Self::Python => "worker.py",
            Self::Js => "worker.js",
        }
    }

    /// The folder of its SDK, in `guest-sdk`.
    pub(crate) fn sdk_folder(self) -> &'static str {
        match self {
            Self::Cpp => "c",
            other => other.name(),
        }
    }

    /// The folder of a new worker's files, in that of the SDK.
    pub(crate) fn template_folder(self) -> &'static str {
        match self {
            Self::Cpp => "template-cpp",
            _ => "template",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No such language.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no SDK for `{0}`; there is one for rust, c, cpp, go, zig, assemblyscript, python and js")]
pub struct UnknownLanguage(String);

impl FromStr for Language {
    type Err = UnknownLanguage;

    /// Takes the name, and what people call the language otherwise.
    fn from_str(text: &str) -> Result<Self, UnknownLanguage> {
        let text = text.to_lowercase();
        Ok(match text.as_str() {
            "rust" | "rs" => Self::Rust,
            "c" => Self::C,
            "cpp" | "c++" | "cxx" => Self::Cpp,
            "go" | "golang" => Self::Go,
            "zig" => Self::Zig,
            "assemblyscript" | "as" => Self::AssemblyScript,
            "python" | "py" => Self::Python,
            "js" | "javascript" | "ts" | "typescript" => Self::Js,
            _ => return Err(UnknownLanguage(text)),
        })
    }
}
