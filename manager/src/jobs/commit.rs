//! Group commit: writes the journal of jobs to disk, many changes at once, and then lets their effects take place.

use std::sync::Arc;
use std::time::Duration;

use grid_protocol::host::HostCommand;
use grid_protocol::job::{Assignment, AttemptId, JobId};
use grid_protocol::key::PublicKey;
use grid_protocol::limits::BATCH_BYTES_MAX;
use tokio::time::{sleep, timeout};

use crate::cluster::Cluster;
use crate::context::Context;
use crate::jobs::coordinator::Effect;
use crate::jobs::store::JobStore;
use crate::store::{Change, StoreError};

/// Under load, changes gather for so long after a commit, so that one wait for the disk serves many.
const LINGER: Duration = Duration::from_millis(1);

/// Orders that a host has not confirmed, at which it gets no more attempts.
const BACKLOG_MAX: usize = 4096;

/// A store that fails is tried again so often.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// Runs for as long as the manager does.
pub(crate) async fn run(context: &Arc<Context>) {
    let wake = context.cluster().coordinator.wake.clone();
    loop {
        let in_trouble = context.cluster().coordinator.trouble().is_some();
        let pause = if in_trouble { TROUBLE_PAUSE } else { Duration::MAX };
        // Whether the trouble is over is looked after, though there be nothing to write.
        let woken = timeout(pause, wake.notified()).await.is_ok();
        let (changes, effects) = context.cluster().coordinator.take_batch();
        if woken && changes.is_empty() && effects.is_empty() {
            continue;
        }
        write(context, changes, effects).await;
        sleep(LINGER).await;
    }
}

/// Writes what waits, once, after what is being written.
pub(crate) async fn finish(context: &Arc<Context>) {
    let _turn = context.committing.lock().await;
    let (changes, _) = context.cluster().coordinator.take_batch();
    if let Err(error) = context.job_store(move |job_store| job_store.commit(&changes)).await {
        tracing::error!(%error, "the last changes are not on disk; hosts will bring them again");
    }
}

/// Nothing takes effect before it is written. A disk that is full takes nothing but what fits into the reserve, and nothing is
/// handed out before it has room again.
async fn write(context: &Arc<Context>, changes: Vec<Change>, mut effects: Vec<Effect>) {
    #[cfg(feature = "fault-injection")]
    if context.config.sabotage == Some(crate::config::FaultInjection::AcknowledgeEarly) {
        let told = effects.extract_if(.., |effect| !matches!(effect, Effect::Assign { .. }));
        let told: Vec<_> = told.map(ReadyEffect::Effect).collect();
        context.change(|cluster, _| told.into_iter().for_each(|effect| cluster.take_effect(effect)));
        sleep(Duration::from_millis(100)).await;
    }
    let changes = Arc::new(changes);
    let (ready, shortage) = loop {
        let (job_store, changes) = (context.job_store.clone(), changes.clone());
        // The thread keeps the turn, even if nobody waits for it any more.
        let turn = context.committing.clone().lock_owned().await;
        let written = context.off_thread(move || {
            let _turn = turn;
            match job_store.commit(&changes) {
                Ok(()) => {
                    let ready = effects.into_iter().map(|effect| ReadyEffect::new(&job_store, effect));
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
            // The manager goes down.
            Err(_) => return,
        }
    };
    context.change(|cluster, _| {
        cluster.coordinator.turn_trouble(shortage);
        cluster.coordinator.written.notify_waiters();
        for ready in ready {
            cluster.take_effect(ready);
        }
    });
}

fn inputs(
    job_store: &JobStore,
    job: JobId,
    attempts: &[(AttemptId, u64)],
) -> Result<Vec<Assignment>, StoreError> {
    let mut assignments = Vec::with_capacity(attempts.len());
    for (attempt, task) in attempts {
        if let Some(input) = job_store.input(job, *task)? {
            assignments.push(Assignment { attempt: *attempt, task: *task, input });
        }
    }
    Ok(assignments)
}

/// An effect that can take place.
pub(crate) enum ReadyEffect {
    Assign { host: PublicKey, job: JobId, assignments: Vec<Assignment> },
    Effect(Effect),
}

impl ReadyEffect {
    fn new(job_store: &JobStore, effect: Effect) -> Self {
        let Effect::Assign { host, job, attempts } = effect else {
            return Self::Effect(effect);
        };
        let assignments = inputs(job_store, job, &attempts).unwrap_or_else(|error| {
            // The leases run out, and the tasks are handed out again.
            tracing::error!(%error, "inputs of tasks cannot be read");
            Vec::new()
        });
        Self::Assign { host, job, assignments }
    }
}

impl Cluster {
    fn take_effect(&mut self, ready: ReadyEffect) {
        match ready {
            ReadyEffect::Assign { host, job, assignments } => self.assign(host, job, assignments),
            ReadyEffect::Effect(Effect::Tell { host, command }) => self.command(host, &command),
            ReadyEffect::Effect(Effect::Acknowledge(client)) => {
                // The client may have gone; it asks again.
                let _ = client.send(());
            }
            ReadyEffect::Effect(Effect::OutcomeRecorded(job)) => self.coordinator.announce(job),
            ReadyEffect::Effect(Effect::Committed(standings)) => self.coordinator.committed(standings),
            ReadyEffect::Effect(Effect::Assign { .. }) => {}
        }
    }

    fn assign(&mut self, host: PublicKey, job: JobId, assignments: Vec<Assignment>) {
        // A host that takes nothing off our hands gets no more: its leases end by themselves.
        if self.sessions.get(&host).is_none_or(|session| session.control.backlog() >= BACKLOG_MAX) {
            return;
        }
        // A host that began anew meanwhile, or whose job was stopped, has lost the lease already.
        let stands = |assignment: &Assignment| self.coordinator.jobs.lease(assignment.attempt).is_some();
        let assignments: Vec<_> = assignments.into_iter().filter(stands).collect();
        if assignments.is_empty() {
            return;
        }
        if let Some(brief) = self.coordinator.brief(host, job) {
            self.command(host, &HostCommand::Job(brief));
        }
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
}
