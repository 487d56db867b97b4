//! Parsing of those flags of a run that need more than a conversion.

use std::path::Path;

use grid_protocol::limits::{COMMAND_ARGUMENTS_BYTES_MAX, COMMAND_ARGUMENTS_MAX};
use wasm_grid::{GiveUp, to_cbor};

use crate::command::cli_error::CliError;

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
