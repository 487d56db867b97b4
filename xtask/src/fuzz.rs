//! The fuzz targets, each for a while: what a peer sends, how sessions go, what somebody pastes.

use std::process::Command;

use crate::chore::{ChoreError, output, root, run as run_command, say};

const TARGETS: [&str; 3] = ["frames", "sessions", "manifests"];

/// Runs every target for so many seconds; the first finding ends it.
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
    // A chore runs under another toolchain's cargo, whose traces would lead this one astray.
    for name in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC", "RUSTDOC"] {
        command.env_remove(name);
    }
    command
}
