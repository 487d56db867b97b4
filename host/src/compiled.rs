//! Compiled modules on disk, kept by one host for itself or shared by all programs of one user.
//!
//! Compiled code can do anything that the host process can, so each file has a MAC whose key never leaves this machine:
//! a file that somebody else wrote is not loaded, and its module is compiled again.

mod known_functions;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use grid_disk::{load_or_make_secret, replace};
use grid_protocol::digest::Digest;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::cache::{BoundedFolder, CacheError};
use crate::sandbox::Compiled;

pub use known_functions::{ReuseScope, ReusingCode};

/// A cache of compiled modules, in a folder.
#[derive(Debug, Clone)]
pub struct CompiledCache {
    folder: BoundedFolder,
    key: Zeroizing<[u8; 32]>,
}

/// The right to compile a module: of several processes that need the module, one compiles it and the others wait.
///
/// Advisory: where locks do not work, each process compiles for itself.
#[derive(Debug)]
pub struct Claim {
    /// Its path, and the file, which is locked until it is closed; `None` where locks do not work.
    lock: Option<(PathBuf, File)>,
}

/// How long to wait before a claim is tried again.
pub(crate) const CLAIM_PAUSE: Duration = Duration::from_millis(20);

const MAC_BYTES: usize = 32;

/// Bytes of compiled modules that the programs of one user share: 2 GiB, about thirty modules of Python. The least
/// recently used are removed first.
pub const SHARED_BYTES_MAX: u64 = 2 << 30;

impl CompiledCache {
    /// Opens the cache in `folder`. The folder and the MAC key in it are made if they are missing.
    ///
    /// # Errors
    ///
    /// [`CacheError::Disk`] if the folder cannot be made; [`CacheError::Key`] if the MAC key cannot be read or made.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Self, CacheError> {
        let bounded = BoundedFolder::open(folder, bytes_max)?;
        let key = load_or_make_secret(&bounded.path("cache.key"))?;
        Ok(Self { folder: bounded, key })
    }

    /// True if the cache has compiled code of the module for this scope and an engine with this hash of
    /// what its code depends on, which [`compatibility`](crate::compile::compatibility) returns. Does not check its MAC;
    /// [`Self::get`] does.
    pub fn has(&self, module: &Digest, compatibility: u64, scope: ReuseScope) -> bool {
        [None, Some(scope)].iter().any(|only_for| self.path(module, compatibility, *only_for).is_file())
    }

    /// Reads the compiled code of a module, if the cache has it for this scope and engine and its MAC is right.
    pub fn get(&self, module: &Digest, compatibility: u64, scope: ReuseScope) -> Option<Compiled> {
        [None, Some(scope)].into_iter().find_map(|only_for| self.read(module, compatibility, only_for))
    }

    fn read(&self, module: &Digest, compatibility: u64, only_for: Option<ReuseScope>) -> Option<Compiled> {
        let path = self.path(module, compatibility, only_for);
        let bytes = Bytes::from(fs::read(&path).ok()?);
        let (mac, code) = bytes.split_at_checked(MAC_BYTES)?;
        if self.mac(module, compatibility, only_for, code).verify_slice(mac).is_err() {
            tracing::warn!(path = %path.display(), "compiled code was not written by this host; it is compiled anew");
            // What is compiled anew may have another file. If this one stays, it is refused again.
            let _ = fs::remove_file(&path);
            return None;
        }
        // The oldest files are removed first. If this fails, the file only looks older than it is.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        // SAFETY: the MAC is right, only `keep` makes MACs, and it is given what the compiler wrote.
        Some(unsafe { Compiled::vouch(bytes.slice(MAC_BYTES..)) })
    }

    /// Stores compiled code, and removes the oldest files if there is no room for it. With `only_for`, functions
    /// of other modules of this scope may be in it.
    ///
    /// # Errors
    ///
    /// [`CacheError::Disk`] if the file cannot be written; nothing is stored then.
    pub fn keep(
        &self,
        module: &Digest,
        compatibility: u64,
        only_for: Option<ReuseScope>,
        compiled: &Compiled,
    ) -> Result<(), CacheError> {
        let code = compiled.bytes();
        self.folder.make_room(code.len() as u64);
        let mac = self.mac(module, compatibility, only_for, code).finalize().into_bytes();
        Ok(replace(&self.path(module, compatibility, only_for), &[&mac[..], code].concat())?)
    }

    /// Waits until no other holder has the claim to the module, and takes it.
    pub async fn claim(&self, module: &Digest) -> Claim {
        loop {
            if let Some(claim) = self.try_claim(module) {
                return claim;
            }
            // Not on a thread that is blocked until then: a program that ends would wait for it.
            tokio::time::sleep(CLAIM_PAUSE).await;
        }
    }

    /// Takes the claim to the module; `None` if another has it.
    pub(crate) fn try_claim(&self, module: &Digest) -> Option<Claim> {
        let path = self.folder.path(&format!("{module}.lock"));
        let Ok(file) = File::create(&path) else {
            return Some(Claim { lock: None });
        };
        match file.try_lock() {
            Ok(()) => Some(Claim { lock: Some((path, file)) }),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(_)) => Some(Claim { lock: None }),
        }
    }

    pub(crate) fn folder(&self) -> &BoundedFolder {
        &self.folder
    }

    fn mac(
        &self,
        module: &Digest,
        compatibility: u64,
        only_for: Option<ReuseScope>,
        code: &[u8],
    ) -> Hmac<Sha256> {
        let (module, compatibility) = (module.as_bytes().as_slice(), compatibility.to_le_bytes());
        match only_for {
            None => self.mac_of([b"grid-compiled/1\0", module, &compatibility, code]),
            Some(scope) => {
                self.mac_of([b"grid-compiled-for/1\0", &scope.to_bytes(), module, &compatibility, code])
            }
        }
    }

    /// The first part tells what the others are, and each but the last has the same length wherever the first is the same.
    fn mac_of<const PARTS: usize>(&self, parts: [&[u8]; PARTS]) -> Hmac<Sha256> {
        // The key is padded to the block of 64 bytes with zeros, as HMAC does.
        let mut block = Zeroizing::new([0; 64]);
        for (padded, byte) in block.iter_mut().zip(self.key.iter()) {
            *padded = *byte;
        }
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&(*block).into());
        for part in parts {
            mac.update(part);
        }
        mac
    }

    fn path(&self, module: &Digest, compatibility: u64, only_for: Option<ReuseScope>) -> PathBuf {
        let only_for = only_for.map_or_else(String::new, |scope| format!("-{scope}"));
        self.folder.path(&format!("{module}-{compatibility:016x}{only_for}.compiled"))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.lock {
            // If it cannot be removed, an empty file stays.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use grid_protocol::key::SecretKey;

    use super::*;

    fn compiled(bytes: &'static [u8]) -> Compiled {
        // SAFETY: it is never loaded.
        unsafe { Compiled::vouch(Bytes::from_static(bytes)) }
    }

    /// Those of two publishers.
    fn scopes() -> [ReuseScope; 2] {
        [1, 2].map(|seed| ReuseScope::Publisher(SecretKey::from_seed(&[seed; 32]).public()))
    }

    #[test]
    fn compiled_code_is_loaded_only_as_it_was_written_and_only_for_its_module_and_engine() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path(), SHARED_BYTES_MAX).unwrap();
        let (module, other, [scope, _]) = (Digest::of(b"a"), Digest::of(b"b"), scopes());
        cache.keep(&module, 1, None, &compiled(b"code")).unwrap();
        assert_eq!(&cache.get(&module, 1, scope).unwrap().bytes()[..], b"code");
        let path = cache.path(&module, 1, None);
        for stranger in
            [cache.path(&other, 1, None), cache.path(&module, 2, None), cache.path(&other, 1, Some(scope))]
        {
            fs::copy(&path, stranger).unwrap();
        }
        assert!(cache.get(&other, 1, scope).is_none() && cache.get(&module, 2, scope).is_none());
        let honest = fs::read(&path).unwrap();
        for bit in 0..honest.len() * 8 {
            let mut flipped = honest.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, flipped).unwrap();
            assert!(cache.get(&module, 1, scope).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn code_with_functions_of_a_publishers_other_modules_is_not_that_of_the_same_module_signed_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path(), SHARED_BYTES_MAX).unwrap();
        let (module, [one, other]) = (Digest::of(b"a"), scopes());
        cache.keep(&module, 1, Some(one), &compiled(b"code")).unwrap();
        assert!(cache.has(&module, 1, one) && cache.get(&module, 1, one).is_some());
        assert!(!cache.has(&module, 1, other) && cache.get(&module, 1, other).is_none());
        for renamed in [Some(other), Some(ReuseScope::User), None] {
            fs::copy(cache.path(&module, 1, Some(one)), cache.path(&module, 1, renamed)).unwrap();
            assert!(cache.get(&module, 1, other).is_none(), "renamed");
        }
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path(), 200).unwrap();
        let [used, unused, new] = [&b"used"[..], b"unused", b"new"].map(Digest::of);
        let [scope, _] = scopes();
        cache.keep(&used, 1, None, &compiled(&[1; 60])).unwrap();
        cache.keep(&unused, 1, None, &compiled(&[2; 60])).unwrap();
        cache.get(&used, 1, scope).unwrap();
        cache.keep(&new, 1, None, &compiled(&[3; 60])).unwrap();
        assert_eq!([used, unused, new].map(|module| cache.has(&module, 1, scope)), [true, false, true]);
    }

    #[tokio::test]
    async fn one_compiles_and_the_others_wait() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path(), SHARED_BYTES_MAX).unwrap();
        let module = Digest::of(b"a");
        let first = cache.claim(&module).await;
        assert!(cache.try_claim(&module).is_none(), "both have it");
        let second = cache.claim(&module);
        let ended = async {
            tokio::task::yield_now().await;
            drop(first);
        };
        let (second, ()) = tokio::join!(second, ended);
        assert!(cache.try_claim(&module).is_none(), "the second has it now");
        drop(second);
        assert!(cache.try_claim(&module).is_some());
    }
}
