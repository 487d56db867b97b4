//! Keys and tickets as text that can be read aloud, pasted, and selected with a double click.
//!
//! A prefix names the kind. After it comes lower-case base32 without padding: the bytes, then the first four
//! bytes of the SHA-256 of the prefix and the bytes, so that typing errors are found.

use alloc::string::String;
use alloc::vec::Vec;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
use sha2::{Digest, Sha256};

const CHECK_BYTES: usize = 4;

/// Encodes `bytes` behind `prefix`.
pub(crate) fn write(prefix: &str, bytes: &[u8]) -> String {
    let mut checked = bytes.to_vec();
    checked.extend_from_slice(&check(prefix, bytes));
    let mut text = String::from(prefix);
    text.push_str(&BASE32_NOPAD.encode(&checked).to_ascii_lowercase());
    text
}

/// Decodes what [`write`] encoded; refuses text of more than `max` bytes before decoding.
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

/// The text is not of the expected kind or is damaged; whoever pasted it must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// It has another prefix.
    #[error("it does not begin with `{expected}`")]
    Prefix {
        /// The expected prefix.
        expected: &'static str,
    },
    /// Characters are wrong, missing or added.
    #[error("it is mistyped or cut short: its checksum does not fit")]
    Mistyped,
    /// It is longer than any text of this kind.
    #[error("it is longer than {max} characters")]
    TooLong {
        /// The limit, in bytes.
        max: usize,
    },
    /// The checksum is correct, but the contents cannot be decoded.
    #[error("it is well typed, but its contents make no sense; it may be from a newer version")]
    Contents,
}
