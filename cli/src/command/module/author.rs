//! `grid module new` and `grid module build`: a worker as its author has it.

use std::path::{Path, PathBuf};

use grid_toolchains::{Language, Project, Toolbox};
use serde::Serialize;

use crate::command::cli_error::CliError;
use crate::command::output::{Output, bytes};
use crate::command::shown::Lines;
use crate::command::{Common, compiled};

/// What a new worker is.
#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// Its name, and that of its folder: a-z, 0-9, -, _ and ., a letter first.
    name: String,
    /// What it is written in: rust, c, cpp, go, zig, assemblyscript, python or js.
    #[arg(short, long, value_name = "LANG")]
    lang: Language,
    /// Where its folder goes [default: a folder of its name here].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What is built.
#[derive(Debug, clap::Args)]
pub(crate) struct Build {
    /// The worker's folder, the one with grid.toml.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where the module goes [default: NAME.wasm in the folder].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the command lines of the toolchain, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// A worker's folder that was just made.
#[derive(Serialize)]
struct NewWorker<'a> {
    folder: &'a str,
    language: &'static str,
    name: &'a str,
}

/// What would be done to build a worker: its command lines.
#[derive(Serialize)]
struct BuildSteps<'a> {
    steps: &'a [String],
}

/// A module that was just built.
#[derive(Serialize)]
struct BuiltModule<'a> {
    /// Its length.
    bytes: u64,
    path: &'a str,
    /// How long it took.
    seconds: f64,
}

impl New {
    pub(crate) fn run(&self, output: &Output) -> Result<(), CliError> {
        let folder = self.dir.clone().unwrap_or_else(|| PathBuf::from(&self.name));
        let project = Project::create(&folder, &self.name, self.lang)
            .map_err(|error| CliError::failed("the worker was not made", error))?;
        let folder = project.folder.display().to_string();
        let source = project.folder.join(project.language.source()).display().to_string();
        let mut lines = Lines::from(&format!("a worker in {} is in {source}; next:", project.language));
        for verb in ["build", "test"] {
            lines.push(2, &format!("grid module {verb} {folder}"));
        }
        output.say_lines(&lines);
        let worker = NewWorker { folder: &folder, language: project.language.name(), name: &project.name };
        output.one(&folder, &folder, worker)
    }
}

impl Build {
    pub(crate) fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        let project = open(&self.dir)?;
        let target = self.output.clone().unwrap_or_else(|| project.output());
        let recipe = grid_toolchains::recipe(&project, &target, &Toolbox::new())
            .map_err(|missing| CliError::not_found(missing.to_string()))?;
        if self.dry_run {
            let steps: Vec<_> = recipe.steps.iter().map(ToString::to_string).collect();
            return output.one(&steps[..], &steps[..], BuildSteps { steps: &steps });
        }
        output.say(&format!("building {} with {}", project.name, recipe.version));
        let built = grid_toolchains::build(&recipe, &target)
            .map_err(|error| CliError::failed(format!("{} was not built", project.name), error))?;
        compiled::begin(&common.home, &built.path);
        let path = built.path.display().to_string();
        let seconds = built.took.as_secs_f64();
        let line = format!("{path}, {}, in {seconds:.1} s", bytes(built.bytes));
        output.one(&line, &path, BuiltModule { bytes: built.bytes, path: &path, seconds })
    }
}

fn open(folder: &Path) -> Result<Project, CliError> {
    Project::open(folder).map_err(|error| CliError::usage(error.to_string()))
}

/// The module's file: `path` itself, or the module built in that folder.
pub(crate) fn module_file(path: &Path) -> Result<PathBuf, CliError> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let project = open(path)?;
    let file = project.output();
    if !file.is_file() {
        let folder = path.display();
        return Err(CliError::not_found(format!("{} is not built", project.name))
            .help(&format!("`grid module build {folder}` builds it")));
    }
    Ok(file)
}
