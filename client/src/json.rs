//! Messages that people write in JSON.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::cbor::to_cbor;

/// The UTF-8 byte order mark, which some editors put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The byte order marks of UTF-16, which some shells write.
const UTF_16: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// Every integer with up to this number of digits fits 64 bits.
const SHORT_DIGITS: usize = 18;

/// Converts JSON to a CBOR message. Integers of up to 128 bits keep their value.
///
/// # Errors
///
/// Why it is not JSON, or has no CBOR encoding.
pub fn from_json(text: &[u8]) -> Result<Bytes, String> {
    if UTF_16.iter().any(|mark| text.starts_with(mark)) {
        return Err("it is UTF-16; save it as UTF-8".to_owned());
    }
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut runs = text.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    if !runs.any(|run| run.len() > SHORT_DIGITS && run.iter().all(u8::is_ascii_digit)) {
        let value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        return to_cbor(&Json(&value)).map_err(|error| error.to_string());
    }
    let (numbers, next) = (numbers(text), Cell::new(0));
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let exact = Numbers { numbers: &numbers, next: &next }.deserialize(&mut deserializer);
    let exact = exact.and_then(|exact| deserializer.end().map(|()| exact));
    to_cbor(&exact.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
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

/// JSON with its integers exact.
enum Exact {
    Scalar(Value),
    Big(i128),
    Bigger(u128),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Scalar(Value::Null) => serializer.serialize_none(),
            Self::Scalar(value) => value.serialize(serializer),
            Self::Big(number) => serializer.serialize_i128(*number),
            Self::Bigger(number) => serializer.serialize_u128(*number),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(fields) => serializer.collect_map(fields),
        }
    }
}

/// The numbers of a JSON text as they are written, in order.
fn numbers(text: &[u8]) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some((first, others)) = rest.split_first() {
        let part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        match first {
            b'"' => rest = after_string(others),
            b'-' | b'0'..=b'9' => {
                let length = rest.iter().take_while(|byte| part(byte)).count();
                let (number, others) = rest.split_at(length);
                found.push(std::str::from_utf8(number).unwrap_or_default());
                rest = others;
            }
            _ => rest = others,
        }
    }
    found
}

fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some((first, others)) = rest.split_first() {
        rest = match first {
            b'"' => return others,
            b'\\' => others.get(1..).unwrap_or_default(),
            _ => others,
        };
    }
    rest
}

/// Deserializes a value, taking the text of each number from this list in order.
#[derive(Clone, Copy)]
struct Numbers<'a> {
    numbers: &'a [&'a str],
    next: &'a Cell<usize>,
}

impl Numbers<'_> {
    /// The next number as it is written.
    fn take(&self) -> &str {
        let place = self.next.get();
        self.next.set(place + 1);
        self.numbers.get(place).copied().unwrap_or_default()
    }
}

impl<'de> DeserializeSeed<'de> for Numbers<'_> {
    type Value = Exact;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Exact, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Numbers<'_> {
    type Value = Exact;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Exact, E> {
        Ok(Exact::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Exact, E> {
        Ok(Exact::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Exact, E> {
        Ok(Exact::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Exact, E> {
        self.take();
        Ok(Exact::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Exact, E> {
        self.take();
        Ok(Exact::Scalar(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Exact, E> {
        let written = self.take();
        if written.contains(['.', 'e', 'E']) || value == 0.0 {
            return Ok(Exact::Scalar(value.into()));
        }
        let big = written.parse().map(Exact::Big);
        big.or_else(|_| written.parse().map(Exact::Bigger)).map_err(|_| {
            E::custom("an integer of more than 128 bits; write it as a text, or with an exponent as a float")
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Exact, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Exact::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Exact, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(name) = items.next_key()? {
            fields.insert(name, items.next_value_seed(self)?);
        }
        Ok(Exact::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::ValueView;
    use serde_json::json;

    /// A message as JSON, as people see it.
    fn value(message: &[u8]) -> Value {
        serde_json::to_value(ValueView::of(message)).unwrap()
    }

    #[test]
    fn json_is_the_same_after_it_was_cbor() {
        for text in ["null", "[null,[],{}]", r#"{"a":{"b":[1,-2,3.5,true,null]},"c":"ä"}"#] {
            let json: Value = serde_json::from_str(text).unwrap();
            assert_eq!(value(&from_json(text.as_bytes()).unwrap()), json, "{text}");
        }
        assert_eq!(&from_json(b"null").unwrap()[..], [0xf6]);
    }

    #[test]
    fn integers_of_more_than_64_bits_stay_integers_and_longer_ones_are_refused() {
        let big = from_json(b"18446744073709551616").unwrap();
        assert_eq!(big[..], [0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let text = br#"{"a": [1, "\"12345678901234567890", 123456789012345678901234567890, -0.5], "b": -18446744073709551617}"#;
        let expected = json!({
            "a": [1, "\"12345678901234567890", "123456789012345678901234567890", -0.5],
            "b": "-18446744073709551617",
        });
        assert_eq!(value(&from_json(text).unwrap()), expected);
        assert_eq!(
            value(&from_json(b"[18446744073709551615,null,true]").unwrap()),
            json!([u64::MAX, null, true])
        );
        assert!(from_json("9".repeat(60).as_bytes()).unwrap_err().contains("128 bits"));
        assert!(from_json(b"[12345678901234567890] x").is_err());
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_value() {
        assert_eq!(from_json(b"\xef\xbb\xbf[1]").unwrap(), from_json(b"[1]").unwrap());
        assert!(from_json(b"\xff\xfe1\0").unwrap_err().contains("UTF-8"));
    }
}
