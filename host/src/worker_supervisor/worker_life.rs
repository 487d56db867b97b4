//! The life of a host's workers: how they start, end and are stopped.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::host::{HostEvent, SpawnWorker, WorkerStatus};
use grid_protocol::id::WorkerId;
use grid_protocol::key::PublicKey;
use grid_protocol::worker::{End, Failure, FailureKind};

use super::{WorkerEntry, WorkerSupervisor};
use crate::sandbox::{GuestEnd, GuestKind, GuestStart, Limits, Program, TrustDomain};

impl WorkerSupervisor {
    /// Starts workers: at once if their module is here, or when it has come.
    pub(super) fn spawn(self: &Arc<Self>, spawn: SpawnWorker, owner: Option<PublicKey>) {
        let domain = TrustDomain::Workers { owner };
        let arguments = Bytes::from(spawn.arguments);
        let mut entries = Vec::new();
        {
            let mut inner = self.lock();
            for worker in spawn.workers {
                let entry = Arc::new(WorkerEntry::new(worker, self.outbox.clone()));
                // A new worker has sent nothing, so the manager has everything up to 0.
                entry.mailbox.resume(inner.connection, 0);
                inner.workers.insert(worker, entry.clone());
                entries.push(entry);
            }
        }
        self.share_slots();
        let supervisor = self.clone();
        tokio::spawn(async move {
            let mut conns = supervisor.conns.subscribe();
            match supervisor.module_loader.program(spawn.module, GuestKind::Worker, &mut conns).await {
                Ok((program, limits, effort)) => {
                    if let Some(effort) = effort {
                        supervisor.report(&effort.report(spawn.module));
                    }
                    let own = supervisor.sandbox.policy().limits;
                    let limits = own.lowered(&limits).lowered(&spawn.limits);
                    for entry in entries {
                        supervisor.start(&program, &arguments, limits, domain, entry);
                    }
                }
                Err(error) => {
                    let failure = error.failure();
                    tracing::warn!(module = %spawn.module, %error, "a module does not run here");
                    for entry in entries {
                        supervisor.ended(&entry, End::Failed(failure.clone()));
                    }
                }
            }
        });
    }

    fn start(
        self: &Arc<Self>,
        program: &Program,
        arguments: &Bytes,
        limits: Limits,
        domain: TrustDomain,
        entry: Arc<WorkerEntry>,
    ) {
        let full = |max: usize| {
            let message = format!("the host runs {max} workers and has no room for another");
            End::Failed(Failure { kind: FailureKind::HostFull, message, backtrace: Vec::new() })
        };
        let (draining, crowded) = {
            let inner = self.lock();
            (inner.draining, inner.is_crowded(self.slots))
        };
        if draining || crowded {
            self.ended(&entry, full(self.slots));
            return;
        }
        let (for_start, for_end) = ((self.clone(), entry.clone()), (self.clone(), entry.clone()));
        let on_start = move || for_start.0.started(&for_start.1);
        let on_end = move |end| for_end.0.ended(&for_end.1, ended(end));
        let start = GuestStart {
            arguments: arguments.clone(),
            limits,
            mailbox: entry.mailbox.clone(),
            on_start: Box::new(on_start),
            on_end: Box::new(on_end),
        };
        match self.sandbox.start(program, domain, start) {
            Ok(abort) => entry.has_started(abort),
            Err(error) => {
                tracing::debug!(%error, "a worker was not started");
                self.ended(&entry, full(self.sandbox.policy().workers_max));
            }
        }
    }

    fn started(&self, entry: &WorkerEntry) {
        entry.running.store(true, Ordering::Relaxed);
        self.metrics.worker_started();
        let mut inner = self.lock();
        if inner.workers.contains_key(&entry.mailbox.worker()) {
            inner.started.push(entry.mailbox.worker());
            drop(inner);
            self.outbox.control_ready.notify_one();
        }
    }

    fn ended(&self, entry: &WorkerEntry, end: End) {
        let worker = entry.mailbox.worker();
        self.metrics.worker_ended(&end, entry.running.load(Ordering::Relaxed));
        let mut inner = self.lock();
        // Under the lock: otherwise `forget_if_over` could drop the entry before the end is reported.
        let (sent, settled) = entry.mailbox.end();
        // A worker that is not in the table belongs to an earlier session: the manager has forgotten it.
        if inner.workers.contains_key(&worker) {
            inner.report_started();
            // The log comes before the end: the manager ignores log lines of a worker that it does not know.
            self.report_log(&mut inner, worker);
            inner.control.send(&HostEvent::Ended { worker, end, sent, settled });
        }
        drop(inner);
        self.outbox.control_ready.notify_one();
        self.emptied.notify_one();
        self.forget_if_over(worker);
    }

    /// Asks workers to stop, and ends those that have not stopped after `grace`.
    pub(super) fn stop(&self, workers: &[WorkerId], grace: Duration) {
        let entries: Vec<_> = {
            let inner = self.lock();
            workers.iter().filter_map(|worker| inner.workers.get(worker).cloned()).collect()
        };
        for entry in entries {
            entry.mailbox.stop();
            if grace.is_zero() {
                entry.end_now();
            } else {
                tokio::spawn(async move {
                    tokio::time::sleep(grace).await;
                    entry.end_now();
                });
            }
        }
    }

    /// What a worker does now.
    pub(super) fn worker_status(&self, worker: WorkerId) -> WorkerStatus {
        match self.entry(worker) {
            None => WorkerStatus::Absent,
            Some(entry) if !entry.running.load(Ordering::Relaxed) => WorkerStatus::Starting,
            Some(entry) if entry.mailbox.is_busy() => WorkerStatus::Busy,
            Some(_) => WorkerStatus::Idle,
        }
    }
}

/// How a worker ended, for the manager.
fn ended(end: GuestEnd) -> End {
    match end {
        GuestEnd::Ended(end) => end,
        GuestEnd::Lost { reason: message } => {
            End::Failed(Failure { kind: FailureKind::HostFault, message, backtrace: Vec::new() })
        }
    }
}
