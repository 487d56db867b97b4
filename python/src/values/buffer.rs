//! What buffers hold: bytes, or numbers that go as a typed array (RFC 8746).

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyMemoryView};

use super::item_form::ItemForm;
use super::refused;

/// What a buffer goes as.
pub(super) enum BufferForm<'py> {
    /// A byte string.
    Bytes(Bound<'py, PyMemoryView>),
    /// An array, of any shape.
    Array(Bound<'py, PyMemoryView>, ItemForm),
}

impl<'py> BufferForm<'py> {
    /// The form of a buffer: bytes in a row are a byte string, unless they are of a type that is always an array.
    pub(super) fn of_view(view: Bound<'py, PyMemoryView>, is_array: bool) -> PyResult<Self> {
        let format: String = view.getattr("format")?.extract()?;
        let is_row = view.getattr("ndim")?.extract::<usize>()? == 1;
        if is_row && !is_array && matches!(&*format, "B" | "c" | "<B" | "<c") {
            return Ok(Self::Bytes(view));
        }
        match form_of(&view)? {
            Some(form) => Ok(Self::Array(view, form)),
            None => {
                Err(refused(&format!("buffer of format {format:?}"), "send it as a list, with .tolist()"))
            }
        }
    }

    /// The form of an array of numpy.
    pub(super) fn of_ndarray(array: &Bound<'py, PyAny>) -> PyResult<Self> {
        // Moments, for one, have no buffer at all.
        if let Ok(view) = PyMemoryView::from(array)
            && let Some(form) = form_of(&view)?
        {
            return Ok(Self::Array(view, form));
        }
        let dtype = array.getattr("dtype")?;
        let advice = match &*dtype.getattr("kind")?.extract::<String>()? {
            "b" => "send it as .astype('uint8')",
            "c" => "send its .real and its .imag",
            "f" => "send it as .astype('float64')",
            "M" | "m" => "send it as .astype('int64'), and say the unit",
            "V" => "send its fields one by one",
            _ => "send it as a list, with .tolist()",
        };
        Err(refused(&format!("numpy array of {dtype}"), advice))
    }
}

/// A number of numpy as one of Python.
pub(super) fn number_of<'py>(scalar: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let kind: String = scalar.getattr("dtype")?.getattr("kind")?.extract()?;
    // A span of time also becomes an int, in a unit that would be lost.
    if matches!(&*kind, "b" | "i" | "u" | "f") {
        let number = scalar.call_method0("item")?;
        if number.is_exact_instance_of::<PyInt>()
            || number.is_exact_instance_of::<PyFloat>()
            || number.is_exact_instance_of::<PyBool>()
        {
            return Ok(number);
        }
    }
    let name = scalar.get_type().fully_qualified_name()?.to_string();
    Err(refused(&name, "send what it holds, as numbers or str"))
}

fn form_of(view: &Bound<'_, PyMemoryView>) -> PyResult<Option<ItemForm>> {
    let format: String = view.getattr("format")?.extract()?;
    Ok(ItemForm::of_format(&format, view.getattr("itemsize")?.extract()?))
}
