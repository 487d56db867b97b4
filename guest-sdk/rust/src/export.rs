//! Exports: what the host calls.

use std::cell::RefCell;

use crate::calls::{fail, log, receive, send};
use crate::worker::{Turn, Worker};

/// Exports a [`Worker`].
#[macro_export]
macro_rules! worker {
    ($worker:ty) => {
        const _: () = {
            thread_local! {
                static SLOT: $crate::Slot<$worker> = $crate::Slot::new();
            }

            #[unsafe(export_name = "_initialize")]
            extern "C" fn initialize() {
                $crate::initialize();
            }

            #[unsafe(export_name = "init")]
            extern "C" fn init(length: i32) {
                SLOT.with(|slot| $crate::init(slot, length));
            }

            #[unsafe(export_name = "handle_msg")]
            extern "C" fn handle_msg(length: i32) {
                SLOT.with(|slot| $crate::handle(slot, length));
            }

            #[unsafe(export_name = "loop")]
            extern "C" fn turn() -> i32 {
                SLOT.with($crate::turn)
            }

            #[unsafe(export_name = "stop")]
            extern "C" fn stop() {
                SLOT.with($crate::stop);
            }
        };
    };
}

/// Exports a function from a message to its answer, `fn(&[u8]) -> Result<Vec<u8>, E>` with an `E` that can
/// be displayed; an error fails the message.
///
/// ```
/// fn shout(message: &[u8]) -> Result<Vec<u8>, std::str::Utf8Error> {
///     Ok(std::str::from_utf8(message)?.to_uppercase().into_bytes())
/// }
///
/// grid_guest::handler!(shout);
/// ```
#[macro_export]
macro_rules! handler {
    ($handler:path) => {
        const _: () = {
            #[unsafe(export_name = "_initialize")]
            extern "C" fn initialize() {
                $crate::initialize();
            }

            #[unsafe(export_name = "handle_msg")]
            extern "C" fn handle_msg(length: i32) {
                $crate::answer(length, |message| $handler(message));
            }
        };
    };
}

/// Where the exported worker lives.
pub struct Slot<W>(RefCell<Option<W>>);

impl<W> Slot<W> {
    /// An empty slot.
    #[expect(clippy::new_without_default, reason = "only the macro makes one")]
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }
}

/// Runs constructors, once, and makes panics readable.
///
/// The linker wraps every export of a module without an `_initialize` in constructors and destructors; with
/// one that calls them, they run once.
pub fn initialize() {
    #[cfg(target_arch = "wasm32")]
    {
        unsafe extern "C" {
            fn __wasm_call_ctors();
        }
        // SAFETY: the linker makes this function, and the host calls `_initialize` once, before all else.
        unsafe { __wasm_call_ctors() };
    }
    std::panic::set_hook(Box::new(|panic| log(grid_abi::level::ERROR, &panic.to_string())));
}

/// Makes the worker.
pub fn init<W: Worker>(slot: &Slot<W>, length: i32) {
    match W::new(&receive(length)) {
        Ok(worker) => *slot.0.borrow_mut() = Some(worker),
        Err(reason) => {
            log(grid_abi::level::ERROR, &reason);
            fail(&reason);
        }
    }
}

/// Gives the worker a message.
pub fn handle<W: Worker>(slot: &Slot<W>, length: i32) {
    let message = receive(length);
    if let Some(worker) = &mut *slot.0.borrow_mut() {
        worker.handle_msg(&message);
    }
}

/// Gives the worker a turn.
pub fn turn<W: Worker>(slot: &Slot<W>) -> i32 {
    match slot.0.borrow_mut().as_mut().map(W::turn) {
        Some(Turn::Again) => grid_abi::AGAIN,
        Some(Turn::Idle) | None => grid_abi::IDLE,
    }
}

/// Tells the worker that it ends.
pub fn stop<W: Worker>(slot: &Slot<W>) {
    if let Some(worker) = &mut *slot.0.borrow_mut() {
        worker.stop();
    }
}

/// Answers a message with a function.
pub fn answer<E: std::fmt::Display>(length: i32, handler: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>) {
    match handler(&receive(length)) {
        Ok(answer) => send(&answer),
        Err(error) => fail(&error.to_string()),
    }
}
