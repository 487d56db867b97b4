//! The user's cache of compiled modules: announcing a compilation, and compiling ahead of the first start.

use std::path::Path;
use std::process::{Command, Stdio};

use grid_host::command::COMPILE;
use grid_host::compile::{Compiler, compatibility};
use grid_host::compiled::{CompiledCache, ReuseScope, SHARED_BYTES_MAX};
use grid_host::sandbox::CodeForm;
use wasm_grid::{Bytes, COMPILED_FOLDER, Digest};

use crate::command::cli_error::CliError;
use crate::command::output::{Output, bytes};

/// Tells the user that a module will be compiled, if it is long and not in the cache.
pub(crate) fn announce(
    home: &Path,
    form: CodeForm,
    name: &str,
    wasm: &Bytes,
    module: &Digest,
    output: &Output,
) {
    let is_in = |cache: CompiledCache| {
        compatibility(form).is_ok_and(|form| cache.has(module, form, ReuseScope::User))
    };
    let known = open(home).is_ok_and(is_in);
    if !known && wasm.len() >= ANNOUNCED_BYTES_MIN {
        output.say(&format!(
            "compiling {name}, {}; the next start will find it compiled",
            bytes(wasm.len() as u64)
        ));
    }
}

/// A shorter module compiles too quickly to be worth a message.
const ANNOUNCED_BYTES_MIN: usize = 256 << 10;

/// Compiles a module ahead of its first start, in a process that goes on when this one ends.
///
/// Nothing depends on it: if it cannot be started, the first start compiles.
pub(crate) fn begin(home: &Path, module: &Path) {
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut ahead = Command::new(program);
    ahead.args(["module", "precompile"]).arg(module).arg("--home").arg(home);
    ahead.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A process group of its own, so that Ctrl-C in the terminal does not reach it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut ahead, 0);
    if let Err(error) = ahead.spawn() {
        tracing::debug!(%error, "the module is not compiled ahead");
    }
}

/// Compiles a module for later, in both forms, unless it is compiled already. Reuses functions of the user's other
/// modules, and adds this module's to them.
pub(crate) async fn precompile(home: &Path, wasm: Bytes) -> Result<(), CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::failed("the module is not compiled ahead", error);
    let (cache, digest) = (open(home)?, Digest::of(&wasm));
    let compiler = Compiler::child(COMPILE).map_err(|error| failed(&error))?;
    for form in [CodeForm::SHARED, CodeForm::ALONE] {
        let compatibility = compatibility(form).map_err(|error| failed(&error))?;
        let _claim = cache.claim(&digest).await;
        if !cache.has(&digest, compatibility, ReuseScope::User) {
            let compiled =
                compiler.compile_reusing(&cache, ReuseScope::User, digest, wasm.clone(), form).await;
            let compiled = compiled.map_err(|error| failed(&error))?;
            cache.keep_reusing(&compiled).map_err(|error| failed(&error))?;
        }
    }
    Ok(())
}

fn open(home: &Path) -> Result<CompiledCache, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::failed("compiled modules cannot be kept", error);
    CompiledCache::open(&home.join(COMPILED_FOLDER), SHARED_BYTES_MAX).map_err(|error| failed(&error))
}
