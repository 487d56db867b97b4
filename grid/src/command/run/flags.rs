//! Flags of a run that take more than a word to understand.

use std::path::Path;

use grid_protocol::limits::{COMMAND_ARGUMENTS_BYTES_MAX, COMMAND_ARGUMENTS_MAX};
use wasm_grid::{GiveUp, to_cbor};

use crate::command::cli_error::CliError;

/// A path as text; one that is none looks like it.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Spawn arguments: text, or the arguments of a command as an array of texts in CBOR.
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

/// When a job is given up: a number of failed tasks, or a share of them.
pub(crate) fn give_up(text: &str) -> Result<GiveUp, String> {
    let parsed = match text.strip_suffix('%') {
        Some(share) => share.parse().ok().filter(|share| *share <= 100).map(GiveUp::Percent),
        None => text.parse().ok().map(GiveUp::Count),
    };
    parsed.ok_or_else(|| "a number of tasks, or a share such as 5%".to_owned())
}
