//! Names that people give to hosts, jobs and labels.

use crate::limits::NAME_BYTES_MAX;

/// Why a name is refused: people could not see it, type it, or tell it from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It has no visible character.
    #[error("a name has at least one letter that can be seen")]
    Empty,
    /// It is longer than [`NAME_BYTES_MAX`].
    #[error("a name has at most {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// It has a character that a terminal interprets instead of showing it.
    #[error("a name has no {}: it is not shown, and may change how the rest is", letter.escape_default())]
    Obeyed {
        /// The character.
        letter: char,
    },
}

/// Checks a name.
///
/// # Errors
///
/// [`NameError`], if it is empty, too long, or has a character that is not shown.
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

/// True for characters that a terminal interprets instead of showing: control characters, text direction
/// marks, line and paragraph separators, and invisible characters.
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
