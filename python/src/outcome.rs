//! The outcome of a task, as Python sees it.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use wasm_grid::TaskOutcome;

use crate::errors::{ValueFormError, task_failed};
use crate::values::decode;

/// What became of a task.
#[pyclass(frozen, name = "Outcome", module = "wasm_grid")]
pub(crate) struct PyOutcome(pub(crate) TaskOutcome);

#[pymethods]
impl PyOutcome {
    /// The task's number in its job, from 0.
    #[getter]
    fn task(&self) -> u64 {
        self.0.task
    }

    /// The outcome's own number in the job's record, from 1, in the order in which tasks ended.
    #[getter]
    fn seq(&self) -> u64 {
        self.0.seq
    }

    /// The name of the host that the task ended on.
    #[getter]
    fn host(&self) -> &str {
        &self.0.host
    }

    /// How long its last attempt ran, in seconds, as the host says.
    #[getter]
    fn seconds(&self) -> f64 {
        self.0.ran.as_secs_f64()
    }

    /// True if the task was done.
    #[getter]
    fn ok(&self) -> bool {
        self.0.results.is_ok()
    }

    /// The messages that the task sent, in order, as bytes. Raises `TaskError` if it failed.
    #[getter]
    fn results<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        match &self.0.results {
            Ok(results) => PyList::new(py, results.iter().map(|result| PyBytes::new(py, result))),
            Err(failed) => Err(task_failed(py, self.0.task, failed)),
        }
    }

    /// The first message that the task sent, as the value that it is in CBOR. Raises `TaskError` if it failed.
    #[getter]
    pub(crate) fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.0.results {
            Ok(results) => match results.first() {
                Some(first) => decode(py, first),
                None => Err(ValueFormError::new_err("the task sent nothing")),
            },
            Err(failed) => Err(task_failed(py, self.0.task, failed)),
        }
    }

    /// The `TaskError` of a task that failed, or `None`.
    #[getter]
    fn error(&self, py: Python<'_>) -> Option<PyErr> {
        self.0.results.as_ref().err().map(|failed| task_failed(py, self.0.task, failed))
    }

    fn __repr__(&self) -> String {
        let TaskOutcome { task, host, ran, results, .. } = &self.0;
        let how = if results.is_ok() { "done" } else { "failed" };
        format!("<Outcome of task {task}: {how} on {host} in {:.3} s>", ran.as_secs_f64())
    }
}
