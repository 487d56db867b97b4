//! Prints the lines of its standard input that match a pattern, with their numbers.
//!
//! No match is an answer, an empty one, and no failure: the exit code is 0 then, too. It is 2 if there is nothing that
//! could be searched for, and the grid fails the task.

use std::io::{BufWriter, Read, Write};
use std::process::ExitCode;

use regex::bytes::{Regex, RegexBuilder};

/// Most memory of a compiled pattern, and again of what a search remembers of it: a pattern of a few letters, such as
/// `(\w{100}){100}`, can ask for any amount. What a search takes in time is in proportion to the text, whatever the pattern.
const PATTERN_MAX: usize = 4 << 20;

const USAGE: &str = "usage: grep [-i] [-v] [-c] [--] PATTERN
  -i  letters match in either case
  -v  the lines that do not match
  -c  only how many they are";

/// What was asked for.
#[derive(Debug)]
struct Search {
    pattern: Regex,
    inverted: bool,
    counted: bool,
}

impl Search {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut any_case, mut inverted, mut counted, mut over) = (false, false, false, false);
        let mut pattern = None;
        for argument in arguments {
            match argument.as_str() {
                "--" if !over => over = true,
                "-i" if !over => any_case = true,
                "-v" if !over => inverted = true,
                "-c" if !over => counted = true,
                option if !over && option.starts_with('-') => {
                    return Err(format!("no option {option}\n{USAGE}"));
                }
                _ if pattern.is_none() => pattern = Some(argument),
                _ => return Err(format!("one pattern, not two; `a|b` matches either\n{USAGE}")),
            }
        }
        let pattern = pattern.ok_or(USAGE)?;
        let mut builder = RegexBuilder::new(&pattern);
        builder.case_insensitive(any_case).size_limit(PATTERN_MAX).dfa_size_limit(PATTERN_MAX);
        let pattern = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { pattern, inverted, counted })
    }

    /// The lines that are wanted, with their numbers from 1, without what ends them.
    fn lines<'a>(&self, text: &'a [u8]) -> impl Iterator<Item = (usize, &'a [u8])> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let lines = (!text.is_empty()).then(|| text.split(|byte| *byte == b'\n')).into_iter().flatten();
        let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        (1..).zip(lines).filter(|(_, line)| self.pattern.is_match(line) != self.inverted)
    }

    fn print(&self, text: &[u8], to: &mut impl Write) -> std::io::Result<()> {
        if self.counted {
            return writeln!(to, "{}", self.lines(text).count());
        }
        for (number, line) in self.lines(text) {
            write!(to, "{number}:")?;
            to.write_all(line)?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("grep: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let search = Search::parse(std::env::args().skip(1))?;
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).map_err(|error| format!("cannot read: {error}"))?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    search.print(&text, &mut out).and_then(|()| out.flush()).map_err(|error| format!("cannot write: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(arguments: &[&str], text: &[u8]) -> String {
        let search = Search::parse(arguments.iter().map(ToString::to_string)).unwrap();
        let mut out = Vec::new();
        search.print(text, &mut out).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn lines_are_numbered_from_one_whatever_ends_them() {
        assert_eq!(search(&["o.$"], b"one\r\ntwo\nfour"), "");
        assert_eq!(search(&["o.?$"], b"one\r\ntwo\nfoe"), "2:two\n3:foe\n");
        assert_eq!(search(&["^$"], b"a\n\nb\n"), "2:\n", "what follows the last line's end is no line");
        assert_eq!(search(&["^$"], b""), "");
    }

    #[test]
    fn options_change_what_is_wanted() {
        assert_eq!(search(&["-i", "ERROR"], b"an error\nfine\n"), "1:an error\n");
        assert_eq!(search(&["-v", "error"], b"an error\nfine\n"), "2:fine\n");
        assert_eq!(search(&["-c", "nothing"], b"an error\nfine\n"), "0\n");
        assert_eq!(search(&["--", "-i"], b"grep -i\n"), "1:grep -i\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_searched_and_printed_as_they_are() {
        let search = Search::parse(["b+".to_owned()].into_iter()).unwrap();
        let mut out = Vec::new();
        search.print(b"\xffbb\n\xfe\n", &mut out).unwrap();
        assert_eq!(out, b"1:\xffbb\n");
    }

    #[test]
    fn what_cannot_be_searched_for_is_refused_with_the_reason() {
        for (arguments, reason) in
            [(&["("][..], "unclosed"), (&["(\\w{100}){100}"], "size limit"), (&["-x", "a"], "no option -x")]
        {
            let error = Search::parse(arguments.iter().map(ToString::to_string)).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert!(Search::parse(std::iter::empty()).is_err());
    }
}
