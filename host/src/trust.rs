//! Whom this host believes, and what it has seen: kept on its own disk.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use grid_disk::{DiskError, Machine, replace};
use grid_protocol::key::PublicKey;
use grid_protocol::manifest::{Manifest, ManifestRefusal, SignedManifest, Trust};

/// The host's own trust. With pins it believes the pinned publishers and nobody else, whatever its manager
/// says; without, it believes those that its manager vouches for. What the manager has revoked it believes in neither case,
/// until the manager takes it back.
#[derive(Debug)]
pub(crate) struct HostTrust {
    trust: Mutex<Trust>,
    /// The publishers that this host's operator named; none to believe the manager.
    pins: Vec<PublicKey>,
    file: PathBuf,
    /// Where the revocations are kept, so that a restart does not forget them.
    revoked_file: PathBuf,
    machine: Machine,
}

/// The file of serials is no use: the host's operator must act.
#[derive(Debug, thiserror::Error)]
#[error("{}: line {line} is not `publisher name serial`", path.display())]
pub struct SerialsError {
    path: PathBuf,
    line: usize,
}

impl HostTrust {
    /// Opens the trust of the host whose state is in `folder`.
    ///
    /// # Errors
    ///
    /// [`SerialsError`]. A missing file is none.
    pub(crate) fn open(folder: &Path, pins: &[PublicKey], machine: Machine) -> Result<Self, SerialsError> {
        let file = folder.join("serials");
        let mut trust = Trust::default();
        for pin in pins {
            trust.trust(*pin);
        }
        // Nothing was seen yet, or nothing can be read; a host that cannot read cannot write either, and
        // says so at the first module.
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        for (place, line) in text.lines().enumerate() {
            let wrong = || SerialsError { path: file.clone(), line: place + 1 };
            let mut words = line.split(' ');
            let (Some(publisher), Some(name), Some(serial)) = (words.next(), words.next(), words.next())
            else {
                return Err(wrong());
            };
            let publisher = publisher.parse().map_err(|_| wrong())?;
            trust.note_serial(publisher, name, serial.parse().map_err(|_| wrong())?);
        }
        let revoked_file = folder.join("revoked");
        let text = std::fs::read_to_string(&revoked_file).unwrap_or_default();
        // A line that is no key revokes nothing; the manager says all of it again when the host joins.
        text.lines().filter_map(|line| line.parse().ok()).for_each(|key| trust.revoke(key));
        Ok(Self { trust: Mutex::new(trust), pins: pins.to_vec(), file, revoked_file, machine })
    }

    /// Takes the manager's word for whom to believe, where the operator of this host has not said.
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

    /// Checks a manifest, before its module is here.
    ///
    /// # Errors
    ///
    /// [`ManifestRefusal`].
    pub(crate) fn admit_manifest(&self, signed: &SignedManifest) -> Result<Manifest, ManifestRefusal> {
        self.lock().admit_manifest(signed, self.machine.unix_now())
    }

    /// Checks a module and its manifest.
    ///
    /// # Errors
    ///
    /// [`ManifestRefusal`].
    pub(crate) fn admit(&self, signed: &SignedManifest, module: &Bytes) -> Result<Manifest, ManifestRefusal> {
        self.lock().admit(signed, module, self.machine.unix_now())
    }

    /// Remembers that a release was seen, so that an older one is refused from now on.
    ///
    /// # Errors
    ///
    /// [`DiskError`]: the release must not run, or a power loss could bring the older one back.
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
        self.trust.lock().unwrap_or_else(PoisonError::into_inner)
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
