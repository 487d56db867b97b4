//! QR codes, drawn with half blocks: two rows of modules in a line of text.

use std::fmt::Write;

use qrcode::types::QrError;
use qrcode::{Color, EcLevel, QrCode};

/// Width of the light frame around a code, in modules: without it a reader does not find the code (ISO/IEC 18004, 6.3.8).
const QUIET_ZONE: usize = 4;

/// Black on white, by numbers that no theme of a terminal changes: a code is dark on light whatever the terminal is.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";

/// Back to the terminal's own colours.
const RESET: &str = "\x1b[0m";

/// Draws a text as a QR code. With `colours` it is dark on light on every terminal. Without, what is light is drawn and what is
/// dark is left out, as the most terminals have it: light on dark.
///
/// # Errors
///
/// [`QrError`] if the text is longer than a code holds, 2 953 bytes. A join line has about 300.
pub(super) fn drawing(text: &str, colours: bool) -> Result<String, QrError> {
    // The least redundancy gives the smallest code, and nothing scratches a screen.
    let code = QrCode::with_error_correction_level(text, EcLevel::L)?;
    let modules = framed(&code);
    let mut drawn = String::new();
    for rows in modules.chunks(2) {
        let [upper, rest @ ..] = rows else { continue };
        // The frame goes on below the last row if the rows are odd in number.
        let light = vec![false; upper.len()];
        let lower = rest.first().unwrap_or(&light);
        drawn.push_str(if colours { BLACK_ON_WHITE } else { "" });
        drawn.extend(
            upper.iter().zip(lower).map(|(upper, lower)| half_blocks(*upper ^ !colours, *lower ^ !colours)),
        );
        // Writing to a string cannot fail.
        let _ = writeln!(drawn, "{}", if colours { RESET } else { "" });
    }
    Ok(drawn)
}

/// The rows of a code within its frame; true is dark.
fn framed(code: &QrCode) -> Vec<Vec<bool>> {
    let width = code.width() + 2 * QUIET_ZONE;
    let colours = code.to_colors();
    let rows = colours.chunks(code.width().max(1)).map(|row| {
        let side = [false; QUIET_ZONE];
        let dark: Vec<_> = row.iter().map(|colour| *colour == Color::Dark).collect();
        [&side[..], &dark, &side].concat()
    });
    let frame = || std::iter::repeat_n(vec![false; width], QUIET_ZONE);
    frame().chain(rows).chain(frame()).collect()
}

/// The character for two modules, one above the other, that are drawn or not.
fn half_blocks(upper: bool, lower: bool) -> char {
    match (upper, lower) {
        (false, false) => ' ',
        (true, false) => '▀',
        (false, true) => '▄',
        (true, true) => '█',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules of a drawing, true for those that are drawn.
    fn read(drawn: &str) -> Vec<Vec<bool>> {
        let half =
            |line: &str, drawn: [char; 2]| line.chars().map(|letter| drawn.contains(&letter)).collect();
        let rows = drawn.lines().map(|line| line.trim_start_matches(BLACK_ON_WHITE).trim_end_matches(RESET));
        rows.flat_map(|line| [half(line, ['▀', '█']), half(line, ['▄', '█'])]).collect()
    }

    const LINE: &str =
        "grid-host --manager grid1aehdcmrxfyyc4mboge5dinzzhggt6fe6nsv7ksqk4zsyx6u6zihcw2bw2nd2dndold";

    #[test]
    fn every_module_stands_in_its_place_within_four_light_ones_all_round() {
        let code = QrCode::with_error_correction_level(LINE, EcLevel::L).unwrap();
        let read = read(&drawing(LINE, true).unwrap());
        let width = code.width();
        assert!(read.iter().all(|row| row.len() == width + 8), "a line is as wide as another");
        for (y, row) in read.iter().enumerate() {
            for (x, dark) in row.iter().enumerate() {
                let inside = (4..width + 4).contains(&x) && (4..width + 4).contains(&y);
                assert_eq!(*dark, inside && code[(x - 4, y - 4)] == Color::Dark, "{x} {y}");
            }
        }
        assert!(read.len() >= width + 8);
    }

    #[test]
    fn without_colours_what_is_light_is_drawn_and_no_escape_is_written() {
        let (coloured, plain) = (drawing(LINE, true).unwrap(), drawing(LINE, false).unwrap());
        assert!(!plain.contains('\x1b'));
        let opposite: Vec<Vec<bool>> =
            read(&plain).iter().map(|row| row.iter().map(|drawn| !drawn).collect()).collect();
        assert_eq!(read(&coloured), opposite);
    }

    #[test]
    fn a_text_that_is_too_long_is_an_error() {
        assert!(drawing(&"x".repeat(2954), true).is_err());
    }
}
