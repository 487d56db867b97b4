//! A folder that one program at a time uses.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::durable::DiskError;

/// A folder that is this program's, until this is dropped or the program ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// A folder that is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The file of the lock cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another program has the folder.
    #[error("{} is in use by {by}", folder.display())]
    InUse {
        /// Which folder.
        folder: PathBuf,
        /// Which program: its number and, where the system tells, its name.
        by: String,
    },
}

/// The file in the folder that is locked. It stays when its program has ended: the lock is what counts, not the file.
const LOCK_FILE: &str = "lock";

/// What is read of the file, in which a number is expected.
const HOLDER_BYTES_MAX: u64 = 32;

impl FolderLock {
    /// Takes a folder, and writes down who has it.
    ///
    /// The lock is advisory: it keeps out programs that ask for it. On a file system without locks there is none, and
    /// nobody is kept out.
    ///
    /// # Errors
    ///
    /// [`LockError`]: the operator must act.
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(DiskError::at("open", &path))?;
        match file.try_lock() {
            Ok(()) => {
                // Who it is helps a person, and the lock holds without it, on a full disk say.
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

/// The program that has written its number into the file.
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
