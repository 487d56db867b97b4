//! Compiled modules on disk, which one host keeps for itself, or all programs of one user share.
//!
//! Compiled code is trusted with everything, so it is kept under a MAC whose key never leaves this machine: a file that
//! somebody else wrote is compiled anew and not loaded.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use grid_disk::{load_or_make_secret, replace};
use grid_protocol::digest::Digest;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::cache::{BoundedFolder, CacheError};
use crate::sandbox::Compiled;

/// Compiled modules on disk.
#[derive(Debug, Clone)]
pub struct CompiledCache {
    folder: BoundedFolder,
    key: Zeroizing<[u8; 32]>,
    compatibility: u64,
}

/// The right to compile a module, so that of several processes that need it one compiles and the others wait.
///
/// Advisory: where locks do not work, each compiles for itself.
#[derive(Debug)]
pub struct Claim {
    lock: PathBuf,
    /// Held until the claim is dropped.
    _file: File,
    /// Another process had the claim first, so that the compiled form may be here by now.
    pub waited: bool,
}

const MAC_BYTES: usize = 32;

/// What the programs of one user share: 2 GiB, some thirty modules of Python; the least recently used go first.
pub const SHARED_BYTES_MAX: u64 = 2 << 30;

impl CompiledCache {
    /// Opens the cache in `folder`, or makes it. `compatibility` names what compiled code depends on.
    ///
    /// # Errors
    ///
    /// [`CacheError`].
    pub fn open(folder: &Path, compatibility: u64, bytes_max: u64) -> Result<Self, CacheError> {
        let bounded = BoundedFolder::open(folder, bytes_max)?;
        let key = load_or_make_secret(&bounded.path("cache.key"))?;
        Ok(Self { folder: bounded, key, compatibility })
    }

    /// True if a compiled form is here that fits this engine. Whether this machine made it is known when it is read.
    pub fn has(&self, module: &Digest) -> bool {
        self.path(module).is_file()
    }

    /// The compiled form, if it is here, was made on this machine, and fits this engine.
    pub fn get(&self, module: &Digest) -> Option<Compiled> {
        let path = self.path(module);
        let bytes = Bytes::from(fs::read(&path).ok()?);
        let (mac, code) = bytes.split_at_checked(MAC_BYTES)?;
        if self.mac(module, code).verify_slice(mac).is_err() {
            tracing::warn!(path = %path.display(), "compiled code was not written by this host; it is compiled anew");
            return None;
        }
        // The oldest file goes first when room is needed; a failure only makes this one look older.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        // SAFETY: only `keep` knows the key, and it is given what the compiler wrote.
        Some(unsafe { Compiled::vouch(bytes.slice(MAC_BYTES..)) })
    }

    /// Keeps a compiled form.
    ///
    /// # Errors
    ///
    /// [`CacheError::Disk`]: nothing is kept.
    pub fn keep(&self, module: &Digest, compiled: &Compiled) -> Result<(), CacheError> {
        let code = compiled.bytes();
        self.folder.make_room(code.len() as u64);
        let mac = self.mac(module, code).finalize().into_bytes();
        Ok(replace(&self.path(module), &[&mac[..], code].concat())?)
    }

    /// Waits until no other process compiles the module. `None` if the folder has no locks.
    pub async fn claim(&self, module: &Digest) -> Option<Claim> {
        let lock = self.folder.path(&format!("{module}.lock"));
        let file = File::create(&lock).ok()?;
        match file.try_lock() {
            Ok(()) => Some(Claim { lock, _file: file, waited: false }),
            Err(TryLockError::WouldBlock) => {
                let wait = move || file.lock().map(|()| file);
                let file = tokio::task::spawn_blocking(wait).await.ok()?.ok()?;
                Some(Claim { lock, _file: file, waited: true })
            }
            Err(TryLockError::Error(_)) => None,
        }
    }

    fn mac(&self, module: &Digest, code: &[u8]) -> Hmac<Sha256> {
        // The key is padded to the block of 64 bytes with zeros, as HMAC does.
        let mut block = Zeroizing::new([0; 64]);
        for (padded, byte) in block.iter_mut().zip(self.key.iter()) {
            *padded = *byte;
        }
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&(*block).into());
        for part in
            [b"grid-compiled/1\0", module.as_bytes().as_slice(), &self.compatibility.to_le_bytes(), code]
        {
            mac.update(part);
        }
        mac
    }

    fn path(&self, module: &Digest) -> PathBuf {
        self.folder.path(&format!("{module}-{:016x}.compiled", self.compatibility))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Who waits has the file open; one that stays is empty.
        let _ = fs::remove_file(&self.lock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(bytes: &'static [u8]) -> Compiled {
        // SAFETY: it is never loaded.
        unsafe { Compiled::vouch(Bytes::from_static(bytes)) }
    }

    #[test]
    fn compiled_code_is_loaded_only_as_it_was_written_and_only_for_its_module_and_engine() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path(), 1, SHARED_BYTES_MAX).unwrap();
        let (module, other) = (Digest::of(b"a"), Digest::of(b"b"));
        cache.keep(&module, &compiled(b"code")).unwrap();
        assert_eq!(&cache.get(&module).unwrap().bytes()[..], b"code");
        fs::copy(cache.path(&module), cache.path(&other)).unwrap();
        assert!(cache.get(&other).is_none());
        let newer = CompiledCache::open(folder.path(), 2, SHARED_BYTES_MAX).unwrap();
        fs::copy(cache.path(&module), newer.path(&module)).unwrap();
        assert!(newer.get(&module).is_none());
        let path = cache.path(&module);
        let honest = fs::read(&path).unwrap();
        for bit in 0..honest.len() * 8 {
            let mut flipped = honest.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, flipped).unwrap();
            assert!(cache.get(&module).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path(), 1, 200).unwrap();
        let [used, unused, new] = [&b"used"[..], b"unused", b"new"].map(Digest::of);
        cache.keep(&used, &compiled(&[1; 60])).unwrap();
        cache.keep(&unused, &compiled(&[2; 60])).unwrap();
        cache.get(&used).unwrap();
        cache.keep(&new, &compiled(&[3; 60])).unwrap();
        assert_eq!([used, unused, new].map(|module| cache.has(&module)), [true, false, true]);
    }

    #[tokio::test]
    async fn one_compiles_and_the_others_wait() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path(), 1, SHARED_BYTES_MAX).unwrap();
        let module = Digest::of(b"a");
        let first = cache.claim(&module).await.unwrap();
        assert!(!first.waited);
        let mut second = Box::pin(cache.claim(&module));
        assert!(poll_once(second.as_mut()).await.is_none(), "both have it");
        drop(first);
        assert!(second.await.unwrap().waited);
        assert!(!cache.claim(&module).await.unwrap().waited);
    }

    /// What a future gives when it is polled once.
    async fn poll_once<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
