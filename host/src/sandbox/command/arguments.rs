//! Arguments: the `argv` of a command.

use bytes::Bytes;
use grid_protocol::limits::{COMMAND_ARGUMENTS_BYTES_MAX, COMMAND_ARGUMENTS_MAX};

use super::cbor;

/// The arguments after the program's name, as the client gave them: `{}` in them stands for the input of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arguments(Vec<String>);

/// Longest input that may replace `{}` in an argument, in bytes. A longer one is no word of a command line; the command
/// has it as standard input anyway.
const INPUT_BYTES_MAX: usize = 4 << 10;

/// The placeholder for the input in an argument, and the escape for the placeholder itself.
const PLACE: &str = "{}";
const ESCAPED: &str = "{{}}";

/// Why a command cannot be given its arguments: the client that gave them must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ArgumentsError {
    #[error("the arguments are neither text nor an array of texts in CBOR")]
    NotText,
    #[error("a command takes {COMMAND_ARGUMENTS_MAX} arguments at most")]
    TooMany,
    #[error(
        "the arguments of a command may take {COMMAND_ARGUMENTS_BYTES_MAX} bytes together, and these take more"
    )]
    TooLong,
    #[error("an argument has a byte 0")]
    Zero,
    #[error("`{{}}` in an argument stands for the input, which {0}")]
    Input(&'static str),
}

impl Arguments {
    /// Reads spawn arguments: an array of texts in CBOR, or one text. Empty bytes are no arguments.
    pub(super) fn read(given: &Bytes) -> Result<Self, ArgumentsError> {
        // Not ambiguous: the first byte of a CBOR array begins no UTF-8 text.
        let arguments = match cbor::texts(given, COMMAND_ARGUMENTS_MAX) {
            Ok(texts) => texts,
            Err(cbor::NoTexts::TooMany) => return Err(ArgumentsError::TooMany),
            Err(cbor::NoTexts::Other) if given.is_empty() => Vec::new(),
            Err(cbor::NoTexts::Other) => {
                vec![std::str::from_utf8(given).map_err(|_| ArgumentsError::NotText)?]
            }
        };
        if arguments.iter().map(|argument| argument.len() + 1).sum::<usize>() > COMMAND_ARGUMENTS_BYTES_MAX {
            return Err(ArgumentsError::TooLong);
        }
        if arguments.iter().any(|argument| argument.contains('\0')) {
            return Err(ArgumentsError::Zero);
        }
        Ok(Self(arguments.into_iter().map(str::to_owned).collect()))
    }

    /// The arguments of one run: the program's name, and the given arguments with `{}` replaced by the input.
    pub(super) fn of(&self, program: &str, input: &[u8]) -> Result<Vec<String>, ArgumentsError> {
        let mut made = Vec::with_capacity(self.0.len() + 1);
        made.push(program.to_owned());
        let mut bytes = 0;
        for argument in &self.0 {
            let argument = match argument.contains(PLACE) {
                true => filled(argument, input, COMMAND_ARGUMENTS_BYTES_MAX - bytes)?,
                false => argument.clone(),
            };
            bytes += argument.len() + 1;
            if bytes > COMMAND_ARGUMENTS_BYTES_MAX {
                return Err(ArgumentsError::TooLong);
            }
            made.push(argument);
        }
        Ok(made)
    }
}

/// Replaces `{}` in an argument by the input, and `{{}}` by `{}`.
///
/// # Errors
///
/// [`ArgumentsError::TooLong`] if the result exceeds `most` bytes; [`ArgumentsError::Input`] if the input is no word.
fn filled(argument: &str, input: &[u8], most: usize) -> Result<String, ArgumentsError> {
    let mut made = String::new();
    for (index, piece) in argument.split(ESCAPED).enumerate() {
        if index > 0 {
            made.push_str(PLACE);
        }
        for (index, piece) in piece.split(PLACE).enumerate() {
            if index > 0 {
                made.push_str(word(input)?);
            }
            made.push_str(piece);
            if made.len() > most {
                return Err(ArgumentsError::TooLong);
            }
        }
    }
    Ok(made)
}

/// The input as a word of a command line.
fn word(input: &[u8]) -> Result<&str, ArgumentsError> {
    if input.len() > INPUT_BYTES_MAX {
        return Err(ArgumentsError::Input("is longer than 4096 bytes"));
    }
    match std::str::from_utf8(input) {
        Ok(text) if text.contains('\0') => Err(ArgumentsError::Input("has a byte 0")),
        Ok(text) => Ok(text),
        Err(_) => Err(ArgumentsError::Input("is no text in UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[u8]) -> Result<Vec<String>, ArgumentsError> {
        Arguments::read(&Bytes::copy_from_slice(given)).map(|arguments| arguments.0)
    }

    fn filled(argument: &str, input: &[u8]) -> Result<String, ArgumentsError> {
        let arguments = Arguments(vec![argument.to_owned()]);
        arguments.of("program", input).map(|made| made[1].clone())
    }

    #[test]
    fn an_array_of_texts_is_arguments_and_a_text_is_one() {
        assert_eq!(read(b"\x82\x62-t\x65hello"), Ok(vec!["-t".to_owned(), "hello".to_owned()]));
        assert_eq!(read(b"\x80"), Ok(vec![]));
        assert_eq!(read(b""), Ok(vec![]));
        assert_eq!(read(b"-t hello"), Ok(vec!["-t hello".to_owned()]));
        for wrong in [&b"\x81\x01"[..], b"\x82\x61a", b"\x81\x61a\x61b", b"\x81\x62\xff\xff", b"\xff"] {
            assert_eq!(read(wrong), Err(ArgumentsError::NotText), "{wrong:?}");
        }
        assert_eq!(read(b"a\0b"), Err(ArgumentsError::Zero));
    }

    #[test]
    fn arguments_are_bounded_in_number_and_in_bytes() {
        let array = |count: u16| {
            let texts = std::iter::repeat_n(b"\x61a".as_slice(), usize::from(count));
            [&[0x99][..], &count.to_be_bytes(), &texts.collect::<Vec<_>>().concat()].concat()
        };
        assert_eq!(read(&array(256)).unwrap().len(), 256);
        assert_eq!(read(&array(257)), Err(ArgumentsError::TooMany));
        assert_eq!(read(&[b'a'; (64 << 10) + 1]), Err(ArgumentsError::TooLong));
        // The limit holds after the input is inserted, and is checked before a long result is built.
        assert_eq!(filled(&"{}".repeat(17), &[b'a'; 4096]), Err(ArgumentsError::TooLong));
        assert!(filled(&"{}".repeat(15), &[b'a'; 4096]).is_ok());
        assert_eq!(filled(&"{}".repeat(30_000), &[b'a'; 4096]), Err(ArgumentsError::TooLong));
    }

    #[test]
    fn the_input_takes_the_place_of_braces_unless_they_are_doubled() {
        assert_eq!(filled("--size={}x{}", b"7").unwrap(), "--size=7x7");
        assert_eq!(filled("{{}}", b"7").unwrap(), "{}");
        assert_eq!(filled("{a}{", b"\xff").unwrap(), "{a}{");
        assert_eq!(filled("{}", b"{}").unwrap(), "{}");
        for wrong in [&b"\xff"[..], b"a\0b", &[b'a'; 4097]] {
            assert!(matches!(filled("{}", wrong), Err(ArgumentsError::Input(_))));
        }
    }
}
