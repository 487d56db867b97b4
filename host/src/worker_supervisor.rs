//! The worker supervisor: holds a host's workers, which outlive the connection to the manager.

mod worker_entry;
mod worker_life;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grid_disk::Machine;
use grid_net::Conn;
use grid_protocol::control::HostEnd;
use grid_protocol::host::{HostCommand, HostEvent, Position, Resume};
use grid_protocol::id::{SessionId, WorkerId};
use grid_protocol::job::{Assignment, AttemptEnd, JobBrief, JobId};
use grid_protocol::link::Link;
use grid_protocol::session::{self, Links};
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, mpsc, watch};

use crate::metrics::{CacheUse, HostMetrics, HostSnapshot};
use crate::module_loader::ModuleLoader;
use crate::outbox::Outbox;
use crate::sandbox::{GuestKind, Sandbox};
use crate::task_runner::{Report, TaskRunner};
use crate::trust::HostTrust;
pub(crate) use worker_entry::WorkerEntry;

/// The workers of a host, their reports to the manager, and the session that they belong to.
#[derive(Debug)]
pub(crate) struct WorkerSupervisor {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) trust: Arc<HostTrust>,
    pub(crate) runner: Arc<TaskRunner>,
    pub(crate) slots: usize,
    pub(crate) machine: Machine,
    pub(crate) metrics: Arc<HostMetrics>,
    sandbox: Sandbox,
    module_loader: ModuleLoader,
    /// The connection over which modules and payloads are transferred; `None` while there is none.
    pub(crate) conns: watch::Sender<Option<Conn>>,
    inner: Mutex<SupervisorState>,
    /// Notified when a worker or an attempt ends, so that a draining host can check whether it is empty.
    pub(crate) emptied: Arc<Notify>,
    /// Attempts with long results, until [`Self::take_long_results`] takes the receiver.
    long_results: Mutex<Option<mpsc::UnboundedReceiver<(JobId, AttemptEnd)>>>,
}

#[derive(Debug, Default)]
struct SupervisorState {
    session: Option<SessionId>,
    control: HostEnd,
    /// Looked into for each message, and so not ordered; what happens to all of them happens in the order of their ids.
    workers: HashMap<WorkerId, Arc<WorkerEntry>>,
    /// Workers that have started and whose start has not been reported.
    started: Vec<WorkerId>,
    connection: u64,
    draining: bool,
}

/// The links of a host's workers, which are in their mailboxes.
struct MailboxLinks<'a>(&'a HashMap<WorkerId, Arc<WorkerEntry>>);

impl Links<()> for MailboxLinks<'_> {
    fn with<R>(&mut self, worker: WorkerId, change: impl FnOnce(&mut Link) -> R) -> Option<R> {
        self.0.get(&worker).map(|entry| entry.mailbox.with_link(change))
    }
}

/// Unacknowledged reports on the control link at which log lines are held back in the outbox.
const REPORTS_BEFORE_LOGS: usize = 256;

/// Ended workers with mail that the manager has not taken, beyond one for each slot. Each holds memory: what a link may
/// have unsettled, 8 MiB and one message.
const ENDED_SPARE: usize = 16;

/// Time that workers have to finish when the host drains, before they are ended.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(30);

impl WorkerSupervisor {
    pub(crate) fn new(
        sandbox: Sandbox,
        module_loader: ModuleLoader,
        trust: Arc<HostTrust>,
        slots: usize,
        memory_bytes: u64,
        machine: Machine,
        metrics: Arc<HostMetrics>,
    ) -> Self {
        let outbox = Arc::<Outbox>::default();
        let (long, long_results) = mpsc::unbounded_channel();
        let runner = TaskRunner::new(
            sandbox.clone(),
            outbox.clone(),
            slots,
            memory_bytes,
            machine.clone(),
            long,
            metrics.clone(),
        );
        let emptied = runner.emptied.clone();
        let runner = Arc::new(runner);
        Self {
            outbox,
            runner,
            trust,
            slots,
            machine,
            metrics,
            sandbox,
            module_loader,
            conns: watch::Sender::new(None),
            inner: Mutex::default(),
            emptied,
            long_results: Mutex::new(Some(long_results)),
        }
    }

    /// The session and the positions of its links, for the manager to resume from; `None` before the first session.
    pub(crate) fn resume_offer(&self) -> Option<Resume> {
        let mut inner = self.lock();
        let session = inner.session?;
        let control = inner.control.position();
        let workers = session::positions(&mut MailboxLinks(&inner.workers), inner.worker_ids());
        Some(Resume { session, control, workers })
    }

    /// Handles a new connection: resumes the links at the positions that the manager reports.
    ///
    /// If the session is not `resumed`, ends all workers and starts a new session instead.
    ///
    /// # Errors
    ///
    /// The reason, if the manager claims to have received what was never sent; the caller closes the connection.
    pub(crate) fn connected(&self, conn: &Conn, state: &Resume, resumed: bool) -> Result<(), String> {
        let mut inner = self.lock();
        if resumed {
            session::check(&inner.control, &mut MailboxLinks(&inner.workers), state)
                .map_err(|error| error.to_string())?;
        }
        let connection = self.outbox.connect();
        inner.connection = connection;
        if resumed {
            inner.control.resume(state.control).map_err(|error| error.to_string())?;
            for Position { worker, received } in &state.workers {
                if let Some(entry) = inner.workers.get(worker) {
                    entry.mailbox.resume(connection, *received);
                }
            }
        } else {
            for worker in inner.worker_ids() {
                if let Some(entry) = inner.workers.remove(&worker) {
                    entry.end_now();
                }
            }
            inner.control = HostEnd::default();
            inner.started.clear();
            self.outbox.clear_logs();
            inner.session = Some(state.session);
            if inner.draining {
                inner.control.send(&HostEvent::Draining);
            }
        }
        drop(inner);
        self.share_slots();
        self.runner.connected(!resumed);
        self.conns.send_replace(Some(conn.clone()));
        self.metrics.connected(conn);
        self.outbox.control_ready.notify_one();
        self.outbox.mail_ready.notify_one();
        Ok(())
    }

    /// Handles the loss of the connection. Workers and tasks continue to run.
    pub(crate) fn disconnected(&self) {
        self.conns.send_replace(None);
        self.metrics.disconnected();
        self.runner.disconnected();
        self.outbox.disconnect();
    }

    /// Takes the next frame to send on the control stream; `None` if there is nothing to send.
    pub(crate) fn next_report(&self) -> Option<[Bytes; 2]> {
        let mut inner = self.lock();
        inner.report_started();
        while inner.control.backlog() < 2 * REPORTS_BEFORE_LOGS
            && let Some(report) = self.runner.next_report()
        {
            match report {
                Report::Outcomes(ends) => inner.control.send_body(ends.to_body()),
                Report::Event(event) => inner.control.send(&event),
            }
        }
        while inner.control.backlog() < REPORTS_BEFORE_LOGS
            && let Some((worker, log)) = self.outbox.take_log()
        {
            inner.control.send(&HostEvent::Log { worker, lines: log.lines, dropped: log.dropped });
        }
        inner.control.poll_transmit_parts()
    }

    /// Handles a frame that the manager sent on the control stream.
    ///
    /// # Errors
    ///
    /// The reason, if the frame breaks the rules of the control link; the caller closes the connection.
    pub(crate) fn handle_control(self: &Arc<Self>, frame: &[u8]) -> Result<(), String> {
        let command = self.lock().control.handle_frame(frame).map_err(|error| error.to_string())?;
        // Whatever the command was, it must be acknowledged.
        self.outbox.control_ready.notify_one();
        match command {
            Some(HostCommand::Spawn(spawn)) => self.spawn(spawn, None),
            Some(HostCommand::SpawnFor { owner, spawn }) => self.spawn(spawn, Some(owner)),
            Some(HostCommand::Stop { workers, grace_ms }) => {
                self.stop(&workers, Duration::from_millis(grace_ms.into()));
            }
            Some(HostCommand::Publishers { trusted, revoked }) => {
                self.trust.hear(trusted, revoked);
                for brief in self.runner.doubt() {
                    self.load(brief);
                }
            }
            Some(HostCommand::Drain) => self.drain(),
            Some(HostCommand::Job(brief)) => self.runner.brief(brief),
            Some(HostCommand::Trace { attempts }) => self.runner.follow(&attempts),
            Some(HostCommand::Assign { job, attempts }) => self.assign(job, attempts),
            Some(HostCommand::Abandon { attempts }) => self.runner.abandon(&attempts),
            Some(HostCommand::Settled { attempts }) => self.runner.settled(&attempts),
            Some(HostCommand::JobsOver { jobs }) => self.runner.jobs_over(&jobs),
            Some(HostCommand::Ping { worker, nonce }) => {
                let worker_status = self.worker_status(worker);
                let mut inner = self.lock();
                // The log goes first: a client that reads the log after the answer sees all lines written before it.
                self.report_log(&mut inner, worker);
                inner.control.send(&HostEvent::Pong { nonce, worker_status });
                drop(inner);
                self.outbox.control_ready.notify_one();
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    fn assign(self: &Arc<Self>, job: JobId, attempts: Vec<Assignment>) {
        let wants = self.runner.assign(job, attempts);
        if let Some(brief) = wants.module {
            self.load(brief);
        }
        for (task, payload) in wants.inputs {
            tokio::spawn(self.clone().fetch_input(job, task, payload));
        }
    }

    /// Loads the module of a job in the background and tells the task runner the result.
    fn load(self: &Arc<Self>, brief: JobBrief) {
        let supervisor = self.clone();
        tokio::spawn(async move {
            let mut conns = supervisor.conns.subscribe();
            let loaded = supervisor.module_loader.program(brief.module, GuestKind::Task, &mut conns).await;
            let mut compile = Duration::ZERO;
            let loaded = loaded.map(|(program, limits, effort)| {
                if let Some(effort) = effort {
                    compile = Duration::from_micros(effort.compile_us.unwrap_or_default());
                    supervisor.report(&effort.report(brief.module));
                }
                (program, limits)
            });
            supervisor.runner.loaded(brief.job, loaded.map_err(|error| error.failure()), compile);
        });
    }

    /// Tells the task runner how many slots no worker occupies.
    fn share_slots(&self) {
        let inner = self.lock();
        // Under the lock, so that of two concurrent changes the task runner hears the later one last.
        self.runner.set_capacity(self.slots.saturating_sub(inner.workers.len()));
        drop(inner);
        self.outbox.control_ready.notify_one();
    }

    /// Takes the receiver of attempts with long results; `None` if it was taken before.
    pub(crate) fn take_long_results(&self) -> Option<mpsc::UnboundedReceiver<(JobId, AttemptEnd)>> {
        self.long_results.lock().take()
    }

    /// The entry of a worker, if this host has that worker.
    pub(crate) fn entry(&self, worker: WorkerId) -> Option<Arc<WorkerEntry>> {
        self.lock().workers.get(&worker).cloned()
    }

    /// Calls `work` with all workers, under one lock.
    pub(crate) fn with_workers<T>(&self, work: impl FnOnce(&HashMap<WorkerId, Arc<WorkerEntry>>) -> T) -> T {
        work(&self.lock().workers)
    }

    /// Forgets a worker if it has ended and the manager has acknowledged all of its mail.
    pub(crate) fn forget_if_over(&self, worker: WorkerId) {
        let mut inner = self.lock();
        if inner.workers.get(&worker).is_some_and(|entry| entry.mailbox.is_over()) {
            inner.workers.remove(&worker);
            if inner.workers.is_empty() {
                self.emptied.notify_one();
            }
            drop(inner);
            self.share_slots();
        }
    }

    /// Starts draining: the host takes no more workers or tasks, and asks its workers to stop.
    ///
    /// Workers that still run after [`DRAIN_GRACE`] are ended; tasks that have begun run on to their end or timeout.
    pub(crate) fn drain(&self) {
        let mut inner = self.lock();
        if std::mem::replace(&mut inner.draining, true) {
            return;
        }
        inner.control.send(&HostEvent::Draining);
        let workers = inner.worker_ids();
        drop(inner);
        self.runner.drain();
        self.outbox.control_ready.notify_one();
        self.emptied.notify_one();
        self.stop(&workers, DRAIN_GRACE);
    }

    /// True once a draining host has no worker and no attempt, and the manager has acknowledged every report.
    pub(crate) fn is_drained(&self) -> bool {
        let inner = self.lock();
        inner.draining
            && inner.workers.is_empty()
            && inner.control.backlog() == 0
            && self.runner.is_empty(true)
    }

    /// True once a draining host runs nothing. For use without a connection, when ends cannot be reported.
    pub(crate) fn is_drained_alone(&self) -> bool {
        let inner = self.lock();
        let idle =
            inner.workers.values().all(|entry| entry.mailbox.has_ended()) && self.runner.is_empty(false);
        inner.draining && idle
    }

    /// How the host stands; it offers `memory_bytes` for guests.
    pub(crate) fn snapshot(&self, memory_bytes: u64) -> HostSnapshot {
        let (draining, workers) = {
            let inner = self.lock();
            (inner.draining, inner.workers.len())
        };
        HostSnapshot {
            connected: self.metrics.is_connected(),
            pending: self.metrics.is_pending(),
            draining,
            wedged: self.sandbox.is_wedged(),
            slots: self.slots,
            // Workers that have ended and whose mail was not taken may come on top.
            slots_used: (workers + self.runner.slots_used()).min(self.slots),
            memory_bytes: self.sandbox.memory_bytes(),
            memory_offered_bytes: memory_bytes,
        }
    }

    /// Starts what the first guests would otherwise wait for.
    pub(crate) fn warm_up(&self, told: &[grid_protocol::wall::Wall]) {
        self.sandbox.warm_up(told);
    }

    /// How full the folders of the disk cache are. Reads them.
    pub(crate) fn cache_use(&self) -> Vec<CacheUse> {
        self.module_loader.cache_use()
    }

    /// Sends the log lines of a worker that wait in the outbox.
    fn report_log(&self, inner: &mut SupervisorState, worker: WorkerId) {
        if let Some(log) = self.outbox.take_log_of(worker) {
            inner.control.send(&HostEvent::Log { worker, lines: log.lines, dropped: log.dropped });
        }
    }

    fn report(&self, report: &HostEvent) {
        self.lock().control.send(report);
        self.outbox.control_ready.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, SupervisorState> {
        self.inner.lock()
    }
}

impl SupervisorState {
    /// The ids of all workers, in order.
    fn worker_ids(&self) -> Vec<WorkerId> {
        let mut ids: Vec<_> = self.workers.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// True if there are too many workers, including the one about to start: more than `slots` alive, or more than
    /// `2 × slots + ENDED_SPARE` in all. An ended worker whose mail has not been taken needs memory, but no slot.
    fn is_crowded(&self, slots: usize) -> bool {
        let all = self.workers.len();
        if all <= slots {
            return false;
        }
        let alive = self.workers.values().filter(|entry| !entry.mailbox.has_ended()).count();
        alive > slots || all > 2 * slots + ENDED_SPARE
    }

    /// Reports all workers that have started, in one event. Called before anything else is reported about them.
    fn report_started(&mut self) {
        if !self.started.is_empty() {
            let workers = std::mem::take(&mut self.started);
            self.control.send(&HostEvent::Started { workers });
        }
    }
}
