//! What a host counts: kept always, shown only to whoever asks for it ([`monitor`](crate::monitor)).
//!
//! Labels are kinds of endings, of which there are some twenty; never a task, a job, a worker or a module. What happens
//! with each task costs a relaxed atomic addition or two, and takes neither a lock nor memory; a failure takes a lock
//! for reading.

mod histogram;
mod text;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use grid_net::{Conn, ConnTraffic};
use grid_protocol::job::{AttemptEnd, AttemptResult};
use grid_protocol::time::micros;
use grid_protocol::worker::End;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use histogram::TimeHistogram;
pub(crate) use text::{CacheUse, HostSnapshot};

/// How something ended, as a label.
type EndingLabel = [(&'static str, &'static str); 1];

/// How a task ended whose lease was revoked or expired while it ran.
const ABANDONED: EndingLabel = [("ending", "abandoned")];

/// What has happened on a host since it started.
#[derive(Debug)]
pub(crate) struct HostMetrics {
    /// The present connection, and what of its traffic has been counted.
    connection: Mutex<Option<(Conn, ConnTraffic)>>,
    has_joined: AtomicBool,
    /// The manager has not approved the host yet.
    is_pending: AtomicBool,
    reconnections: Counter,
    sent_bytes: Counter,
    received_bytes: Counter,
    tasks_begun: Counter,
    /// That of `tasks_ended` for tasks that were done.
    tasks_done: Counter,
    tasks_ended: Family<EndingLabel, Counter>,
    task_run: TimeHistogram,
    workers_started: Counter,
    workers_running: Gauge,
    workers_ended: Family<EndingLabel, Counter>,
    module_bytes_fetched: Counter,
    compilations_failed: Counter,
    compile: TimeHistogram,
    compiled_hits: Counter,
    compiled_misses: Counter,
    functions_reused: Counter,
}

impl Default for HostMetrics {
    fn default() -> Self {
        let (tasks_ended, workers_ended) =
            <(Family<EndingLabel, Counter>, Family<EndingLabel, Counter>)>::default();
        let tasks_done = tasks_ended.get_or_create_owned(&[("ending", "done")]);
        // Shown from the beginning, so that the first of them is an increase.
        drop(workers_ended.get_or_create(&[("ending", End::Stopped.label())]));
        Self {
            connection: Mutex::default(),
            has_joined: AtomicBool::default(),
            is_pending: AtomicBool::default(),
            reconnections: Counter::default(),
            sent_bytes: Counter::default(),
            received_bytes: Counter::default(),
            tasks_begun: Counter::default(),
            tasks_done,
            tasks_ended,
            task_run: TimeHistogram::default(),
            workers_started: Counter::default(),
            workers_running: Gauge::default(),
            workers_ended,
            module_bytes_fetched: Counter::default(),
            compilations_failed: Counter::default(),
            compile: TimeHistogram::default(),
            compiled_hits: Counter::default(),
            compiled_misses: Counter::default(),
            functions_reused: Counter::default(),
        }
    }
}

impl HostMetrics {
    /// Notes whether the host waits for approval.
    pub(crate) fn set_pending(&self, is_pending: bool) {
        self.is_pending.store(is_pending, Ordering::Relaxed);
    }

    /// Counts a connection over which the manager has admitted the host.
    pub(crate) fn connected(&self, conn: &Conn) {
        *self.connection.lock() = Some((conn.clone(), ConnTraffic::default()));
        if self.has_joined.swap(true, Ordering::Relaxed) {
            self.reconnections.inc();
        }
    }

    /// Counts the rest of the traffic of the connection, which has ended.
    pub(crate) fn disconnected(&self) {
        self.count_traffic();
        self.connection.lock().take();
    }

    /// True if the host has a connection to its manager.
    pub(crate) fn is_connected(&self) -> bool {
        self.connection.lock().is_some()
    }

    /// True if the host waits for approval.
    pub(crate) fn is_pending(&self) -> bool {
        self.is_pending.load(Ordering::Relaxed)
    }

    /// Counts a task that is given to a guest.
    pub(crate) fn task_begun(&self) {
        self.tasks_begun.inc();
    }

    /// Counts a task that has ended, and the time that it ran for.
    pub(crate) fn task_ended(&self, end: &AttemptEnd) {
        match &end.result {
            AttemptResult::Done(_) => {
                self.tasks_done.inc();
                self.task_run.observe(end.ran_us);
            }
            AttemptResult::Failed { failure, .. } => {
                self.tasks_ended.get_or_create(&[("ending", failure.kind.label())]).inc();
                // A task that never began ran for no time.
                if end.ran_us > 0 {
                    self.task_run.observe(end.ran_us);
                }
            }
        }
    }

    /// Counts a task that is ended because its lease is over.
    pub(crate) fn task_abandoned(&self) {
        self.tasks_ended.get_or_create(&ABANDONED).inc();
    }

    /// Counts a worker that has started.
    pub(crate) fn worker_started(&self) {
        self.workers_started.inc();
        self.workers_running.inc();
    }

    /// Counts a worker that has ended; `had_started` if [`Self::worker_started`] has counted it.
    pub(crate) fn worker_ended(&self, end: &End, had_started: bool) {
        self.workers_ended.get_or_create(&[("ending", end.label())]).inc();
        if had_started {
            self.workers_running.dec();
        }
    }

    /// Counts what came from the manager for a module.
    pub(crate) fn module_fetched(&self, bytes: u64) {
        self.module_bytes_fetched.inc_by(bytes);
    }

    /// Counts a module whose compiled code was on disk.
    pub(crate) fn compiled_code_found(&self) {
        self.compiled_hits.inc();
    }

    /// Counts a module whose compiled code was not on disk.
    pub(crate) fn compiled_code_missed(&self) {
        self.compiled_misses.inc();
    }

    /// Modules whose compiled code was not on disk.
    #[cfg(test)]
    pub(crate) fn compiled_code_misses(&self) -> u64 {
        self.compiled_misses.get()
    }

    /// Counts functions that need not be compiled, because an earlier module had them.
    pub(crate) fn functions_reused(&self, count: u32) {
        self.functions_reused.inc_by(count.into());
    }

    /// Counts a module that was compiled, or was not: how long it took, or `None`.
    pub(crate) fn compiled(&self, took: Option<Duration>) {
        match took {
            Some(took) => self.compile.observe(micros(took)),
            None => drop(self.compilations_failed.inc()),
        }
    }

    /// Counts what has gone over the present connection since the last call.
    fn count_traffic(&self) {
        if let Some((conn, counted)) = &mut *self.connection.lock()
            && let Some(now) = conn.traffic()
        {
            self.sent_bytes.inc_by(now.sent_bytes.saturating_sub(counted.sent_bytes));
            self.received_bytes.inc_by(now.received_bytes.saturating_sub(counted.received_bytes));
            *counted = now;
        }
    }
}
