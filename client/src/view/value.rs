//! What guests write: messages, outputs of commands, files.

use std::fmt;
use std::fmt::Write;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::cbor::from_cbor;

/// Bytes of a guest as JSON.
///
/// Bytes that are CBOR are shown as their value. JSON cannot say all of it: keys that are no text become text, integers
/// beyond 64 bits and numbers that are not finite become text, and byte strings become `{"bytes": "00ff"}`, in
/// hexadecimal. Keys stand in the order of the alphabet; of two that are equal, the last is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct ValueView(Value);

impl ValueView {
    /// A message: the value of its CBOR, else as [`Self::of_file`] shows it.
    pub fn of(message: &[u8]) -> Self {
        from_cbor(message).unwrap_or_else(|_| Self::of_file(message))
    }

    /// What a command wrote to its standard output: `{"text": …}` if it is plain text, as most commands write, though it
    /// may be CBOR by chance; else as any message.
    pub fn of_stdout(stdout: &[u8]) -> Self {
        let plain = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\r' | '\t');
        match std::str::from_utf8(stdout) {
            Ok(text) if text.chars().all(plain) => Self(field("text", text.to_owned())),
            _ => Self::of(stdout),
        }
    }

    /// The contents of a file: `{"text": …}` if they are UTF-8, else `{"bytes": …}` in hexadecimal.
    pub fn of_file(contents: &[u8]) -> Self {
        Self(match std::str::from_utf8(contents) {
            Ok(text) => field("text", text.to_owned()),
            Err(_) => field("bytes", hexadecimal(contents)),
        })
    }
}

/// Writes the JSON on one line.
impl fmt::Display for ValueView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An object with one field.
fn field(name: &str, value: String) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value.into())]))
}

/// Two lower-case digits a byte.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut digits, byte| {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

impl<'de> Deserialize<'de> for ValueView {
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
        Ok(value.to_string().into())
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(value.to_string().into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(if value.is_finite() { value.into() } else { value.to_string().into() })
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(field("bytes", hexadecimal(value)))
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
        while let Some(ValueView(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((ValueView(key), ValueView(item))) = items.next_entry()? {
            fields.insert(if let Value::String(key) = key { key } else { key.to_string() }, item);
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::json;
    use serde_json::json;

    #[test]
    fn what_json_cannot_say_is_said_as_well_as_it_can() {
        let of = |message: &[u8]| json(&ValueView::of(message));
        assert_eq!(
            of(&[0xa2, 0x02, 0xf5, 0x18, 0x29, 0x41, 0xff]),
            json!({ "2": true, "41": { "bytes": "ff" } })
        );
        assert_eq!(of(&[0xf9, 0x38, 0x00]), json!(0.5));
        assert_eq!(of(&[0xf9, 0x7c, 0x00]), json!("inf"));
        assert_eq!(of(&[0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0]), json!("18446744073709551616"));
        assert_eq!(of(&[0x82, 0xf6, 0x38, 0x63]), json!([null, -100]));
    }

    #[test]
    fn what_a_command_writes_is_text_though_it_may_be_a_value_by_chance() {
        assert_eq!(json(&ValueView::of(b"bhi")), json!("hi"));
        assert_eq!(json(&ValueView::of_stdout(b"bhi")), json!({ "text": "bhi" }));
        assert_eq!(json(&ValueView::of(b"7")), json!(-24));
        assert_eq!(json(&ValueView::of_stdout(b"7")), json!({ "text": "7" }));
        assert_eq!(json(&ValueView::of_stdout(b"\xa1\x61a\x18\x64")), json!({ "a": 100 }));
        assert_eq!(json(&ValueView::of_stdout(&[0xff])), json!({ "bytes": "ff" }));
    }

    #[test]
    fn a_file_is_text_or_bytes_and_never_a_value() {
        assert_eq!(json(&ValueView::of_file(b"7")), json!({ "text": "7" }));
        assert_eq!(json(&ValueView::of_file(&[0xf9, 0x38, 0x00])), json!({ "bytes": "f93800" }));
        assert_eq!(ValueView::of_file(b"a\"b").to_string(), r#"{"text":"a\"b"}"#);
    }
}
