//! Conversion of messages to JSON and of JSON to messages.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use wasm_grid::{Bytes, CborError, from_cbor, to_cbor};

/// Converts JSON to a CBOR message.
///
/// # Errors
///
/// [`CborError::Encode`].
pub(crate) fn message(value: &Value) -> Result<Bytes, CborError> {
    to_cbor(&Json(value))
}

/// JSON whose null is encoded as CBOR's null; serialized as a Rust unit it would become an empty array.
struct Json<'a>(&'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_none(),
            Value::Array(items) => serializer.collect_seq(items.iter().map(Json)),
            Value::Object(fields) => {
                serializer.collect_map(fields.iter().map(|(name, value)| (name, Json(value))))
            }
            other => other.serialize(serializer),
        }
    }
}

/// Converts a message to JSON: the value of its CBOR, else its text, else its bytes in hexadecimal.
pub(crate) fn value(payload: &[u8]) -> Value {
    from_cbor::<Displayed>(payload).map_or_else(|_| content(payload), |shown| shown.0)
}

/// A CBOR value as JSON: keys that are not text become text, and bytes become `{"bytes": hexadecimal}`.
struct Displayed(Value);

impl<'de> Deserialize<'de> for Displayed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShownVisitor).map(Self)
    }
}

struct ShownVisitor;

impl<'de> Visitor<'de> for ShownVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(json!(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(json!(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(if value.is_finite() { json!(value) } else { json!(value.to_string()) })
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(hexadecimal(value))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Displayed(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut fields = serde_json::Map::new();
        while let Some((Displayed(key), Displayed(item))) = items.next_entry()? {
            fields.insert(if let Value::String(key) = key { key } else { key.to_string() }, item);
        }
        Ok(fields.into())
    }
}

/// Converts a command's output to JSON: its text, if it is plain text, as most commands write; else as any message.
pub(crate) fn written(stdout: &[u8]) -> Value {
    let plain = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\r' | '\t');
    match std::str::from_utf8(stdout) {
        Ok(text) if text.chars().all(plain) => json!({ "text": text }),
        _ => value(stdout),
    }
}

/// Converts bytes to JSON: their text if they are UTF-8, else hexadecimal.
pub(crate) fn content(payload: &[u8]) -> Value {
    match std::str::from_utf8(payload) {
        Ok(text) => json!({ "text": text }),
        Err(_) => hexadecimal(payload),
    }
}

fn hexadecimal(bytes: &[u8]) -> Value {
    json!({ "bytes": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_the_same_after_it_was_cbor() {
        for text in ["null", "[null,[],{}]", r#"{"a":{"b":[1,-2,3.5,true,null]},"c":"ä"}"#] {
            let json: Value = serde_json::from_str(text).unwrap();
            assert_eq!(value(&message(&json).unwrap()), json, "{text}");
        }
        assert_eq!(&message(&Value::Null).unwrap()[..], [0xf6]);
    }

    #[test]
    fn what_json_cannot_say_is_said_as_well_as_it_can() {
        let message = [0xa2, 0x02, 0xf5, 0x18, 0x29, 0x41, 0xff];
        assert_eq!(value(&message), json!({ "2": true, "41": { "bytes": "ff" } }));
        assert_eq!(value(&[0xf9, 0x38, 0x00]), json!(0.5));
        assert_eq!(value(&[0xf9, 0x7c, 0x00]), json!("inf"));
    }

    #[test]
    fn what_a_command_writes_is_text_though_it_may_be_a_value_by_chance() {
        assert_eq!(value(b"bhi"), json!("hi"));
        assert_eq!(written(b"bhi"), json!({ "text": "bhi" }));
        assert_eq!(value(b"7"), json!(-24));
        assert_eq!(written(b"7"), json!({ "text": "7" }));
        assert_eq!(written(&message(&json!({ "a": 100 })).unwrap()), json!({ "a": 100 }));
        assert_eq!(written(&[0xff]), json!({ "bytes": "ff" }));
    }
}
