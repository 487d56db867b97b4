//! Sources of a run's tasks: lines, files, or the whole input.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::vec;

use grid_protocol::limits::MESSAGE_BYTES_MAX;
use wasm_grid::Bytes;

use crate::command::cli_error::CliError;
use wasm_grid::from_json;

/// How the input becomes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each line is a JSON value, and becomes CBOR.
    Json,
    /// Each line is a task as it is.
    Lines,
    /// The whole input is one task.
    Raw,
}

/// The tasks of the input, one after another.
pub(crate) enum TaskSource {
    /// From a stream of bytes.
    Stream { from: BufReader<Box<dyn Read + Send>>, mode: Mode, line: u64 },
    /// Each file is a task.
    Files(vec::IntoIter<PathBuf>),
}

/// Size of the buffer that reads the input, in bytes.
const READ_BYTES: usize = 256 << 10;

impl TaskSource {
    /// Opens a file, or standard input.
    pub(crate) fn open(path: Option<&Path>, mode: Mode) -> Result<Self, CliError> {
        let from: Box<dyn Read + Send> = match path {
            None => Box::new(std::io::stdin()),
            Some(path) => Box::new(File::open(path).map_err(|error| {
                CliError::not_found(format!("{} cannot be read: {error}", path.display()))
            })?),
        };
        Ok(Self::Stream { from: BufReader::with_capacity(READ_BYTES, from), mode, line: 0 })
    }

    /// The next task.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, CliError> {
        match self {
            Self::Stream { from, mode: Mode::Raw, line } => {
                *line += 1;
                if *line > 1 {
                    return Ok(None);
                }
                let mut bytes = Vec::new();
                from.take(MESSAGE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unread)?;
                checked(bytes.into(), || "the input".to_owned()).map(Some)
            }
            Self::Stream { from, mode, line } => next_line(from, *mode, line),
            Self::Files(files) => files.next().map(|path| read_file(&path)).transpose(),
        }
    }

    /// True if the next task may have to be waited for.
    pub(crate) fn may_wait(&self) -> bool {
        match self {
            Self::Stream { from, .. } => !from.buffer().contains(&b'\n'),
            Self::Files(_) => false,
        }
    }
}

fn unread(error: std::io::Error) -> CliError {
    CliError::failed("the tasks cannot be read", error)
}

fn next_line(
    from: &mut BufReader<Box<dyn Read + Send>>,
    mode: Mode,
    line: &mut u64,
) -> Result<Option<Bytes>, CliError> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        *line += 1;
        // Bounds memory: a longer line is cut, and then refused. Little JSON is more than twice as long as its CBOR.
        let most = 2 * MESSAGE_BYTES_MAX as u64;
        if from.by_ref().take(most).read_until(b'\n', &mut bytes).map_err(unread)? == 0 {
            return Ok(None);
        }
        while bytes.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
            bytes.pop();
        }
        let name = || format!("line {line}");
        if mode == Mode::Lines {
            return checked(bytes.into(), name).map(Some);
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let task = from_json(&bytes).map_err(|why| {
            CliError::usage(format!("line {line} of the tasks is no JSON: {why}"))
                .help("with --lines each line is a task as it is")
        })?;
        return checked(task, name).map(Some);
    }
}

fn read_file(path: &Path) -> Result<Bytes, CliError> {
    let unread = |error| CliError::not_found(format!("{} cannot be read: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unread)?;
    file.take(MESSAGE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unread)?;
    checked(bytes.into(), || path.display().to_string())
}

/// Refuses a task that is longer than the manager takes, with its name in the error.
fn checked(task: Bytes, name: impl FnOnce() -> String) -> Result<Bytes, CliError> {
    if task.len() > MESSAGE_BYTES_MAX {
        return Err(CliError::usage(format!("{} is longer than {MESSAGE_BYTES_MAX} bytes", name()))
            .help("a task may be no longer; hand out parts of it"));
    }
    Ok(task)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_grid::to_cbor;

    fn tasks(text: &'static str, mode: Mode) -> Result<Vec<Bytes>, CliError> {
        let from: Box<dyn Read + Send> = Box::new(text.as_bytes());
        let mut source = TaskSource::Stream { from: BufReader::new(from), mode, line: 0 };
        std::iter::from_fn(|| source.next().transpose()).collect()
    }

    #[test]
    fn lines_are_tasks_as_they_are_even_the_empty_and_the_last() {
        assert_eq!(tasks("a\n\nb\r\nc", Mode::Lines).unwrap(), ["a", "", "b", "c"]);
    }

    #[test]
    fn json_becomes_cbor_and_empty_lines_are_no_tasks() {
        let expected = [to_cbor(&1).unwrap(), to_cbor(&[2]).unwrap()];
        assert_eq!(tasks("1\n\n [2]\n", Mode::Json).unwrap(), expected);
        assert_eq!(tasks("\u{feff}1\r\n[2]", Mode::Json).unwrap(), expected);
        for wrong in ["1\n{\n".to_owned(), format!("1\n{}\n", "9".repeat(60))] {
            assert!(tasks(wrong.leak(), Mode::Json).unwrap_err().what.contains("line 2"));
        }
    }

    #[test]
    fn raw_input_is_one_task() {
        assert_eq!(tasks("a\nb\n", Mode::Raw).unwrap(), ["a\nb\n"]);
    }

    #[test]
    fn a_task_over_the_limit_is_named_before_it_is_sent() {
        let long: &'static str = Box::leak(format!("x\n{}\n", "y".repeat(MESSAGE_BYTES_MAX + 1)).into());
        assert!(tasks(long, Mode::Lines).unwrap_err().what.starts_with("line 2"));
    }
}
