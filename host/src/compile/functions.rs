//! Compiled functions: what the compiler has made of each, so that a module which shares functions with an earlier one
//! costs only its own.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use wasmtime::CacheStore;

use crate::compile::clean_context;

/// The compiler's hash of what a function was compiled from.
type FunctionKey = [u8; KEY_BYTES];

const KEY_BYTES: usize = 32;

/// Packs that one compilation is given: a bit in a word tells which of them were of use.
pub(crate) const PACKS_MAX: usize = 64;

/// Bytes of one pack, and of all packs that one compilation is given together: 128 MiB, five times what a Python worker
/// takes. A compilation holds as much at most of known functions, and of new ones.
pub(crate) const PACKS_BYTES_MAX: usize = 128 << 20;

/// The functions of one module, as they lie in a file: for each its key, its length, and what the compiler made of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FunctionPack(Bytes);

impl FunctionPack {
    /// Reads a pack; `None` if it is too long, or is not made of whole functions.
    pub(crate) fn from_bytes(bytes: Bytes) -> Option<Self> {
        let pack = Self(bytes);
        (pack.0.len() <= PACKS_BYTES_MAX && pack.functions().all(|function| function.is_some()))
            .then_some(pack)
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Each function; `None`, once and last, if what is left is no whole function.
    fn functions(&self) -> impl Iterator<Item = Option<(FunctionKey, Bytes)>> {
        let mut left = self.0.clone();
        std::iter::from_fn(move || {
            if left.is_empty() {
                return None;
            }
            let function = next_function(&mut left);
            if function.is_none() {
                left.clear();
            }
            Some(function)
        })
    }
}

fn next_function(left: &mut Bytes) -> Option<(FunctionKey, Bytes)> {
    let mut key = [0; KEY_BYTES];
    left.try_copy_to_slice(&mut key).ok()?;
    let length = usize::try_from(left.try_get_u32_le().ok()?).ok()?;
    (length <= left.len()).then(|| (key, left.split_to(length)))
}

/// Functions that one compilation knows, and those that it adds.
#[derive(Debug, Default)]
pub(super) struct FunctionReuse {
    /// Each with the number of its pack.
    known: HashMap<FunctionKey, (usize, Bytes)>,
    new: Mutex<NewFunctions>,
    reused: AtomicU32,
    /// A bit for each pack that was of use.
    used: AtomicU64,
}

#[derive(Debug, Default)]
struct NewFunctions {
    by_key: HashMap<FunctionKey, Bytes>,
    /// Length of the pack that they will be.
    bytes: usize,
}

impl FunctionReuse {
    pub(super) fn new(packs: &[FunctionPack]) -> Self {
        let functions = packs.iter().enumerate().flat_map(|(number, pack)| {
            pack.functions().flatten().map(move |(key, code)| (key, (number, code)))
        });
        Self { known: functions.collect(), ..Self::default() }
    }

    fn find(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let key = FunctionKey::try_from(key).ok()?;
        let Some((pack, code)) = self.known.get(&key) else {
            // A module may have a function many times: of a Python worker's, two in five are the same as another.
            let new = self.new.lock().by_key.get(&key).cloned();
            return new.map(|code| Cow::Owned(code.to_vec()));
        };
        if !clean_context::is_cleaning() {
            self.reused.fetch_add(1, Ordering::Relaxed);
            self.used.fetch_or(1 << (pack % PACKS_MAX), Ordering::Relaxed);
        }
        Some(Cow::Borrowed(code))
    }

    /// False if there is no room for it.
    fn add(&self, key: &[u8], code: Vec<u8>) -> bool {
        let Ok(key) = FunctionKey::try_from(key) else {
            return false;
        };
        let mut new = self.new.lock();
        let bytes = new.bytes.saturating_add(KEY_BYTES + size_of::<u32>()).saturating_add(code.len());
        if bytes > PACKS_BYTES_MAX {
            return false;
        }
        // Two threads may have compiled it at the same time.
        if let Entry::Vacant(vacant) = new.by_key.entry(key) {
            vacant.insert(code.into());
            new.bytes = bytes;
        }
        true
    }

    /// The functions that were added, how many were taken from packs, and a bit for each pack that was of use.
    pub(super) fn outcome(&self) -> (Vec<u8>, u32, u64) {
        let new = std::mem::take(&mut *self.new.lock());
        let mut pack = Vec::with_capacity(new.bytes);
        for (key, code) in new.by_key {
            pack.extend_from_slice(&key);
            pack.extend_from_slice(&u32::try_from(code.len()).unwrap_or(u32::MAX).to_le_bytes());
            pack.extend(code);
        }
        (pack, self.reused.load(Ordering::Relaxed), self.used.load(Ordering::Relaxed))
    }
}

impl CacheStore for FunctionReuse {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let found = self.find(key);
        if found.is_some() {
            clean_context::done();
        }
        found
    }

    fn insert(&self, key: &[u8], code: Vec<u8>) -> bool {
        let added = self.add(key, code);
        clean_context::done();
        added
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(functions: &[(u8, &[u8])]) -> FunctionPack {
        let reuse = FunctionReuse::default();
        for (key, code) in functions {
            assert!(reuse.insert(&[*key; KEY_BYTES], code.to_vec()));
        }
        FunctionPack::from_bytes(reuse.outcome().0.into()).unwrap()
    }

    #[test]
    fn a_function_is_found_by_its_key_in_whichever_pack_it_is() {
        let reuse = FunctionReuse::new(&[pack(&[(1, b"one")]), pack(&[]), pack(&[(2, b""), (3, b"three")])]);
        assert_eq!(reuse.get(&[3; KEY_BYTES]).as_deref(), Some(&b"three"[..]));
        assert_eq!(reuse.get(&[2; KEY_BYTES]).as_deref(), Some(&b""[..]));
        assert!(reuse.get(&[4; KEY_BYTES]).is_none() && reuse.get(b"short").is_none());
        assert!((0..2).all(|_| reuse.insert(&[4; KEY_BYTES], b"four".to_vec())));
        assert_eq!(reuse.get(&[4; KEY_BYTES]).as_deref(), Some(&b"four"[..]), "it is new");
        let (new, reused, used) = reuse.outcome();
        assert_eq!(
            (FunctionPack::from_bytes(new.into()), reused, used),
            (Some(pack(&[(4, b"four")])), 2, 0b100)
        );
    }

    #[test]
    fn a_pack_that_ends_in_the_middle_of_a_function_or_is_too_long_is_refused() {
        let whole = pack(&[(1, b"one")]).0;
        for length in 1..whole.len() {
            assert!(FunctionPack::from_bytes(whole.slice(..length)).is_none(), "{length}");
        }
        let mut wrong = whole.to_vec();
        wrong[KEY_BYTES + 3] = 0xff;
        assert!(FunctionPack::from_bytes(wrong.into()).is_none(), "a length of 4 GiB");
        let mut long = vec![0; PACKS_BYTES_MAX];
        // One function that fills the pack to its last byte, and one byte more.
        long[KEY_BYTES..KEY_BYTES + 4]
            .copy_from_slice(&u32::try_from(PACKS_BYTES_MAX - KEY_BYTES - 4).unwrap().to_le_bytes());
        assert!(FunctionPack::from_bytes(long.clone().into()).is_some());
        long.push(0);
        assert!(FunctionPack::from_bytes(long.into()).is_none());
    }

    #[test]
    fn a_compilation_adds_no_more_functions_than_a_pack_may_have() {
        let reuse = FunctionReuse::default();
        assert!(!reuse.insert(&[1; KEY_BYTES], vec![0; PACKS_BYTES_MAX - KEY_BYTES - 3]));
        assert!(reuse.insert(&[1; KEY_BYTES], vec![0; PACKS_BYTES_MAX - KEY_BYTES - 4]));
        assert!(!reuse.insert(&[2; KEY_BYTES], Vec::new()), "it is full");
        assert_eq!(reuse.outcome().0.len(), PACKS_BYTES_MAX);
    }
}
