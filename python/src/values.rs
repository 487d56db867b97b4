//! Python's values as CBOR (RFC 8949), in which tasks, results and messages are written.
//!
//! There is no pickle: what comes from a guest is data, and can become nothing but the types that are named here. What
//! has no form is refused with its type's name.

use std::borrow::Cow;

use cbor4ii::core::dec::{self, Decode, Read};
use cbor4ii::core::enc::{Encode, Write};
use cbor4ii::core::types;
use cbor4ii::core::utils::{BufWriter, SliceReader};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PyMemoryView, PySet, PyString,
    PyTuple,
};

use crate::errors::ValueFormError;

/// Values in values in values …, at most. Python itself gives up at about a thousand.
const DEPTH_MAX: u32 = 128;

/// Tags of the registry at iana.org/assignments/cbor-tags.
const TAG_DATE_TIME: u64 = 0;
const TAG_BIG: u64 = 2;
const TAG_BIG_NEGATIVE: u64 = 3;
const TAG_DECIMAL: u64 = 4;
const TAG_UUID: u64 = 37;
const TAG_SET: u64 = 258;
const TAG_DATE: u64 = 1004;
const TAG_CBOR: u64 = 55799;

/// Encodes a value as CBOR.
///
/// Takes `None`, `bool`, `int` of any size, `float`, `str`, `bytes` and what is like them, `list`, `tuple` (which comes back
/// as a list), `dict` with any keys, `set`, `frozenset`, `datetime` with a time zone, `date`, `Decimal` and `UUID`.
///
/// Raises `ValueFormError` for everything else.
#[pyfunction]
#[pyo3(signature = (value, /))]
pub(crate) fn dumps<'py>(py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &encode(value)?))
}

/// Decodes bytes that are one value in CBOR and nothing else.
///
/// Raises `ValueFormError` if they are not.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub(crate) fn loads<'py>(py: Python<'py>, data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    decode(py, &bytes_of(data)?)
}

/// The bytes of an object that has some: `bytes`, `bytearray`, `memoryview` and whatever else has a buffer.
pub(crate) fn bytes_of<'a>(data: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(Cow::Borrowed(bytes.as_bytes()));
    }
    let view = PyMemoryView::from(data)?;
    let bytes = view.call_method0("tobytes")?;
    Ok(Cow::Owned(bytes.cast::<PyBytes>()?.as_bytes().to_vec()))
}

/// Encodes a value; see [`dumps`].
pub(crate) fn encode(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let mut out = BufWriter::new(Vec::new());
    encode_to(&mut out, value, DEPTH_MAX)?;
    Ok(out.into_inner())
}

/// Decodes one value; see [`loads`].
pub(crate) fn decode<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut reader = SliceReader::new(data);
    let value = ValueReader { py, reader: &mut reader }.value(DEPTH_MAX, false)?;
    match reader.fill(1) {
        Ok(rest) if rest.as_ref().is_empty() => Ok(value),
        _ => Err(ValueFormError::new_err("bytes follow the value; it is most likely text, see `results`")),
    }
}

fn put(out: &mut BufWriter, value: impl Encode) -> PyResult<()> {
    value.encode(out).map_err(|error| ValueFormError::new_err(error.to_string()))
}

/// The first byte, or bytes, of an item: its kind and its length or number.
fn put_head(out: &mut BufWriter, kind: u8, number: u64) -> PyResult<()> {
    // An unsigned number is encoded the same way, but for the kind in the three highest bits.
    let mut head = BufWriter::new(Vec::with_capacity(9));
    put(&mut head, number)?;
    let mut head = head.into_inner();
    if let Some(first) = head.first_mut() {
        *first |= kind << 5;
    }
    out.push(&head).map_err(|error| ValueFormError::new_err(error.to_string()))
}

const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

fn encode_to(out: &mut BufWriter, value: &Bound<'_, PyAny>, depth: u32) -> PyResult<()> {
    let deeper = depth
        .checked_sub(1)
        .ok_or_else(|| ValueFormError::new_err(format!("values are nested deeper than {DEPTH_MAX}")))?;
    if value.is_none() {
        put(out, types::Null)
    } else if let Ok(truth) = value.cast::<PyBool>() {
        put(out, truth.is_true())
    } else if let Ok(number) = value.cast::<PyInt>() {
        encode_int(out, number)
    } else if let Ok(number) = value.cast::<PyFloat>() {
        put(out, number.value())
    } else if let Ok(text) = value.cast::<PyString>() {
        let text =
            text.to_cow().map_err(|_| ValueFormError::new_err("a str with a lone surrogate has no UTF-8"))?;
        put(out, text.as_ref())
    } else if let Ok(bytes) = value.cast::<PyBytes>() {
        put(out, types::Bytes(bytes.as_bytes()))
    } else if let Ok(list) = value.cast::<PyList>() {
        encode_items(out, list.len(), list.iter(), deeper)
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        encode_items(out, tuple.len(), tuple.iter(), deeper)
    } else if let Ok(dict) = value.cast::<PyDict>() {
        // A copy: nobody else can change it meanwhile.
        let items = dict.items();
        put_head(out, MAP, items.len() as u64)?;
        for item in items {
            let (key, value) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            encode_to(out, &key, deeper)?;
            encode_to(out, &value, deeper)?;
        }
        Ok(())
    } else if value.is_instance_of::<PySet>() || value.is_instance_of::<PyFrozenSet>() {
        put_head(out, TAG, TAG_SET)?;
        let items: Vec<_> = value.try_iter()?.collect::<PyResult<_>>()?;
        encode_items(out, items.len(), items.into_iter(), deeper)
    } else if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
        put(out, types::Bytes(bytes_of(value)?.as_ref()))
    } else {
        encode_other(out, value)
    }
}

fn encode_items<'py>(
    out: &mut BufWriter,
    count: usize,
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    deeper: u32,
) -> PyResult<()> {
    put_head(out, ARRAY, count as u64)?;
    let mut written = 0;
    for item in items {
        encode_to(out, &item, deeper)?;
        written += 1;
    }
    if written == count {
        Ok(())
    } else {
        Err(ValueFormError::new_err("a list has changed while it was encoded"))
    }
}

fn encode_int(out: &mut BufWriter, number: &Bound<'_, PyInt>) -> PyResult<()> {
    if let Ok(number) = number.extract::<i64>() {
        return put(out, number);
    }
    let is_negative = number.lt(0)?;
    // -1 - n for a negative n, as CBOR has it.
    let bits = if is_negative { number.call_method0("__invert__")? } else { number.clone().into_any() };
    let length = bits.call_method0("bit_length")?.extract::<usize>()?.div_ceil(8).max(1);
    let bytes = bits.call_method1("to_bytes", (length, "big"))?;
    let bytes = bytes.cast::<PyBytes>()?.as_bytes();
    if let Ok(short) = <[u8; 8]>::try_from(bytes) {
        return put_head(out, u8::from(is_negative), u64::from_be_bytes(short));
    }
    put_head(out, TAG, if is_negative { TAG_BIG_NEGATIVE } else { TAG_BIG })?;
    put(out, types::Bytes(bytes))
}

/// Types of the standard library, known by name so that their modules are imported only by who uses them.
fn encode_other(out: &mut BufWriter, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let class = value.get_type();
    let is_a = |module: &str, name: &str| {
        let known = value.py().import("sys")?.getattr("modules")?.call_method1("get", (module,))?;
        if known.is_none() { Ok(false) } else { value.is_instance(&known.getattr(name)?) }
    };
    if is_a("datetime", "datetime")? {
        encode_date_time(out, value)
    } else if is_a("datetime", "date")? {
        put_head(out, TAG, TAG_DATE)?;
        encode_to(out, &value.call_method0("isoformat")?, 1)
    } else if is_a("uuid", "UUID")? {
        put_head(out, TAG, TAG_UUID)?;
        encode_to(out, &value.getattr("bytes")?, 1)
    } else if is_a("decimal", "Decimal")? {
        encode_decimal(out, value)
    } else {
        let name = class.fully_qualified_name()?;
        Err(ValueFormError::new_err(format!(
            "a {name} has no form that every language has; send what it holds, as numbers, str, bytes, list or dict"
        )))
    }
}

fn encode_date_time(out: &mut BufWriter, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let offset = value.call_method0("utcoffset")?;
    if offset.is_none() {
        return Err(ValueFormError::new_err(
            "a datetime without a time zone says no moment; give it one, as in datetime.now(timezone.utc)",
        ));
    }
    let zone = value.py().import("datetime")?.getattr("timezone")?.getattr("utc")?;
    // Offsets of parts of a minute have no form.
    let is_whole = offset.call_method0("total_seconds")?.extract::<f64>()? % 60.0 == 0.0;
    let value = if is_whole { value.clone() } else { value.call_method1("astimezone", (zone,))? };
    put_head(out, TAG, TAG_DATE_TIME)?;
    encode_to(out, &value.call_method0("isoformat")?, 1)
}

fn encode_decimal(out: &mut BufWriter, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let parts = value.call_method0("as_tuple")?;
    let (sign, digits) = (parts.getattr("sign")?.extract::<u8>()?, parts.getattr("digits")?);
    let Ok(exponent) = parts.getattr("exponent")?.extract::<i64>() else {
        return Err(ValueFormError::new_err(format!("the Decimal {value} has no form: it is not finite")));
    };
    let digits: Vec<u8> = digits.extract()?;
    let text: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
    let mantissa = value.py().get_type::<PyInt>().call1((text,))?;
    let mantissa = if sign == 1 { mantissa.call_method0("__neg__")? } else { mantissa };
    put_head(out, TAG, TAG_DECIMAL)?;
    put_head(out, ARRAY, 2)?;
    put(out, exponent)?;
    encode_int(out, mantissa.cast::<PyInt>()?)
}

fn malformed(error: impl std::fmt::Display) -> PyErr {
    ValueFormError::new_err(format!("the bytes are no value in CBOR: {error}"))
}

struct ValueReader<'py, 'read, 'data> {
    py: Python<'py>,
    reader: &'read mut SliceReader<'data>,
}

impl<'py, 'data> ValueReader<'py, '_, 'data> {
    /// The next value. One that is a key, or in a set, is made of what can be hashed.
    fn value(&mut self, depth: u32, is_key: bool) -> PyResult<Bound<'py, PyAny>> {
        let deeper =
            depth.checked_sub(1).ok_or_else(|| malformed(format!("it is nested deeper than {DEPTH_MAX}")))?;
        let py = self.py;
        match self.peek()? >> 5 {
            0 => Ok(self.read::<u64>()?.into_pyobject(py)?.into_any()),
            1 => {
                let types::Negative(number) = self.read::<types::Negative<u64>>()?;
                Ok((-1 - i128::from(number)).into_pyobject(py)?.into_any())
            }
            2 => Ok(PyBytes::new(py, &self.bytes()?).into_any()),
            3 => Ok(PyString::new(py, &self.read::<Cow<'data, str>>()?).into_any()),
            4 => self.array(deeper, is_key),
            5 if is_key => Err(malformed("a dict cannot be a key in Python")),
            5 => self.map(deeper),
            6 => self.tagged(deeper, is_key),
            _ => self.simple(),
        }
    }

    fn peek(&mut self) -> PyResult<u8> {
        let next = self.reader.fill(1).map_err(malformed)?;
        next.as_ref().first().copied().ok_or_else(|| malformed("it is cut short"))
    }

    fn read<T: Decode<'data>>(&mut self) -> PyResult<T> {
        T::decode(self.reader).map_err(malformed)
    }

    fn bytes(&mut self) -> PyResult<Cow<'data, [u8]>> {
        self.read::<types::Bytes<Cow<'data, [u8]>>>().map(|types::Bytes(bytes)| bytes)
    }

    /// True if one more item follows, of `left` if their number was given.
    fn has_more(&mut self, left: &mut Option<usize>) -> PyResult<bool> {
        match left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => Ok(!dec::is_break(self.reader).map_err(malformed)?),
        }
    }

    /// The items of an array. Their number is an allegation: nothing is set aside for it.
    fn items(&mut self, deeper: u32, is_key: bool) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let mut left = types::Array::<()>::len(self.reader).map_err(malformed)?;
        let mut items = Vec::new();
        while self.has_more(&mut left)? {
            items.push(self.value(deeper, is_key)?);
        }
        Ok(items)
    }

    fn array(&mut self, deeper: u32, is_key: bool) -> PyResult<Bound<'py, PyAny>> {
        let items = self.items(deeper, is_key)?;
        if is_key {
            Ok(PyTuple::new(self.py, items)?.into_any())
        } else {
            Ok(PyList::new(self.py, items)?.into_any())
        }
    }

    fn map(&mut self, deeper: u32) -> PyResult<Bound<'py, PyAny>> {
        let mut left = types::Map::<()>::len(self.reader).map_err(malformed)?;
        let dict = PyDict::new(self.py);
        while self.has_more(&mut left)? {
            let key = self.value(deeper, true)?;
            dict.set_item(key, self.value(deeper, false)?)?;
        }
        Ok(dict.into_any())
    }

    fn tagged(&mut self, deeper: u32, is_key: bool) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        match types::Tag::<()>::tag(self.reader).map_err(malformed)? {
            tag @ (TAG_BIG | TAG_BIG_NEGATIVE) => {
                let bytes = self.bytes()?;
                let number =
                    py.get_type::<PyInt>().call_method1("from_bytes", (PyBytes::new(py, &bytes), "big"))?;
                if tag == TAG_BIG { Ok(number) } else { number.call_method0("__invert__") }
            }
            TAG_DECIMAL => self.decimal(deeper),
            TAG_DATE_TIME => {
                let text = six_digits(&self.read::<Cow<'data, str>>()?);
                let class = py.import("datetime")?.getattr("datetime")?;
                class.call_method1("fromisoformat", (text,)).map_err(malformed)
            }
            TAG_DATE => {
                let text = self.read::<Cow<'data, str>>()?;
                py.import("datetime")?
                    .getattr("date")?
                    .call_method1("fromisoformat", (text,))
                    .map_err(malformed)
            }
            TAG_UUID => {
                let bytes = PyBytes::new(py, &self.bytes()?);
                let named = PyDict::new(py);
                named.set_item("bytes", bytes)?;
                py.import("uuid")?.getattr("UUID")?.call((), Some(&named)).map_err(malformed)
            }
            TAG_SET => {
                if self.peek()? >> 5 != ARRAY {
                    return Err(malformed("a set must be an array"));
                }
                let items = self.items(deeper, true)?;
                if is_key {
                    Ok(PyFrozenSet::new(py, items)?.into_any())
                } else {
                    Ok(PySet::new(py, items)?.into_any())
                }
            }
            TAG_CBOR => self.value(deeper, is_key),
            tag => Err(malformed(format!("tag {tag} stands for no type of this package"))),
        }
    }

    fn decimal(&mut self, deeper: u32) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        if self.peek()? >> 5 != ARRAY {
            return Err(malformed("a decimal must be an array"));
        }
        let items = self.items(deeper, true)?;
        let [exponent, mantissa] = &items[..] else {
            return Err(malformed("a decimal is an exponent and a mantissa"));
        };
        if !exponent.is_exact_instance_of::<PyInt>() || !mantissa.is_exact_instance_of::<PyInt>() {
            return Err(malformed("a decimal is made of two integers"));
        }
        let is_negative = mantissa.lt(0)?;
        let digits = mantissa.call_method0("__abs__")?.str().map_err(malformed)?.to_string();
        let digits: Vec<_> = digits.bytes().map(|digit| digit.saturating_sub(b'0')).collect();
        let parts = (u8::from(is_negative), PyTuple::new(py, digits)?, exponent);
        py.import("decimal")?.getattr("Decimal")?.call1((parts,)).map_err(malformed)
    }

    fn simple(&mut self) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        match self.peek()? {
            0xf4 | 0xf5 => Ok(PyBool::new(py, self.read::<bool>()?).to_owned().into_any()),
            // null, and undefined, which means that there is nothing.
            0xf6 | 0xf7 => {
                self.reader.advance(1);
                Ok(py.None().into_bound(py))
            }
            0xf9 => {
                let types::F16(bits) = self.read::<types::F16>()?;
                Ok(PyFloat::new(py, half_to_double(bits)).into_any())
            }
            0xfa => Ok(PyFloat::new(py, self.read::<f32>()?.into()).into_any()),
            0xfb => Ok(PyFloat::new(py, self.read::<f64>()?).into_any()),
            other => Err(malformed(format!("{other:#04x} begins nothing that is known"))),
        }
    }
}

/// A half-precision number: a sign, five bits of exponent, ten of fraction.
fn half_to_double(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * f64::powi(2.0, -24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * f64::powi(2.0, exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// A moment as the oldest supported Python reads it: six digits behind the point, and no `Z`.
fn six_digits(text: &str) -> String {
    let text = text.strip_suffix(['Z', 'z']).map_or_else(|| text.to_owned(), |text| format!("{text}+00:00"));
    let Some((before, after)) = text.split_once('.') else {
        return text;
    };
    let digits = after.find(|other: char| !other.is_ascii_digit()).unwrap_or(after.len());
    let (fraction, rest) = after.split_at(digits);
    format!("{before}.{fraction:0<6.6}{rest}")
}
