//! The benchmark: each figure beside a reference that is measured in the same run on the same machine, in turns.

mod compute;
mod growth;
mod memory;
mod peers;
mod plots;
mod row;
mod rows;
mod testbed;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::bench::growth::GrowthCurve;
use crate::bench::peers::PEER_ROWS;
use crate::bench::row::{MeasuredRow, RowSpec};
use crate::bench::rows::ROWS;
use crate::bench::testbed::Testbed;
use crate::chore::{ChoreError, print, run as run_program};
use crate::programs::{self, Profile};

/// The table that is no row: what a task costs the scheduler.
const SCHEDULER: &str = "scheduler";

/// The curves that are no row: how the figures grow.
const GROWTH: &str = "growth";

/// What to measure, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Rows to measure: a name, or the part of one in front of a hyphen [default: all that need no peer]. `scheduler` is the
    /// table of what a task costs the scheduler, `growth` how the figures grow with workers, tasks, bytes and hosts.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Pairs of figure and reference in each row; a row's ratio is the median of theirs.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pairs: u16,
    /// Also the rows whose reference is somebody else's program, which is installed on first use.
    #[arg(long)]
    peers: bool,
    /// Where to write the rows, with every pair, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to draw the curves of `growth`, as SVG.
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
}

/// Measures rows, and prints each when it is done.
pub(crate) fn run(arguments: &BenchArgs) -> Result<(), ChoreError> {
    let names: Vec<&str> = arguments.names.iter().map(String::as_str).collect();
    let selected = select(&names, arguments.peers)?;
    let mut measured = Vec::new();
    if !selected.is_empty() {
        let testbed = Testbed::build()?;
        print(&row::head());
        for spec in selected {
            let row = spec.measure(&testbed, arguments.pairs.into());
            print(&row.line());
            measured.push(row);
        }
    }
    let curves = if names.contains(&GROWTH) || arguments.plots.is_some() {
        Testbed::build().and_then(|testbed| growth::measure(&testbed, arguments.pairs.into()))
    } else {
        Ok(Vec::new())
    };
    if let Some(file) = &arguments.json {
        write_json(file, arguments.pairs, &measured, curves.as_deref().unwrap_or_default())?;
    }
    let curves = curves?;
    if let Some(folder) = &arguments.plots {
        plots::write(folder, &curves)?;
    }
    if names.contains(&SCHEDULER) {
        scheduler()?;
    }
    match measured.iter().filter(|row| row.error().is_some()).count() {
        0 => Ok(()),
        count => Err(ChoreError::Other(format!("{count} rows could not be measured"))),
    }
}

fn write_json(
    file: &Path,
    pairs: u16,
    measured: &[MeasuredRow],
    curves: &[GrowthCurve],
) -> Result<(), ChoreError> {
    let rows: Vec<_> = measured.iter().map(MeasuredRow::to_json).collect();
    let growth: Vec<_> = curves.iter().map(GrowthCurve::to_json).collect();
    let document = json!({ "pairs": pairs, "rows": rows, "growth": growth });
    std::fs::write(file, format!("{document:#}\n"))
        .map_err(|error| ChoreError::Other(format!("{}: {error}", file.display())))
}

/// All rows.
fn rows() -> impl Iterator<Item = &'static RowSpec> {
    ROWS.iter().chain(PEER_ROWS)
}

/// The rows of these names; without names all, those with peers if they are wanted. A row of a peer is measured without
/// `peers` if its whole name is given.
fn select(names: &[&str], peers: bool) -> Result<Vec<&'static RowSpec>, ChoreError> {
    let is_known = |name: &&str| [SCHEDULER, GROWTH].contains(name) || rows().any(|row| row.is_called(name));
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let known: Vec<_> = rows().map(|row| row.name).chain([SCHEDULER, GROWTH]).collect();
        return Err(ChoreError::Other(format!(
            "there is no row `{unknown}`; the rows are {}",
            known.join(", ")
        )));
    }
    let is_wanted = |row: &&RowSpec| {
        let by_name = names.is_empty() || names.iter().any(|name| row.is_called(name));
        by_name && (peers || !row.is_peer || names.contains(&row.name))
    };
    Ok(rows().filter(is_wanted).collect())
}

/// Prints what a task costs the scheduler of jobs, by hosts, clients and tasks queued.
fn scheduler() -> Result<(), ChoreError> {
    let programs = programs::build(Profile::Release, &["--example", "dispatch_cost"])?;
    run_program(&mut Command::new(programs.join("examples").join("dispatch_cost")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_names() {
        let Err(error) = select(&["rounds", "quick"], false) else { panic!("`quick` was found") };
        assert!(
            error.to_string().contains("`quick`; the rows are compute-primes, compute-sha256"),
            "{error}"
        );
    }

    #[test]
    fn rows_of_peers_are_measured_only_when_they_are_asked_for() {
        assert!(select(&[], false).unwrap().iter().all(|row| !row.is_peer));
        assert_eq!(select(&[], true).unwrap().len(), rows().count());
    }

    #[test]
    fn no_two_rows_have_one_name() {
        let names: std::collections::BTreeSet<_> = rows().map(|row| row.name).collect();
        assert_eq!(names.len(), rows().count());
    }
}
