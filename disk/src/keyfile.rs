//! Keys on disk: a file with one 32-byte seed, readable by its owner only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use grid_protocol::key::SecretKey;
use zeroize::Zeroizing;

use crate::durable::{DiskError, create, use_folder};

/// Why a key file cannot be used; the operator must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file does not contain exactly 32 bytes.
    #[error("{} has {length} bytes; a key file has {SEED_BYTES}", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length, in bytes.
        length: usize,
    },
    /// Other users can access the file.
    #[error("{} can be read by others (mode {mode:03o}); `chmod 600` it, and think about who may have the key", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The system has no randomness to give; its error.
    #[error("the system has no randomness to give: {0}")]
    Random(String),
}

const SEED_BYTES: usize = 32;

/// Reads a key from a file. On Unix, refuses a file that other users can access.
///
/// # Errors
///
/// [`KeyFileError`]; a missing file is a [`KeyFileError::Disk`].
pub fn load_key(path: &Path) -> Result<SecretKey, KeyFileError> {
    load_secret(path).map(|seed| SecretKey::from_seed(&seed))
}

/// Reads a key from a file, or creates the file, and its folder, with a new key.
///
/// # Errors
///
/// [`KeyFileError`]. An existing file is never replaced, even if it cannot be used.
pub fn load_or_make_key(path: &Path) -> Result<SecretKey, KeyFileError> {
    load_or_make_secret(path).map(|seed| SecretKey::from_seed(&seed))
}

/// As [`load_or_make_key`], for a secret that is not a signing key.
///
/// # Errors
///
/// [`KeyFileError`].
pub fn load_or_make_secret(path: &Path) -> Result<Zeroizing<[u8; SEED_BYTES]>, KeyFileError> {
    match load_secret(path) {
        Err(KeyFileError::Disk(error)) if error.error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                use_folder(folder)?;
            }
            let seed = Zeroizing::new(random()?);
            // If two programs create the file simultaneously, one succeeds, and both use its seed.
            if create(path, seed.as_slice())? { Ok(seed) } else { load_secret(path) }
        }
        other => other,
    }
}

/// Fresh random bytes from the system.
///
/// # Errors
///
/// [`KeyFileError::Random`].
pub fn random<const N: usize>() -> Result<[u8; N], KeyFileError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| KeyFileError::Random(error.to_string()))?;
    Ok(bytes)
}

fn load_secret(path: &Path) -> Result<Zeroizing<[u8; SEED_BYTES]>, KeyFileError> {
    let bytes = Zeroizing::new(fs::read(path).map_err(DiskError::at("read", path))?);
    let length = bytes.len();
    let seed = <[u8; SEED_BYTES]>::try_from(bytes.as_slice())
        .map_err(|_| KeyFileError::Length { path: path.to_path_buf(), length })?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).map_err(DiskError::at("read", path))?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Open { path: path.to_path_buf(), mode });
        }
    }
    Ok(Zeroizing::new(seed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::replace;

    #[test]
    fn two_that_make_a_key_at_once_have_the_same() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..50 {
            let path = folder.path().join(number.to_string());
            let made = std::thread::scope(|scope| {
                let both = [(); 2].map(|()| scope.spawn(|| load_or_make_key(&path).unwrap().public()));
                both.map(|made| made.join().unwrap())
            });
            assert_eq!(made[0], made[1]);
        }
    }

    #[test]
    fn a_key_is_made_once_and_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/manager.key");
        let made = load_or_make_key(&path).unwrap().public();
        assert_eq!(load_or_make_key(&path).unwrap().public(), made);
    }

    #[test]
    fn a_damaged_key_is_reported_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        replace(&path, b"short").unwrap();
        assert!(matches!(load_or_make_key(&path), Err(KeyFileError::Length { length: 5, .. })));
        assert_eq!(fs::read(&path).unwrap(), b"short");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        load_or_make_key(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load_key(&path), Err(KeyFileError::Open { mode: 0o644, .. })));
    }
}
