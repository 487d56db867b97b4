//! Output: data to stdout as a table, as JSON or as bare ids; talk to stderr.

use std::io::Write;
use std::process::ExitCode;

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use crate::command::fault::Fault;

/// How the outcome is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
}

/// The version of every JSON document.
const SCHEMA: u32 = 1;

/// Rows that a command prints.
pub(crate) struct Rows {
    /// The name of the list in JSON.
    pub(crate) name: &'static str,
    /// Headings of the table; the first column is the id.
    pub(crate) headings: &'static [&'static str],
    /// The cells of each row, and the row in JSON.
    pub(crate) rows: Vec<(Vec<String>, Value)>,
    /// What to say when there is none.
    pub(crate) empty: &'static str,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Prints a list.
    pub(crate) fn rows(self, rows: Rows) -> Result<(), Fault> {
        if self.json {
            let list: Vec<Value> = rows.rows.into_iter().map(|(_, value)| value).collect();
            return self.document(json!({ rows.name: list }));
        }
        if self.quiet {
            let ids = rows.rows.iter().filter_map(|(cells, _)| cells.first());
            return self.raw(ids.map(|id| format!("{id}\n")).collect::<String>().as_bytes());
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
            table.add_row(cells);
        }
        let text: String = table.lines().map(|line| format!("{}\n", line.trim())).collect();
        self.raw(text.as_bytes())
    }

    /// Prints one thing: `line` for people, `id` for scripts, `value` as JSON.
    pub(crate) fn one(self, line: &str, id: &str, value: Value) -> Result<(), Fault> {
        if self.json {
            return self.document(value);
        }
        self.raw(format!("{}\n", if self.quiet { id } else { line }).as_bytes())
    }

    /// Says that something was done, where there is nothing to print.
    pub(crate) fn done(self, what: &str) -> Result<(), Fault> {
        if self.json {
            return self.document(json!({ "done": true }));
        }
        self.say(what);
        Ok(())
    }

    /// Prints bytes as they are.
    pub(crate) fn raw(self, bytes: &[u8]) -> Result<(), Fault> {
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        written.map_err(|error| Fault::failed("the output cannot be written", error))
    }

    /// Talks to a person.
    #[expect(clippy::print_stderr, reason = "the command talks to the person who runs it")]
    pub(crate) fn say(self, what: &str) {
        if !self.quiet && !self.json {
            eprintln!("{what}");
        }
    }

    /// Draws a line over the last one on a terminal; nothing draws an empty line.
    #[expect(clippy::print_stderr, reason = "the command talks to the person who runs it")]
    pub(crate) fn draw(self, line: &str) {
        if !self.quiet && !self.json {
            eprint!("\r\x1b[2K{line}");
        }
    }

    /// Tells how something went that was printed as it came: in JSON as one last line, which tells what is wrong
    /// with it, too.
    pub(crate) fn summary(self, summary: Value, fault: Option<Fault>) -> Result<(), Fault> {
        if self.json {
            let mut last = json!({ "summary": summary });
            if let (Some(fields), Some(fault)) = (last.as_object_mut(), &fault) {
                fields.insert("error".to_owned(), fault.to_json());
            }
            self.raw(format!("{last}\n").as_bytes())?;
        }
        fault.map_or(Ok(()), |fault| Err(Fault { told: self.json, ..fault }))
    }

    /// Tells what went wrong; the exit code.
    #[expect(clippy::print_stderr, reason = "the command talks to the person who runs it")]
    pub(crate) fn fail(self, fault: &Fault) -> ExitCode {
        if fault.told {
            return fault.code.into();
        }
        if self.json {
            // A reader that has gone away is told by the exit code.
            let _ = self.document(json!({ "error": fault.to_json() }));
        } else {
            eprintln!("error: {}", fault.what);
            for (label, text) in [("cause", &fault.cause), ("help", &fault.help)] {
                if let Some(text) = text {
                    eprintln!("{label}: {text}");
                }
            }
        }
        fault.code.into()
    }

    fn document(self, mut value: Value) -> Result<(), Fault> {
        if let Some(fields) = value.as_object_mut() {
            fields.insert("schema".to_owned(), SCHEMA.into());
        }
        self.raw(format!("{value:#}\n").as_bytes())
    }
}

/// Time since 1970 as people write it.
pub(crate) fn time(unix_s: u64) -> String {
    let second = i64::try_from(unix_s).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    second.map_or_else(|| unix_s.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// A number of bytes as people write it.
pub(crate) fn bytes(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}
