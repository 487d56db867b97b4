//! Grid calls, in Rust's own types.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

/// Sends a message to the client, waiting while too much of what was sent before is unread.
///
/// A message of more than 64 MiB ends the worker.
pub fn send(message: &[u8]) {
    sys::send(message);
}

/// Sends a value as CBOR.
///
/// A value that has no CBOR encoding fails the message at hand.
pub fn send_cbor<T: Serialize>(value: &T) {
    match to_cbor(value) {
        Ok(message) => send(&message),
        Err(error) => fail(&error.to_string()),
    }
}

/// Says that the message at hand could not be handled, and why; the worker goes on with the next one.
pub fn fail(reason: &str) {
    sys::fail(reason);
}

/// Writes a line to the worker's log at one of the [`level`](crate::level)s.
pub fn log(level: i32, line: &str) {
    sys::log(level, line);
}

/// A value that is no CBOR, or CBOR that is no such value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CborError(String);

impl fmt::Display for CborError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CborError {}

/// Encodes a value as CBOR.
///
/// # Errors
///
/// [`CborError`]: the value has no encoding.
pub fn to_cbor<T: Serialize>(value: &T) -> Result<Vec<u8>, CborError> {
    cbor4ii::serde::to_vec(Vec::new(), value).map_err(|error| CborError(error.to_string()))
}

/// Decodes a value from CBOR.
///
/// # Errors
///
/// [`CborError`]: the message is no such value.
pub fn from_cbor<T: DeserializeOwned>(message: &[u8]) -> Result<T, CborError> {
    cbor4ii::serde::from_slice(message).map_err(|error| CborError(error.to_string()))
}

/// What waits to be received, of which the host said that it has `length` bytes.
pub(crate) fn receive(length: i32) -> Vec<u8> {
    let mut message = vec![0; usize::try_from(length).unwrap_or_default()];
    sys::recv(&mut message);
    message
}

#[cfg(target_arch = "wasm32")]
mod sys {
    #[link(wasm_import_module = "grid")]
    unsafe extern "C" {
        #[link_name = "recv"]
        fn grid_recv(pointer: *mut u8, capacity: usize) -> i32;
        #[link_name = "send"]
        fn grid_send(pointer: *const u8, length: usize);
        #[link_name = "log"]
        fn grid_log(level: i32, pointer: *const u8, length: usize);
        #[link_name = "fail"]
        fn grid_fail(pointer: *const u8, length: usize);
    }

    pub(super) fn recv(buffer: &mut [u8]) -> i32 {
        // SAFETY: the host writes at most `len` bytes there, and the borrow lasts for the call.
        unsafe { grid_recv(buffer.as_mut_ptr(), buffer.len()) }
    }

    pub(super) fn send(message: &[u8]) {
        // SAFETY: the host reads `len` bytes there, and the borrow lasts for the call.
        unsafe { grid_send(message.as_ptr(), message.len()) }
    }

    pub(super) fn log(level: i32, line: &str) {
        // SAFETY: the host reads `len` bytes there, and the borrow lasts for the call.
        unsafe { grid_log(level, line.as_ptr(), line.len()) }
    }

    pub(super) fn fail(reason: &str) {
        // SAFETY: the host reads `len` bytes there, and the borrow lasts for the call.
        unsafe { grid_fail(reason.as_ptr(), reason.len()) }
    }
}

#[cfg(not(target_arch = "wasm32"))]
use crate::testing as sys;
