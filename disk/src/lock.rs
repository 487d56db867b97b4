//! Locks on folders that only one program may use at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::durable::DiskError;

/// Holds a folder for this program until it is dropped or the program ends, in whatever way.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// Why a folder cannot be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The lock file cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another program holds the folder.
    #[error("{} is in use by {by}", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The program that holds it: its process id and, if the system tells, its name.
        by: String,
    },
}

/// The locked file in the folder. It stays when its program ends: the lock counts, not the file.
const LOCK_FILE: &str = "lock";

/// Bytes of the file that are read to find the holder's process id.
const HOLDER_BYTES_MAX: u64 = 32;

impl FolderLock {
    /// Locks a folder, and writes this program's process id into the lock file.
    ///
    /// The lock is advisory: it excludes only programs that ask for it. On a file system without locks it
    /// excludes nobody, and this succeeds.
    ///
    /// # Errors
    ///
    /// [`LockError`]; the operator must act.
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(DiskError::at("open", &path))?;
        match file.try_lock() {
            Ok(()) => {
                // The process id only helps people: the lock holds even if it cannot be written, on a full
                // disk for example.
                let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => {
                Err(LockError::InUse { folder: folder.to_path_buf(), by: holder(&mut file) })
            }
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                Ok(Self { _file: file })
            }
            Err(TryLockError::Error(error)) => Err(DiskError::at("lock", &path)(error).into()),
        }
    }
}

/// Describes the process whose id is in the file.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(HOLDER_BYTES_MAX).read_to_string(&mut text));
    match read.ok().and_then(|_| text.trim().parse::<u32>().ok()) {
        Some(id) => match std::fs::read_to_string(format!("/proc/{id}/comm")) {
            Ok(name) => format!("process {id} ({})", name.trim()),
            Err(_) => format!("process {id}"),
        },
        None => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_programs_until_that_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FolderLock::take(folder.path()).unwrap();
        let refused = FolderLock::take(folder.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(lock);
        FolderLock::take(folder.path()).unwrap();
    }
}
