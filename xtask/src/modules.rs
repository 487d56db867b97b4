//! Builds the example workers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use grid_toolchains::{Language, Project, Recipe, build, fingerprint, recipe};

use crate::chore::{ChoreError, print as print_line, root};
use crate::install::{install, install_c_if_missing, toolbox};

/// A built worker.
#[derive(Debug, Clone)]
pub(crate) struct ModuleBuild {
    /// The module's name.
    pub(crate) name: String,
    /// The module's path.
    pub(crate) path: PathBuf,
    /// The module's length, in bytes.
    pub(crate) bytes: u64,
    language: Language,
    toolchain: String,
    /// How long the build took; `None` if the module was up to date.
    took: Option<Duration>,
}

/// Builds the workers in these languages. Modules that are up to date are not built again.
pub(crate) fn build_all(languages: &[Language]) -> Result<Vec<ModuleBuild>, ChoreError> {
    let mut built = Vec::new();
    for project in projects()? {
        if languages.contains(&project.language) {
            built.push(build_one(&project)?);
        }
    }
    built.sort_by_key(|module: &ModuleBuild| (family(&module.name), module.language));
    Ok(built)
}

/// Builds one worker, and installs its toolchain if it is missing.
pub(crate) fn build_named(name: &str) -> Result<ModuleBuild, ChoreError> {
    let project = projects()?.into_iter().find(|project| project.name == name);
    build_one(&project.ok_or_else(|| ChoreError::Other(format!("there is no module `{name}`")))?)
}

/// The sort key that keeps the versions of one worker in several languages together.
fn family(name: &str) -> String {
    name.split('-').next().unwrap_or(name).to_owned()
}

/// The folder of the built modules.
pub(crate) fn folder() -> PathBuf {
    root().join("modules/target/guests")
}

/// All projects below `modules`.
fn projects() -> Result<Vec<Project>, ChoreError> {
    let mut projects = Vec::new();
    let mut folders = vec![root().join("modules")];
    while let Some(folder) = folders.pop() {
        if folder.join("grid.toml").is_file() {
            projects.push(Project::open(&folder).map_err(|error| ChoreError::Other(error.to_string()))?);
            continue;
        }
        let entries = fs::read_dir(&folder).map_err(|error| disk(&folder, &error))?;
        let inside = entries.flatten().map(|entry| entry.path());
        let hidden = |path: &PathBuf| path.ends_with("target") || path.ends_with("node_modules");
        folders.extend(inside.filter(|path| path.is_dir() && !hidden(path)));
    }
    projects.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(projects)
}

fn build_one(project: &Project) -> Result<ModuleBuild, ChoreError> {
    let output = folder().join(format!("{}.wasm", project.name));
    let recipe = recipe_for(project, &output)?;
    if is_partly_c(project) {
        install_c_if_missing()?;
    }
    let mark = folder().join(format!("{}.fingerprint", project.name));
    let now = fingerprint(project, &recipe);
    let mut took = None;
    if !output.is_file() || fs::read_to_string(&mark).is_ok_and(|then| then == now).eq(&false) {
        let built = build(&recipe, &output)
            .map_err(|error| ChoreError::Other(format!("{} was not built: {error}", project.name)))?;
        fs::write(&mark, now).map_err(|error| disk(&mark, &error))?;
        took = Some(built.took);
    }
    let bytes = fs::metadata(&output).map_err(|error| disk(&output, &error))?.len();
    Ok(ModuleBuild {
        name: project.name.clone(),
        path: output,
        bytes,
        language: project.language,
        toolchain: recipe.version,
        took,
    })
}

/// True for a worker in Rust that contains C: SQLite is written in C.
fn is_partly_c(project: &Project) -> bool {
    project.name == "sql"
}

/// The recipe of a project; installs the toolchain first if it is missing.
fn recipe_for(project: &Project, output: &Path) -> Result<Recipe, ChoreError> {
    if let Ok(recipe) = recipe(project, output, &toolbox()) {
        return Ok(recipe);
    }
    install(project.language)?;
    recipe(project, output, &toolbox()).map_err(|missing| ChoreError::Other(missing.to_string()))
}

fn disk(path: &Path, error: &std::io::Error) -> ChoreError {
    ChoreError::Other(format!("{}: {error}", path.display()))
}

/// Prints a table of built workers.
pub(crate) fn print(built: &[ModuleBuild]) {
    print_line(&format!("{:<24} {:<15} {:>9} {:>11}  toolchain", "module", "language", "seconds", "bytes"));
    for module in built {
        let took = module.took.map_or("-".to_owned(), |took| format!("{:.1}", took.as_secs_f64()));
        let (name, language) = (&module.name, module.language.name());
        print_line(&format!(
            "{name:<24} {language:<15} {took:>9} {:>11}  {}",
            module.bytes, module.toolchain
        ));
    }
    let rebuilt = built.iter().filter(|module| module.took.is_some()).count();
    print_line(&format!("{} modules, {rebuilt} of them built just now", built.len()));
}
