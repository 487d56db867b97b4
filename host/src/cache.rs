//! The cache: modules on disk, each fetched once and compiled once.
//!
//! Compiled code is trusted with everything, so it is kept under a MAC whose key never leaves this host: a
//! file that somebody else wrote is compiled anew and not loaded.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use grid_disk::{DiskError, KeyFileError, load_or_make_secret, replace, use_folder};
use grid_protocol::digest::Digest;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::sandbox::Compiled;

/// Modules on disk, in a folder of their own.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    key: Zeroizing<[u8; 32]>,
    compatibility: u64,
    bytes_max: u64,
}

/// The cache cannot be used: the host's operator must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file with the MAC's key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
}

const MAC_BYTES: usize = 32;

/// Files of modules, compiled or not: 8 GiB; the least recently used go first.
pub const CACHE_BYTES_MAX: u64 = 8 << 30;

impl Cache {
    /// Opens the cache in `folder`, or makes it. `compatibility` names what compiled code depends on.
    ///
    /// # Errors
    ///
    /// [`CacheError`].
    pub fn open(folder: &Path, compatibility: u64, bytes_max: u64) -> Result<Self, CacheError> {
        use_folder(folder)?;
        let key = load_or_make_secret(&folder.join("cache.key"))?;
        Ok(Self { folder: folder.to_path_buf(), key, compatibility, bytes_max })
    }

    /// A module and its signed manifest, if both are here. The caller checks them as if they had just come.
    pub fn module(&self, module: &Digest) -> Option<(Vec<u8>, Bytes)> {
        let manifest = fs::read(self.path(module, "manifest")).ok()?;
        let wasm = fs::read(self.path(module, "wasm")).ok()?;
        Some((manifest, wasm.into()))
    }

    /// Keeps a module that has been checked.
    ///
    /// # Errors
    ///
    /// [`CacheError::Disk`]: nothing is kept.
    pub fn keep_module(&self, module: &Digest, manifest: &[u8], wasm: &[u8]) -> Result<(), CacheError> {
        self.make_room((manifest.len() + wasm.len()) as u64);
        replace(&self.path(module, "wasm"), wasm)?;
        Ok(replace(&self.path(module, "manifest"), manifest)?)
    }

    /// The compiled form, if it is here, was made by this host, and fits this engine.
    pub fn compiled(&self, module: &Digest) -> Option<Compiled> {
        let path = self.compiled_path(module);
        let bytes = Bytes::from(fs::read(&path).ok()?);
        let (mac, code) = bytes.split_at_checked(MAC_BYTES)?;
        if self.mac(module, code).verify_slice(mac).is_err() {
            tracing::warn!(path = %path.display(), "compiled code was not written by this host; it is compiled anew");
            return None;
        }
        // The oldest file goes first when room is needed; a failure only makes this one look older.
        let _ = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        // SAFETY: only `keep_compiled` knows the key, and it is given what the compiler wrote.
        Some(unsafe { Compiled::vouch(bytes.slice(MAC_BYTES..)) })
    }

    /// Keeps a compiled form.
    ///
    /// # Errors
    ///
    /// [`CacheError::Disk`]: nothing is kept.
    pub fn keep_compiled(&self, module: &Digest, compiled: &Compiled) -> Result<(), CacheError> {
        let code = compiled.bytes();
        self.make_room(code.len() as u64);
        let mac = self.mac(module, code).finalize().into_bytes();
        Ok(replace(&self.compiled_path(module), &[&mac[..], code].concat())?)
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

    fn path(&self, module: &Digest, kind: &str) -> PathBuf {
        self.folder.join(format!("{module}.{kind}"))
    }

    fn compiled_path(&self, module: &Digest) -> PathBuf {
        self.folder.join(format!("{module}-{:016x}.compiled", self.compatibility))
    }

    /// Removes the oldest files until `more` bytes fit.
    fn make_room(&self, more: u64) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        let mut files: Vec<_> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let about = entry.metadata().ok()?;
                let kept = entry.path().extension().is_some_and(|kind| kind != "key");
                kept.then(|| (about.modified().unwrap_or(SystemTime::UNIX_EPOCH), about.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut total = files.iter().map(|(_, length, _)| length).sum::<u64>().saturating_add(more);
        for (_, length, path) in files {
            if total <= self.bytes_max {
                return;
            }
            match fs::remove_file(&path) {
                Ok(()) => total = total.saturating_sub(length),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "an old file of the cache stays")
                }
            }
        }
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
        let cache = Cache::open(folder.path(), 1, CACHE_BYTES_MAX).unwrap();
        let (module, other) = (Digest::of(b"a"), Digest::of(b"b"));
        cache.keep_compiled(&module, &compiled(b"code")).unwrap();
        assert_eq!(&cache.compiled(&module).unwrap().bytes()[..], b"code");
        fs::copy(cache.compiled_path(&module), cache.compiled_path(&other)).unwrap();
        assert!(cache.compiled(&other).is_none());
        let newer = Cache::open(folder.path(), 2, CACHE_BYTES_MAX).unwrap();
        fs::copy(cache.compiled_path(&module), newer.compiled_path(&module)).unwrap();
        assert!(newer.compiled(&module).is_none());
        let path = cache.compiled_path(&module);
        let honest = fs::read(&path).unwrap();
        for bit in 0..honest.len() * 8 {
            let mut flipped = honest.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, flipped).unwrap();
            assert!(cache.compiled(&module).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn the_oldest_files_make_room_for_new_ones() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 1, 100).unwrap();
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        cache.keep_module(&old, &[1; 10], &[1; 60]).unwrap();
        cache.keep_module(&new, &[2; 10], &[2; 60]).unwrap();
        assert!(cache.module(&old).is_none());
        assert_eq!(cache.module(&new).unwrap().1.len(), 60);
    }
}
