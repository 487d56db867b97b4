//! Direct calls: a guest is called on the stack of its thread.
//!
//! A guest that shares its thread with others has a stack of its own, so that it can be interrupted in the middle of a
//! call. If a thousand others have run since, that stack is in no cache any more. A guest that was quick before is therefore
//! called on the thread's stack, where a second thread stands by: should it take long this time, the second thread does
//! from then on what this one was to do, and this one stays with the guest until the call ends.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Module, Store, TypedFunc, WasmParams, WasmResults};

use crate::sandbox::engine::CodeForm;
use crate::sandbox::failure::Stop;
use crate::sandbox::guest::Guest;
use crate::sandbox::meter::{monotonic, nanos};
use crate::sandbox::pool;
use crate::sandbox::stdio_calls::WASI;

/// How the functions of a module may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallKind {
    /// On a stack of the guest's own: it imports functions that may wait, or cannot be interrupted.
    OwnStack,
    /// Directly, too.
    Direct,
}

impl CallKind {
    /// How functions of this module may be called if it was compiled in this form.
    pub(super) fn of(module: &Module, form: CodeForm) -> Self {
        let waits = |import: wasmtime::ImportType<'_>| {
            import.module() == WASI && !NEVER_WAIT.contains(&import.name())
        };
        if form.interruptible && !module.imports().any(waits) { Self::Direct } else { Self::OwnStack }
    }
}

/// Functions of WASI preview 1 that are linked as functions that never wait. Of a module that imports others, wasmtime
/// refuses direct calls.
const NEVER_WAIT: [&str; 10] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "random_get",
    "sched_yield",
];

/// The other thread, as the one that it stands by for sees it.
pub(super) trait Standby {
    /// Has it do what this thread was to do.
    fn take_over(&self);

    /// Has what guests of this thread have sent go now.
    fn flush(&self);
}

thread_local! {
    static STANDBY: RefCell<Option<Arc<dyn Standby>>> = const { RefCell::new(None) };
}

/// Does `work`, in which guests may be called directly, until `standby` has taken over.
pub(super) fn allow(standby: Arc<dyn Standby>, work: impl FnOnce()) {
    STANDBY.set(Some(standby));
    work();
    STANDBY.set(None);
}

fn is_allowed() -> bool {
    STANDBY.with_borrow(Option::is_some)
}

/// Stays with the guest that was called last; another thread runs those that wait for this one.
fn stay() {
    if let Some(standby) = STANDBY.take() {
        pool::give_row_away();
        standby.take_over();
    }
}

/// Calls a function of a guest, directly if that is possible and allowed, and waits until what the guest has sent is on its
/// way.
///
/// # Errors
///
/// If the guest traps, or has to end.
pub(super) async fn call<P, R>(
    kind: CallKind,
    store: &mut Store<Guest>,
    function: &TypedFunc<P, R>,
    parameters: P,
) -> wasmtime::Result<R>
where
    P: WasmParams + Sync,
    R: WasmResults + Sync,
{
    let returned = if kind == CallKind::Direct && is_allowed() {
        store.data_mut().has_thread = true;
        let returned = function.call(&mut *store, parameters);
        store.data_mut().has_thread = false;
        returned
    } else {
        function.call_async(&mut *store, parameters).await
    };
    all_sent(store).await;
    returned
}

/// Waits until what the guest has sent is on its way.
pub(super) async fn all_sent(store: &mut Store<Guest>) {
    if let Some(sent) = store.data_mut().take_unsent() {
        sent.await;
    }
}

/// The slice of a guest that was called directly is over: it goes on, on this thread.
pub(super) fn end_slice() {
    if monotonic().saturating_sub(pool::poll_began()) >= nanos(HELD_UP_MIN) {
        return stay();
    }
    // What it has sent, and those before it, waits for the end of the row, which may be a slice away.
    STANDBY.with_borrow(|standby| {
        if let Some(standby) = standby {
            standby.flush();
        }
    });
}

/// Waits until there is room for what a guest sends that was called directly.
///
/// # Errors
///
/// [`Stop::Ended`] if the guest is to end.
pub(super) fn wait_for_room(guest: &mut Guest) -> Result<(), Stop> {
    if guest.mailbox.has_room() {
        return Ok(());
    }
    // Or there is never room again.
    guest.mailbox.flush();
    stay();
    guest.meter.pause();
    guest.abort.hold(|cx| guest.mailbox.poll_room(cx));
    guest.meter.resume(monotonic());
    if guest.abort.is_killed() { Err(Stop::Ended) } else { Ok(()) }
}

/// Time for which others have waited when another thread takes over at the end of a slice; a slice may end at once, because it
/// ends when the clock ticks. So they wait for a slice more at most.
const HELD_UP_MIN: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::engine;

    #[test]
    fn only_modules_whose_imports_never_wait_are_called_directly_and_only_if_they_can_be_interrupted() {
        let module = |imports: &[&str], form| {
            let import = |name: &&str| format!(r#"(import "{WASI}" "{name}" (func))"#);
            let text: String = imports.iter().map(import).collect();
            let engine = engine::compiler(form).unwrap();
            let module = wat::parse_str(format!("(module {text})")).unwrap();
            CallKind::of(&Module::new(&engine, module).unwrap(), form)
        };
        assert_eq!(module(&NEVER_WAIT, CodeForm::SHARED), CallKind::Direct);
        assert_eq!(module(&NEVER_WAIT, CodeForm::ALONE), CallKind::OwnStack);
        assert_eq!(module(&["fd_write", "poll_oneoff"], CodeForm::SHARED), CallKind::OwnStack);
    }
}
