//! Workers: where they start, and what is heard of them.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use wasm_grid::{Denial, End, Event, PublicKey, Restart, SpawnBuilder, WorkerId};

use crate::errors::GridError;

/// Where workers are to start.
pub(crate) enum Placed {
    Anywhere(u32),
    On(Vec<PublicKey>),
}

impl Placed {
    /// Reads a number, or the hosts' keys if there are some.
    pub(crate) fn read(count: u32, hosts: Option<Vec<String>>) -> PyResult<Self> {
        let Some(hosts) = hosts else { return Ok(Self::Anywhere(count)) };
        let keys = hosts.iter().map(|host| host.parse::<PublicKey>());
        let keys = keys.collect::<Result<Vec<_>, _>>();
        keys.map(Self::On).map_err(|error| GridError::new_err(error.to_string()))
    }

    pub(crate) async fn start(self, spawn: SpawnBuilder) -> Result<Vec<WorkerId>, Denial> {
        match self {
            Self::Anywhere(count) => spawn.anywhere(count).await,
            Self::On(hosts) => spawn.on(&hosts).await,
        }
    }
}

/// No number: never; the greatest: always.
pub(crate) fn restart_policy(at_most: Option<u32>) -> Restart {
    match at_most {
        None => Restart::Never,
        Some(u32::MAX) => Restart::Always,
        Some(at_most) => Restart::OnFailure { at_most },
    }
}

/// An event as a tuple that begins with its kind; `None` for a kind that this package does not know.
pub(crate) fn event_tuple<'py>(py: Python<'py>, event: Event) -> PyResult<Option<Bound<'py, PyAny>>> {
    let tuple = match event {
        Event::Joined { worker, host, module, replaces } => {
            let replaces = replaces.map(|worker| worker.to_string());
            ("joined", worker.to_string(), host.to_string(), module.to_string(), replaces)
                .into_pyobject(py)?
        }
        Event::Message { worker, payload } => {
            ("message", worker.to_string(), PyBytes::new(py, &payload)).into_pyobject(py)?
        }
        Event::Failed { worker, message, reason } => {
            ("failed", worker.to_string(), message, reason).into_pyobject(py)?
        }
        Event::Left { worker, end, unanswered } => {
            let frames = if let End::Failed(failure) = &end { failure.backtrace.clone() } else { Vec::new() };
            let unanswered = PyList::new(py, unanswered.iter().map(|message| PyBytes::new(py, message)))?;
            ("left", worker.to_string(), end.label(), end.to_string(), frames, unanswered)
                .into_pyobject(py)?
        }
        _ => return Ok(None),
    };
    Ok(Some(tuple.into_any()))
}
