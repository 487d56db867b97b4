//! The committer: writes the journal of jobs to disk, many changes at once, and then lets their effects take place.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use grid_protocol::host::Order;
use grid_protocol::job::{Assignment, AttemptId, JobId};
use grid_protocol::key::PublicKey;
use grid_protocol::limits::BATCH_BYTES_MAX;

use crate::foreman::Effect;
use crate::hub::Hub;
use crate::ledger::Ledger;
use crate::state::State;
use crate::store::{Change, StoreError};

/// Under load, changes gather for so long after a commit, so that one wait for the disk serves many.
const LINGER: Duration = Duration::from_millis(1);

/// A store that fails is tried again so often.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// Runs until nobody can wake it any more, or the hub is gone.
pub(crate) fn run(hub: &Weak<Hub>, ledger: &Ledger, wake: &Receiver<()>) {
    while wake.recv().is_ok() {
        let Some(hub) = hub.upgrade() else {
            return;
        };
        if commit_round(&hub, ledger) {
            thread::sleep(LINGER);
        }
    }
}

/// Writes what waits and does what follows from it; true if anything was written.
pub(crate) fn commit_round(hub: &Arc<Hub>, ledger: &Ledger) -> bool {
    let (changes, effects) = hub.state().foreman.take_batch();
    if changes.is_empty() && effects.is_empty() {
        return false;
    }
    if !changes.is_empty() {
        commit(hub, ledger, &changes);
    }
    let mut ready = Vec::new();
    for effect in effects {
        match effect {
            Effect::Assign { host, job, attempts } => match inputs(ledger, job, &attempts) {
                Ok(assignments) => ready.push(Ready::Assign { host, job, assignments }),
                // The leases run out, and the tasks are handed out again.
                Err(error) => tracing::error!(%error, "inputs of tasks cannot be read"),
            },
            other => ready.push(Ready::Effect(other)),
        }
    }
    hub.change(|state, _| {
        state.foreman.written.notify_waiters();
        for ready in ready {
            state.take_effect(ready);
        }
    });
    !changes.is_empty()
}

/// Nothing takes effect before it is written, so that a disk that is full holds everything up until it is not.
fn commit(hub: &Hub, ledger: &Ledger, changes: &[Change]) {
    while let Err(error) = ledger.commit(changes) {
        tracing::error!(%error, "the store takes no changes; jobs stand still until it does");
        hub.state().foreman.trouble = Some(error.to_string());
        thread::sleep(TROUBLE_PAUSE);
    }
    hub.state().foreman.trouble = None;
}

fn inputs(ledger: &Ledger, job: JobId, attempts: &[(AttemptId, u64)]) -> Result<Vec<Assignment>, StoreError> {
    let mut assignments = Vec::with_capacity(attempts.len());
    for (attempt, task) in attempts {
        if let Some(input) = ledger.input(job, *task)? {
            assignments.push(Assignment { attempt: *attempt, task: *task, input });
        }
    }
    Ok(assignments)
}

/// An effect that can take place.
pub(crate) enum Ready {
    Assign { host: PublicKey, job: JobId, assignments: Vec<Assignment> },
    Effect(Effect),
}

impl State {
    fn take_effect(&mut self, ready: Ready) {
        match ready {
            Ready::Assign { host, job, assignments } => self.assign(host, job, assignments),
            Ready::Effect(Effect::Tell { host, order }) => self.order(host, &order),
            Ready::Effect(Effect::Acknowledge(client)) => {
                // The client may have gone; it asks again.
                let _ = client.send(());
            }
            Ready::Effect(Effect::Recorded(job)) => self.foreman.announce(job),
            Ready::Effect(Effect::Assign { .. }) => {}
        }
    }

    fn assign(&mut self, host: PublicKey, job: JobId, assignments: Vec<Assignment>) {
        if !self.seats.contains_key(&host) {
            return;
        }
        if let Some(brief) = self.foreman.brief(host, job) {
            self.order(host, &Order::Job(brief));
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for assignment in assignments {
            // A host that began anew meanwhile has lost the lease already.
            if self.foreman.jobs.lease(assignment.attempt).is_none() {
                continue;
            }
            let more = assignment.input.frame_bytes() + 24;
            if bytes + more > BATCH_BYTES_MAX && !batch.is_empty() {
                self.order(host, &Order::Assign { job, attempts: std::mem::take(&mut batch) });
                bytes = 0;
            }
            bytes += more;
            batch.push(assignment);
        }
        if !batch.is_empty() {
            self.order(host, &Order::Assign { job, attempts: batch });
        }
    }
}
