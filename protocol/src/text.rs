//! Keys and tickets as text that survives being read aloud, pasted and double-clicked.
//!
//! A prefix says what it is; the rest is lower-case base32 without padding, of the bytes and the first four
//! bytes of the SHA-256 of the prefix and the bytes, so that a slip of the hand is found.

use alloc::string::String;
use alloc::vec::Vec;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
use sha2::{Digest, Sha256};

const CHECK_BYTES: usize = 4;

/// Writes `bytes` behind `prefix`.
pub(crate) fn write(prefix: &str, bytes: &[u8]) -> String {
    let mut checked = bytes.to_vec();
    checked.extend_from_slice(&check(prefix, bytes));
    let mut text = String::from(prefix);
    text.push_str(&BASE32_NOPAD.encode(&checked).to_ascii_lowercase());
    text
}

/// Reads what [`write`] wrote; at most `max` characters are looked at.
pub(crate) fn read(prefix: &'static str, text: &str, max: usize) -> Result<Vec<u8>, TextError> {
    let text = text.trim();
    if text.len() > max {
        return Err(TextError::TooLong { max });
    }
    let body = text.strip_prefix(prefix).ok_or(TextError::Prefix { expected: prefix })?;
    let mut bytes = BASE32_NOPAD_NOCASE.decode(body.as_bytes()).map_err(|_| TextError::Mistyped)?;
    let at = bytes.len().checked_sub(CHECK_BYTES).ok_or(TextError::Mistyped)?;
    let found = bytes.split_off(at);
    if found != check(prefix, &bytes) {
        return Err(TextError::Mistyped);
    }
    Ok(bytes)
}

fn check(prefix: &str, bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let [a, b, c, d, ..] =
        <[u8; 32]>::from(Sha256::new().chain_update(prefix).chain_update(bytes).finalize());
    [a, b, c, d]
}

/// The text is not what was asked for: whoever pasted it must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// It is something else.
    #[error("it does not begin with `{expected}`")]
    Prefix {
        /// How it should begin.
        expected: &'static str,
    },
    /// Characters are wrong, missing or too many.
    #[error("it is mistyped or cut short: its checksum does not fit")]
    Mistyped,
    /// It is longer than any such text.
    #[error("it is longer than {max} characters")]
    TooLong {
        /// The most that is looked at.
        max: usize,
    },
    /// The checksum fits, and the contents make no sense.
    #[error("it is well typed, but its contents make no sense; it may be from a newer version")]
    Contents,
}
