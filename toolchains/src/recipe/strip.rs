//! Removes debug sections from a module; the names of functions stay.

/// A module without its custom sections named `.debug_…`. Bytes that are not a module are returned unchanged.
pub(super) fn without_debug_sections(module: &[u8]) -> Vec<u8> {
    strip(module).unwrap_or_else(|| module.to_vec())
}

const HEADER_BYTES: usize = 8;

const CUSTOM: u8 = 0;

fn strip(module: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = module.split_at_checked(HEADER_BYTES)?;
    let mut kept = header.to_vec();
    while let Some((id, after_id)) = rest.split_first() {
        let (length, body) = number(after_id)?;
        let (body, after) = body.split_at_checked(length)?;
        if *id != CUSTOM || !is_debug(body) {
            kept.extend_from_slice(rest.get(..rest.len() - after.len())?);
        }
        rest = after;
    }
    Some(kept)
}

fn is_debug(section: &[u8]) -> bool {
    let name = number(section).and_then(|(length, rest)| rest.get(..length));
    name.is_some_and(|name| name.starts_with(b".debug_"))
}

/// Reads a 32-bit LEB128 number; returns it with the bytes after it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0usize;
    for (place, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(place + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_sections_go_and_everything_else_stays() {
        let header = b"\0asm\x01\0\0\0";
        let name = b"\x00\x07\x04name\x01\x00";
        let debug = b"\x00\x0d\x0b.debug_info\x05";
        let types = b"\x01\x01\x00";
        let module = [&header[..], debug, types, name, debug].concat();
        assert_eq!(without_debug_sections(&module), [&header[..], types, name].concat());
    }

    #[test]
    fn what_is_no_module_is_left_alone() {
        for bytes in [&b""[..], b"\0asm", b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f"] {
            assert_eq!(without_debug_sections(bytes), bytes);
        }
    }
}
