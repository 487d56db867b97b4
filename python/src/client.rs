//! Connections to a manager, and managers in this process.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use pyo3::prelude::*;
use wasm_grid::{Digest, GiveUp, JobId, Manager, Reply, Request, find_module};

use crate::errors::{GridError, denied, not_connected, not_published, not_started};
use crate::job::PyJob;
use crate::runtime::{wait, wait_for_blocking};
use crate::values::bytes_of;

/// How long the workers of a grid in this process may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// A client: of a manager over the network, or of one in this process.
#[pyclass(frozen, name = "Client", module = "wasm_grid._wasm_grid")]
pub(crate) struct PyClient {
    open: Mutex<Option<OpenClient>>,
    /// Modules that the manager is known to have.
    uploaded: Mutex<HashSet<Digest>>,
    /// The process that made it; a child that was forked off has none of its threads.
    process: u32,
}

struct OpenClient {
    client: wasm_grid::Client,
    /// The manager and its host, if they are this process's own.
    own: Option<Manager>,
}

/// Connects to a manager: a ticket, `KEY@HOST:PORT` or `HOST:PORT`. `None` starts a manager and a host with so many slots in
/// this process.
#[pyfunction]
#[pyo3(signature = (manager, slots, home))]
pub(crate) fn connect(
    py: Python<'_>,
    manager: Option<String>,
    slots: u32,
    home: Option<PathBuf>,
) -> PyResult<PyClient> {
    let opened = match manager {
        Some(manager) => {
            let mut builder = wasm_grid::Client::builder();
            if let Some(home) = home {
                builder = builder.home(home);
            }
            let client = wait_for_blocking(py, move || builder.connect(&manager))?;
            OpenClient { client: client.map_err(|error| not_connected(&error))?, own: None }
        }
        None => {
            let mut builder = Manager::builder().local_slots(slots);
            if let Some(home) = home {
                builder = builder.home(home);
            }
            let started = wait_for_blocking(py, move || builder.start())?;
            let own = started.map_err(|error| not_started(&error))?;
            OpenClient { client: wasm_grid::Client::clone(&own), own: Some(own) }
        }
    };
    let (open, uploaded) = (Mutex::new(Some(opened)), Mutex::default());
    Ok(PyClient { open, uploaded, process: std::process::id() })
}

/// The folder of the user's key, known managers and caches.
#[pyfunction]
pub(crate) fn home() -> PathBuf {
    grid_disk::home()
}

impl PyClient {
    fn client(&self) -> PyResult<wasm_grid::Client> {
        if self.process != std::process::id() {
            return Err(GridError::new_err(
                "this client belongs to the process that forked this one; call wasm_grid.connect() here, too",
            ));
        }
        let open = self.open.lock();
        let client = open.as_ref().map(|open| open.client.clone());
        client.ok_or_else(|| GridError::new_err("this client is closed; call wasm_grid.connect() again"))
    }
}

#[pymethods]
impl PyClient {
    /// Signs a module with the user's key and uploads it, unless this client has done so before; its digest.
    fn upload(&self, py: Python<'_>, name: String, module: &Bound<'_, PyAny>) -> PyResult<String> {
        let client = self.client()?;
        let wasm = Bytes::copy_from_slice(bytes_of(module)?.as_bytes());
        let digest = py.detach(|| Digest::of(&wasm));
        if !self.uploaded.lock().contains(&digest) {
            let uploaded = wait(py, async { client.upload(&name, wasm).await })?;
            uploaded.map_err(|error| not_published(py, &error))?;
            self.uploaded.lock().insert(digest);
        }
        Ok(digest.to_string())
    }

    /// The digest of the newest module of that name, or of that whose digest begins like that.
    fn find_module(&self, py: Python<'_>, name: &str) -> PyResult<Option<String>> {
        let client = self.client()?;
        let listed = wait(py, async { client.request(Request::ModuleList).await })?;
        let Reply::Modules(modules) = listed.map_err(|denial| denied(py, &denial))? else {
            return Err(GridError::new_err("the manager's answer is not understood; upgrade this package"));
        };
        Ok(find_module(&modules, name).map(|module| module.digest.to_string()))
    }

    /// Makes a job; nothing but the module has a default here.
    #[pyo3(signature = (module, *, name, arguments, labels, memory, priority, timeout, retries, max_failures))]
    #[expect(clippy::too_many_arguments, reason = "they are the named settings of a job")]
    fn new_job(
        &self,
        py: Python<'_>,
        module: &str,
        name: &str,
        arguments: Vec<u8>,
        labels: Vec<(String, String)>,
        memory: u64,
        priority: i32,
        timeout: Duration,
        retries: u32,
        max_failures: Option<(u64, bool)>,
    ) -> PyResult<PyJob> {
        let client = self.client()?;
        let digest = module.parse::<Digest>().map_err(|error| GridError::new_err(error.to_string()))?;
        let mut job = client.job(name, digest).arguments(arguments).memory(memory).priority(priority);
        job = job.timeout(timeout).retries(retries);
        job = labels.iter().fold(job, |job, (name, value)| job.label(name, value));
        job = match max_failures {
            None => job,
            Some((percent, true)) => job.max_failures(GiveUp::Percent(u8::try_from(percent).unwrap_or(100))),
            Some((count, false)) => job.max_failures(GiveUp::Count(count)),
        };
        let started = wait(py, job.start())?;
        started.map(PyJob).map_err(|denial| denied(py, &denial))
    }

    /// A handle to a job that was made before, perhaps by another program.
    fn find_job(&self, id: &str) -> PyResult<PyJob> {
        let id = id.parse::<JobId>().map_err(|error| GridError::new_err(error.to_string()))?;
        Ok(PyJob(self.client()?.find_job(id)))
    }

    /// Ends the connection, and the manager if it is in this process. A client that is closed stays so.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.process != std::process::id() {
            return Ok(());
        }
        let Some(OpenClient { client, own }) = self.open.lock().take() else {
            return Ok(());
        };
        wait_for_blocking(py, move || {
            client.goodbye(GRACE);
            drop(own);
        })
    }

    /// True once it was closed.
    #[getter]
    fn is_closed(&self) -> bool {
        self.open.lock().is_none()
    }
}

impl Drop for PyClient {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // The threads that would have to end are the parent's.
            std::mem::forget(self.open.lock().take());
        }
    }
}
