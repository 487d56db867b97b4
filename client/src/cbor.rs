//! Typed messages: a program's own values as CBOR (RFC 8949).

use bytes::Bytes;
use cbor4ii::core::dec::Read;
use cbor4ii::core::utils::SliceReader;
use cbor4ii::serde::Deserializer;
use serde::{Serialize, de::DeserializeOwned};

/// A value that could not be encoded, or a message that could not be decoded: the program that made it must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// The value has no CBOR encoding.
    #[error("the value has no CBOR encoding: {0}")]
    Encode(String),
    /// The message is not CBOR of the expected type.
    #[error("the message is no such value: {0}")]
    Decode(String),
}

/// Encodes a value as CBOR.
///
/// # Errors
///
/// [`CborError::Encode`] if the value has no CBOR encoding.
pub fn to_cbor<T: Serialize>(value: &T) -> Result<Bytes, CborError> {
    let encoded = cbor4ii::serde::to_vec(Vec::new(), value);
    encoded.map(Bytes::from).map_err(|error| CborError::Encode(error.to_string()))
}

/// Decodes a message that is one value in CBOR and nothing else.
///
/// # Errors
///
/// [`CborError::Decode`] if the message is not such a value, or bytes follow it: then it is most likely text.
///
/// # Examples
///
/// ```
/// let message = grid_client::to_cbor(&(1u32, "one")).unwrap();
/// let (number, name): (u32, String) = grid_client::from_cbor(&message).unwrap();
/// assert_eq!((number, name.as_str()), (1, "one"));
/// ```
pub fn from_cbor<T: DeserializeOwned>(message: &[u8]) -> Result<T, CborError> {
    let mut deserializer = Deserializer::new(SliceReader::new(message));
    let value = T::deserialize(&mut deserializer).map_err(|error| CborError::Decode(error.to_string()))?;
    match deserializer.into_inner().fill(1) {
        Ok(rest) if rest.as_ref().is_empty() => Ok(value),
        _ => Err(CborError::Decode("bytes follow the value".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_begins_like_a_value_is_none() {
        assert_eq!(from_cbor::<i32>(b"7").unwrap(), -24);
        assert!(from_cbor::<i32>(b"7\n").is_err());
        assert!(from_cbor::<String>(b"hello, world, and more\n").is_err());
    }
}
