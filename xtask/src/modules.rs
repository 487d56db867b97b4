//! Building the example workers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use grid_toolchains::{Language, Project, Recipe, build, fingerprint, recipe};

use crate::chore::{ChoreError, print as print_line, root};
use crate::install::{install, install_c_if_missing, toolbox};

/// A worker that was built, now or before.
#[derive(Debug, Clone)]
pub(crate) struct ModuleBuild {
    /// Its name.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its length, in bytes.
    pub(crate) bytes: u64,
    language: Language,
    toolchain: String,
    /// How long it took; `None` if it was there already.
    took: Option<Duration>,
}

/// Builds the workers in Rust, or in every language. What is up to date is not built again.
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

/// Builds one worker in Rust, and what that needs.
pub(crate) fn build_named(name: &str) -> Result<ModuleBuild, ChoreError> {
    let project = projects()?.into_iter().find(|project| project.name == name);
    build_one(&project.ok_or_else(|| ChoreError::Other(format!("there is no module `{name}`")))?)
}

/// The workers that one kind has in several languages stand together.
fn family(name: &str) -> String {
    name.split('-').next().unwrap_or(name).to_owned()
}

/// Where built modules are.
pub(crate) fn folder() -> PathBuf {
    root().join("modules/target/guests")
}

/// Every folder with a worker in it, below `modules`.
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

/// Workers in Rust with C in them: SQLite is C.
fn is_partly_c(project: &Project) -> bool {
    project.name == "sql"
}

/// The recipe, once the toolchain is installed.
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

/// Prints what was built.
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
