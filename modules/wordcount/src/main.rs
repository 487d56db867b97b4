//! Counts lines, words and bytes of its standard input: a program that knows nothing of the grid.

use std::io::{Read, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut text = Vec::new();
    if let Err(error) = std::io::stdin().read_to_end(&mut text) {
        eprintln!("cannot read: {error}");
        return ExitCode::FAILURE;
    }
    let Ok(words) = std::str::from_utf8(&text) else {
        eprintln!("the input is no UTF-8");
        return ExitCode::FAILURE;
    };
    let (lines, words) = (words.lines().count(), words.split_whitespace().count());
    match writeln!(std::io::stdout(), "{lines} {words} {}", text.len()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
