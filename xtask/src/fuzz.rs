//! Runs the fuzz targets: frames of a peer, sequences of session events, manifests, what an executor writes.

use std::process::Command;

use crate::chore::{ChoreError, output, root, run as run_command, say};

const TARGETS: [&str; 4] = ["frames", "sessions", "manifests", "executors"];

/// Runs each target for `seconds`; stops at the first finding.
pub(crate) fn run(seconds: u32) -> Result<(), ChoreError> {
    if output(&mut nightly(&["--version"])).is_err() {
        say("fuzz: the nightly compiler is missing; installing it");
        run_command(Command::new("rustup").args([
            "toolchain",
            "install",
            "nightly",
            "--profile",
            "minimal",
        ]))?;
    }
    if output(&mut nightly(&["fuzz", "--version"])).is_err() {
        say("fuzz: cargo-fuzz is missing; installing it");
        run_command(&mut nightly(&["install", "--locked", "--quiet", "cargo-fuzz"]))?;
    }
    let time = format!("-max_total_time={seconds}");
    for target in TARGETS {
        say(&format!("fuzz: {target}, for {seconds} s"));
        let fuzz = ["fuzz", "run", "--fuzz-dir", "tests/fuzz", target, "--", &time, "-rss_limit_mb=512"];
        run_command(nightly(&fuzz).args(["-print_final_stats=1", "-verbosity=0"]))?;
    }
    say("fuzz: no finding");
    Ok(())
}

fn nightly(arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.current_dir(root()).args(["run", "nightly", "cargo"]).args(arguments);
    // The chore itself runs under another toolchain's cargo, whose variables would change this one.
    for name in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC", "RUSTDOC"] {
        command.env_remove(name);
    }
    command
}
