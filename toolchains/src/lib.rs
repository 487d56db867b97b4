//! Makes new workers, finds the toolchain of their language, and builds them.
//!
//! Everything here runs programs that are installed already, and says in a line what to install where one is missing. A
//! worker is a folder with a `grid.toml` ([`Project`]); what is done to it is a list of command lines ([`Recipe`]), so
//! that a person can see them and type them.
//!
//! **Deliberately absent:** installing anything, and everything about modules: what is built is a file.

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
