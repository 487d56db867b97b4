//! Group commit: writes many changes of the job journal to disk in one commit, then runs their effects.

use std::sync::Arc;
use std::time::Duration;

use grid_net::Pace;
use grid_protocol::host::HostCommand;
use grid_protocol::job::{Assignment, AttemptId, JobId};
use grid_protocol::key::PublicKey;
use grid_protocol::limits::BATCH_BYTES_MAX;
use grid_protocol::time::Moment;
use grid_protocol::trace::TRACED_A_FRAME_MAX;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::Cluster;
use crate::context::Context;
use crate::jobs::coordinator::Effect;
use crate::jobs::inputs::InputReader;
use crate::store::{Change, StoreError};

/// Commits follow each other no faster on average, so that one disk sync serves many changes.
const COMMIT_PACE: Duration = Duration::from_millis(1);

/// Unconfirmed commands in a host's queue from which on it is assigned no more attempts.
const BACKLOG_MAX: usize = 4096;

/// Interval between attempts to write to a store that fails.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// Commits batches until the manager ends; never returns.
pub(crate) async fn run(context: &Arc<Context>) {
    let wake = context.cluster().coordinator.wake.clone();
    let (began, mut pace) = (Instant::now(), Pace::new(COMMIT_PACE));
    loop {
        let in_trouble = context.cluster().coordinator.trouble().is_some();
        let pause = if in_trouble { TROUBLE_PAUSE } else { Duration::MAX };
        // In trouble, an empty batch is committed every second, to notice that the store works again.
        let woken = timeout(pause, wake.notified()).await.is_ok();
        let (changes, effects) = context.cluster().coordinator.take_batch();
        if woken && changes.is_empty() && effects.is_empty() {
            continue;
        }
        write(context, changes, effects).await;
        if let Some(pause) = pace.after_turn(began.elapsed()) {
            sleep(pause).await;
        }
    }
}

/// Writes the journal once more at shutdown, after the commit in progress; drops the batch's effects.
pub(crate) async fn finish(context: &Arc<Context>) {
    let _turn = context.committing.lock().await;
    let changes = {
        let coordinator = &mut context.cluster().coordinator;
        // A batch that the store refused comes first: what follows builds on it. To write it twice changes nothing.
        let mut changes = coordinator.writing.take().map(|held| held.to_vec()).unwrap_or_default();
        changes.extend(coordinator.take_batch().0);
        changes
    };
    if let Err(error) = context.job_store(move |job_store| job_store.commit(&changes)).await {
        tracing::error!(%error, "the last changes are not on disk; hosts will bring them again");
    }
}

/// Commits `changes`, retrying until the store takes them, and only then runs `effects`. Records the store's
/// shortage, if any: while there is one, the coordinator hands out no tasks.
async fn write(context: &Arc<Context>, changes: Vec<Change>, mut effects: Vec<Effect>) {
    #[cfg(feature = "fault-injection")]
    if context.config.sabotage == Some(crate::fault_injection::FaultInjection::AcknowledgeEarly) {
        let told = effects.extract_if(.., |effect| !matches!(effect, Effect::Assign { .. }));
        let told: Vec<_> = told.map(ReadyEffect::Effect).collect();
        context.change(|cluster, now| told.into_iter().for_each(|effect| cluster.take_effect(now, effect)));
        sleep(Duration::from_millis(100)).await;
    }
    let changes = Arc::new(changes);
    context.cluster().coordinator.writing = Some(changes.clone());
    let (ready, shortage) = loop {
        let (job_store, changes) = (context.job_store.clone(), changes.clone());
        // The blocking thread holds the lock, so it stays held if this future is dropped.
        let turn = context.committing.clone().lock_owned().await;
        let activity = context.activity.clone();
        let written = context.off_thread(move || {
            let _turn = turn;
            let began = std::time::Instant::now();
            match job_store.commit(&changes) {
                Ok(()) => {
                    let bytes = changes.iter().map(Change::bytes).sum();
                    activity.metrics.committed(began.elapsed(), changes.len(), bytes);
                    let mut reader = InputReader::new(&job_store);
                    let ready = effects.into_iter().map(|effect| ReadyEffect::new(&mut reader, effect));
                    Ok((ready.collect::<Vec<_>>(), job_store.shortage()))
                }
                Err(error) => Err((error, effects)),
            }
        });
        match written.await {
            Ok(Ok(ready)) => break ready,
            Ok(Err((error, held))) => {
                context.cluster().coordinator.turn_trouble(Some(error.to_string()));
                effects = held;
                sleep(TROUBLE_PAUSE).await;
            }
            // The runtime is shutting down.
            Err(_) => return,
        }
    };
    context.change(|cluster, now| {
        cluster.coordinator.writing = None;
        cluster.coordinator.turn_trouble(shortage);
        cluster.coordinator.written.notify_waiters();
        for ready in ready {
            cluster.take_effect(now, ready);
        }
    });
}

fn inputs(
    reader: &mut InputReader<'_>,
    job: JobId,
    attempts: &[(AttemptId, u64)],
) -> Result<Vec<Assignment>, StoreError> {
    let tasks: Vec<_> = attempts.iter().map(|(_, task)| *task).collect();
    let inputs = reader.read(job, &tasks)?;
    let assign = |((attempt, task), input): (&(AttemptId, u64), Option<_>)| {
        input.map(|input| Assignment { attempt: *attempt, task: *task, input })
    };
    Ok(attempts.iter().zip(inputs).filter_map(assign).collect())
}

/// An effect whose inputs, if it needs any, were read from the store.
pub(crate) enum ReadyEffect {
    Assign { host: PublicKey, job: JobId, assignments: Vec<Assignment> },
    Effect(Effect),
}

impl ReadyEffect {
    fn new(reader: &mut InputReader<'_>, effect: Effect) -> Self {
        let Effect::Assign { host, job, attempts } = effect else {
            return Self::Effect(effect);
        };
        let assignments = inputs(reader, job, &attempts).unwrap_or_else(|error| {
            // The hosts never hear of these attempts; their leases run out, and the tasks are assigned again.
            tracing::error!(%error, "inputs of tasks cannot be read");
            Vec::new()
        });
        Self::Assign { host, job, assignments }
    }
}

impl Cluster {
    fn take_effect(&mut self, now: Moment, ready: ReadyEffect) {
        match ready {
            ReadyEffect::Assign { host, job, assignments } => self.assign(now, host, job, assignments),
            ReadyEffect::Effect(Effect::Tell { host, command }) => self.command(host, &command),
            ReadyEffect::Effect(Effect::Acknowledge(client)) => {
                // The client may have disconnected; it asks again.
                let _ = client.send(());
            }
            ReadyEffect::Effect(Effect::OutcomeRecorded(job)) => self.coordinator.announce(job),
            ReadyEffect::Effect(Effect::Committed(standings)) => self.coordinator.committed(standings),
            ReadyEffect::Effect(Effect::Traced(job, task)) => self.coordinator.end_trace(now, job, task),
            ReadyEffect::Effect(Effect::JobTraced(job, state)) => self.coordinator.end_job_trace(job, state),
            ReadyEffect::Effect(Effect::Assign { .. }) => {}
        }
    }

    fn assign(&mut self, now: Moment, host: PublicKey, job: JobId, assignments: Vec<Assignment>) {
        // A host that does not confirm its commands is assigned nothing; the leases expire.
        if self.sessions.get(&host).is_none_or(|session| session.control.backlog() >= BACKLOG_MAX) {
            return;
        }
        // The lease is gone if the host started a new session or the job was stopped meanwhile.
        let stands = |assignment: &Assignment| self.coordinator.jobs.lease(assignment.attempt).is_some();
        let assignments: Vec<_> = assignments.into_iter().filter(stands).collect();
        if assignments.is_empty() {
            return;
        }
        if let Some(brief) = self.coordinator.brief(host, job) {
            self.command(host, &HostCommand::Job(brief));
        }
        self.follow(now, host, &assignments);
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for assignment in assignments {
            let more = assignment.input.frame_bytes() + 24;
            if bytes + more > BATCH_BYTES_MAX && !batch.is_empty() {
                self.command(host, &HostCommand::Assign { job, attempts: std::mem::take(&mut batch) });
                bytes = 0;
            }
            bytes += more;
            batch.push(assignment);
        }
        if !batch.is_empty() {
            self.command(host, &HostCommand::Assign { job, attempts: batch });
        }
    }

    /// Has the host take the times of those attempts that are traced.
    fn follow(&mut self, now: Moment, host: PublicKey, assignments: &[Assignment]) {
        let tracer = &mut self.coordinator.tracer;
        let attempts = assignments.iter().map(|assignment| assignment.attempt);
        let traced: Vec<_> = attempts.filter(|attempt| tracer.follows(*attempt)).collect();
        traced.iter().for_each(|attempt| tracer.sent(now, host, *attempt));
        if self.sessions.get(&host).is_some_and(|session| session.traces) {
            for attempts in traced.chunks(TRACED_A_FRAME_MAX) {
                self.command(host, &HostCommand::Trace { attempts: attempts.to_vec() });
            }
        }
    }
}
