//! The output of a command that has files: its standard output, and the files that it wrote.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::cbor::{CborError, from_cbor};

/// The output of a command whose manifest asks for files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandOutput {
    /// The command's standard output.
    pub stdout: Bytes,
    /// The files that it left in the folder `out`, by their paths in there. The guest chose the paths: check them
    /// before using them as paths on disk.
    pub files: BTreeMap<String, Bytes>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputFields {
    files: BTreeMap<String, ByteString>,
    stdout: ByteString,
}

impl CommandOutput {
    /// Decodes a command's output: a CBOR map with `files` and `stdout`, and nothing else.
    ///
    /// # Errors
    ///
    /// [`CborError::Decode`] if the message is something else: the command had no files, or the worker is not a
    /// command.
    ///
    /// # Examples
    ///
    /// ```
    /// let message = b"\xa2\x65files\xa1\x61a\x41\x07\x66stdout\x42hi";
    /// let answer = grid_client::CommandOutput::read(message).unwrap();
    /// assert_eq!((&answer.stdout[..], &answer.files["a"][..]), (&b"hi"[..], &[7][..]));
    /// ```
    pub fn read(message: &[u8]) -> Result<Self, CborError> {
        if message.first() != Some(&MAP_OF_TWO) {
            return Err(CborError::Decode("the message is no answer of a command with files".to_owned()));
        }
        let OutputFields { files, stdout } = from_cbor(message)?;
        let files = files.into_iter().map(|(path, content)| (path, content.0)).collect();
        Ok(Self { stdout: stdout.0, files })
    }
}

/// The first byte of an output: a CBOR map with two entries.
const MAP_OF_TWO: u8 = 0xa2;

struct ByteString(Bytes);

impl<'de> Deserialize<'de> for ByteString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = ByteString;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<ByteString, E> {
                Ok(ByteString(Bytes::copy_from_slice(bytes)))
            }
        }

        deserializer.deserialize_bytes(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_quite_an_answer_is_none() {
        let good = b"\xa2\x65files\xa0\x66stdout\x40";
        assert_eq!(CommandOutput::read(good).unwrap(), CommandOutput::default());
        let wrong: [&[u8]; 6] = [
            b"",
            b"hello",
            b"\xa1\x66stdout\x40",
            b"\xa2\x65files\xa0\x66stdout\x60",
            b"\xa2\x65files\xa1\x61a\x61b\x66stdout\x40",
            b"\xa2\x65other\xa0\x66stdout\x40",
        ];
        for wrong in wrong {
            assert!(CommandOutput::read(wrong).is_err(), "{wrong:?}");
        }
    }
}
