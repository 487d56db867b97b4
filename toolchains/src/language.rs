//! The languages with an SDK, in which workers can be made and built.

use std::fmt;
use std::str::FromStr;

/// A language with an SDK. A worker in another language can implement the guest ABI itself.
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
    /// All languages, in the order of the documentation's tables.
    pub const ALL: [Self; 8] =
        [Self::Rust, Self::C, Self::Cpp, Self::Go, Self::Zig, Self::AssemblyScript, Self::Python, Self::Js];

    /// The name on the command line and in `grid.toml`.
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

    /// The path of a worker's source file in its folder.
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

    /// The folder of its SDK within `guest-sdk`.
    pub(crate) fn sdk_folder(self) -> &'static str {
        match self {
            Self::Cpp => "c",
            other => other.name(),
        }
    }

    /// The folder of a new worker's files, within that of the SDK.
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

/// There is no SDK for the language of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no SDK for `{0}`; there is one for rust, c, cpp, go, zig, assemblyscript, python and js")]
pub struct UnknownLanguage(String);

impl FromStr for Language {
    type Err = UnknownLanguage;

    /// Parses the name or a common alias of it, in any case.
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
