//! Typed messages: a program's own values as CBOR (RFC 8949).

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

/// A value that is no CBOR, or CBOR that is no such value: whoever made it must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// The value has no encoding.
    #[error("the value has no CBOR encoding: {0}")]
    Encode(String),
    /// The bytes are no such value.
    #[error("the message is no such value: {0}")]
    Decode(String),
}

/// Encodes a value.
///
/// # Errors
///
/// [`CborError::Encode`].
pub fn to_cbor<T: Serialize>(value: &T) -> Result<Bytes, CborError> {
    let encoded = cbor4ii::serde::to_vec(Vec::new(), value);
    encoded.map(Bytes::from).map_err(|error| CborError::Encode(error.to_string()))
}

/// Decodes a value.
///
/// # Errors
///
/// [`CborError::Decode`].
///
/// # Examples
///
/// ```
/// let message = wasm_grid::to_cbor(&(1u32, "one")).unwrap();
/// let (number, name): (u32, String) = wasm_grid::from_cbor(&message).unwrap();
/// assert_eq!((number, name.as_str()), (1, "one"));
/// ```
pub fn from_cbor<T: DeserializeOwned>(message: &[u8]) -> Result<T, CborError> {
    cbor4ii::serde::from_slice(message).map_err(|error| CborError::Decode(error.to_string()))
}
