//! Publishing: what is said about a module, signed.

use std::time::SystemTime;

use bytes::Bytes;
use grid_inspect::{EntryPoint, ModuleReport, ScanLimits, inspect_known};
use grid_protocol::client::Denial;
use grid_protocol::digest::Digest;
use grid_protocol::key::SecretKey;
use grid_protocol::manifest::{ABI_VERSION, FilesAsked, Manifest, SignedManifest};
use grid_protocol::worker::LimitsAsked;

/// A module that is about to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// What will be signed. The fields may be changed before.
    pub manifest: Manifest,
    /// What the module is.
    pub report: ModuleReport,
}

/// A module that did not get to the manager.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The grid does not run such a module: its author must act.
    #[error(transparent)]
    Module(#[from] grid_inspect::ScanRefusal),
    /// It was to have files, and is no WASI command.
    #[error("only a WASI command can have files, and the module's entry point is `{entry_point}`")]
    FilesWithoutCommand {
        /// What it is.
        entry_point: &'static str,
    },
    /// The manager refuses it.
    #[error(transparent)]
    Denied(#[from] Denial),
}

impl Publication {
    /// Checks a module and describes it: the serial is the time, so that each release is newer than the
    /// one before.
    ///
    /// # Errors
    ///
    /// [`PublishError::Module`].
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

    /// As [`Self::new`], for a command that is to have files; and the module as it is to be uploaded.
    ///
    /// It ends in a mark, an empty section that says so: hosts know a module by its bytes, and the same bytes with files
    /// and without would be two modules of one id.
    ///
    /// # Errors
    ///
    /// [`PublishError::Module`] and [`PublishError::FilesWithoutCommand`].
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

    /// Signs it.
    pub fn sign(&self, key: &SecretKey) -> Vec<u8> {
        SignedManifest::sign(&self.manifest, key).to_bytes()
    }
}

/// A custom section with a name and nothing in it.
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
