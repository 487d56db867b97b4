//! The exceptions of the package.

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;
use wasm_grid::{ClientError, Denial, ManagerError, PublishError, SendError, TaskFailed};

create_exception!(
    wasm_grid,
    GridError,
    PyException,
    "Something that the grid could not do. All others are kinds of it."
);
create_exception!(
    wasm_grid,
    ConnectError,
    GridError,
    "The manager was not reached, or did not let this client in."
);
create_exception!(
    wasm_grid,
    DeniedError,
    GridError,
    "The manager denied a request. `code`, `what`, `why` and `help` say it in parts."
);
create_exception!(
    wasm_grid,
    ModuleError,
    GridError,
    "The grid does not run such a module; its author must act."
);
create_exception!(
    wasm_grid,
    TaskError,
    GridError,
    "A task has failed for good. `task` is its number, `why` the reason, `attempts` lists its last attempts."
);
create_exception!(
    wasm_grid,
    WorkerGoneError,
    GridError,
    "A message was not sent: the worker has ended, or is another client's."
);
create_exception!(
    wasm_grid,
    ValueFormError,
    PyTypeError,
    "A value has no form in CBOR, or bytes are no such value."
);

pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("GridError", py.get_type::<GridError>())?;
    module.add("ConnectError", py.get_type::<ConnectError>())?;
    module.add("DeniedError", py.get_type::<DeniedError>())?;
    module.add("ModuleError", py.get_type::<ModuleError>())?;
    module.add("TaskError", py.get_type::<TaskError>())?;
    module.add("WorkerGoneError", py.get_type::<WorkerGoneError>())?;
    module.add("ValueFormError", py.get_type::<ValueFormError>())
}

/// What went wrong, why, and what to do, in one line.
fn sentence(what: &str, why: &str, help: &str) -> String {
    let mut text = if what.is_empty() { why.to_owned() } else { format!("{what}: {why}") };
    if !help.is_empty() {
        text.push_str(". ");
        text.push_str(help);
    }
    text
}

pub(crate) fn denied(py: Python<'_>, denial: &Denial) -> PyErr {
    let Denial { code, what, why, help } = denial;
    let error = DeniedError::new_err(sentence(what, why, help));
    let value = error.value(py);
    let parts =
        [("code", format!("{code:?}")), ("what", what.clone()), ("why", why.clone()), ("help", help.clone())];
    for (name, part) in parts {
        if let Err(error) = value.setattr(name, part) {
            return error;
        }
    }
    error
}

pub(crate) fn not_published(py: Python<'_>, error: &PublishError) -> PyErr {
    match error {
        PublishError::Denied(denial) => denied(py, denial),
        other => ModuleError::new_err(other.to_string()),
    }
}

pub(crate) fn not_connected(error: &ClientError) -> PyErr {
    ConnectError::new_err(error.to_string())
}

pub(crate) fn not_sent(error: &SendError) -> PyErr {
    match error {
        SendError::Gone(_) => WorkerGoneError::new_err(error.to_string()),
        other => GridError::new_err(other.to_string()),
    }
}

pub(crate) fn not_started(error: &ManagerError) -> PyErr {
    GridError::new_err(sentence("no grid can be started in this process", &error.to_string(), error.help()))
}

/// The error of a task: why, and the last attempts with the guest's own frames and last lines.
pub(crate) fn task_failed(py: Python<'_>, task: u64, failed: &TaskFailed) -> PyErr {
    let mut text = format!("task {task} failed: {}", failed.why);
    let mut attempts = Vec::new();
    for attempt in &failed.attempts {
        let message = match &attempt.failure {
            Some(failure) => failure.message.clone(),
            None => "the host was lost".to_owned(),
        };
        let frames = attempt.failure.as_ref().map(|failure| failure.backtrace.clone()).unwrap_or_default();
        let log: Vec<_> = attempt.log.iter().map(|line| line.text.clone()).collect();
        attempts.push((attempt.host_name.clone(), message, frames, log));
    }
    if let Some((host, message, frames, log)) = attempts.last() {
        text.push_str(&format!("\n  on {host}: {message}"));
        frames.iter().for_each(|frame| text.push_str(&format!("\n    at {frame}")));
        log.iter().for_each(|line| text.push_str(&format!("\n    | {line}")));
    }
    let error = TaskError::new_err(text);
    let value = error.value(py);
    let named = |attempt: &(String, String, Vec<String>, Vec<String>)| {
        let (host, message, backtrace, log) = attempt;
        let dict = pyo3::types::PyDict::new(py);
        dict.set_item("host", host)?;
        dict.set_item("message", message)?;
        dict.set_item("backtrace", backtrace)?;
        dict.set_item("log", log)?;
        PyResult::Ok(dict)
    };
    let described = attempts.iter().map(named).collect::<PyResult<Vec<_>>>();
    let set = described.and_then(|attempts| {
        value.setattr("task", task)?;
        value.setattr("why", &failed.why)?;
        value.setattr("attempts", attempts)
    });
    match set {
        Ok(()) => error,
        Err(error) => error,
    }
}
