//! Printing of outcomes.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, IsTerminal, Seek, SeekFrom, Stdout, Write};
use std::path::{Path, PathBuf};

use same_file::Handle;
use wasm_grid::view::OutcomeView;
use wasm_grid::{Bytes, TaskOutcome};

use crate::command::cli_error::CliError;
use crate::command::shown;

/// The file or the standard output that outcomes go to.
pub(crate) struct Sink {
    out: Out,
    /// True if the last output on a terminal did not end with a line break.
    open_line: bool,
}

enum Out {
    Stdout(BufWriter<Stdout>),
    File(BufWriter<File>),
}

impl Sink {
    /// Opens the file, or standard output. A file is cut to `length` bytes and appended to.
    pub(crate) fn open(path: Option<&Path>, length: u64) -> Result<Self, CliError> {
        let Some(path) = path else {
            return Ok(Self::new(Out::Stdout(BufWriter::new(std::io::stdout()))));
        };
        let unwritten = |error| CliError::failed(format!("{} cannot be written", path.display()), error);
        if length == 0 {
            return File::create(path)
                .map(|file| Self::new(Out::File(BufWriter::new(file))))
                .map_err(unwritten);
        }
        let opened = OpenOptions::new().write(true).open(path);
        let mut file = opened.map_err(unwritten)?;
        let has = file.metadata().map_err(unwritten)?.len();
        if has < length {
            let what = format!("{} has {has} bytes; the journal knows of {length}", path.display());
            return Err(
                CliError::usage(what).help("results are missing there; begin anew with another JOURNAL")
            );
        }
        file.set_len(length).map_err(unwritten)?;
        file.seek(SeekFrom::End(0)).map_err(unwritten)?;
        Ok(Self::new(Out::File(BufWriter::new(file))))
    }

    fn new(out: Out) -> Self {
        Self { out, open_line: false }
    }

    /// True if outcomes go to a terminal, where progress may be shown, too.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(&self.out, Out::Stdout(out) if out.get_ref().is_terminal())
    }

    /// True if the output on a terminal does not end with a line break; false from then on.
    pub(crate) fn take_open_line(&mut self) -> bool {
        std::mem::take(&mut self.open_line)
    }

    /// Writes an outcome as a line of JSON.
    pub(crate) fn write(
        &mut self,
        outcome: &TaskOutcome,
        by_command: bool,
        file: Option<&Path>,
        places: Option<&BTreeMap<&str, PathBuf>>,
    ) -> Result<(), CliError> {
        print_line(self.out(), outcome, by_command, file, places).map_err(unwritten)
    }

    /// Writes the messages of a task as they are.
    pub(crate) fn write_raw(&mut self, results: &[Bytes]) -> Result<(), CliError> {
        if let Some(last) = results.iter().rev().find_map(|result| result.last()) {
            self.open_line = *last != b'\n' && self.is_terminal();
        }
        let out = self.out();
        results.iter().try_for_each(|result| out.write_all(result)).map_err(unwritten)
    }

    fn out(&mut self) -> &mut dyn Write {
        match &mut self.out {
            Out::Stdout(out) => out,
            Out::File(out) => out,
        }
    }

    /// Hands everything to the system; returns the length of the file, in bytes.
    pub(crate) fn flush(&mut self) -> Result<u64, CliError> {
        match &mut self.out {
            Out::Stdout(out) => out.flush().map(|()| 0),
            Out::File(out) => out.flush().and_then(|()| out.get_mut().stream_position()),
        }
        .map_err(unwritten)
    }

    /// Waits until the file is on disk.
    pub(crate) fn sync(&mut self) -> Result<(), CliError> {
        match &mut self.out {
            Out::Stdout(_) => Ok(()),
            Out::File(out) => out.get_mut().sync_data().map_err(unwritten),
        }
    }

    /// True if written output cannot be taken back: it is not a file.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self.out, Out::Stdout(_))
    }
}

/// Refuses an output that is also an input of the run: opening it would empty it.
pub(crate) fn check_output<'a>(
    output: Option<&Path>,
    read: impl Iterator<Item = &'a PathBuf>,
) -> Result<(), CliError> {
    // A file that does not exist yet is none of the inputs; opening something that is not a file may block.
    let is_regular = |path: &Path| path.metadata().is_ok_and(|metadata| metadata.is_file());
    let handle = |path: &Path| is_regular(path).then(|| Handle::from_path(path).ok()).flatten();
    let Some((output, out)) = output.and_then(|output| Some((output, handle(output)?))) else {
        return Ok(());
    };
    if read.filter_map(|path| handle(path)).chain(Handle::stdin()).any(|read| read == out) {
        let what = format!("{} is read by this run, and cannot be its --output", output.display());
        return Err(CliError::usage(what).help("name another file"));
    }
    Ok(())
}

fn unwritten(error: std::io::Error) -> CliError {
    CliError::unwritten("the results cannot be written", error)
}

/// Writes one outcome as one line of JSON: with the name of the task's file, if it was one, and with the files that the
/// task wrote: their places if they were written to disk, else their contents.
pub(crate) fn print_line(
    out: &mut dyn Write,
    outcome: &TaskOutcome,
    by_command: bool,
    file: Option<&Path>,
    places: Option<&BTreeMap<&str, PathBuf>>,
) -> std::io::Result<()> {
    let mut line = OutcomeView::of(outcome, by_command, places);
    line.file = file.map(|file| file.to_string_lossy().into_owned());
    out.write_all(shown::json(&line, false)?.as_bytes())
}
