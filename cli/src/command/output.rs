//! Output: data to stdout as a table, as JSON or as ids only; messages for people to stderr.
//!
//! All text for people passes [`Lines`] or [`shown`], so that no command has to know which texts are untrusted. An
//! error of writing to stderr is ignored.

use std::io::Write;
use std::process::ExitCode;

use comfy_table::{Table, presets};
use serde::Serialize;
use wasm_grid::view::{Document, DoneView, List, Listed};

use crate::command::cli_error::CliError;
use crate::command::shown::{self, Lines};

/// How results and messages are printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
}

/// A list that a command prints.
pub(crate) struct Rows<V> {
    /// Headings of the table; the first column is the id.
    pub(crate) headings: &'static [&'static str],
    /// The cells of each row, and the row as it is in JSON.
    pub(crate) rows: Vec<(Vec<String>, V)>,
    /// The message if there are no rows.
    pub(crate) empty: &'static str,
}

/// The end of what a command prints in JSON: the summary of a run, the error, or both.
#[derive(Serialize)]
struct Conclusion<'a, S> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a CliError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<S>,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Prints a list.
    pub(crate) fn rows<V: Listed>(self, rows: Rows<V>) -> Result<(), CliError> {
        if self.json {
            return self.document(List(rows.rows.into_iter().map(|(_, view)| view).collect()));
        }
        if self.quiet {
            let ids = rows.rows.iter().filter_map(|(cells, _)| cells.first());
            return self.raw(ids.map(|id| format!("{}\n", shown::line(id))).collect::<String>().as_bytes());
        }
        if rows.rows.is_empty() {
            self.say(rows.empty);
            return Ok(());
        }
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_header(rows.headings.iter().map(|heading| heading.to_uppercase()));
        for (cells, _) in rows.rows {
            table.add_row(cells.iter().map(|cell| shown::line(cell)));
        }
        let text: String = table.lines().map(|line| format!("{}\n", line.trim())).collect();
        self.raw(text.as_bytes())
    }

    /// Prints one thing: `lines` for people, `id` for scripts, `view` as JSON.
    pub(crate) fn one(
        self,
        lines: impl Into<Lines>,
        id: impl Into<Lines>,
        view: impl Serialize,
    ) -> Result<(), CliError> {
        if self.json {
            return self.document(view);
        }
        self.raw(if self.quiet { id.into() } else { lines.into() }.as_str().as_bytes())
    }

    /// Prints one document of many, on a line of its own.
    pub(crate) fn line(self, view: &impl Serialize) -> Result<(), CliError> {
        self.raw(shown::json(view, false).map_err(unserialized)?.as_bytes())
    }

    /// True if everything is printed as JSON.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Reports success of a command that has no data to print.
    pub(crate) fn done(self, what: &str) -> Result<(), CliError> {
        if self.json {
            return self.document(DoneView::DONE);
        }
        self.say(what);
        Ok(())
    }

    /// Prints bytes as they are.
    pub(crate) fn raw(self, bytes: &[u8]) -> Result<(), CliError> {
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        written.map_err(|error| CliError::unwritten("the output cannot be written", error))
    }

    /// Prints a message to stderr, if messages are on.
    pub(crate) fn say(self, what: &str) {
        self.say_lines(&what.into());
    }

    /// Prints a message of several lines to stderr, if messages are on.
    pub(crate) fn say_lines(self, lines: &Lines) {
        if self.talks() {
            talk(lines);
        }
    }

    /// True if messages for people are on: neither `--json` nor `--quiet`.
    pub(crate) fn talks(self) -> bool {
        !self.quiet && !self.json
    }

    /// Ends a command whose data was printed as it came. With `--json` it prints a last line with the summary and the
    /// error, if any.
    pub(crate) fn summary(self, summary: impl Serialize, fault: Option<CliError>) -> Result<(), CliError> {
        if self.json {
            self.line(&Conclusion { error: fault.as_ref(), summary: Some(summary) })?;
        }
        fault.map_or(Ok(()), |fault| Err(CliError { told: self.json, ..fault }))
    }

    /// Prints an error, unless it was printed already; returns the exit code.
    pub(crate) fn fail(self, fault: &CliError) -> ExitCode {
        if fault.told {
            return fault.code.into();
        }
        if self.json {
            // If nobody reads it, the exit code still tells.
            let _ = self.document(Conclusion::<()> { error: Some(fault), summary: None });
        } else {
            let mut lines = Lines::from(&format!("error: {}", fault.what));
            for (label, text) in [("cause", &fault.cause), ("help", &fault.help)] {
                if let Some(text) = text {
                    lines.push(0, &format!("{label}: {text}"));
                }
            }
            talk(&lines);
        }
        fault.code.into()
    }

    /// Prints a document, its fields in the order of the alphabet.
    pub(crate) fn document(self, view: impl Serialize) -> Result<(), CliError> {
        let document = serde_json::to_value(Document::new(view)).map_err(unserialized)?;
        self.raw(shown::json(&document, true).map_err(unserialized)?.as_bytes())
    }
}

fn unserialized(error: serde_json::Error) -> CliError {
    CliError::failed("the output cannot be written as JSON", error)
}

/// Writes to stderr and ignores errors: `eprintln` would panic if stderr is closed.
fn talk(lines: &Lines) {
    let _ = std::io::stderr().lock().write_all(lines.as_str().as_bytes());
}

/// A number with its noun, in the singular or plural.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// A time in seconds since 1970, as date and time in UTC.
pub(crate) fn time(unix_s: u64) -> String {
    let second = i64::try_from(unix_s).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    second.map_or_else(|| unix_s.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// A number of bytes with a binary unit.
pub(crate) fn bytes(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}
