//! The flags of a run: parsing of those that need more than a conversion, and what a journal keeps of them.

use std::path::Path;

use grid_protocol::limits::{COMMAND_ARGUMENTS_BYTES_MAX, COMMAND_ARGUMENTS_MAX};
use serde::Serialize;
use serde_json::Value;
use wasm_grid::{GiveUp, to_cbor};

use crate::command::cli_error::CliError;
use crate::command::run::RunArgs;

/// The flags that change the results, by their names: a journal is of one set of them.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RunOptions<'a> {
    arg: &'a str,
    arguments: &'a [String],
    files: bool,
    in_order: bool,
    label: &'a [String],
    lines: bool,
    max_failures: Option<String>,
    memory: u64,
    name: &'a str,
    out_dir: Option<String>,
    output: Option<String>,
    priority: i32,
    raw: bool,
    retries: u32,
    timeout: f64,
}

impl<'a> RunOptions<'a> {
    /// The flags of a run that is called `name`.
    pub(crate) fn of(run: &'a RunArgs, name: &'a str) -> Self {
        Self {
            arg: &run.arg,
            arguments: &run.arguments,
            files: !run.files.is_empty(),
            in_order: run.in_order,
            label: &run.labels,
            lines: run.lines,
            max_failures: run.max_failures.map(|give_up| format!("{give_up:?}")),
            memory: run.memory.as_u64(),
            name,
            out_dir: run.out_dir.as_deref().map(text),
            output: run.output.as_deref().map(text),
            priority: run.priority,
            raw: run.raw,
            retries: run.retries,
            timeout: run.timeout,
        }
    }

    /// The flags as the journal keeps them.
    pub(crate) fn to_json(&self) -> Result<Value, CliError> {
        serde_json::to_value(self).map_err(|error| CliError::failed("no journal can be kept", error))
    }
}

/// A path as text; bytes that are not UTF-8 are replaced.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Encodes spawn arguments: text as it is, or the arguments of a command as a CBOR array of texts.
pub(crate) fn spawn_arguments(text: &str, arguments: &[String]) -> Result<Vec<u8>, CliError> {
    if arguments.is_empty() {
        return Ok(text.as_bytes().to_vec());
    }
    let bytes: usize = arguments.iter().map(|argument| argument.len() + 1).sum();
    if arguments.len() > COMMAND_ARGUMENTS_MAX || bytes > COMMAND_ARGUMENTS_BYTES_MAX {
        return Err(CliError::usage(format!(
            "a command takes {COMMAND_ARGUMENTS_MAX} arguments of {COMMAND_ARGUMENTS_BYTES_MAX} bytes together at most"
        )));
    }
    to_cbor(&arguments).map(Vec::from).map_err(|error| CliError::usage(error.to_string()))
}

/// Parses when a job is given up: a number of failed tasks, or a percentage.
pub(crate) fn give_up(text: &str) -> Result<GiveUp, String> {
    let parsed = match text.strip_suffix('%') {
        Some(share) => share.parse().ok().filter(|share| *share <= 100).map(GiveUp::Percent),
        None => text.parse().ok().map(GiveUp::Count),
    };
    parsed.ok_or_else(|| "a number of tasks, or a share such as 5%".to_owned())
}
