//! Uploads of modules: slow work is done before the catalog is locked.

use std::fs;
use std::path::PathBuf;

use grid_disk::Staged;
use grid_inspect::{ScanLimits, inspect_known};
use grid_protocol::client::ModuleInfo;
use grid_protocol::key::PublicKey;
use grid_protocol::manifest::{Manifest, ManifestRefusal, SignedManifest};
use grid_protocol::record::ModuleRecord;
use grid_protocol::role::Role;
use grid_protocol::wire::Wire;

use super::{Catalog, CatalogError, ModuleEntry, full};
use crate::store::{Change, Table};

/// Why an upload was refused. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error(transparent)]
    Manifest(#[from] ManifestRefusal),
    #[error(transparent)]
    Module(#[from] grid_inspect::ScanRefusal),
    #[error("{publisher} published the same module as `{name}`, with other limits or files")]
    Published { publisher: PublicKey, name: String },
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// Modules kept; each may take 64 MiB on disk.
const MODULES_MAX: usize = 10_000;

/// An upload whose manifest was accepted and whose module was not checked yet.
#[derive(Debug)]
pub(crate) struct UploadHead {
    signed: SignedManifest,
    bytes: Vec<u8>,
    manifest: Manifest,
    /// Path for the module's file; `None` if the catalog has the module already.
    path: Option<PathBuf>,
}

/// An upload whose module was checked against its manifest.
#[derive(Debug)]
pub(crate) struct VerifiedUpload {
    signed: SignedManifest,
    bytes: Vec<u8>,
    entry_point: String,
    /// The file, under a temporary name beside its path.
    staged: Option<Staged>,
}

impl UploadHead {
    /// Hashes, inspects and writes the module, which may take seconds. The caller does not hold the catalog.
    ///
    /// # Errors
    ///
    /// [`UploadError`]: nothing is kept.
    pub(crate) fn read(self, wasm: &[u8]) -> Result<VerifiedUpload, UploadError> {
        self.manifest.check_module(wasm)?;
        let report = inspect_known(wasm, self.manifest.digest.as_bytes(), &ScanLimits::default())?;
        let staged = self.path.map(|path| Staged::write(&path, wasm)).transpose();
        let staged = staged.map_err(CatalogError::from)?;
        let entry_point = report.entry_point.label().to_owned();
        Ok(VerifiedUpload { signed: self.signed, bytes: self.bytes, entry_point, staged })
    }
}

impl Catalog {
    /// Checks everything about a manifest that can be checked without the module, so that a key that may not publish
    /// cannot have 64 MiB inspected.
    ///
    /// # Errors
    ///
    /// [`UploadError::Manifest`].
    pub(crate) fn expect_module(&self, bytes: Vec<u8>, now: u64) -> Result<UploadHead, UploadError> {
        let signed = SignedManifest::from_bytes(&bytes)?;
        let manifest = self.trust.admit_manifest(&signed, now)?;
        let known = self.modules.contains_key(&manifest.digest);
        let path = (!known).then(|| self.module_path(&manifest.digest));
        Ok(UploadHead { signed, bytes, manifest, path })
    }

    /// Adds a module that was checked. If it is refused, no file is left behind.
    ///
    /// If another publisher signed a manifest for the same bytes, that manifest stays and serves both, provided it
    /// and its publisher are still valid and its limits and files are the same. With `replaces`, the new one takes
    /// its place.
    ///
    /// # Errors
    ///
    /// [`UploadError`]: the manifest is not trusted any more, another publisher's manifest differs, or the catalog
    /// failed.
    pub(crate) fn add_module(
        &mut self,
        brought: VerifiedUpload,
        now: u64,
        replaces: bool,
    ) -> Result<ModuleInfo, UploadError> {
        let VerifiedUpload { signed, bytes, entry_point, staged } = brought;
        let publisher = signed.publisher();
        // Trust may have changed while the module was checked.
        let manifest = self.trust.admit_manifest(&signed, now)?;
        let digest = manifest.digest;
        if let Some(known) = self.modules.get(&digest) {
            if known.signed == bytes {
                return Ok(known.info(true));
            }
            if known.publisher != publisher {
                let good = self.roles(&known.publisher).has(Role::Publisher)
                    && (known.manifest.expires == 0 || known.manifest.expires > now);
                if good && !replaces {
                    return known.stands_for(&manifest).map(|()| known.info(true));
                }
                // Hosts must stop relying on the replaced publisher.
                self.trust_changes += 1;
            }
        }
        let known = self.modules.contains_key(&digest);
        full("modules", self.modules.len(), MODULES_MAX, known)?;
        if !known {
            let gone = || CatalogError::Interrupted { reason: "the module was removed meanwhile".to_owned() };
            staged.ok_or_else(gone)?.place().map_err(CatalogError::from)?;
        }
        let record = ModuleRecord { manifest: bytes.clone(), entry_point: entry_point.clone() };
        let mut name = publisher.as_bytes().to_vec();
        name.extend_from_slice(manifest.name.as_bytes());
        let committed = self.store.commit(&[
            Change {
                table: Table::Module,
                key: digest.as_bytes().to_vec(),
                value: Some(record.to_body().into()),
            },
            Change {
                table: Table::Serial,
                key: name,
                value: Some(manifest.serial.to_le_bytes().to_vec().into()),
            },
        ]);
        if let Err(error) = committed {
            if !known {
                // Nothing refers to the file; the error to report is the store's.
                let _ = fs::remove_file(self.module_path(&digest));
            }
            return Err(CatalogError::from(error).into());
        }
        self.trust.note_serial(publisher, &manifest.name, manifest.serial);
        let module = ModuleEntry { signed: bytes, manifest, publisher, entry_point };
        let info = module.info(false);
        self.modules.insert(digest, module);
        Ok(info)
    }
}

impl ModuleEntry {
    /// Whether this manifest may serve a publisher that signed `other` for the same bytes.
    fn stands_for(&self, other: &Manifest) -> Result<(), UploadError> {
        let Manifest { limits, files, .. } = &self.manifest;
        if *limits == other.limits && *files == other.files {
            return Ok(());
        }
        Err(UploadError::Published { publisher: self.publisher, name: self.manifest.name.clone() })
    }
}
