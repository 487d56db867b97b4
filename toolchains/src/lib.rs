//! Makes new workers, finds the toolchain of their language, and builds them.
//!
//! This crate runs programs that are installed already; if one is missing, the error names the line that installs it. A
//! worker is a folder with a `grid.toml` ([`Project`]); building it is a list of command lines ([`Recipe`]), which a
//! person can read and type.
//!
//! **Deliberately absent:** installing anything, and knowledge of modules: the result of a build is just a file.

#![forbid(unsafe_code)]

mod fingerprint;
mod language;
mod project;
mod recipe;
mod sdk;
mod tool;

pub use fingerprint::fingerprint;
pub use language::Language;
pub use project::{NewError, Project, ProjectError};
pub use recipe::{BuildError, Built, Recipe, build, recipe};
pub use tool::{Missing, Toolbox};
