//! Acquaintances: managers that were reached by a bare address, and the keys that they showed first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use grid_disk::{DiskError, replace};
use grid_protocol::key::PublicKey;

/// Keys by address, kept in a text file as ssh does.
#[derive(Debug)]
pub struct Acquaintances {
    file: PathBuf,
    keys: BTreeMap<String, PublicKey>,
}

/// The key at an address is not to be trusted, or could not be remembered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquaintanceError {
    /// Another key than last time: the manager was set up anew, or somebody stands in its place.
    #[error(
        "the manager at {address} has another key than before: it was {} and is now {}",
        known.fingerprint(), shown.fingerprint()
    )]
    Changed {
        /// Where.
        address: String,
        /// The key that is known.
        known: PublicKey,
        /// The key that was shown.
        shown: PublicKey,
        /// Where the known key is written down.
        file: PathBuf,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file cannot be read.
    #[error("{}: line {line} is not `address key`", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
}

impl Acquaintances {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    ///
    /// [`AcquaintanceError::Line`].
    pub fn open(file: &Path) -> Result<Self, AcquaintanceError> {
        let mut keys = BTreeMap::new();
        // A file that is missing knows nobody; one that cannot be read cannot be written, which says why.
        let text = std::fs::read_to_string(file).unwrap_or_default();
        for (place, line) in text.lines().enumerate() {
            let wrong = || AcquaintanceError::Line { path: file.to_path_buf(), line: place + 1 };
            let (address, key) = line.split_once(' ').ok_or_else(wrong)?;
            keys.insert(address.to_owned(), key.parse().map_err(|_| wrong())?);
        }
        Ok(Self { file: file.to_path_buf(), keys })
    }

    /// The key that was seen at `address`.
    pub fn key(&self, address: &str) -> Option<PublicKey> {
        self.keys.get(address).copied()
    }

    /// Remembers a key.
    ///
    /// # Errors
    ///
    /// [`AcquaintanceError::Disk`].
    pub fn remember(&mut self, address: &str, key: PublicKey) -> Result<(), AcquaintanceError> {
        self.keys.insert(address.to_owned(), key);
        let lines: String = self.keys.iter().map(|(address, key)| format!("{address} {key}\n")).collect();
        Ok(replace(&self.file, lines.as_bytes())?)
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }
}
