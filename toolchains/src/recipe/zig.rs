//! Zig.

use std::path::Path;

use crate::project::Project;
use crate::recipe::{Recipe, Step, absolute};
use crate::tool::{Missing, Toolbox, version};

pub(super) fn recipe(project: &Project, output: &Path, tools: &Toolbox) -> Result<Recipe, Missing> {
    let install = "pip install ziglang==0.17.1 (its standard library changes with each release)";
    let zig = tools.need(project.language, &["zig", "python-zig"], "zig", install)?;
    let sdk = absolute(&project.sdk).join("grid.zig");
    // Safety checks are kept: they cost little, and a worker that overflows ends with a message.
    let module = ["-target", "wasm32-freestanding", "-O", "safe", "-fno-strip"];
    let mut step =
        Step::new(&project.folder, &zig, ["build-exe", "-fno-entry", "-rdynamic", "--stack", "65536"]);
    // Flags before a module apply to that module.
    step = module.iter().fold(step, |step, flag| step.argument(*flag)).argument("--dep").argument("grid");
    step = step.argument(format!("-Mroot={}", project.language.source()));
    step = module.iter().fold(step, |step, flag| step.argument(*flag));
    step = step
        .argument(format!("-Mgrid={}", sdk.display()))
        .argument(format!("-femit-bin={}", absolute(output).display()))
        .environment("ZIG_LOCAL_CACHE_DIR", absolute(&project.folder).join("target/zig-cache"));
    let recipe = Recipe::new(format!("zig {}", version(&zig, "version")), vec![step]);
    // Zig writes function names only together with debug sections.
    Ok(Recipe { strip_debug: true, ..recipe })
}
