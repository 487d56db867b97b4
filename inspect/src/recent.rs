//! A cache of recent reports. A module that goes from a client to a manager to a host in one process is
//! inspected once; a module of Python takes a tenth of a second each time.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::limits::{ScanLimits, ScanRefusal};
use crate::scan::ModuleReport;

/// Returns the cached report for this digest and these limits, or calls `read`. Refusals are not cached.
pub(crate) fn remembered(
    wasm: &[u8],
    digest: &[u8; 32],
    limits: &ScanLimits,
    read: impl FnOnce() -> Result<ModuleReport, ScanRefusal>,
) -> Result<ModuleReport, ScanRefusal> {
    if wasm.len() < BYTES_MIN {
        return read();
    }
    let lock = || PASSED.lock();
    let known = lock().iter().find(|known| known.digest == *digest && known.limits == *limits).cloned();
    if let Some(known) = known {
        return Ok(known.report);
    }
    let report = read()?;
    let mut passed = lock();
    if passed.len() >= PASSED_MAX {
        passed.pop_front();
    }
    passed.push_back(Passed { digest: *digest, limits: *limits, report: report.clone() });
    Ok(report)
}

#[derive(Clone)]
struct Passed {
    digest: [u8; 32],
    limits: ScanLimits,
    report: ModuleReport,
}

static PASSED: Mutex<VecDeque<Passed>> = Mutex::new(VecDeque::new());

/// Number of cached reports. A report usually takes a few KiB, and at worst 1 MiB (names of imports and
/// exports).
const PASSED_MAX: usize = 8;

/// Files shorter than this are not cached: inspecting one takes at most some 5 ms.
const BYTES_MIN: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::inspect;

    /// An echo module of more than 256 KiB.
    fn long(padding: u8) -> Vec<u8> {
        let text = format!(
            r#"(module (memory (export "memory") 8) (func (export "handle_msg") (param i32)) (data (i32.const 0) "{}"))"#,
            format!("\\{padding:02x}").repeat(BYTES_MIN)
        );
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn the_same_bytes_under_the_same_limits_are_read_once() {
        let (wasm, limits) = (long(1), ScanLimits::default());
        let report = inspect(&wasm, &limits).unwrap();
        let digest = Sha256::digest(&wasm).into();
        let known = remembered(&wasm, &digest, &limits, || panic!("it is read again")).unwrap();
        assert_eq!(known, report);
    }

    #[test]
    fn other_limits_or_other_bytes_are_not_what_passed() {
        let (wasm, limits) = (long(2), ScanLimits::default());
        inspect(&wasm, &limits).unwrap();
        let strict = ScanLimits { functions: 0, ..limits };
        assert!(inspect(&wasm, &strict).is_err());
        let mut broken = wasm;
        *broken.last_mut().unwrap() ^= 1;
        broken.truncate(broken.len() - 1);
        assert!(inspect(&broken, &limits).is_err());
    }
}
