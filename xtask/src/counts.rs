//! Instructions and allocations of the steps that every message and every task takes, each with a bound. Unlike times they
//! are the same on a busy machine.

use std::path::Path;
use std::process::Command;

use crate::chore::{ChoreError, cargo, print, run};
use crate::{install, programs};

/// A kind of step, and what it may cost.
struct StepBound {
    /// As `scheduler/examples/counts.rs` calls it.
    kind: &'static str,
    /// A twentieth above what was counted, or less.
    instructions_max: f64,
    allocations_max: f64,
    /// Why it costs that.
    why: &'static str,
}

const BOUNDS: [StepBound; 5] = [
    StepBound {
        kind: "encode",
        instructions_max: 216.0,
        allocations_max: 0.0,
        why: "a frame of 64 bytes of payload: five numbers of variable length, and a copy",
    },
    StepBound {
        kind: "decode",
        instructions_max: 326.0,
        allocations_max: 0.0,
        why: "the same, with a check of each number; the payload stays where it is",
    },
    StepBound {
        kind: "session",
        instructions_max: 2896.0,
        allocations_max: 0.3,
        why: "there and back: two frames, four looks into a table, two links; 18 buffers a batch of 64",
    },
    StepBound {
        kind: "schedule-2",
        instructions_max: 5210.0,
        allocations_max: 2.4,
        why: "a task ends, one comes, one is handed out: a lease is a list of attempts, and a decision",
    },
    StepBound {
        kind: "schedule-500",
        instructions_max: 5210.0,
        allocations_max: 2.2,
        why: "as with two hosts: no step looks at every host",
    },
];

/// Steps of the shorter run and of the longer one: what both do besides is in neither figure.
const STEPS: [u32; 2] = [2048, 10_240];

/// Counts, prints a table and checks the bounds.
pub(crate) fn check() -> Result<(), ChoreError> {
    install::debian_if_missing("valgrind", VALGRIND)?;
    run(&mut cargo(&[
        "build",
        "--release",
        "--quiet",
        "--package",
        "grid-scheduler",
        "--example",
        "counts",
    ]))?;
    let counts = programs::target_folder()?.join("release/examples/counts");
    print(&format!(
        "{:<14} {:>12} {:>6} {:>12} {:>6}  why",
        "step", "instructions", "most", "allocations", "most"
    ));
    let mut over = Vec::new();
    for bound in &BOUNDS {
        let StepBound { kind, instructions_max, allocations_max, why } = bound;
        let instructions = a_step(|steps| {
            let tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
            number_after(&valgrind(&tool, &counts, kind, steps)?, "Collected : ")
        })?;
        let allocations = a_step(|steps| {
            number_after(&valgrind(&["--leak-check=no"], &counts, kind, steps)?, "total heap usage: ")
        })?;
        print(&format!(
            "{kind:<14} {instructions:>12.0} {instructions_max:>6.0} {allocations:>12.2} {allocations_max:>6.2}  {why}"
        ));
        if instructions > *instructions_max || allocations > *allocations_max {
            over.push(*kind);
        }
    }
    if over.is_empty() {
        return Ok(());
    }
    Err(ChoreError::Other(format!(
        "over its bound: {}; if it has to be, say why in xtask/src/counts.rs",
        over.join(", ")
    )))
}

const VALGRIND: &str = "/usr/bin/valgrind";

/// What one step costs: the difference between a long run and a short one.
fn a_step(count: impl Fn(u32) -> Result<f64, ChoreError>) -> Result<f64, ChoreError> {
    let [few, many] = STEPS;
    Ok((count(many)? - count(few)?) / f64::from(many - few))
}

/// Runs the program under valgrind, at the lowest priority; returns what valgrind says.
fn valgrind(tool: &[&str], program: &Path, kind: &str, steps: u32) -> Result<String, ChoreError> {
    let mut command = Command::new("nice");
    command.args(["-n", "19", VALGRIND]).args(tool).arg(program).args([kind, &steps.to_string()]);
    let failed = |how: String| ChoreError::Other(format!("valgrind, {kind}: {how}"));
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(said) } else { Err(failed(said)) }
}

/// The number behind a word, which may have commas in it.
fn number_after(said: &str, word: &str) -> Result<f64, ChoreError> {
    let number = said.split_once(word).map(|(_, rest)| {
        rest.chars().take_while(|char| char.is_ascii_digit() || *char == ',').filter(char::is_ascii_digit)
    });
    let number = number.and_then(|digits| digits.collect::<String>().parse().ok());
    number.ok_or_else(|| ChoreError::Other(format!("valgrind does not say `{word}`: {said}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_commas_is_read_and_silence_is_an_error() {
        let said = "==1== total heap usage: 1,002 allocs, 7 frees\n==1== Collected : 881746\n";
        assert_eq!(number_after(said, "total heap usage: ").unwrap(), 1002.0);
        assert_eq!(number_after(said, "Collected : ").unwrap(), 881_746.0);
        assert!(number_after(said, "Refs: ").is_err());
    }
}
