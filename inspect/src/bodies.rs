//! Function bodies: nearly all of a long module. Each can be read without the others, so several threads read them.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::thread::{Builder, available_parallelism, scope};

use parking_lot::Mutex;
use wasmparser::types::Types;
use wasmparser::{
    FuncToValidate, FuncValidatorAllocations, FunctionBody, Parser, ValidPayload, Validator,
    ValidatorResources, WasmFeatures,
};

use crate::limits::{ScanRefusal, invalid};

/// Threads that read the bodies of one module, at most one for each processor.
const THREADS_MAX: usize = 4;

/// Bytes of bodies that one thread reads in a row, which takes about 2 ms: 256 KiB. Shorter modules have one thread.
const PART_BYTES: usize = 256 << 10;

/// Validates a core module or a component, with everything in it.
pub(crate) fn validate(wasm: &[u8], features: WasmFeatures) -> Result<Types, ScanRefusal> {
    let mut validator = Validator::new_with_features(features);
    let mut parser = Parser::new(0);
    parser.set_features(features);
    let (mut functions, mut types) = (Vec::new(), None);
    for payload in parser.parse_all(wasm) {
        let payload = payload.map_err(invalid)?;
        match validator.payload(&payload).map_err(invalid)? {
            ValidPayload::Func(function, body) => functions.push((function, body)),
            // The last is the outermost one.
            ValidPayload::End(of_level) => types = Some(of_level),
            _ => {}
        }
    }
    in_parts(functions, |(_, body)| body.range().len(), validate_bodies)?;
    types.ok_or_else(|| ScanRefusal::Invalid { reason: "cut short".into(), offset: wasm.len() })
}

fn validate_bodies(
    functions: Vec<(FuncToValidate<ValidatorResources>, FunctionBody<'_>)>,
) -> Result<(), ScanRefusal> {
    let mut allocations = FuncValidatorAllocations::default();
    for (function, body) in functions {
        let mut validator = function.into_validator(allocations);
        validator.validate(&body).map_err(invalid)?;
        allocations = validator.into_allocations();
    }
    Ok(())
}

/// Works on all items, in parts of consecutive ones of about the same length, on several threads if there is more than one part.
///
/// # Errors
///
/// That of the first part that has one, whichever thread was first.
pub(crate) fn in_parts<T: Send, E: Send>(
    items: Vec<T>,
    bytes: impl Fn(&T) -> usize,
    work: impl Fn(Vec<T>) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let parts = parts_of(items, bytes);
    let threads = match parts.len() {
        0 | 1 => 1,
        many => available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS_MAX).min(many),
    };
    let left = Mutex::new(parts.into_iter().enumerate());
    let failed: Mutex<Option<(usize, E)>> = Mutex::new(None);
    let next = || {
        // Parts are taken in their order: what comes after one that has an error does not matter.
        if failed.lock().is_some() {
            return ControlFlow::Break(());
        }
        let Some((number, part)) = left.lock().next() else {
            return ControlFlow::Break(());
        };
        if let Err(error) = work(part) {
            let mut failed = failed.lock();
            if failed.as_ref().is_none_or(|(earlier, _)| number < *earlier) {
                *failed = Some((number, error));
            }
        }
        ControlFlow::Continue(())
    };
    let work_through = || while next().is_continue() {};
    scope(|scope| {
        for _ in 1..threads {
            // Without it, this thread does what is left.
            let _ = Builder::new().name("grid-inspect".to_owned()).spawn_scoped(scope, work_through);
        }
        work_through();
    });
    failed.into_inner().map_or(Ok(()), |(_, error)| Err(error))
}

fn parts_of<T>(items: Vec<T>, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut parts, mut part, mut length) = (Vec::new(), Vec::new(), 0_usize);
    for item in items {
        length = length.saturating_add(bytes(&item));
        part.push(item);
        if length >= PART_BYTES {
            parts.push(std::mem::take(&mut part));
            length = 0;
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::inspection::inspect;
    use crate::limits::ScanLimits;

    #[test]
    fn every_item_is_worked_on_once_and_short_ones_in_one_part() {
        for (bytes, most) in [(1, 1), (PART_BYTES, 100)] {
            let (sum, parts) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let worked = in_parts(
                (0..100).collect(),
                |_| bytes,
                |part: Vec<usize>| {
                    parts.fetch_add(1, Ordering::Relaxed);
                    sum.fetch_add(part.into_iter().sum(), Ordering::Relaxed);
                    Ok::<(), ()>(())
                },
            );
            assert_eq!((worked, sum.into_inner(), parts.into_inner()), (Ok(()), 4950, most));
        }
    }

    #[test]
    fn of_several_errors_it_is_the_first_in_the_order_of_the_items() {
        let (failed, has_failed) = channel();
        let has_failed = Mutex::new(has_failed);
        let work = |part: Vec<usize>| match part[..] {
            [1] => {
                // After the second has failed, if there is a thread for it.
                let _ = has_failed.lock().recv_timeout(Duration::from_millis(200));
                Err(1)
            }
            [2] => {
                failed.send(()).unwrap();
                Err(2)
            }
            _ => Ok(()),
        };
        assert_eq!(in_parts((0..8).collect(), |_| PART_BYTES, work), Err(1));
    }

    /// A module whose bodies are several parts, with this at the end of the last.
    fn long(last: &str) -> Vec<u8> {
        let body = "(drop (i32.const 1000))".repeat(1000);
        let functions = format!("(func {body})").repeat(3 * PART_BYTES / 4000);
        let echo = r#"(memory (export "memory") 1) (func (export "handle_msg") (param i32))"#;
        wat::parse_str(format!("(module {echo} {functions} (func {last}))")).unwrap()
    }

    #[test]
    fn a_long_module_is_read_to_its_last_body() {
        let limits = ScanLimits::default();
        assert!(inspect(&long(""), &limits).is_ok());
        let invalid = inspect(&long("(result i32)"), &limits).unwrap_err().to_string();
        assert!(invalid.contains("type mismatch"), "{invalid}");
        let locals = "(local i64)".repeat(60_000);
        let refused = inspect(&long(&locals), &limits).unwrap_err();
        assert!(matches!(refused, ScanRefusal::TooMuch { .. }), "{refused:?}");
    }
}
