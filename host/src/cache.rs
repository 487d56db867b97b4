//! The module cache: fetched modules on disk, in a folder of bounded size.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use grid_disk::{DiskError, KeyFileError, replace, use_folder};
use grid_protocol::digest::Digest;

/// A cache of modules and their signed manifests, in a folder.
#[derive(Debug, Clone)]
pub struct ModuleCache {
    folder: BoundedFolder,
}

/// Why a cache cannot be used: the host's operator must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The folder or a file cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file with the MAC key for compiled code cannot be read or made.
    #[error(transparent)]
    Key(#[from] KeyFileError),
}

/// Bytes of all files of modules, compiled or not: 8 GiB. The oldest are removed first; using compiled code renews its
/// file, using a module does not.
pub const CACHE_BYTES_MAX: u64 = 8 << 30;

impl ModuleCache {
    /// Opens the cache in `folder`, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// [`CacheError::Disk`] if the folder cannot be made.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Self, CacheError> {
        Ok(Self { folder: BoundedFolder::open(folder, bytes_max)? })
    }

    /// Reads a module and its signed manifest, if the cache has both. Does not check them: the caller must, as if they
    /// had just been fetched.
    pub fn module(&self, module: &Digest) -> Option<(Vec<u8>, Bytes)> {
        let manifest = fs::read(self.path(module, "manifest")).ok()?;
        let wasm = fs::read(self.path(module, "wasm")).ok()?;
        Some((manifest, wasm.into()))
    }

    /// Bytes of a module; 0 if the cache does not have it.
    pub(crate) fn length(&self, module: &Digest) -> usize {
        let length = fs::metadata(self.path(module, "wasm")).map_or(0, |file| file.len());
        usize::try_from(length).unwrap_or(usize::MAX)
    }

    /// Stores a module, which the caller has checked, and removes the oldest files if there is no room for it.
    ///
    /// # Errors
    ///
    /// [`CacheError::Disk`] if a file cannot be written.
    pub fn keep(&self, module: &Digest, manifest: &[u8], wasm: &[u8]) -> Result<(), CacheError> {
        self.folder.make_room((manifest.len() + wasm.len()) as u64);
        replace(&self.path(module, "wasm"), wasm)?;
        Ok(replace(&self.path(module, "manifest"), manifest)?)
    }

    pub(crate) fn folder(&self) -> &BoundedFolder {
        &self.folder
    }

    fn path(&self, module: &Digest, kind: &str) -> PathBuf {
        self.folder.path(&format!("{module}.{kind}"))
    }
}

/// A folder whose oldest files are removed when it is full. Files of keys and locks are neither removed nor counted.
#[derive(Debug, Clone)]
pub(crate) struct BoundedFolder {
    folder: PathBuf,
    bytes_max: u64,
}

impl BoundedFolder {
    pub(crate) fn open(folder: &Path, bytes_max: u64) -> Result<Self, DiskError> {
        use_folder(folder)?;
        Ok(Self { folder: folder.to_path_buf(), bytes_max })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// True if the other is the same folder.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.folder == other.folder
    }

    /// Bytes of all files beyond which the oldest are removed.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Bytes of all files. Reads the folder.
    pub(crate) fn bytes(&self) -> u64 {
        self.files().iter().map(|(_, length, _)| length).sum()
    }

    /// The files with this extension whose names begin like this, the last changed first: the length and the path of each.
    pub(crate) fn newest(&self, prefix: &str, extension: &str) -> Vec<(u64, PathBuf)> {
        let mut files = self.files();
        files.retain(|(_, _, path)| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(prefix))
                && path.extension().is_some_and(|kind| kind == extension)
        });
        files.sort_by(|one, other| other.cmp(one));
        files.into_iter().map(|(_, length, path)| (length, path)).collect()
    }

    /// Each file: when it was last changed, its length, its path.
    fn files(&self) -> Vec<(SystemTime, u64, PathBuf)> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let files = entries.filter_map(|entry| {
            let entry = entry.ok()?;
            let about = entry.metadata().ok()?;
            let kept = entry.path().extension().is_some_and(|kind| kind != "key" && kind != "lock");
            kept.then(|| (about.modified().unwrap_or(SystemTime::UNIX_EPOCH), about.len(), entry.path()))
        });
        files.collect()
    }

    /// Removes the oldest files until `more` bytes fit. A file that cannot be removed is logged and left.
    pub(crate) fn make_room(&self, more: u64) {
        let mut files = self.files();
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

    #[test]
    fn the_oldest_files_make_room_for_new_ones() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ModuleCache::open(folder.path(), 100).unwrap();
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        cache.keep(&old, &[1; 10], &[1; 60]).unwrap();
        cache.keep(&new, &[2; 10], &[2; 60]).unwrap();
        assert!(cache.module(&old).is_none());
        assert_eq!(cache.module(&new).unwrap().1.len(), 60);
    }
}
