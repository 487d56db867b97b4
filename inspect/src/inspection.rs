//! Inspection of a file as a core module or a component, whichever it is.

use sha2::{Digest, Sha256};

use crate::limits::{Count, ScanLimits, ScanRefusal, within};
use crate::scan::{ModuleReport, inspect_core};
use crate::{component, recent};

/// Inspects a core module or a component, without running it.
///
/// # Errors
///
/// [`ScanRefusal`]. Any bytes are safe to pass; the work is bounded by their number.
pub fn inspect(wasm: &[u8], limits: &ScanLimits) -> Result<ModuleReport, ScanRefusal> {
    within(Count::ModuleBytes, wasm.len() as u64, limits.module_bytes as u64)?;
    inspect_known(wasm, &Sha256::digest(wasm).into(), limits)
}

/// As [`inspect`], for a caller that already has the SHA-256 of the file: hashing a module of Python takes 12
/// ms.
///
/// Does not check `digest`. With the digest of another file, the report may be that of the other file.
///
/// # Errors
///
/// As [`inspect`].
pub fn inspect_known(
    wasm: &[u8],
    digest: &[u8; 32],
    limits: &ScanLimits,
) -> Result<ModuleReport, ScanRefusal> {
    within(Count::ModuleBytes, wasm.len() as u64, limits.module_bytes as u64)?;
    recent::remembered(wasm, digest, limits, || {
        if component::is_component(wasm) {
            component::inspect(wasm, limits)
        } else {
            inspect_core(wasm, limits)
        }
    })
}
