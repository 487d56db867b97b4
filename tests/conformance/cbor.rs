//! Values that must come back as they went, whatever language they went through.

use cbor4ii::core::Value;
use cbor4ii::core::dec::Decode;
use cbor4ii::core::enc::Encode;
use cbor4ii::core::utils::{BufWriter, SliceReader};

/// A value as CBOR.
pub(crate) fn encode(value: &Value) -> Vec<u8> {
    let mut writer = BufWriter::new(Vec::new());
    value.encode(&mut writer).expect("memory does not fail");
    writer.into_inner()
}

/// What CBOR says.
pub(crate) fn decode(bytes: &[u8]) -> Result<Value, String> {
    Value::decode(&mut SliceReader::new(bytes)).map_err(|error| error.to_string())
}

/// True if a program in any language would say that the two are the same: a float that is a whole number may have
/// become an integer, and a map may have another order.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a == b || a.is_nan() && b.is_nan(),
        (Value::Float(float), Value::Integer(whole)) | (Value::Integer(whole), Value::Float(float)) => {
            float.fract() == 0.0 && *float as i128 == *whole
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            let found = |(key, value): &(Value, Value)| {
                b.iter().any(|(other, held)| same(key, other) && same(value, held))
            };
            a.len() == b.len() && a.iter().all(found)
        }
        (Value::Tag(a, inside), Value::Tag(b, other)) => a == b && same(inside, other),
        (a, b) => a == b,
    }
}

pub(crate) fn integers() -> Vec<Value> {
    let edges =
        [0i128, 1, 10, 23, 24, 255, 256, 65_535, 65_536, 1 << 32, (1 << 53) - 1, 1 << 53, i64::MAX as i128];
    let all = edges.into_iter().flat_map(|edge| [edge, -edge - 1]);
    all.map(Value::Integer).collect()
}

/// 2⁶⁴, 2⁶⁴ − 1, −2⁶⁴ − 1 and 2²⁰⁰ + 1.
pub(crate) fn big_integers() -> Vec<Value> {
    let mut large = vec![0u8; 26];
    (large[0], large[25]) = (1, 1);
    vec![
        Value::Integer(i128::from(u64::MAX)),
        Value::Tag(2, Box::new(Value::Bytes(vec![1, 0, 0, 0, 0, 0, 0, 0, 0]))),
        Value::Tag(3, Box::new(Value::Bytes(vec![1, 0, 0, 0, 0, 0, 0, 0, 0]))),
        Value::Tag(2, Box::new(Value::Bytes(large))),
    ]
}

pub(crate) fn floats() -> Vec<Value> {
    let floats = [0.5, -1.5, 1.1, 65_504.0, 1e300, -1e-300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    floats.into_iter().map(Value::Float).collect()
}

pub(crate) fn texts() -> Vec<Value> {
    let long = "x".repeat(70_000);
    ["", "a", "größer", "\u{0}", "☃ 𝄞", &long].into_iter().map(|text| Value::Text(text.to_owned())).collect()
}

pub(crate) fn byte_strings() -> Vec<Value> {
    vec![Value::Bytes(Vec::new()), Value::Bytes((0..=255).collect()), Value::Bytes(vec![7; 70_000])]
}

pub(crate) fn lists() -> Vec<Value> {
    let mixed = vec![Value::Null, Value::Bool(true), Value::Integer(-7), Value::Text("x".to_owned())];
    let many = (0..1000).map(Value::Integer).collect();
    vec![Value::Array(Vec::new()), Value::Array(mixed), Value::Array(many)]
}

pub(crate) fn maps() -> Vec<Value> {
    let by_text =
        vec![(Value::Text("a".to_owned()), Value::Integer(1)), (Value::Text(String::new()), Value::Null)];
    let by_number = [-3, 0, 2, 1 << 40].map(|key| (Value::Integer(key), Value::Bool(key > 0))).to_vec();
    let mixed = [&by_text[..], &by_number[..]].concat();
    [Vec::new(), by_text, by_number, mixed].into_iter().map(Value::Map).collect()
}

/// Lists and maps within each other, 30 deep.
pub(crate) fn nested() -> Value {
    (0..15).fold(Value::Integer(1), |inside, depth| {
        Value::Map(vec![(Value::Integer(depth), Value::Array(vec![inside, Value::Null]))])
    })
}

/// What no decoder may accept, nor die of.
pub(crate) fn broken() -> Vec<Vec<u8>> {
    vec![
        b"".to_vec(),
        vec![0x18],
        vec![0x82, 0x01],
        // More bytes, text and items than there are.
        vec![0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![0x7a, 0x7f, 0xff, 0xff, 0xff],
        vec![0x9b, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![0xba, 0xff, 0xff, 0xff, 0xff],
        // No such thing.
        vec![0xff],
        vec![0x1c],
        // Two values.
        vec![0x01, 0x02],
        // Lists within lists without an end.
        vec![0x81; 100_000],
        vec![0x9f; 100_000],
    ]
}
