//! Untrusted text, escaped for the terminal: text of a guest, a host or a file cannot move the cursor, colour the
//! screen, reverse the reading direction, or begin a line that looks like one of ours.

use std::fmt::Write;

use grid_protocol::name::is_obeyed;
use serde::Serialize;

/// Lines for a person. Text is escaped as it is added, wherever it comes from.
#[derive(Debug, Default)]
pub(crate) struct Lines(String);

/// Further indentation of a text's lines after its first, in columns, so that none can be taken for a line of ours.
const DEEPER: usize = 4;

impl Lines {
    /// Adds a text, indented by `indent` columns; its own line breaks stay, and the lines after them are indented
    /// further.
    pub(crate) fn push(&mut self, indent: usize, text: &str) {
        for (place, line) in text.trim_end_matches(['\n', '\r']).split('\n').enumerate() {
            let indent = if place == 0 { indent } else { indent + DEEPER };
            self.0.extend(std::iter::repeat_n(' ', indent));
            escape(&mut self.0, line.strip_suffix('\r').unwrap_or(line));
            self.0.push('\n');
        }
    }

    /// The text, which ends with a line break unless it is empty.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Lines {
    fn from(text: &str) -> Self {
        let mut lines = Self::default();
        lines.push(0, text);
        lines
    }
}

impl From<&String> for Lines {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl<T: AsRef<str>> From<&[T]> for Lines {
    fn from(texts: &[T]) -> Self {
        let mut lines = Self::default();
        texts.iter().for_each(|text| lines.push(0, text.as_ref()));
        lines
    }
}

/// A text escaped so that it stays on one line.
pub(crate) fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (place, part) in text.split('\n').enumerate() {
        if place > 0 {
            shown.push_str("\\n");
        }
        escape(&mut shown, part);
    }
    shown
}

/// A JSON document, on one line or many. Characters that JSON allows but a terminal obeys are written as escapes, which
/// mean the same to a JSON parser.
pub(crate) fn json(view: &impl Serialize, many_lines: bool) -> serde_json::Result<String> {
    let mut text =
        if many_lines { serde_json::to_string_pretty(view)? } else { serde_json::to_string(view)? };
    text.push('\n');
    if text.is_ascii() && !text.contains('\x7f') {
        return Ok(text);
    }
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter != '\n' && is_obeyed(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(letter);
        }
    }
    Ok(shown)
}

fn escape(shown: &mut String, text: &str) {
    for letter in text.chars() {
        if letter != '\t' && is_obeyed(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_text_of_many_lines_begins_none_at_the_margin_but_its_first() {
        let mut lines = Lines::from("task 1 failed: boom\r\nerror: forged\n  help: forged");
        lines.push(2, "on worker: failed\nhelp: forged");
        let expected = "task 1 failed: boom\n    error: forged\n      help: forged\n  on worker: failed\n      help: forged\n";
        assert_eq!(lines.as_str(), expected);
        assert_eq!(line("a\nb\tc"), "a\\nb\tc");
    }

    #[test]
    fn what_a_terminal_obeys_is_written_as_an_escape_and_what_people_write_is_not() {
        assert_eq!(
            line("\x1b]0;owned\x07 \u{9b}2J \u{202e}gpj.exe\r"),
            r"\u{1b}]0;owned\u{7} \u{9b}2J \u{202e}gpj.exe\r"
        );
        let people = "Grüße, 你好, مرحبا, 👩‍👩‍👧";
        assert_eq!(line(people), people);
    }

    #[test]
    fn json_says_the_same_to_a_program_and_nothing_to_a_terminal() {
        let value = json!({ "text": "\u{9b}2J\u{202e}x\u{7f}\x1b\nü\u{e0041}" });
        for many_lines in [false, true] {
            let text = json(&value, many_lines).unwrap();
            assert!(!text.chars().any(|letter| letter != '\n' && is_obeyed(letter)), "{text:?}");
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }
}
