//! Connections to a manager, and managers in this process.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::Serialize;
use wasm_grid::view::{HostView, WorkerView};
use wasm_grid::{
    Digest, GiveUp, JobId, Manager, ManagerAddress, PublicKey, Reply, Request, TraceContext, WorkerId,
    find_module, to_cbor,
};

use crate::errors::{GridError, denied, not_connected, not_published, not_sent, not_started};
use crate::inputs::to_input;
use crate::job::PyJob;
use crate::runtime::{wait, wait_for_blocking};
use crate::values::{bytes_of, decode};
use crate::workers::{Placed, event_tuple, restart_policy};

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
    /// Where other machines reach the manager, as `KEY@HOST:PORT` if its key is known; `None` if they cannot.
    address: Option<String>,
}

/// Connects to a manager: a ticket, `KEY@HOST:PORT` or `HOST:PORT`. `None` starts a manager and a host with so many slots in
/// this process; other machines reach it if it is to listen on an address. `program` is `grid` of this build, which guests run
/// in processes of; without it they run in this one.
#[pyfunction]
#[pyo3(signature = (manager, slots, home, listen, program))]
pub(crate) fn connect(
    py: Python<'_>,
    manager: Option<String>,
    slots: u32,
    home: Option<PathBuf>,
    listen: Option<String>,
    program: Option<PathBuf>,
) -> PyResult<PyClient> {
    let opened = match manager {
        Some(manager) => {
            let mut builder = wasm_grid::Client::builder();
            if let Some(home) = home {
                builder = builder.home(home);
            }
            let address = manager.parse::<ManagerAddress>().ok().as_ref().and_then(address_of);
            let client = wait_for_blocking(py, move || builder.connect(&manager))?;
            OpenClient { client: client.map_err(|error| not_connected(&error))?, own: None, address }
        }
        None => {
            let mut builder = Manager::builder().local_slots(slots);
            if let Some(home) = home {
                builder = builder.home(home);
            }
            if let Some(program) = program {
                builder = builder.local_program(program);
            }
            if let Some(listen) = listen {
                let address = listen.parse::<SocketAddr>();
                let address = address.map_err(|error| GridError::new_err(format!("{listen}: {error}")))?;
                builder = builder.listen(address).open_join(false);
            }
            let started = wait_for_blocking(py, move || builder.start())?;
            let own = started.map_err(|error| not_started(&error))?;
            let address = own.listening().map(|address| format!("{}@{address}", own.manager_key()));
            OpenClient { client: wasm_grid::Client::clone(&own), own: Some(own), address }
        }
    };
    let (open, uploaded) = (Mutex::new(Some(opened)), Mutex::default());
    Ok(PyClient { open, uploaded, process: std::process::id() })
}

/// The manager's address and, if it is known, its key; without a ticket's secret.
fn address_of(manager: &ManagerAddress) -> Option<String> {
    let address = manager.addresses().first()?;
    Some(manager.key().map_or_else(|| address.clone(), |key| format!("{key}@{address}")))
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

    fn ask_of_host(
        &self,
        py: Python<'_>,
        host: &str,
        ask: impl FnOnce(PublicKey) -> Request,
    ) -> PyResult<()> {
        let client = self.client()?;
        let host = host.parse::<PublicKey>().map_err(|error| GridError::new_err(error.to_string()))?;
        wait(py, client.request(ask(host)))?.map(drop).map_err(|denial| denied(py, &denial))
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
            return Err(not_understood());
        };
        Ok(find_module(&modules, name).map(|module| module.digest.to_string()))
    }

    /// Makes a job; nothing but the module has a default here.
    #[pyo3(signature = (module, *, name, arguments, labels, memory, priority, timeout, retries, max_failures, traceparent))]
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
        traceparent: Option<&str>,
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
        if let Some(traceparent) = traceparent {
            let context = traceparent.parse::<TraceContext>();
            job = job.part_of(context.map_err(|error| PyValueError::new_err(error.to_string()))?);
        }
        let started = wait(py, job.start())?;
        started.map(PyJob).map_err(|denial| denied(py, &denial))
    }

    /// A handle to a job that was made before, perhaps by another program.
    fn find_job(&self, id: &str) -> PyResult<PyJob> {
        let id = id.parse::<JobId>().map_err(|error| GridError::new_err(error.to_string()))?;
        Ok(PyJob(self.client()?.find_job(id)))
    }

    /// Starts workers of a module, `count` where there is room or one on each of `hosts`; their ids.
    #[pyo3(signature = (module, *, count, hosts, arguments, labels, memory, restart, ttl))]
    #[expect(clippy::too_many_arguments, reason = "they are the named settings of a worker")]
    fn spawn(
        &self,
        py: Python<'_>,
        module: &str,
        count: u32,
        hosts: Option<Vec<String>>,
        arguments: Vec<u8>,
        labels: Vec<(String, String)>,
        memory: u64,
        restart: Option<u32>,
        ttl: Duration,
    ) -> PyResult<Vec<String>> {
        let digest = module.parse::<Digest>().map_err(|error| GridError::new_err(error.to_string()))?;
        let placed = Placed::read(count, hosts)?;
        let mut spawn = self.client()?.spawn(digest).arguments(arguments).memory(memory).ttl(ttl);
        spawn = spawn.restart(restart_policy(restart));
        spawn = labels.iter().fold(spawn, |spawn, (name, value)| spawn.label(name, value));
        let started = wait(py, placed.start(spawn))?.map_err(|denial| denied(py, &denial))?;
        Ok(started.iter().map(WorkerId::to_string).collect())
    }

    /// Sends a worker a value, or bytes as they are if `raw`; waits while it has 4 MiB that it has not handled, or 8 of a single
    /// message. The message's number.
    fn send(&self, py: Python<'_>, worker: &str, message: &Bound<'_, PyAny>, raw: bool) -> PyResult<u64> {
        let (client, worker) = (self.client()?, worker_id(worker)?);
        let message = to_input(message, raw)?;
        wait(py, client.send(worker, message))?.map_err(|error| not_sent(&error))
    }

    /// Waits for so many seconds, or without an end, until something comes from workers, and takes all that has come.
    fn next_events<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let client = self.client()?;
        let mut events = Vec::new();
        let until = timeout.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
        wait(py, async {
            let next = client.next_events(&mut events);
            match until {
                // The call is cancel-safe: what has not been taken comes next time.
                Some(until) => drop(tokio::time::timeout(until, next).await),
                None => next.await,
            }
        })?;
        events.into_iter().filter_map(|event| event_tuple(py, event).transpose()).collect()
    }

    /// Asks workers to stop; each may take so long to finish its message.
    fn stop_workers(&self, py: Python<'_>, workers: Vec<String>, grace: Duration) -> PyResult<()> {
        let client = self.client()?;
        let workers = workers.iter().map(|worker| worker_id(worker)).collect::<PyResult<Vec<_>>>()?;
        wait(py, client.stop_workers(&workers, grace))?.map_err(|denial| denied(py, &denial))
    }

    /// This client's workers that have not ended, each as `grid worker ls --json` shows it.
    fn workers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let client = self.client()?;
        let workers = wait(py, client.workers())?.map_err(|denial| denied(py, &denial))?;
        shown(py, &workers.iter().map(WorkerView::from).collect::<Vec<_>>())
    }

    /// The hosts, each as `grid host ls --json` shows it.
    fn hosts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let client = self.client()?;
        match wait(py, client.request(Request::HostList))?.map_err(|denial| denied(py, &denial))? {
            Reply::Hosts(hosts) => shown(py, &hosts.iter().map(HostView::from).collect::<Vec<_>>()),
            _ => Err(not_understood()),
        }
    }

    /// Lets a host in that waits for approval, by its key.
    fn approve_host(&self, py: Python<'_>, host: &str) -> PyResult<()> {
        self.ask_of_host(py, host, |host| Request::HostApprove { host })
    }

    /// Makes a host leave in good order, by its key.
    fn drain_host(&self, py: Python<'_>, host: &str) -> PyResult<()> {
        self.ask_of_host(py, host, |host| Request::HostDrain { host })
    }

    /// Where other machines reach the manager, as `KEY@HOST:PORT`; `None` if they cannot.
    #[getter]
    fn address(&self) -> Option<String> {
        self.open.lock().as_ref().and_then(|open| open.address.clone())
    }

    /// Ends the connection, and the manager if it is in this process. A client that is closed stays so.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.process != std::process::id() {
            return Ok(());
        }
        let Some(OpenClient { client, own, .. }) = self.open.lock().take() else {
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

fn worker_id(text: &str) -> PyResult<WorkerId> {
    text.parse::<WorkerId>().map_err(|error| GridError::new_err(error.to_string()))
}

fn not_understood() -> PyErr {
    GridError::new_err("the manager's answer is not understood; upgrade this package")
}

/// A view in Python's own values.
fn shown<'py, T: Serialize>(py: Python<'py>, view: &T) -> PyResult<Bound<'py, PyAny>> {
    decode(py, &to_cbor(view).map_err(|error| GridError::new_err(error.to_string()))?)
}

impl Drop for PyClient {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // The threads that would have to end are the parent's.
            std::mem::forget(self.open.lock().take());
        }
    }
}
