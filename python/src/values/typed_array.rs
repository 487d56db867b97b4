//! Typed arrays (RFC 8746) as arrays of Python.
//!
//! The package does not need numpy, and does not import it: only a program that has done so gets arrays of numpy.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyMemoryView, PyTuple};

use super::item_form::{IS_LITTLE, ItemForm};
use super::{imported, malformed};
use crate::errors::ValueFormError;

/// What numpy and `memoryview` can have of dimensions.
pub(super) const DIMENSIONS_MAX: usize = 64;

/// The numbers of a decoded array, in one row.
pub(super) struct TypedArray<'data> {
    form: ItemForm,
    data: Cow<'data, [u8]>,
}

impl<'data> TypedArray<'data> {
    pub(super) fn new(form: ItemForm, data: Cow<'data, [u8]>) -> PyResult<Self> {
        if data.len().is_multiple_of(form.size) {
            Ok(Self { form, data })
        } else {
            Err(malformed(format!("an array of {} bytes has no whole numbers of {}", data.len(), form.size)))
        }
    }

    /// How many they are.
    fn count(&self) -> usize {
        self.data.len() / self.form.size
    }

    /// Makes an array of one dimension.
    pub(super) fn into_row(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let count = self.count();
        self.into_array(py, &[count])
    }

    /// Makes an array of that shape, which must be the numbers'. It has its own memory, aligned for the numbers.
    pub(super) fn into_array<'py>(self, py: Python<'py>, shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
        // An allegation, like every length: with a 0 in it, the others could be anything.
        let count = shape.iter().try_fold(1_usize, |count, length| count.checked_mul(*length));
        if count != Some(self.count()) {
            return Err(malformed(format!(
                "an array of {} numbers does not have shape {shape:?}",
                self.count()
            )));
        }
        let dimensions = PyTuple::new(py, shape)?;
        if let Some(numpy) = imported(py, "numpy")? {
            let class = numpy.getattr("ndarray")?;
            return class.call1((dimensions, self.form.dtype(), self.in_memory(py)?)).map_err(malformed);
        }
        let (form, memory) = match self.form.letter() {
            'e' => (ItemForm::SINGLE, self.widened(py)?),
            _ => (self.form, self.in_memory(py)?),
        };
        if shape.len() == 1 {
            let array = py.import("array")?.getattr("array")?.call1((form.letter(),))?;
            // The only second copy: an array cannot take over memory.
            array.call_method1("frombytes", (memory,))?;
            return Ok(array);
        }
        if shape.contains(&0) {
            return Err(ValueFormError::new_err(format!(
                "an array of shape {shape:?} has no form in Python itself; import numpy"
            )));
        }
        PyMemoryView::from(&memory)?.call_method1("cast", (form.letter(), dimensions)).map_err(malformed)
    }

    /// The numbers in this machine's order, in memory that can be written.
    fn in_memory<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyByteArray>> {
        PyByteArray::new_with(py, self.data.len(), |memory| {
            memory.copy_from_slice(&self.data);
            if self.form.is_little != IS_LITTLE {
                memory.chunks_exact_mut(self.form.size).for_each(<[u8]>::reverse);
            }
            Ok(())
        })
    }

    /// TypedArray of half precision in single precision, which has them all: older Pythons cannot compute with them.
    fn widened<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyByteArray>> {
        PyByteArray::new_with(py, self.count() * ItemForm::SINGLE.size, |memory| {
            for (to, from) in memory.chunks_exact_mut(ItemForm::SINGLE.size).zip(self.data.chunks_exact(2)) {
                if let (Ok(to), Ok(from)) = (<&mut [u8; 4]>::try_from(to), <[u8; 2]>::try_from(from)) {
                    let bits =
                        if self.form.is_little { u16::from_le_bytes(from) } else { u16::from_be_bytes(from) };
                    *to = half_to_single(bits).to_ne_bytes();
                }
            }
            Ok(())
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "single precision has every number of half precision")]
fn half_to_single(bits: u16) -> f32 {
    half_to_double(bits) as f32
}

/// A half-precision number: a sign, five bits of exponent, ten of fraction.
pub(super) fn half_to_double(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * f64::powi(2.0, -24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * f64::powi(2.0, exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}
