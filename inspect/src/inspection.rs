//! Inspection: a file is read as a module or as a component, whichever it is.

use sha2::{Digest, Sha256};

use crate::limits::{Count, ScanLimits, ScanRefusal, within};
use crate::scan::{ModuleReport, inspect_core};
use crate::{component, recent};

/// Reads a module or a component.
///
/// # Errors
///
/// [`ScanRefusal`], whatever the bytes are; the work is bounded by their number.
pub fn inspect(wasm: &[u8], limits: &ScanLimits) -> Result<ModuleReport, ScanRefusal> {
    within(Count::ModuleBytes, wasm.len() as u64, limits.module_bytes as u64)?;
    inspect_known(wasm, &Sha256::digest(wasm).into(), limits)
}

/// As [`inspect`], for a caller that has computed the SHA-256 of the file: one of Python is hashed for 12 ms each time.
///
/// With another file's digest it may say of this one what holds of the other.
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
