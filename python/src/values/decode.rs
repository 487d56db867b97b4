//! From CBOR to Python. The bytes come from guests: nothing that they say is believed.

use std::borrow::Cow;

use cbor4ii::core::dec::{self, Decode, Read};
use cbor4ii::core::types;
use cbor4ii::core::utils::SliceReader;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple};

use super::item_form::{ItemForm, TAGS};
use super::typed_array::{DIMENSIONS_MAX, TypedArray, half_to_double};
use super::{
    ARRAY, DEPTH_MAX, TAG, TAG_BIG, TAG_BIG_NEGATIVE, TAG_CBOR, TAG_DATE, TAG_DATE_TIME, TAG_DECIMAL,
    TAG_DIMENSIONS, TAG_SET, TAG_UUID, malformed,
};
use crate::errors::ValueFormError;

/// Decodes one value; see [`super::loads`].
pub(super) fn decode<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut reader = SliceReader::new(data);
    let value = ValueReader { py, reader: &mut reader }.value(DEPTH_MAX, false)?;
    match reader.fill(1) {
        Ok(rest) if rest.as_ref().is_empty() => Ok(value),
        _ => Err(ValueFormError::new_err("bytes follow the value; it is most likely text, see `results`")),
    }
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
            TAG_DATE_TIME => self.date_time(),
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
            TAG_SET => self.set(deeper, is_key),
            tag if (tag == TAG_DIMENSIONS || TAGS.contains(&tag)) && is_key => {
                Err(malformed("an array cannot be a key in Python"))
            }
            TAG_DIMENSIONS => self.array_of_dimensions(),
            tag if TAGS.contains(&tag) => self.numbers(tag)?.into_row(py),
            TAG_CBOR => self.value(deeper, is_key),
            tag => Err(malformed(format!("tag {tag} stands for no type of this package"))),
        }
    }

    fn date_time(&mut self) -> PyResult<Bound<'py, PyAny>> {
        let text = six_digits(&self.read::<Cow<'data, str>>()?);
        let class = self.py.import("datetime")?.getattr("datetime")?;
        let moment = class.call_method1("fromisoformat", (text,)).map_err(malformed)?;
        // Newer Pythons read more than RFC 3339 has.
        let offset = moment.call_method0("utcoffset")?;
        if offset.is_none() || offset.call_method0("total_seconds")?.extract::<f64>()? % 60.0 != 0.0 {
            return Err(malformed("a moment has a time zone of hours and minutes"));
        }
        Ok(moment)
    }

    fn set(&mut self, deeper: u32, is_key: bool) -> PyResult<Bound<'py, PyAny>> {
        if self.peek()? >> 5 != ARRAY {
            return Err(malformed("a set must be an array"));
        }
        let items = self.items(deeper, true)?;
        if is_key {
            Ok(PyFrozenSet::new(self.py, items)?.into_any())
        } else {
            Ok(PySet::new(self.py, items)?.into_any())
        }
    }

    /// The numbers of a typed array, behind its tag.
    fn numbers(&mut self, tag: u64) -> PyResult<TypedArray<'data>> {
        let form = ItemForm::of_tag(tag)
            .ok_or_else(|| malformed(format!("tag {tag} stands for no array of numbers that Python has")))?;
        TypedArray::new(form, self.bytes()?)
    }

    /// An array of any shape: the lengths of its dimensions, and a typed array.
    fn array_of_dimensions(&mut self) -> PyResult<Bound<'py, PyAny>> {
        let incomplete = || malformed("an array of dimensions is their lengths and a typed array");
        let mut parts = types::Array::<()>::len(self.reader).map_err(malformed)?;
        if !self.has_more(&mut parts)? {
            return Err(incomplete());
        }
        let mut lengths = types::Array::<()>::len(self.reader).map_err(malformed)?;
        let mut shape = Vec::new();
        while self.has_more(&mut lengths)? {
            if shape.len() == DIMENSIONS_MAX {
                return Err(malformed(format!("an array has more than {} dimensions", DIMENSIONS_MAX)));
            }
            shape.push(usize::try_from(self.read::<u64>()?).map_err(malformed)?);
        }
        if !self.has_more(&mut parts)? || self.peek()? >> 5 != TAG {
            return Err(incomplete());
        }
        let tag = types::Tag::<()>::tag(self.reader).map_err(malformed)?;
        let numbers = self.numbers(tag)?;
        if self.has_more(&mut parts)? {
            return Err(incomplete());
        }
        numbers.into_array(self.py, &shape)
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
