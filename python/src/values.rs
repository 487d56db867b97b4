//! Python's values as CBOR (RFC 8949), in which tasks, results and messages are written.
//!
//! There is no pickle: what comes from a guest is data, and can become nothing but the types that are named here. What
//! has no form is refused with its type's name.

use std::fmt::Display;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::errors::ValueFormError;

mod buffer;
mod decode;
mod encode;
mod item_form;
mod typed_array;

/// Values in values in values …, at most. Python itself gives up at about a thousand.
const DEPTH_MAX: u32 = 128;

/// Tags of the registry at iana.org/assignments/cbor-tags. Those of typed arrays are in `item_form.rs`.
const TAG_DATE_TIME: u64 = 0;
const TAG_BIG: u64 = 2;
const TAG_BIG_NEGATIVE: u64 = 3;
const TAG_DECIMAL: u64 = 4;
const TAG_UUID: u64 = 37;
const TAG_DIMENSIONS: u64 = 40;
const TAG_SET: u64 = 258;
const TAG_DATE: u64 = 1004;
const TAG_CBOR: u64 = 55799;

/// The kinds of items that are told apart by number: the three highest bits of an item's first byte.
const BYTES: u8 = 2;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

/// Encodes a value as CBOR.
///
/// Takes `None`, `bool`, `int` of any size, `float`, `str`, `bytes` and other buffers of bytes, `list`, `tuple` (which
/// comes back as a list), `dict` with any keys, `set`, `frozenset`, `datetime` with a time zone, `date`, `Decimal`, `UUID`,
/// numpy's numbers, and as typed arrays (RFC 8746) numpy arrays, `array.array` and other buffers of numbers.
///
/// A large array or `bytes` is copied once, into the result, if its memory is in one piece.
///
/// Raises `ValueFormError` for everything else.
#[pyfunction]
#[pyo3(signature = (value, /))]
pub(crate) fn dumps<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    encode::encode(value)?.into_python(value.py())
}

/// Decodes bytes that are one value in CBOR and nothing else.
///
/// A typed array becomes a numpy array if the program has imported numpy. Otherwise it becomes an `array.array`, or
/// with more than one dimension a `memoryview` of that shape; numbers of 16 bits with a point are then an array of
/// 32 bits, which has them all. Arrays have memory of their own, which can be written.
///
/// Raises `ValueFormError` if the bytes are no value.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub(crate) fn loads<'py>(py: Python<'py>, data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    decode(py, bytes_of(data)?.as_bytes())
}

/// The bytes of an object that has some: `bytes` itself, or a copy of what has a buffer.
pub(crate) fn bytes_of<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(bytes.clone());
    }
    Ok(PyMemoryView::from(data)?.call_method0("tobytes")?.cast_into()?)
}

/// Encodes a value as the input of a task; see [`dumps`].
pub(crate) fn encode(value: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    encode::encode(value)?.into_bytes(value.py())
}

/// Decodes one value; see [`loads`].
pub(crate) fn decode<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    decode::decode(py, data)
}

/// A module of Python, if the program has imported it: only then can there be values of its types.
fn imported<'py>(py: Python<'py>, module: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    let known = py.import("sys")?.getattr("modules")?.call_method1("get", (module,))?;
    Ok((!known.is_none()).then_some(known))
}

fn malformed(error: impl Display) -> PyErr {
    ValueFormError::new_err(format!("the bytes are no value in CBOR: {error}"))
}

/// The error for what has no form: its name, and what its owner can do.
fn refused(name: &str, advice: &str) -> PyErr {
    ValueFormError::new_err(format!("a {name} has no form that every language has; {advice}"))
}
