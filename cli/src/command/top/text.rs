//! Text for the screen: harmless whoever wrote it, with a tone, cut and wrapped by columns.

use ratatui::text::Span;

use crate::command::shown;

/// What a text is, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TopTone {
    /// As everything.
    #[default]
    Plain,
    /// Less important than the rest.
    Quiet,
    /// A heading.
    Heading,
    /// It works.
    Good,
    /// Somebody may have to do something.
    Odd,
    /// Something failed.
    Bad,
}

/// A line of a description or of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopLine {
    text: String,
    tone: TopTone,
}

impl TopLine {
    /// A line, escaped.
    pub(crate) fn new(tone: TopTone, text: &str) -> Self {
        Self { text: harmless(text), tone }
    }

    /// The text, which moves no cursor.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Its tone.
    pub(crate) fn tone(&self) -> TopTone {
        self.tone
    }
}

/// A text on one line of which nothing is obeyed by a terminal.
pub(crate) fn harmless(text: &str) -> String {
    shown::line(text).replace('\t', "    ")
}

/// Columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The beginning of a text that has room in so many columns; what is cut ends with `…`.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut fitting = beginning(text, columns.saturating_sub(1)).to_owned();
    if columns > 0 {
        fitting.push('…');
    }
    fitting
}

/// The longest beginning of a text that takes at most so many columns.
fn beginning(text: &str, columns: usize) -> &str {
    let (mut taken, mut end) = (0, 0);
    for (at, letter) in text.char_indices() {
        taken += width(letter.encode_utf8(&mut [0; 4]));
        if taken > columns {
            return text.get(..end).unwrap_or_default();
        }
        end = at + letter.len_utf8();
    }
    text
}

/// Breaks lines that are longer than the screen is wide; what follows a break is indented as its line, and by two.
pub(crate) fn wrapped(lines: &[TopLine], columns: usize) -> Vec<TopLine> {
    lines.iter().flat_map(|line| broken(line, columns.max(8))).collect()
}

fn broken(line: &TopLine, columns: usize) -> Vec<TopLine> {
    let piece = |text: String| TopLine { text, tone: line.tone };
    let indent = line.text.len() - line.text.trim_start_matches(' ').len();
    let indent = " ".repeat((indent + 2).min(columns / 2));
    let (mut pieces, mut left) = (Vec::new(), line.text.clone());
    while width(&left) > columns {
        let most = beginning(&left, columns);
        // At a space if there is one in the second half, else in the middle of a word.
        let end = most.rfind(' ').filter(|at| *at > most.len() / 2).unwrap_or(most.len()).max(1);
        let (now, then) = left.split_at_checked(end).unwrap_or((&left, ""));
        let then = format!("{indent}{}", then.trim_start_matches(' '));
        pieces.push(piece(now.to_owned()));
        left = then;
    }
    pieces.push(piece(left));
    pieces
}

/// A time span as `h:mm:ss`.
pub(crate) fn clock(seconds: u64) -> String {
    match seconds / 3600 {
        hours @ 0..1000 => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
        hours => format!("{} days", hours / 24),
    }
}

/// The time of day of a time in milliseconds since 1970, in UTC.
pub(crate) fn time_of_day(unix_ms: u64) -> String {
    let at = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| unix_ms.to_string(), |at| at.strftime("%H:%M:%S").to_string())
}

/// A time span in microseconds, for people.
pub(crate) fn span(us: u64) -> String {
    match us {
        0..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        1_000_000..60_000_000 => format!("{:.1} s", us as f64 / 1e6),
        _ => clock(us / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_cut_takes_as_many_columns_as_it_has_and_says_that_it_was_cut() {
        assert_eq!(fit("primes", 6), "primes");
        assert_eq!(fit("primes", 4), "pri…");
        assert_eq!(fit("你好你好", 5), "你好…");
        assert_eq!(fit("你好你好", 4), "你…");
        assert_eq!((fit("primes", 1), fit("primes", 0)), ("…".to_owned(), String::new()));
    }

    #[test]
    fn what_a_terminal_obeys_is_never_in_a_line() {
        let line = TopLine::new(TopTone::Plain, "a\x1b[2Jb\u{202e}c\nd\te\u{9b}");
        assert_eq!(line.text(), r"a\u{1b}[2Jb\u{202e}c\nd    e\u{9b}");
    }

    #[test]
    fn a_long_line_is_broken_at_spaces_and_loses_nothing() {
        let line = |text| TopLine::new(TopTone::Plain, text);
        let texts = |lines: &[TopLine], columns| -> Vec<String> {
            wrapped(lines, columns).iter().map(|line| line.text().to_owned()).collect()
        };
        assert_eq!(texts(&[line("  one two three four")], 12), ["  one two", "    three", "    four"]);
        assert_eq!(texts(&[line("abcdefghijklmnop")], 10), ["abcdefghij", "  klmnop"]);
        assert_eq!(texts(&[line("你好你好你好")], 8), ["你好你好", "  你好"]);
        assert_eq!(texts(&[line("")], 10), [""]);
    }

    #[test]
    fn time_spans_are_short() {
        assert_eq!(clock(3 * 3600 + 125), "3:02:05");
        assert_eq!(clock(100_000 * 3600), "4166 days");
        assert_eq!([1500, 2_500_000, 90_000_000].map(span), ["1.5 ms", "2.5 s", "0:01:30"]);
    }
}
