//! The supervisor: the workers of a host, whichever connection serves them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use grid_disk::Machine;
use grid_net::Conn;
use grid_protocol::control::HostEnd;
use grid_protocol::host::{HostCommand, HostEvent, Position, Resume, SpawnWorker, WorkerStatus};
use grid_protocol::id::{SessionId, WorkerId};
use grid_protocol::job::{Assignment, AttemptEnd, JobBrief, JobId};
use grid_protocol::worker::{End, Failure, FailureKind};
use tokio::sync::{Notify, mpsc, watch};

use crate::mailbox::Mailbox;
use crate::module_loader::ModuleLoader;
use crate::outbox::Outbox;
use crate::sandbox::{AbortHandle, Sandbox};
use crate::task_runner::TaskRunner;
use crate::trust::HostTrust;

/// A host's workers and what they have to say.
#[derive(Debug)]
pub(crate) struct WorkerSupervisor {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) trust: Arc<HostTrust>,
    pub(crate) runner: Arc<TaskRunner>,
    pub(crate) slots: usize,
    pub(crate) machine: Machine,
    sandbox: Sandbox,
    module_loader: ModuleLoader,
    /// The connection that modules are fetched through.
    pub(crate) conns: watch::Sender<Option<Conn>>,
    inner: Mutex<SupervisorState>,
    /// Wakes whoever waits for the last worker to end.
    pub(crate) emptied: Arc<Notify>,
    /// Taken by whoever carries them.
    long_results: Mutex<Option<mpsc::UnboundedReceiver<(JobId, AttemptEnd)>>>,
}

#[derive(Debug, Default)]
struct SupervisorState {
    session: Option<SessionId>,
    control: HostEnd,
    workers: HashMap<WorkerId, Arc<WorkerEntry>>,
    /// Workers that run and have not been reported.
    started: Vec<WorkerId>,
    connection: u64,
    draining: bool,
}

/// A worker's place.
#[derive(Debug)]
pub(crate) struct WorkerEntry {
    pub(crate) mailbox: Arc<Mailbox>,
    fate: Mutex<Lifecycle>,
    running: std::sync::atomic::AtomicBool,
}

/// How a worker can be ended.
#[derive(Debug, Default)]
enum Lifecycle {
    /// Not yet: its module is fetched or compiled.
    #[default]
    Preparing,
    /// As soon as it has started.
    EndsAtStart,
    /// At once.
    Running(AbortHandle),
}

/// Reports that may wait for the manager before lines of log are held back.
const REPORTS_BEFORE_LOGS: usize = 256;

/// Workers that have ended and whose mail waits to be taken, beyond as many as there are slots: each may hold 4 MiB.
const ENDED_SPARE: usize = 16;

/// How long workers may finish when the host drains.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(30);

impl WorkerSupervisor {
    pub(crate) fn new(
        sandbox: Sandbox,
        module_loader: ModuleLoader,
        trust: Arc<HostTrust>,
        slots: usize,
        memory_bytes: u64,
        machine: Machine,
    ) -> Self {
        let outbox = Arc::<Outbox>::default();
        let emptied = Arc::<Notify>::default();
        let (long, long_results) = mpsc::unbounded_channel();
        let runner = TaskRunner::new(
            sandbox.clone(),
            outbox.clone(),
            slots,
            memory_bytes,
            machine.clone(),
            emptied.clone(),
            long,
        );
        let runner = Arc::new(runner);
        Self {
            outbox,
            runner,
            trust,
            slots,
            machine,
            sandbox,
            module_loader,
            conns: watch::Sender::new(None),
            inner: Mutex::default(),
            emptied,
            long_results: Mutex::new(Some(long_results)),
        }
    }

    /// What this end remembers of the session, for the manager to go on from.
    pub(crate) fn resume_offer(&self) -> Option<Resume> {
        let mut inner = self.lock();
        let session = inner.session?;
        let control = inner.control.position();
        let position = |(worker, entry): (&WorkerId, &Arc<WorkerEntry>)| Position {
            worker: *worker,
            received: entry.mailbox.position(),
        };
        Some(Resume { session, control, workers: inner.workers.iter().map(position).collect() })
    }

    /// A connection stands. Links go on where the manager says, or start anew, and old workers end.
    pub(crate) fn connected(&self, conn: &Conn, state: &Resume, resumed: bool) -> Result<(), String> {
        let connection = self.outbox.connect();
        let mut inner = self.lock();
        inner.connection = connection;
        if resumed {
            inner.control.resume(state.control).map_err(|error| error.to_string())?;
            for Position { worker, received } in &state.workers {
                if let Some(entry) = inner.workers.get(worker) {
                    entry.mailbox.resume(connection, *received).map_err(|error| error.to_string())?;
                }
            }
        } else {
            for (_, entry) in inner.workers.drain() {
                entry.end_now();
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
        self.outbox.control_ready.notify_one();
        self.outbox.mail_ready.notify_one();
        Ok(())
    }

    /// The connection is lost; workers go on.
    pub(crate) fn disconnected(&self) {
        self.conns.send_replace(None);
        self.runner.disconnected();
        self.outbox.disconnect();
    }

    /// The next frame for the control stream.
    pub(crate) fn next_report(&self) -> Option<Vec<u8>> {
        let mut inner = self.lock();
        inner.report_started();
        while inner.control.backlog() < 2 * REPORTS_BEFORE_LOGS
            && let Some(report) = self.runner.next_report()
        {
            inner.control.send(&report);
        }
        while inner.control.backlog() < REPORTS_BEFORE_LOGS
            && let Some((worker, log)) = self.outbox.take_log()
        {
            inner.control.send(&HostEvent::Log { worker, lines: log.lines, dropped: log.dropped });
        }
        inner.control.poll_transmit()
    }

    /// Handles a frame of the control stream.
    pub(crate) fn handle_control(self: &Arc<Self>, frame: &[u8]) -> Result<(), String> {
        let command = self.lock().control.handle_frame(frame).map_err(|error| error.to_string())?;
        // The acknowledgement waits to be written, whatever the command was.
        self.outbox.control_ready.notify_one();
        match command {
            Some(HostCommand::Spawn(spawn)) => self.spawn(spawn),
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
            Some(HostCommand::Assign { job, attempts }) => self.assign(job, attempts),
            Some(HostCommand::Abandon { attempts }) => self.runner.abandon(&attempts),
            Some(HostCommand::Settled { attempts }) => self.runner.settled(&attempts),
            Some(HostCommand::JobsOver { jobs }) => self.runner.jobs_over(&jobs),
            Some(HostCommand::Ping { worker, nonce }) => {
                let worker_status = self.worker_status(worker);
                let mut inner = self.lock();
                // Who asks for the log after an answer finds what was written before it.
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

    /// Makes the module of a job ready.
    fn load(self: &Arc<Self>, brief: JobBrief) {
        let supervisor = self.clone();
        tokio::spawn(async move {
            let mut conns = supervisor.conns.subscribe();
            let loaded = supervisor.module_loader.program(brief.module, &mut conns).await;
            let loaded = loaded.map(|(program, limits, effort)| {
                if let Some(effort) = effort {
                    supervisor.report(&effort.report(brief.module));
                }
                (program, limits)
            });
            supervisor.runner.loaded(brief.job, loaded.map_err(|error| error.failure()));
        });
    }

    /// Tells the task runner how many slots the workers leave.
    fn share_slots(&self) {
        let inner = self.lock();
        // Under the lock: of two that change the number of workers the later says it last.
        self.runner.set_capacity(self.slots.saturating_sub(inner.workers.len()));
        drop(inner);
        self.outbox.control_ready.notify_one();
    }

    /// Attempts with long results, for whoever carries them; `None` if somebody does.
    pub(crate) fn take_long_results(&self) -> Option<mpsc::UnboundedReceiver<(JobId, AttemptEnd)>> {
        self.long_results.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The entry of a worker.
    pub(crate) fn entry(&self, worker: WorkerId) -> Option<Arc<WorkerEntry>> {
        self.lock().workers.get(&worker).cloned()
    }

    /// Forgets a worker that has ended, once the manager has everything of it.
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

    /// Takes no more workers, and lets those that run finish.
    pub(crate) fn drain(&self) {
        let mut inner = self.lock();
        if std::mem::replace(&mut inner.draining, true) {
            return;
        }
        inner.control.send(&HostEvent::Draining);
        let workers: Vec<_> = inner.workers.keys().copied().collect();
        drop(inner);
        self.runner.drain();
        self.outbox.control_ready.notify_one();
        self.emptied.notify_one();
        self.stop(&workers, DRAIN_GRACE);
    }

    /// True once the host drains and has no worker left.
    pub(crate) fn is_drained(&self) -> bool {
        let inner = self.lock();
        inner.draining
            && inner.workers.is_empty()
            && inner.control.backlog() == 0
            && self.runner.is_empty(true)
    }

    /// As [`Self::is_drained`], when there is no connection to report the ends of workers on.
    pub(crate) fn is_drained_alone(&self) -> bool {
        let inner = self.lock();
        let idle =
            inner.workers.values().all(|entry| entry.mailbox.has_ended()) && self.runner.is_empty(false);
        inner.draining && idle
    }

    fn spawn(self: &Arc<Self>, spawn: SpawnWorker) {
        let arguments = Bytes::from(spawn.arguments);
        let mut entries = Vec::new();
        {
            let mut inner = self.lock();
            for worker in spawn.workers {
                let entry = Arc::new(WorkerEntry::new(worker, self.outbox.clone()));
                // A worker that nothing was received from yet: the manager has everything up to 0.
                let _ = entry.mailbox.resume(inner.connection, 0);
                inner.workers.insert(worker, entry.clone());
                entries.push(entry);
            }
        }
        self.share_slots();
        let supervisor = self.clone();
        tokio::spawn(async move {
            let mut conns = supervisor.conns.subscribe();
            match supervisor.module_loader.program(spawn.module, &mut conns).await {
                Ok((program, limits, effort)) => {
                    if let Some(effort) = effort {
                        supervisor.report(&effort.report(spawn.module));
                    }
                    let own = supervisor.sandbox.policy().limits;
                    let limits = own.lowered(&limits).lowered(&spawn.limits);
                    for entry in entries {
                        supervisor.start(&program, &arguments, limits, entry);
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
        program: &crate::sandbox::Program,
        arguments: &Bytes,
        limits: crate::sandbox::Limits,
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
        let on_end = move |end| for_end.0.ended(&for_end.1, end);
        match self.sandbox.start(program, arguments.clone(), limits, entry.mailbox.clone(), on_start, on_end)
        {
            Ok(abort) => entry.is_born(abort),
            Err(error) => {
                tracing::debug!(%error, "a worker was not started");
                self.ended(&entry, full(self.sandbox.policy().workers_max));
            }
        }
    }

    fn started(&self, entry: &WorkerEntry) {
        entry.running.store(true, std::sync::atomic::Ordering::Relaxed);
        let mut inner = self.lock();
        if inner.workers.contains_key(&entry.mailbox.worker()) {
            inner.started.push(entry.mailbox.worker());
            drop(inner);
            self.outbox.control_ready.notify_one();
        }
    }

    /// Reports what a worker has written and nobody was told yet.
    fn report_log(&self, inner: &mut SupervisorState, worker: WorkerId) {
        if let Some(log) = self.outbox.take_log_of(worker) {
            inner.control.send(&HostEvent::Log { worker, lines: log.lines, dropped: log.dropped });
        }
    }

    fn ended(&self, entry: &WorkerEntry, end: End) {
        let worker = entry.mailbox.worker();
        let mut inner = self.lock();
        // Under the lock: whoever finds that it has ended may forget it, and its end would not be reported.
        let (sent, settled) = entry.mailbox.end();
        // A manager that forgot the worker does not want to hear of it.
        if inner.workers.contains_key(&worker) {
            inner.report_started();
            // Its last words come before its end: a manager takes none from a worker that it does not know.
            self.report_log(&mut inner, worker);
            inner.control.send(&HostEvent::Ended { worker, end, sent, settled });
        }
        drop(inner);
        self.outbox.control_ready.notify_one();
        self.emptied.notify_one();
        self.forget_if_over(worker);
    }

    fn stop(&self, workers: &[WorkerId], grace: Duration) {
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

    fn worker_status(&self, worker: WorkerId) -> WorkerStatus {
        match self.entry(worker) {
            None => WorkerStatus::Absent,
            Some(entry) if !entry.running.load(std::sync::atomic::Ordering::Relaxed) => {
                WorkerStatus::Starting
            }
            Some(entry) if entry.mailbox.is_busy() => WorkerStatus::Busy,
            Some(_) => WorkerStatus::Idle,
        }
    }

    fn report(&self, report: &HostEvent) {
        self.lock().control.send(report);
        self.outbox.control_ready.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, SupervisorState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SupervisorState {
    /// True if there are more workers than slots, the one that is about to start among them. One that has ended and
    /// whose client has not taken its mail yet needs no slot; it takes memory, though, so that there is an end to those, too.
    fn is_crowded(&self, slots: usize) -> bool {
        let all = self.workers.len();
        if all <= slots {
            return false;
        }
        let alive = self.workers.values().filter(|entry| !entry.mailbox.has_ended()).count();
        alive > slots || all > 2 * slots + ENDED_SPARE
    }

    /// Workers that started are reported together, and before anything else about them.
    fn report_started(&mut self) {
        if !self.started.is_empty() {
            let workers = std::mem::take(&mut self.started);
            self.control.send(&HostEvent::Started { workers });
        }
    }
}

impl WorkerEntry {
    fn new(worker: WorkerId, outbox: Arc<Outbox>) -> Self {
        Self {
            mailbox: Arc::new(Mailbox::new(worker, outbox)),
            fate: Mutex::default(),
            running: false.into(),
        }
    }

    /// Ends the worker, whatever it does; one that has not started ends as soon as it does.
    fn end_now(&self) {
        self.mailbox.stop();
        let mut fate = self.fate.lock().unwrap_or_else(PoisonError::into_inner);
        match &*fate {
            Lifecycle::Running(abort) => abort.now(),
            Lifecycle::Preparing | Lifecycle::EndsAtStart => *fate = Lifecycle::EndsAtStart,
        }
    }

    fn is_born(&self, abort: AbortHandle) {
        let mut fate = self.fate.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*fate, Lifecycle::EndsAtStart) {
            abort.now();
        }
        *fate = Lifecycle::Running(abort);
    }
}
