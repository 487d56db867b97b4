//! Durable writes: after a crash, a file is either complete or as it was before.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A disk operation failed; the operator must act.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {error}", path.display())]
pub struct DiskError {
    /// The operation.
    pub doing: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's error.
    pub error: io::Error,
}

impl DiskError {
    pub(crate) fn at<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |error| Self { doing, path: path.to_path_buf(), error }
    }
}

/// Reads a text file; no text if there is no such file. What is there and cannot be read is never taken for nothing.
///
/// # Errors
///
/// [`DiskError`] if the file is there and cannot be read, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, DiskError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(DiskError::at("read", path)),
    }
}

/// Creates a folder and its parents, if missing, with access for the owner only. Does not change the access
/// of a folder that exists.
///
/// # Errors
///
/// [`DiskError`]; the operator must act.
pub fn use_folder(path: &Path) -> Result<(), DiskError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(DiskError::at("make the folder", path))
}

/// Replaces the file at `path` with one that contains `bytes` and that only the owner can access.
///
/// Writes and syncs a temporary file beside it, renames it, and syncs the folder: after a power loss the old
/// or the new file is there, complete. A failure leaves no temporary file behind.
///
/// # Errors
///
/// [`DiskError`]; the operator must act. The old file is unchanged, unless only the last step failed: then
/// the new file is in place, but a power loss may bring the old one back.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    Staged::write(path, bytes)?.place()
}

/// A file that is written and synced beside its final path, and removed if it is dropped before
/// [`Self::place`].
#[derive(Debug)]
pub struct Staged {
    file: NamedTempFile,
    path: PathBuf,
}

impl Staged {
    /// Writes the future contents of `path`: the slow part of [`replace`].
    ///
    /// # Errors
    ///
    /// [`DiskError`]; the operator must act. Nothing is left behind.
    pub fn write(path: &Path, bytes: &[u8]) -> Result<Self, DiskError> {
        Ok(Self { file: write_beside(path, bytes)?, path: path.to_owned() })
    }

    /// Renames the file to its final path. When this returns without an error, the file survives a power
    /// loss.
    ///
    /// # Errors
    ///
    /// [`DiskError`]; the operator must act. The old file is unchanged, unless only syncing the folder
    /// failed.
    pub fn place(self) -> Result<(), DiskError> {
        let Self { file, path } = self;
        file.persist(&path).map_err(|error| DiskError::at("rename to", &path)(error.error))?;
        sync_folder_of(&path)
    }
}

/// As [`replace`], but if the file exists, leaves it and returns false.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<bool, DiskError> {
    match write_beside(path, bytes)?.persist_noclobber(path) {
        Ok(_) => sync_folder_of(path).map(|()| true),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(DiskError::at("rename to", path)(error.error)),
    }
}

fn write_beside(path: &Path, bytes: &[u8]) -> Result<NamedTempFile, DiskError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(folder)
        .map_err(DiskError::at("write beside", path))?;
    file.write_all(bytes).map_err(DiskError::at("write", path))?;
    file.as_file().sync_all().map_err(DiskError::at("sync", path))?;
    Ok(file)
}

fn sync_folder_of(path: &Path) -> Result<(), DiskError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(DiskError::at("sync the folder of", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        assert!(replace(&taken, b"x").is_err());
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }
}
