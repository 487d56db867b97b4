//! Jobs, and the outcomes of their tasks while the tasks are submitted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};
use wasm_grid::view::JobView;
use wasm_grid::{Denial, JobInfo, JobState, Map, to_cbor};

use crate::errors::{GridError, denied};
use crate::inputs::{PyInputs, Raised, TaskFeed};
use crate::outcome::PyOutcome;
use crate::runtime::{start, wait, wait_until};
use crate::values::decode;

/// A job that the manager keeps. To let go of this handle does not stop the job.
#[pyclass(frozen, name = "Job", module = "wasm_grid._wasm_grid")]
pub(crate) struct PyJob(pub(crate) wasm_grid::Job);

/// The outcomes of a job, whose tasks are submitted while outcomes are taken.
#[pyclass(frozen, name = "Outcomes", module = "wasm_grid._wasm_grid")]
pub(crate) struct PyOutcomes {
    job: wasm_grid::Job,
    /// Whoever waits for an outcome holds it meanwhile.
    map: tokio::sync::Mutex<Map<PyInputs>>,
    raised: Raised,
}

impl PyOutcomes {
    /// What the program's own inputs raised, or else what the manager denied.
    fn raised_or(&self, py: Python<'_>, denial: &Denial) -> PyErr {
        self.raised.lock().take().unwrap_or_else(|| denied(py, denial))
    }
}

#[pymethods]
impl PyOutcomes {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    /// Waits for the next outcome. An exception of the iterator of inputs comes through; more outcomes may follow it.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyOutcome>> {
        let next = wait(py, async { self.map.lock().await.next().await })?;
        next.map(|outcome| outcome.map(PyOutcome)).map_err(|denial| self.raised_or(py, &denial))
    }

    /// Waits for the next outcome, for up to so many seconds: `False` stands for none until then.
    fn take<'py>(&self, py: Python<'py>, seconds: f64) -> PyResult<Option<Bound<'py, PyAny>>> {
        let end = Instant::now() + Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let next = wait_until(py, Some(end), async { self.map.lock().await.next().await })?;
        match next {
            None => Ok(Some(PyBool::new(py, false).to_owned().into_any())),
            Some(Ok(None)) => Ok(None),
            Some(Ok(Some(outcome))) => Ok(Some(Bound::new(py, PyOutcome(outcome))?.into_any())),
            Some(Err(denial)) => Err(self.raised_or(py, &denial)),
        }
    }

    /// The job.
    #[getter]
    fn job(&self) -> PyJob {
        PyJob(self.job.clone())
    }

    /// How far the job is, as of the manager's last answer; `None` before the first, or while another thread waits.
    fn progress<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let known = self.map.try_lock().ok().and_then(|map| map.progress().cloned());
        known.map(|info| info_dict(py, &info)).transpose()
    }
}

#[pymethods]
impl PyJob {
    /// The job's id, by which any program of the same user finds it.
    #[getter]
    fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// Submits tasks, those of an iterator or of a feed, numbered from `first`, and gives the outcomes with numbers after `after`.
    #[pyo3(signature = (inputs, *, first, after, raw, in_order))]
    fn go_on(
        &self,
        inputs: &Bound<'_, PyAny>,
        first: u64,
        after: u64,
        raw: bool,
        in_order: bool,
    ) -> PyResult<PyOutcomes> {
        let raised = Raised::default();
        let inputs = match inputs.cast::<TaskFeed>() {
            Ok(feed) => feed.get().inputs(),
            Err(_) => {
                PyInputs::Iterator { values: inputs.try_iter()?.unbind(), raw, raised: Arc::clone(&raised) }
            }
        };
        let map = self.0.go_on(first, inputs, after);
        let map = tokio::sync::Mutex::new(if in_order { map.in_order() } else { map });
        Ok(PyOutcomes { job: self.0.clone(), map, raised })
    }

    /// How far it is.
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        info_of(py, wait(py, self.0.show())?)
    }

    /// Waits until it is over.
    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        info_of(py, wait(py, self.0.wait())?)
    }

    /// Stops it: what waits is not done, what runs is stopped.
    fn cancel<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        info_of(py, wait(py, self.0.stop())?)
    }

    /// Tries the tasks again that have failed for good.
    fn retry<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        info_of(py, wait(py, self.0.retry())?)
    }

    /// Makes the manager forget it, once it is over.
    fn forget(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.0.forget())?.map_err(|denial| denied(py, &denial))
    }

    /// Stops it and makes the manager forget it, by and by: waits for that for up to so many seconds, which may be none.
    fn abandon(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let job = self.0.clone();
        let abandoned = start(async move {
            // It may be over, or forgotten already.
            let _ = job.stop().await;
            let _ = job.forget().await;
        })?;
        if seconds > 0.0 {
            let end = Instant::now() + Duration::try_from_secs_f64(seconds).unwrap_or_default();
            wait_until(py, Some(end), abandoned)?;
        }
        Ok(())
    }

    /// Why it is not further, in sentences.
    fn explain(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        wait(py, self.0.explain())?.map_err(|denial| denied(py, &denial))
    }
}

fn info_of(py: Python<'_>, info: Result<JobInfo, Denial>) -> PyResult<Bound<'_, PyDict>> {
    info_dict(py, &info.map_err(|denial| denied(py, &denial))?)
}

/// A job as `grid job show --json` shows it, with why it was given up.
fn info_dict<'py>(py: Python<'py>, info: &JobInfo) -> PyResult<Bound<'py, PyDict>> {
    let shown = to_cbor(&JobView::from(info)).map_err(|error| GridError::new_err(error.to_string()))?;
    let dict = decode(py, &shown)?.cast_into::<PyDict>()?;
    let why = if let JobState::GivenUp { why } = &info.state { Some(why) } else { None };
    dict.set_item("why", why)?;
    dict.set_item("is_over", info.state.is_over())?;
    Ok(dict)
}
