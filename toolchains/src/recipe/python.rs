//! Python: combined with its interpreter into a component.

use std::path::Path;

use crate::project::Project;
use crate::recipe::{Recipe, Step, absolute};
use crate::tool::{Missing, Toolbox, version};

/// The folder of a project with pure-Python packages to include.
const PACKAGES: &str = "packages";

pub(super) fn recipe(project: &Project, output: &Path, tools: &Toolbox) -> Result<Recipe, Missing> {
    let install = "pip install componentize-py==0.25.1";
    let tool = tools.need(project.language, &["componentize-py"], "componentize-py", install)?;
    let mut step = Step::new(&project.folder, &tool, ["-d"])
        .argument(absolute(&project.wit()))
        .argument("-w")
        .argument("worker")
        .argument("componentize")
        .argument("-p")
        .argument(".")
        .argument("-p")
        .argument(absolute(&project.sdk));
    if project.folder.join(PACKAGES).is_dir() {
        step = step.argument("-p").argument(PACKAGES);
    }
    // The SDK's own module imports `worker`, and has the functions that the component must export.
    let step = step.argument("-o").argument(absolute(output)).argument("grid_worker.app");
    Ok(Recipe::new(version(&tool, "--version"), vec![step]))
}
