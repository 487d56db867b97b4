//! Names that people give to hosts, jobs and labels.

use crate::limits::NAME_BYTES_MAX;

/// A name that nobody could tell from another, or type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It has no letter.
    #[error("a name has at least one letter that can be seen")]
    Empty,
    /// It is too long.
    #[error("a name has at most {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// A terminal obeys a letter of it.
    #[error("a name has no {}: it is not shown, and may change how the rest is", letter.escape_default())]
    Obeyed {
        /// The letter.
        letter: char,
    },
}

/// Checks a name that somebody gives.
///
/// # Errors
///
/// [`NameError`], if it is empty, too long, or has what is not shown.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    match name.chars().find(|letter| is_obeyed(*letter)) {
        Some(letter) => Err(NameError::Obeyed { letter }),
        None if name.trim().is_empty() => Err(NameError::Empty),
        None => Ok(()),
    }
}

/// True for what a terminal does not show but obeys: control characters, marks of reading direction, separators of
/// lines and paragraphs, and what is invisible altogether.
pub fn is_obeyed(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_cannot_be_seen_or_changes_its_surroundings_is_none() {
        for good in ["a", "gpu 1", "Grüße/你好", &"x".repeat(NAME_BYTES_MAX)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", " ", "a\u{202e}b", "a\nb", "\u{200b}", "\u{feff}x", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
