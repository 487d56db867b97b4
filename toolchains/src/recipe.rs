//! Recipes: the command lines that make a module of a project.

mod assemblyscript;
mod c;
mod go;
mod js;
mod python;
pub(crate) mod rust;
mod strip;
mod zig;

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::language::Language;
use crate::project::Project;
use crate::tool::{Missing, Toolbox};

/// How a project is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The toolchain and its version, as it prints it.
    pub version: String,
    /// The command lines, in order; the last one writes the module.
    pub steps: Vec<Step>,
    /// Where the last step writes the module, if that is not the output.
    product: Option<PathBuf>,
    /// True if debug sections must be removed from the module: hundreds of kilobytes.
    strip_debug: bool,
}

/// One command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    folder: PathBuf,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
}

/// A module that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The path of the module.
    pub path: PathBuf,
    /// Its length, in bytes.
    pub bytes: u64,
    /// How long the build took.
    pub took: Duration,
}

/// Why a project was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A toolchain is missing: the user must install it.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A step failed: the worker's author must act.
    #[error("`{step}` failed{}", said(.output))]
    Failed {
        /// The command line.
        step: String,
        /// What it printed.
        output: String,
    },
    /// A program cannot be run, or a file cannot be read or written.
    #[error("{what}: {error}")]
    System {
        /// The program or file.
        what: String,
        /// The system's reason.
        error: std::io::Error,
    },
}

fn said(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!(":\n{output}") }
}

/// Makes the recipe that builds a project into `output` with the toolchain that is installed.
///
/// # Errors
///
/// [`Missing`], if there is none; it says what to install.
pub fn recipe(project: &Project, output: &Path, tools: &Toolbox) -> Result<Recipe, Missing> {
    match project.language {
        Language::Rust => rust::recipe(project, tools),
        Language::C | Language::Cpp => c::recipe(project, output, tools),
        Language::Go => go::recipe(project, output, tools),
        Language::Zig => zig::recipe(project, output, tools),
        Language::AssemblyScript => assemblyscript::recipe(project, output, tools),
        Language::Python => python::recipe(project, output, tools),
        Language::Js => js::recipe(project, output, tools),
    }
}

/// Runs a recipe; returns the module at `output`.
///
/// # Errors
///
/// [`BuildError`]; a file that was at `output` before may be lost.
pub fn build(recipe: &Recipe, output: &Path) -> Result<Built, BuildError> {
    let started = Instant::now();
    let system = |what: &Path| {
        let what = what.display().to_string();
        move |error| BuildError::System { what, error }
    };
    if let Some(folder) = output.parent() {
        fs::create_dir_all(folder).map_err(system(folder))?;
    }
    for step in &recipe.steps {
        step.run()?;
    }
    if let Some(product) = &recipe.product {
        fs::copy(product, output).map_err(system(product))?;
    }
    if recipe.strip_debug {
        let module = fs::read(output).map_err(system(output))?;
        fs::write(output, strip::without_debug_sections(&module)).map_err(system(output))?;
    }
    let bytes = fs::metadata(output).map_err(system(output))?.len();
    Ok(Built { path: output.to_path_buf(), bytes, took: started.elapsed() })
}

impl Recipe {
    fn new(version: String, steps: Vec<Step>) -> Self {
        Self { version, steps, product: None, strip_debug: false }
    }
}

impl Step {
    fn new<I: Into<OsString>>(folder: &Path, program: &Path, arguments: impl IntoIterator<Item = I>) -> Self {
        Self {
            folder: folder.to_path_buf(),
            program: program.to_path_buf(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
        }
    }

    fn environment(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    fn run(&self) -> Result<(), BuildError> {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).args(&self.arguments);
        without_outer_cargo(&mut command);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let ran = command.stdin(std::process::Stdio::null()).output();
        let ran =
            ran.map_err(|error| BuildError::System { what: self.program.display().to_string(), error })?;
        if ran.status.success() {
            return Ok(());
        }
        let output = [ran.stdout, ran.stderr].concat();
        let output = String::from_utf8_lossy(&output).trim().to_owned();
        Err(BuildError::Failed { step: self.to_string(), output })
    }
}

/// The command line as a person would type it in the project's folder.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(&value.to_string_lossy()))?;
        }
        write!(f, "{}", self.program.display())?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", quoted(&argument.to_string_lossy())))
    }
}

fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=:,+@".contains(letter);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

/// Removes the variables of an outer cargo from a command's environment, because they would change an inner cargo.
pub(crate) fn without_outer_cargo(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let keep = ["CARGO_HOME", "CARGO_TARGET_DIR"].contains(&&*text);
        if !keep && (text.starts_with("CARGO") || text.starts_with("RUSTC") || text == "RUSTFLAGS") {
            command.env_remove(&name);
        }
    }
}

/// An absolute path, because toolchains run in the project's folder.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
