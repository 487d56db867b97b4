//! Damaged stores: redb panics on a page that makes no sense; the operator is to read an error message instead.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::path::Path;
use std::sync::Once;

use super::StoreError;

thread_local! {
    /// Why redb panicked on this thread, inside [`guard`].
    static PANIC: Cell<Option<String>> = const { Cell::new(None) };
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on the database at `path`; turns a panic of redb into an error that names the file.
///
/// # Errors
///
/// That of `work`, or that the store is damaged.
pub(super) fn guard<T>(path: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |panic| note(panic, &others)));
    });
    let outer = GUARDED.replace(true);
    // Only redb's own state may be left inconsistent: it is not used again, or panics again and is caught again.
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    done.unwrap_or_else(|_| {
        let reason = PANIC.take().unwrap_or_else(|| "a page makes no sense".to_owned());
        Err(StoreError { path: path.to_path_buf(), reason: format!("it is damaged: {reason}") })
    })
}

fn note(panic: &PanicHookInfo<'_>, others: &(dyn Fn(&PanicHookInfo<'_>) + Send + Sync)) {
    if !GUARDED.get() {
        return others(panic);
    }
    let said = panic.payload_as_str().unwrap_or("a page makes no sense");
    PANIC.set(Some(said.lines().next().unwrap_or_default().to_owned()));
}

#[cfg(test)]
mod tests {
    use crate::store::{Change, FileStore, Store, Table};

    #[test]
    fn a_store_with_any_page_overwritten_is_refused_by_name_or_reads_and_never_panics() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = FileStore::open(&path).unwrap();
        for number in 0..200u8 {
            store.commit(&[Change::put(Table::Key, [number], [number; 100])]).unwrap();
        }
        drop(store);
        let whole = std::fs::read(&path).unwrap();
        let mut refused = 0;
        for page in 0..whole.len() / 4096 {
            for fill in [0x00, 0xa5, 0xff] {
                let mut damaged = whole.clone();
                damaged[page * 4096..(page + 1) * 4096].fill(fill);
                if damaged == whole {
                    continue;
                }
                std::fs::write(&path, damaged).unwrap();
                let read = FileStore::open(&path).and_then(|store| {
                    store.read(Table::Key)?;
                    store.commit(&[Change::put(Table::Key, *b"new", *b"value")])
                });
                if let Err(error) = read {
                    refused += 1;
                    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
                }
            }
        }
        assert!(refused > 0, "no damage was noticed");
    }
}
