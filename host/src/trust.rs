//! Trust: the publishers that this host trusts, the serials that it has seen and the keys that were revoked.

use std::path::{Path, PathBuf};

use grid_disk::{DiskError, Machine, replace};
use grid_protocol::key::PublicKey;
use grid_protocol::manifest::{Manifest, ManifestRefusal, SignedManifest, Trust};
use parking_lot::{Mutex, MutexGuard};

/// Decides which publishers this host trusts: with pins the pinned ones and no others, whatever the manager says;
/// without, those that the manager vouches for. In neither case a publisher that the manager has revoked, until it
/// withdraws the revocation.
///
/// Serials and revocations are kept on the host's disk.
#[derive(Debug)]
pub(crate) struct HostTrust {
    trust: Mutex<Trust>,
    /// The publishers that the host's operator pinned; empty to trust those of the manager.
    pins: Vec<PublicKey>,
    file: PathBuf,
    /// The file that keeps revocations across restarts.
    revoked_file: PathBuf,
    machine: Machine,
}

/// What the host knows of publishers cannot be read: the host's operator must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// A file of it cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A line of the file of serials is malformed.
    #[error("{}: line {line} is not `publisher name serial`", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
}

impl HostTrust {
    /// Reads the trust of the host with its state in `folder`. A missing file counts as empty.
    ///
    /// # Errors
    ///
    /// [`TrustError`] if a file cannot be read, or a line of the serials is malformed.
    pub(crate) fn open(folder: &Path, pins: &[PublicKey], machine: Machine) -> Result<Self, TrustError> {
        let file = folder.join("serials");
        let mut trust = Trust::default();
        for pin in pins {
            trust.trust(*pin);
        }
        let text = grid_disk::read_text(&file)?;
        for (place, line) in text.lines().enumerate() {
            let wrong = || TrustError::Line { path: file.clone(), line: place + 1 };
            let mut words = line.split(' ');
            let (Some(publisher), Some(name), Some(serial)) = (words.next(), words.next(), words.next())
            else {
                return Err(wrong());
            };
            let publisher = publisher.parse().map_err(|_| wrong())?;
            trust.note_serial(publisher, name, serial.parse().map_err(|_| wrong())?);
        }
        let revoked_file = folder.join("revoked");
        let text = grid_disk::read_text(&revoked_file)?;
        // A malformed line is skipped: the manager sends all revocations again when the host joins.
        text.lines().filter_map(|line| line.parse().ok()).for_each(|key| trust.revoke(key));
        Ok(Self { trust: Mutex::new(trust), pins: pins.to_vec(), file, revoked_file, machine })
    }

    /// Applies the manager's list of trusted publishers, unless the operator has pinned some, and its revocations.
    ///
    /// Stores changed revocations on disk; a failure to do so is only logged.
    pub(crate) fn hear(&self, trusted: Vec<PublicKey>, revoked: Vec<PublicKey>) {
        let mut trust = self.lock();
        let before: Vec<_> = trust.revoked().collect();
        let trusted = if !self.pins.is_empty() { self.pins.clone() } else { trusted };
        trust.replace(trusted, revoked);
        let now: Vec<_> = trust.revoked().collect();
        if now != before {
            let lines: String = now.iter().map(|key| format!("{key}\n")).collect();
            if let Err(error) = replace(&self.revoked_file, lines.as_bytes()) {
                tracing::warn!(%error, "a restart will not know what is revoked before the manager says so again");
            }
        }
    }

    /// Checks a manifest without its module: signature, publisher, ABI, dates and serial.
    ///
    /// # Errors
    ///
    /// [`ManifestRefusal`], which says what is wrong.
    pub(crate) fn admit_manifest(&self, signed: &SignedManifest) -> Result<Manifest, ManifestRefusal> {
        self.lock().admit_manifest(signed, self.machine.unix_now())
    }

    /// Checks a manifest, and that `module` is the module that it describes.
    ///
    /// # Errors
    ///
    /// [`ManifestRefusal`], which says what is wrong.
    pub(crate) fn admit(&self, signed: &SignedManifest, module: &[u8]) -> Result<Manifest, ManifestRefusal> {
        let manifest = self.admit_manifest(signed)?;
        // The lock is free again: to hash a long module takes a tenth of a second.
        manifest.check_module(module)?;
        Ok(manifest)
    }

    /// Stores the serial of a release durably, so that older releases are refused from now on.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if it cannot be stored. The caller must then not run the release: after a power loss an older one
    /// would be accepted again.
    pub(crate) fn note(&self, publisher: PublicKey, manifest: &Manifest) -> Result<(), DiskError> {
        let mut trust = self.lock();
        let known = trust.serials().any(|(key, name, serial)| {
            *key == publisher && name == manifest.name && serial == manifest.serial
        });
        if known {
            return Ok(());
        }
        let mut changed = trust.clone();
        changed.note_serial(publisher, &manifest.name, manifest.serial);
        let lines = changed.serials().map(|(key, name, serial)| format!("{key} {name} {serial}\n"));
        replace(&self.file, lines.collect::<String>().as_bytes())?;
        *trust = changed;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Trust> {
        self.trust.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_protocol::key::SecretKey;

    #[test]
    fn a_revocation_outlives_a_restart_and_ends_when_it_is_taken_back_even_of_a_pin() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = SecretKey::from_seed(&[1; 32]).public();
        let open = || HostTrust::open(folder.path(), &[publisher], Machine::default()).unwrap();
        let trusted = |trust: &HostTrust| trust.lock().trusted().count();
        let trust = open();
        trust.hear(vec![], vec![publisher]);
        assert_eq!(trusted(&trust), 0);
        let trust = open();
        assert_eq!(trusted(&trust), 0, "before the manager has said anything");
        trust.hear(vec![], vec![]);
        assert_eq!((trusted(&trust), trusted(&open())), (1, 1));
    }
}
