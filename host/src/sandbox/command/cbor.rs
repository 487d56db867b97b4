//! The two CBOR (RFC 8949) structures that a command and its client exchange: arguments, and an answer with files.

use std::collections::BTreeMap;

/// Why bytes are not an array of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoTexts {
    TooMany,
    Other,
}

const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

/// Reads an array of at most `max` texts, which must be all of `bytes`.
pub(super) fn texts(bytes: &[u8], max: usize) -> Result<Vec<&str>, NoTexts> {
    let (count, mut rest) = head(bytes, ARRAY)?;
    if count > max {
        return Err(NoTexts::TooMany);
    }
    let mut texts = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, after) = head(rest, TEXT)?;
        let (text, after) = after.split_at_checked(length).ok_or(NoTexts::Other)?;
        texts.push(std::str::from_utf8(text).map_err(|_| NoTexts::Other)?);
        rest = after;
    }
    if rest.is_empty() { Ok(texts) } else { Err(NoTexts::Other) }
}

/// Encodes the answer of a command as one map: its standard output, and its files by their paths.
pub(super) fn answer(stdout: &[u8], files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let length = answer_length(stdout, files);
    let mut out = Vec::with_capacity(length);
    // In the order of RFC 8949, section 4.2.1, so that equal answers have equal bytes.
    push_head(&mut out, MAP, 2);
    push(&mut out, TEXT, b"files");
    push_head(&mut out, MAP, files.len());
    for (path, content) in files {
        push(&mut out, TEXT, path.as_bytes());
        push(&mut out, BYTES, content);
    }
    push(&mut out, TEXT, b"stdout");
    push(&mut out, BYTES, stdout);
    out
}

/// Upper bound for the length of the encoded answer, in bytes.
pub(super) fn answer_length(stdout: &[u8], files: &BTreeMap<String, Vec<u8>>) -> usize {
    let files = files.iter().map(|(path, content)| path.len() + content.len() + 2 * HEAD_BYTES_MAX);
    files.sum::<usize>() + stdout.len() + 6 * HEAD_BYTES_MAX
}

/// Bytes of a CBOR head with a 64-bit length.
const HEAD_BYTES_MAX: usize = 9;

/// Reads the head of an item of type `major`; returns the item's length, and the bytes after the head.
fn head(bytes: &[u8], major: u8) -> Result<(usize, &[u8]), NoTexts> {
    let (first, rest) = bytes.split_first().ok_or(NoTexts::Other)?;
    if first >> 5 != major {
        return Err(NoTexts::Other);
    }
    let size = match first & 0x1f {
        small @ 0..=23 => return Ok((usize::from(small), rest)),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return Err(NoTexts::Other),
    };
    let (length, rest) = rest.split_at_checked(size).ok_or(NoTexts::Other)?;
    let length = length.iter().fold(0u64, |length, byte| length << 8 | u64::from(*byte));
    usize::try_from(length).map(|length| (length, rest)).map_err(|_| NoTexts::Other)
}

fn push(out: &mut Vec<u8>, major: u8, bytes: &[u8]) {
    push_head(out, major, bytes.len());
    out.extend_from_slice(bytes);
}

fn push_head(out: &mut Vec<u8>, major: u8, length: usize) {
    let bytes = (length as u64).to_be_bytes();
    let (code, bytes) = match length {
        0..=23 => {
            out.extend(bytes.last().map(|length| major << 5 | length));
            return;
        }
        24..=0xff => (24, bytes.get(7..)),
        0x100..=0xffff => (25, bytes.get(6..)),
        0x1_0000..=0xffff_ffff => (26, bytes.get(4..)),
        _ => (27, bytes.get(..)),
    };
    out.push(major << 5 | code);
    out.extend_from_slice(bytes.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_these_bytes() {
        let files = BTreeMap::from([("a".to_owned(), vec![7]), ("b/c".to_owned(), vec![])]);
        assert_eq!(answer(b"hi", &files), b"\xa2\x65files\xa2\x61a\x41\x07\x63b/c\x40\x66stdout\x42hi");
    }

    #[test]
    fn lengths_are_written_as_short_as_they_can_be_and_read_back() {
        for (length, head_length) in [(0, 1), (23, 1), (24, 2), (255, 2), (256, 3), (65_535, 3), (65_536, 5)]
        {
            let mut out = Vec::new();
            push_head(&mut out, TEXT, length);
            assert_eq!(out.len(), head_length, "{length}");
            assert_eq!(head(&out, TEXT), Ok((length, &[][..])));
        }
        assert!(answer(b"", &BTreeMap::new()).len() <= answer_length(b"", &BTreeMap::new()));
    }

    #[test]
    fn hostile_lengths_allocate_nothing() {
        assert_eq!(texts(&[0x9b, 255, 255, 255, 255, 255, 255, 255, 255], 256), Err(NoTexts::TooMany));
        assert_eq!(texts(&[0x81, 0x7b, 255, 255, 255, 255, 255, 255, 255, 255], 256), Err(NoTexts::Other));
        assert_eq!(texts(&[0x9f, 0xff], 256), Err(NoTexts::Other));
    }
}
