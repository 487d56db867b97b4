//! Writing a file so that after a crash it is there whole, or as it was before.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// The disk did not do as it was told: the operator must act.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {error}", path.display())]
pub struct DiskError {
    /// What was tried.
    pub doing: &'static str,
    /// On what.
    pub path: PathBuf,
    /// The system's reason.
    pub error: io::Error,
}

impl DiskError {
    pub(crate) fn at<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |error| Self { doing, path: path.to_path_buf(), error }
    }
}

/// Makes sure that a folder is there, for its owner alone.
///
/// # Errors
///
/// [`DiskError`]: the operator must act.
pub fn use_folder(path: &Path) -> Result<(), DiskError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(DiskError::at("make the folder", path))
}

/// Replaces the file at `path` by one with the contents `bytes`, for its owner alone.
///
/// Written beside it, synced, renamed, and the folder synced: after a power loss the old file or the new
/// one is there, never a piece. If it fails nothing is left behind.
///
/// # Errors
///
/// [`DiskError`]: nothing was changed, and the operator must act.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    Staged::write(path, bytes)?.place()
}

/// A file that is written and synced beside its place. It is gone when it is dropped.
#[derive(Debug)]
pub struct Staged {
    file: NamedTempFile,
    path: PathBuf,
}

impl Staged {
    /// Writes what is to be at `path`: the part of [`replace`] that takes long.
    ///
    /// # Errors
    ///
    /// [`DiskError`]: nothing is left behind, and the operator must act.
    pub fn write(path: &Path, bytes: &[u8]) -> Result<Self, DiskError> {
        Ok(Self { file: write_beside(path, bytes)?, path: path.to_owned() })
    }

    /// Puts it in its place, for good when this returns.
    ///
    /// # Errors
    ///
    /// [`DiskError`]: what was there stays, and the operator must act.
    pub fn place(self) -> Result<(), DiskError> {
        let Self { file, path } = self;
        file.persist(&path).map_err(|error| DiskError::at("rename to", &path)(error.error))?;
        sync_folder_of(&path)
    }
}

/// As [`replace`], unless there is a file already: then it stays, and the answer is false.
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
