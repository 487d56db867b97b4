//! AssemblyScript.

use std::path::Path;

use crate::project::Project;
use crate::recipe::{Recipe, Step, absolute};
use crate::tool::{Missing, Toolbox, package_version};

pub(super) fn recipe(project: &Project, output: &Path, tools: &Toolbox) -> Result<Recipe, Missing> {
    let asc = tools.need(project.language, &["asc"], "asc", "npm install --global assemblyscript@0.28.20")?;
    let step = Step::new(&project.folder, &asc, [project.language.source(), "-O3", "--debug"])
        .argument("--runtime")
        .argument("incremental")
        // Code outside of functions then runs from an export, once the instance is complete.
        .argument("--exportStart")
        .argument("_initialize")
        .argument("--outFile")
        .argument(absolute(output));
    Ok(Recipe::new(format!("asc {}", package_version(&asc)), vec![step]))
}
