//! Publishing: what is said about a module, signed.

use std::time::SystemTime;

use grid_inspect::{Report, ScanLimits, inspect};
use grid_protocol::client::Denial;
use grid_protocol::digest::Digest;
use grid_protocol::key::SecretKey;
use grid_protocol::manifest::{ABI_VERSION, Manifest, SignedManifest};
use grid_protocol::worker::LimitsAsked;

/// A module that is about to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// What will be signed. The fields may be changed before.
    pub manifest: Manifest,
    /// What the module is.
    pub report: Report,
}

/// A module that did not get to the manager.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The grid does not run such a module: its author must act.
    #[error(transparent)]
    Module(#[from] grid_inspect::Refusal),
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
        let report = inspect(wasm, &ScanLimits::default())?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let manifest = Manifest {
            name: name.to_owned(),
            serial: now,
            version: String::new(),
            digest: Digest::of(wasm),
            length: wasm.len() as u64,
            abi: ABI_VERSION,
            limits: LimitsAsked::default(),
            not_before: 0,
            expires: 0,
        };
        Ok(Self { manifest, report })
    }

    /// Signs it.
    pub fn sign(&self, key: &SecretKey) -> Vec<u8> {
        SignedManifest::sign(&self.manifest, key).to_bytes()
    }
}
