//! Publishing: a module's manifest, made and signed.

use std::time::SystemTime;

use bytes::Bytes;
use grid_inspect::{EntryPoint, ModuleReport, ScanLimits, inspect_known};
use grid_protocol::client::{Denial, ModuleInfo};
use grid_protocol::digest::Digest;
use grid_protocol::key::SecretKey;
use grid_protocol::manifest::{ABI_VERSION, FilesAsked, Manifest, SignedManifest};
use grid_protocol::worker::LimitsAsked;

/// A module with its manifest, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The manifest to sign. Its fields may be changed before.
    pub manifest: Manifest,
    /// What the inspection found in the module.
    pub report: ModuleReport,
}

/// Why a module was not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The grid does not run such a module: its author must act.
    #[error(transparent)]
    Module(#[from] grid_inspect::ScanRefusal),
    /// Files were asked for, and the module is not a WASI command.
    #[error("only a WASI command can have files, and the module's entry point is `{entry_point}`")]
    FilesWithoutCommand {
        /// The module's entry point.
        entry_point: &'static str,
    },
    /// The manager refuses the module, or does not answer.
    #[error(transparent)]
    Denied(#[from] Denial),
}

/// Finds the module of this name, the newest if there are several, or else that whose digest begins like this, with six
/// digits at least.
pub fn find_module<'a>(modules: &'a [ModuleInfo], name: &str) -> Option<&'a ModuleInfo> {
    let by_name = modules.iter().filter(|module| module.name == name).max_by_key(|module| module.serial);
    let starts = |digest: &Digest| name.len() >= 6 && digest.to_string().starts_with(&name.to_lowercase());
    by_name.or_else(|| modules.iter().find(|module| starts(&module.digest)))
}

impl Publication {
    /// Inspects a module and makes a manifest for it. The serial is the time in seconds since 1970, so that each
    /// release is newer than the one before.
    ///
    /// # Errors
    ///
    /// [`PublishError::Module`] if the grid does not run such a module.
    pub fn new(name: &str, wasm: &[u8]) -> Result<Self, PublishError> {
        let digest = Digest::of(wasm);
        let report = inspect_known(wasm, digest.as_bytes(), &ScanLimits::default())?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let manifest = Manifest {
            name: name.to_owned(),
            serial: now,
            version: String::new(),
            digest,
            length: wasm.len() as u64,
            abi: ABI_VERSION,
            limits: LimitsAsked::default(),
            not_before: 0,
            expires: 0,
            files: FilesAsked::Nothing,
        };
        Ok(Self { manifest, report })
    }

    /// As [`Self::new`], for a command that gets files; also returns the bytes to upload.
    ///
    /// They end in a mark, an empty custom section: a module's id is the digest of its bytes, and the same bytes with
    /// and without files would be two modules with one id.
    ///
    /// # Errors
    ///
    /// As [`Self::new`]; [`PublishError::FilesWithoutCommand`] if the module is not a WASI command.
    pub fn with_files(name: &str, wasm: Bytes) -> Result<(Self, Bytes), PublishError> {
        let marked = if wasm.ends_with(FILES_MARK) { wasm } else { [&wasm[..], FILES_MARK].concat().into() };
        let mut publication = Self::new(name, &marked)?;
        if publication.report.entry_point != EntryPoint::Command {
            return Err(PublishError::FilesWithoutCommand {
                entry_point: publication.report.entry_point.label(),
            });
        }
        publication.manifest.files = FilesAsked::Folder;
        Ok((publication, marked))
    }

    /// Signs the manifest; returns it with its signature, as the wire has it.
    pub fn sign(&self, key: &SecretKey) -> Vec<u8> {
        SignedManifest::sign(&self.manifest, key).to_bytes()
    }
}

/// A custom section named `grid:files`, with nothing in it.
const FILES_MARK: &[u8] = b"\0\x0b\x0agrid:files";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_with_files_is_another_module_and_is_marked_once() {
        let wasm =
            wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap();
        let plain = Publication::new("command", &wasm).unwrap();
        let (with_files, marked) = Publication::with_files("command", wasm.into()).unwrap();
        assert_ne!(with_files.manifest.digest, plain.manifest.digest);
        assert_eq!(plain.manifest.files, FilesAsked::Nothing);
        assert_eq!(with_files.manifest.files, FilesAsked::Folder);
        let (again, once) = Publication::with_files("command", marked.clone()).unwrap();
        assert_eq!((again.manifest.digest, once), (with_files.manifest.digest, marked));
        let core = r#"(module (memory (export "memory") 1) (func (export "handle_msg") (param i32)))"#;
        let refused = Publication::with_files("core", wat::parse_str(core).unwrap().into());
        assert!(
            matches!(refused, Err(PublishError::FilesWithoutCommand { entry_point: "core" })),
            "{refused:?}"
        );
    }
}
