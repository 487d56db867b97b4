//! Whom this host believes, and what it has seen: kept on its own disk.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use grid_disk::{DiskError, Machine, replace};
use grid_protocol::key::PublicKey;
use grid_protocol::manifest::{Manifest, ManifestRefusal, SignedManifest, Trust};

/// The host's own trust. With pins it believes the pinned publishers and nobody else, whatever its manager
/// says; without, it believes those that its manager vouches for. Revocations it takes from anybody.
#[derive(Debug)]
pub(crate) struct HostTrust {
    trust: Mutex<Trust>,
    pinned: bool,
    file: PathBuf,
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
        Ok(Self { trust: Mutex::new(trust), pinned: !pins.is_empty(), file, machine })
    }

    /// Takes the manager's word for whom to believe, where the operator of this host has not said.
    pub(crate) fn hear(&self, trusted: Vec<PublicKey>, revoked: Vec<PublicKey>) {
        let mut trust = self.lock();
        let trusted = if self.pinned { trust.trusted().collect() } else { trusted };
        trust.replace(trusted, revoked);
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
