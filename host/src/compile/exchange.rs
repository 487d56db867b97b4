//! What passes between a host and its compiler's child: a module and packs of compiled functions one way, compiled code
//! and new functions the other.

use std::io::{self, Read};

use bytes::{Buf, BufMut, Bytes};
use grid_protocol::limits::MODULE_BYTES_MAX;

use crate::compile::COMPILED_BYTES_MAX;
use crate::compile::functions::{FunctionPack, PACKS_BYTES_MAX, PACKS_MAX};

/// What a child is to compile, and with which functions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CompileRequest {
    pub(super) wasm: Bytes,
    /// `None` if no functions are to be reused, and no new ones returned.
    pub(super) known: Option<Vec<FunctionPack>>,
}

impl CompileRequest {
    /// Before the bytes of the module and of each pack: their lengths. The count is 0 without packs to be reused or
    /// returned, else their number and 1.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = Vec::new();
        head.put_u64_le(self.wasm.len() as u64);
        let packs = self.known.as_deref();
        head.put_u8(packs.map_or(0, |packs| u8::try_from(packs.len() + 1).unwrap_or(u8::MAX)));
        for pack in packs.unwrap_or_default() {
            head.put_u64_le(pack.bytes().len() as u64);
        }
        head
    }

    /// The parts that follow the head.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Bytes> {
        let packs = self.known.iter().flatten().map(FunctionPack::bytes);
        std::iter::once(&self.wasm).chain(packs)
    }

    /// Reads a request from a pipe.
    ///
    /// # Errors
    ///
    /// Any error of the pipe; [`io::ErrorKind::InvalidData`] if something is longer than it may be, or is no pack.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let wrong = || io::Error::from(io::ErrorKind::InvalidData);
        let wasm_length = read_length(from)?;
        let mut count = [0];
        from.read_exact(&mut count)?;
        let [count] = count;
        let lengths = (1..count).map(|_| read_length(from)).collect::<io::Result<Vec<_>>>()?;
        let mut packs_bytes = 0_usize;
        let all = lengths.iter().all(|length| {
            packs_bytes = packs_bytes.saturating_add(*length);
            packs_bytes <= PACKS_BYTES_MAX
        });
        if wasm_length > MODULE_BYTES_MAX || lengths.len() > PACKS_MAX || !all {
            return Err(wrong());
        }
        let wasm = read_part(from, wasm_length)?;
        let packs = lengths
            .into_iter()
            .map(|length| FunctionPack::from_bytes(read_part(from, length)?).ok_or_else(wrong));
        let packs = packs.collect::<io::Result<Vec<_>>>()?;
        Ok(Self { wasm, known: (count > 0).then_some(packs) })
    }
}

fn read_length(from: &mut impl Read) -> io::Result<usize> {
    let mut length = [0; size_of::<u64>()];
    from.read_exact(&mut length)?;
    Ok(usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX))
}

fn read_part(from: &mut impl Read, length: usize) -> io::Result<Bytes> {
    let mut part = vec![0; length];
    from.read_exact(&mut part)?;
    Ok(part.into())
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CompileReply {
    pub(super) code: Bytes,
    /// Functions that were not compiled, because the compilation was given them.
    pub(super) reused: u32,
    /// A bit for each pack that was of use.
    pub(super) used: u64,
    /// The functions that were compiled.
    pub(super) new: FunctionPack,
}

/// Length of what precedes the compiled code.
const REPLY_HEAD_BYTES: u64 = 8 + 8 + 4 + 8;

/// Length of a reply. A child's output is read so far, and one byte further.
pub(super) const REPLY_BYTES_MAX: u64 = REPLY_HEAD_BYTES + COMPILED_BYTES_MAX + PACKS_BYTES_MAX as u64;

impl CompileReply {
    /// What precedes the compiled code; the pack is last.
    pub(super) fn head(code_length: usize, pack_length: usize, reused: u32, used: u64) -> Vec<u8> {
        let mut head = Vec::new();
        head.put_u64_le(code_length as u64);
        head.put_u64_le(pack_length as u64);
        head.put_u32_le(reused);
        head.put_u64_le(used);
        head
    }

    /// Reads what a child wrote. The child is not trusted: `None` if it is not whole, if something is longer than it may be, or
    /// is no pack.
    pub(super) fn from_bytes(mut bytes: Bytes) -> Option<Self> {
        let code_length = bytes.try_get_u64_le().ok()?;
        let pack_length = bytes.try_get_u64_le().ok()?;
        let reused = bytes.try_get_u32_le().ok()?;
        let used = bytes.try_get_u64_le().ok()?;
        if code_length > COMPILED_BYTES_MAX
            || code_length.checked_add(pack_length) != Some(bytes.len() as u64)
        {
            return None;
        }
        let code = bytes.split_to(usize::try_from(code_length).ok()?);
        Some(Self { code, reused, used, new: FunctionPack::from_bytes(bytes)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(request: &CompileRequest) -> Vec<u8> {
        request.parts().fold(request.head(), |sent, part| [&sent[..], part].concat())
    }

    #[test]
    fn a_request_is_read_as_it_was_sent_and_none_that_is_cut_short() {
        // A pack of one empty function.
        let pack = FunctionPack::from_bytes(vec![0; 36].into()).unwrap();
        for known in
            [None, Some(vec![]), Some(vec![pack.clone(), FunctionPack::default()]), Some(vec![pack; 64])]
        {
            let request = CompileRequest { wasm: Bytes::from_static(b"wasm"), known };
            let sent = sent(&request);
            assert_eq!(CompileRequest::read(&mut &sent[..]).unwrap(), request);
            for length in 0..sent.len() {
                assert!(CompileRequest::read(&mut &sent[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn nothing_is_allocated_for_a_request_that_says_it_is_too_long() {
        let head = |wasm: u64, packs: &[u64]| {
            let mut head = wasm.to_le_bytes().to_vec();
            head.push(u8::try_from(packs.len() + 1).unwrap());
            head.extend(packs.iter().flat_map(|length| length.to_le_bytes()));
            head
        };
        let half = PACKS_BYTES_MAX as u64 / 2;
        for head in
            [head(u64::MAX, &[]), head(0, &[half, half, 1]), head(0, &[u64::MAX, 2]), head(0, &[0; 65])]
        {
            let refused = CompileRequest::read(&mut &head[..]).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "it was not read further");
        }
    }

    #[test]
    fn a_reply_whose_lengths_are_wrong_or_whose_pack_is_none_is_refused() {
        let reply = |code_length: usize, rest: &[u8]| {
            let pack_length = rest.len().saturating_sub(code_length);
            let bytes = [&CompileReply::head(code_length, pack_length, 2, 5), rest].concat();
            CompileReply::from_bytes(bytes.into())
        };
        let expected =
            CompileReply { code: Bytes::from_static(b"code"), reused: 2, used: 5, ..Default::default() };
        assert_eq!(reply(4, b"code"), Some(expected));
        assert!(reply(4, &[0; 4 + 36]).is_some_and(|reply| reply.new.bytes().len() == 36));
        assert!(reply(5, b"code").is_none() && reply(usize::MAX, b"code").is_none());
        assert!(reply(4, b"code and no pack").is_none());
        let whole = [&CompileReply::head(4, 2 * 36, 0, 0)[..], b"code", &[0; 2 * 36]].concat();
        assert!(CompileReply::from_bytes(whole.clone().into()).is_some());
        for length in 0..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..length]);
            assert!(CompileReply::from_bytes(cut).is_none(), "{length}");
        }
    }
}
