//! Where the tasks of a job come from.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyBytesMethods, PyIterator};
use wasm_grid::{Denial, DenialCode, Inputs};

use crate::values::{bytes_of, encode};

/// What the program's own code raised while a task was taken from it.
pub(crate) type Raised = Arc<Mutex<Option<PyErr>>>;

/// The tasks of a job.
pub(crate) enum PyInputs {
    /// Those of an iterator, taken when there is room for them.
    Iterator { values: Py<PyIterator>, raw: bool, raised: Raised },
    /// Those that the program brings one at a time.
    Feed(Arc<Mutex<FeedQueue>>),
}

impl Inputs for PyInputs {
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Denial>>> {
        match self {
            Self::Iterator { values, raw, raised } => Poll::Ready(next_of(values, *raw, raised)),
            Self::Feed(queue) => {
                let mut queue = queue.lock();
                match queue.inputs.pop_front() {
                    Some(input) => Poll::Ready(Some(Ok(input))),
                    None if queue.has_ended => Poll::Ready(None),
                    None => {
                        queue.waiting = Some(cx.waker().clone());
                        Poll::Pending
                    }
                }
            }
        }
    }
}

fn next_of(values: &Py<PyIterator>, raw: bool, raised: &Raised) -> Option<Result<Bytes, Denial>> {
    let next = Python::attach(|py| {
        let value = values.bind(py).clone().next()?;
        Some(value.and_then(|value| to_input(&value, raw)))
    });
    next.map(|next| {
        next.map_err(|error| {
            *raised.lock() = Some(error);
            let (what, why) = ("a task".to_owned(), "the program raised an exception".to_owned());
            Denial { code: DenialCode::BadRequest, what, why, help: String::new() }
        })
    })
}

/// Bytes as they are if `raw`, else any value in CBOR.
pub(crate) fn to_input(value: &Bound<'_, PyAny>, raw: bool) -> PyResult<Bytes> {
    if raw { Ok(Bytes::copy_from_slice(bytes_of(value)?.as_bytes())) } else { encode(value) }
}

/// Tasks that a program brings one at a time, whenever it has one, from any thread.
#[pyclass(frozen, name = "Feed", module = "wasm_grid._wasm_grid")]
#[derive(Default)]
pub(crate) struct TaskFeed(Arc<Mutex<FeedQueue>>);

#[derive(Default)]
pub(crate) struct FeedQueue {
    inputs: VecDeque<Bytes>,
    has_ended: bool,
    /// Who waits for the next.
    waiting: Option<Waker>,
}

impl TaskFeed {
    pub(crate) fn inputs(&self) -> PyInputs {
        PyInputs::Feed(Arc::clone(&self.0))
    }

    fn change(&self, change: impl FnOnce(&mut FeedQueue)) {
        let waiting = {
            let mut queue = self.0.lock();
            change(&mut queue);
            queue.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

#[pymethods]
impl TaskFeed {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Adds a task, a value that is encoded already. What is added after the end is dropped.
    fn put(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let input = to_input(value, true)?;
        self.change(|queue| {
            if !queue.has_ended {
                queue.inputs.push_back(input);
            }
        });
        Ok(())
    }

    /// There will be no more.
    fn end(&self) {
        self.change(|queue| queue.has_ended = true);
    }
}
