//! From Python to CBOR.

use bytes::Bytes;
use cbor4ii::core::enc::{Encode, Write};
use cbor4ii::core::types;
use cbor4ii::core::utils::BufWriter;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PyMemoryView, PySet, PyString,
    PyTuple,
};

use super::buffer::{BufferForm, number_of};
use super::{
    ARRAY, BYTES, DEPTH_MAX, MAP, TAG, TAG_BIG, TAG_BIG_NEGATIVE, TAG_DATE, TAG_DATE_TIME, TAG_DECIMAL,
    TAG_DIMENSIONS, TAG_SET, TAG_UUID, imported, refused,
};
use crate::errors::ValueFormError;

/// Bytes from which on a buffer is worth a piece of its own, which is copied once instead of twice.
const PIECE_MIN: usize = 4096;

/// Encodes a value; see [`super::dumps`].
pub(super) fn encode<'py>(value: &Bound<'py, PyAny>) -> PyResult<Encoder<'py>> {
    let mut encoder = Encoder { pieces: Vec::new(), out: BufWriter::new(Vec::new()) };
    encoder.value(value, DEPTH_MAX)?;
    Ok(encoder)
}

/// A value as it is being encoded.
pub(super) struct Encoder<'py> {
    /// What comes before `out`: objects with buffers, whose bytes are first read when all are joined.
    pieces: Vec<Bound<'py, PyAny>>,
    out: BufWriter,
}

impl<'py> Encoder<'py> {
    /// The encoded value for Python.
    pub(super) fn into_python(self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let rest = PyBytes::new(py, self.out.buffer());
        if self.pieces.is_empty() {
            return Ok(rest);
        }
        let mut pieces = self.pieces;
        pieces.push(rest.into_any());
        Ok(PyBytes::new(py, b"").call_method1("join", (pieces,))?.cast_into()?)
    }

    /// The encoded value for Rust.
    pub(super) fn into_bytes(self, py: Python<'py>) -> PyResult<Bytes> {
        if self.pieces.is_empty() {
            return Ok(self.out.into_inner().into());
        }
        Ok(Bytes::from_owner(PyBackedBytes::from(self.into_python(py)?)))
    }

    fn put(&mut self, value: impl Encode) -> PyResult<()> {
        value.encode(&mut self.out).map_err(|error| ValueFormError::new_err(error.to_string()))
    }

    /// The first byte, or bytes, of an item: its kind and its length or number.
    fn head(&mut self, kind: u8, number: u64) -> PyResult<()> {
        // An unsigned number is encoded the same way, but for the kind in the three highest bits.
        let mut head = BufWriter::new(Vec::with_capacity(9));
        number.encode(&mut head).map_err(|error| ValueFormError::new_err(error.to_string()))?;
        let mut head = head.into_inner();
        if let Some(first) = head.first_mut() {
            *first |= kind << 5;
        }
        self.out.push(&head).map_err(|error| ValueFormError::new_err(error.to_string()))
    }

    /// A byte string of the bytes of an object: `bytes`, or a `memoryview` of any format and shape.
    ///
    /// The stable ABI lends a buffer's bytes only from Python 3.11 on. So a large one is left to `bytes.join`, which
    /// copies it once, to where it stays; one that is small, or not in one piece, is copied a second time.
    fn bytes(&mut self, value: &Bound<'py, PyAny>) -> PyResult<()> {
        let value = match value.cast::<PyMemoryView>() {
            Ok(view) if view.getattr("nbytes")?.extract::<usize>()? < PIECE_MIN => {
                view.call_method0("tobytes")?
            }
            Ok(view) if !view.getattr("c_contiguous")?.is_truthy()? => view.call_method0("tobytes")?,
            _ => value.clone(),
        };
        let length = match value.cast::<PyBytes>() {
            Ok(bytes) if bytes.as_bytes().len() < PIECE_MIN => {
                return self.put(types::Bytes(bytes.as_bytes()));
            }
            Ok(bytes) => bytes.as_bytes().len(),
            Err(_) => value.getattr("nbytes")?.extract::<usize>()?,
        };
        self.head(BYTES, length as u64)?;
        let before = std::mem::replace(&mut self.out, BufWriter::new(Vec::new()));
        self.pieces.push(PyBytes::new(value.py(), before.buffer()).into_any());
        self.pieces.push(value);
        Ok(())
    }

    /// Any value, of which `depth` may be inside of each other.
    fn value(&mut self, value: &Bound<'py, PyAny>, depth: u32) -> PyResult<()> {
        let deeper = depth
            .checked_sub(1)
            .ok_or_else(|| ValueFormError::new_err(format!("values are nested deeper than {DEPTH_MAX}")))?;
        if value.is_none() {
            self.put(types::Null)
        } else if let Ok(truth) = value.cast::<PyBool>() {
            self.put(truth.is_true())
        } else if let Ok(number) = value.cast::<PyInt>() {
            self.int(number)
        } else if let Ok(number) = value.cast::<PyFloat>() {
            self.put(number.value())
        } else if let Ok(text) = value.cast::<PyString>() {
            let text = text
                .to_cow()
                .map_err(|_| ValueFormError::new_err("a str with a lone surrogate has no UTF-8"))?;
            self.put(text.as_ref())
        } else if value.is_instance_of::<PyBytes>() {
            self.bytes(value)
        } else if let Ok(list) = value.cast::<PyList>() {
            self.items(list.len(), list.iter(), deeper)
        } else if let Ok(tuple) = value.cast::<PyTuple>() {
            self.items(tuple.len(), tuple.iter(), deeper)
        } else if let Ok(dict) = value.cast::<PyDict>() {
            self.dict(dict, deeper)
        } else if value.is_instance_of::<PySet>() || value.is_instance_of::<PyFrozenSet>() {
            self.head(TAG, TAG_SET)?;
            let items: Vec<_> = value.try_iter()?.collect::<PyResult<_>>()?;
            self.items(items.len(), items.into_iter(), deeper)
        } else if value.is_instance_of::<PyByteArray>() {
            // A view keeps others from changing its length.
            self.bytes(&PyMemoryView::from(value)?.into_any())
        } else {
            self.other(value)
        }
    }

    fn items(
        &mut self,
        count: usize,
        items: impl Iterator<Item = Bound<'py, PyAny>>,
        deeper: u32,
    ) -> PyResult<()> {
        self.head(ARRAY, count as u64)?;
        let mut written = 0;
        for item in items {
            self.value(&item, deeper)?;
            written += 1;
        }
        if written == count {
            Ok(())
        } else {
            Err(ValueFormError::new_err("a list has changed while it was encoded"))
        }
    }

    fn dict(&mut self, dict: &Bound<'py, PyDict>, deeper: u32) -> PyResult<()> {
        // A copy: nobody else can change it meanwhile.
        let items = dict.items();
        self.head(MAP, items.len() as u64)?;
        for item in items {
            let (key, value) = item.extract::<(Bound<'py, PyAny>, Bound<'py, PyAny>)>()?;
            self.value(&key, deeper)?;
            self.value(&value, deeper)?;
        }
        Ok(())
    }

    fn int(&mut self, number: &Bound<'py, PyInt>) -> PyResult<()> {
        if let Ok(number) = number.extract::<i64>() {
            return self.put(number);
        }
        let is_negative = number.lt(0)?;
        // -1 - n for a negative n, as CBOR has it.
        let bits = if is_negative { number.call_method0("__invert__")? } else { number.clone().into_any() };
        let length = bits.call_method0("bit_length")?.extract::<usize>()?.div_ceil(8).max(1);
        let bytes = bits.call_method1("to_bytes", (length, "big"))?;
        if let Ok(short) = <[u8; 8]>::try_from(bytes.cast::<PyBytes>()?.as_bytes()) {
            return self.head(u8::from(is_negative), u64::from_be_bytes(short));
        }
        self.head(TAG, if is_negative { TAG_BIG_NEGATIVE } else { TAG_BIG })?;
        self.bytes(&bytes)
    }

    /// Types of the standard library and of numpy, known by name so that their modules are imported only by who uses them.
    fn other(&mut self, value: &Bound<'py, PyAny>) -> PyResult<()> {
        let is_a = |module, name| match imported(value.py(), module)? {
            Some(module) => value.is_instance(&module.getattr(name)?),
            None => Ok(false),
        };
        if is_a("datetime", "datetime")? {
            self.date_time(value)
        } else if is_a("datetime", "date")? {
            self.head(TAG, TAG_DATE)?;
            self.value(&value.call_method0("isoformat")?, 1)
        } else if is_a("uuid", "UUID")? {
            self.head(TAG, TAG_UUID)?;
            self.bytes(&value.getattr("bytes")?)
        } else if is_a("decimal", "Decimal")? {
            self.decimal(value)
        } else if is_a("numpy", "generic")? {
            self.value(&number_of(value)?, 1)
        } else if is_a("numpy", "ndarray")? {
            if is_a("numpy.ma", "MaskedArray")? {
                return Err(refused("masked array", "send its .filled(), or its .data and .mask"));
            }
            self.buffer(&BufferForm::of_ndarray(value)?)
        } else if let Ok(view) = PyMemoryView::from(value) {
            self.buffer(&BufferForm::of_view(view, is_a("array", "array")?)?)
        } else {
            let name = value.get_type().fully_qualified_name()?.to_string();
            Err(refused(&name, "send what it holds, as numbers, str, bytes, list or dict"))
        }
    }

    fn buffer(&mut self, form: &BufferForm<'py>) -> PyResult<()> {
        let (view, form) = match form {
            BufferForm::Bytes(view) => return self.bytes(view),
            BufferForm::Array(view, form) => (view, form),
        };
        let shape: Vec<u64> = view.getattr("shape")?.extract()?;
        if shape.len() != 1 {
            self.head(TAG, TAG_DIMENSIONS)?;
            self.head(ARRAY, 2)?;
            self.head(ARRAY, shape.len() as u64)?;
            for length in shape {
                // 0 too, although RFC 8746 wants none: without it an empty array would lose its shape.
                self.put(length)?;
            }
        }
        self.head(TAG, form.tag())?;
        self.bytes(view)
    }

    fn date_time(&mut self, value: &Bound<'py, PyAny>) -> PyResult<()> {
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
        self.head(TAG, TAG_DATE_TIME)?;
        self.value(&value.call_method0("isoformat")?, 1)
    }

    fn decimal(&mut self, value: &Bound<'py, PyAny>) -> PyResult<()> {
        let parts = value.call_method0("as_tuple")?;
        let (sign, digits) = (parts.getattr("sign")?.extract::<u8>()?, parts.getattr("digits")?);
        let Ok(exponent) = parts.getattr("exponent")?.extract::<i64>() else {
            return Err(ValueFormError::new_err(format!(
                "the Decimal {value} has no form: it is not finite"
            )));
        };
        let digits: Vec<u8> = digits.extract()?;
        let text: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
        // Python makes no int of more than some 4300 digits.
        let mantissa = value.py().get_type::<PyInt>().call1((text,)).map_err(|error| {
            ValueFormError::new_err(format!("a Decimal of {} digits has no form: {error}", digits.len()))
        })?;
        let mantissa = if sign == 1 { mantissa.call_method0("__neg__")? } else { mantissa };
        self.head(TAG, TAG_DECIMAL)?;
        self.head(ARRAY, 2)?;
        self.put(exponent)?;
        self.int(mantissa.cast::<PyInt>()?)
    }
}
