//! JavaScript: bundled, then combined with QuickJS into a component.

use std::path::Path;

use crate::project::Project;
use crate::recipe::{Recipe, Step, absolute};
use crate::tool::{Missing, Toolbox, package_version, version};

pub(super) fn recipe(project: &Project, output: &Path, tools: &Toolbox) -> Result<Recipe, Missing> {
    let install = "npm install --global esbuild@0.28.2 componentize-qjs@0.4.5";
    let esbuild = tools.need(project.language, &["esbuild"], "esbuild", install)?;
    let componentize = tools.need(project.language, &["componentize-qjs"], "componentize-qjs", install)?;
    let bundle = "target/worker.bundle.js";
    let sdk = absolute(&project.sdk);
    let steps = vec![
        Step::new(&project.folder, &esbuild, [project.language.source(), "--bundle", "--format=esm"])
            .argument("--external:grid:*")
            .argument(format!("--alias:grid={}", sdk.join("grid.js").display()))
            .argument("--log-level=warning")
            .argument(format!("--outfile={bundle}")),
        Step::new(&project.folder, &componentize, ["--wit"])
            .argument(absolute(&project.wit()))
            .argument("--world")
            .argument("worker")
            .argument("--js")
            .argument(bundle)
            .argument("--sync")
            .argument("-o")
            .argument(absolute(output)),
    ];
    let (componentize, esbuild) = (package_version(&componentize), version(&esbuild, "--version"));
    let version = format!("componentize-qjs {componentize}, esbuild {esbuild}");
    Ok(Recipe::new(version, steps))
}
