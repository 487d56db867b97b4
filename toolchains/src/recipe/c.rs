//! C and C++, with clang and WASI's own library.

use std::path::Path;

use crate::language::Language;
use crate::project::Project;
use crate::recipe::{Recipe, Step, absolute};
use crate::tool::{Missing, Toolbox, version};

/// The folder of Debian's WASI C library, which Debian's clang finds by itself.
const DEBIAN_LIBC: &str = "/usr/lib/wasm32-wasi";

pub(super) fn recipe(project: &Project, output: &Path, tools: &Toolbox) -> Result<Recipe, Missing> {
    let cpp = project.language == Language::Cpp;
    let standard = if cpp { "-std=c++17" } else { "-std=c11" };
    let mut arguments = vec![standard, "-O2", "-Wall", "-Wextra", "-mexec-model=reactor"];
    if cpp {
        arguments.extend(["-fno-exceptions", "-fno-rtti"]);
    }
    let (compiler, flavour) = find(tools, cpp).ok_or(Missing {
        language: project.language,
        what: "clang with WASI's C library",
        install: if cpp {
            "apt-get install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32 libc++-19-dev-wasm32 libc++abi-19-dev-wasm32 (or pip install ziglang==0.17.1; or set WASI_SDK_PATH)"
        } else {
            "apt-get install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32 (or pip install ziglang==0.17.1; or set WASI_SDK_PATH)"
        },
    })?;
    let mut step = Step::new(&project.folder, &compiler, Vec::<String>::new());
    match flavour {
        // Function names are kept, for backtraces. The stack lies below the data, so that it cannot grow into it.
        Flavour::Clang => {
            step = step.argument("--target=wasm32-wasi").argument("-Wl,--strip-debug,--stack-first");
        }
        Flavour::Zig => {
            step = step.argument(if cpp { "c++" } else { "cc" });
            step = step.argument("-target").argument("wasm32-wasi");
            step = step.argument("-Wl,-z,stack-size=65536");
        }
    }
    for argument in arguments {
        step = step.argument(argument);
    }
    let include = absolute(&project.sdk);
    step = step.argument("-I").argument(include).argument("-o").argument(absolute(output));
    step = step.argument(project.language.source());
    let version = match flavour {
        Flavour::Clang => version(&compiler, "--version"),
        Flavour::Zig => format!("zig cc {}", version(&compiler, "version")),
    };
    let strip_debug = matches!(flavour, Flavour::Zig);
    Ok(Recipe { strip_debug, ..Recipe::new(version, vec![step]) })
}

#[derive(Clone, Copy)]
enum Flavour {
    Clang,
    Zig,
}

fn find(tools: &Toolbox, cpp: bool) -> Option<(std::path::PathBuf, Flavour)> {
    let name = if cpp { "clang++" } else { "clang" };
    if let Some(sdk) = std::env::var_os("WASI_SDK_PATH") {
        let compiler = Path::new(&sdk).join("bin").join(name);
        if compiler.is_file() {
            return Some((compiler, Flavour::Clang));
        }
    }
    let names: Vec<String> = (16..=24).rev().map(|number| format!("{name}-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if Path::new(DEBIAN_LIBC).is_dir()
        && (!cpp || Path::new("/usr/include/wasm32-wasi/c++").is_dir())
        && let Some(compiler) = tools.find(&names)
    {
        return Some((compiler, Flavour::Clang));
    }
    tools.find(&["zig", "python-zig"]).map(|compiler| (compiler, Flavour::Zig))
}
