//! Dispatch: which guest gets which task, when one is free, has finished a task, or has ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::job::{Assignment, AttemptEnd, AttemptResult, JobId, Payload};
use grid_protocol::limits::PAYLOAD_BYTES_MAX;
use grid_protocol::worker::End;
use tokio::time::Instant;

use super::TaskRunner;
use super::job_guest::{self, JobGuest};
use super::state::{AttemptState, Readiness, RunnerState};
use crate::sandbox::GuestEnd;

impl TaskRunner {
    /// Starts waiting tasks while there is capacity for them.
    pub(super) fn pump(self: &Arc<Self>, inner: &mut RunnerState) {
        while inner.running.len() + inner.sending < inner.capacity && !inner.is_alone_for_long() {
            let Some((job, task)) = inner.next_task(None, false) else {
                return;
            };
            if !self.hand_out(inner, job, task) {
                return;
            }
        }
    }

    /// Gives a task to an idle or new guest; false if there can be none now, and the task is put back first in line.
    fn hand_out(self: &Arc<Self>, inner: &mut RunnerState, id: JobId, task: Assignment) -> bool {
        let Some(job) = inner.jobs.get_mut(&id) else {
            return true;
        };
        let idle = std::iter::from_fn(|| job.idle.pop()).find(|guest| !guest.is_ending());
        let guest = match (idle, &job.ready) {
            (Some(guest), _) => guest,
            (None, Readiness::Program(program, limits)) => {
                let arguments = Bytes::from(job.brief.arguments.clone());
                match JobGuest::start(self, id, program, *limits, arguments) {
                    Ok(guest) => guest,
                    Err(error) => {
                        tracing::debug!(%error, "a task waits for a place to run");
                        inner.put_first(id, task);
                        inner.make_room(id);
                        return false;
                    }
                }
            }
            (None, _) => {
                inner.put_first(id, task);
                return false;
            }
        };
        inner.begin(&task);
        inner.running.push(guest.clone());
        inner.give(&guest, task, Instant::now());
        self.busy.notify_one();
        true
    }

    /// Called when a guest has finished its task `now`: records the end, and gives the guest another task if there is
    /// one.
    pub(super) fn finished(self: &Arc<Self>, guest: &Arc<JobGuest>, end: AttemptEnd, now: Instant) {
        let mut inner = self.lock();
        let ran = Duration::from_micros(end.ran_us);
        inner.note_time(ran, true);
        if is_long(&end) {
            if let Some(held) = inner.held.get_mut(&end.attempt) {
                *held = AttemptState::Sending;
                inner.sending += 1;
                // The supervisor holds the receiver for as long as the host runs.
                let _ = self.long.send((guest.job(), end));
            }
        } else {
            inner.end(end);
            inner.note_end_of(guest.job());
        }
        if let Some(job) = inner.jobs.get_mut(&guest.job()) {
            job.started = true;
        }
        inner.note_pace(guest.job(), ran);
        self.hand_on(&mut inner, guest, now);
        drop(inner);
        self.outbox.control_ready.notify_one();
        self.emptied.notify_one();
    }

    /// Gives a guest that has finished a task the next ones, or its slot to another.
    fn hand_on(self: &Arc<Self>, inner: &mut RunnerState, guest: &Arc<JobGuest>, now: Instant) {
        let (job, depth) = (guest.job(), inner.depth(guest.job()));
        let may = |inner: &RunnerState| {
            inner.running.len() + inner.sending <= inner.capacity
                && !inner.is_alone_for_long()
                && !guest.is_ending()
        };
        loop {
            let has = guest.tasks();
            let next = (has < depth && may(inner)).then(|| inner.next_task(Some(job), has > 0)).flatten();
            match next {
                Some((next, task)) if next == job => {
                    inner.begin(&task);
                    inner.give(guest, task, now);
                }
                _ if has > 0 => return,
                other => {
                    inner.running.retain(|running| !Arc::ptr_eq(running, guest));
                    inner.rest(guest);
                    if let Some((job, task)) = other {
                        self.hand_out(inner, job, task);
                    }
                    return self.pump(inner);
                }
            }
        }
    }

    /// Called when a guest has ended: fails its task, or requeues a task that the guest never started, or that was lost with
    /// its process.
    pub(super) fn ended(self: &Arc<Self>, guest: &Arc<JobGuest>, end: GuestEnd) {
        let mut inner = self.lock();
        inner.running.retain(|running| !Arc::ptr_eq(running, guest));
        inner.leaving.retain(|(_, leaving)| !Arc::ptr_eq(leaving, guest));
        if let Some(job) = inner.jobs.get_mut(&guest.job()) {
            job.idle.retain(|idle| !Arc::ptr_eq(idle, guest));
        }
        match end {
            GuestEnd::Lost { reason } => {
                inner.lost(guest, reason);
            }
            GuestEnd::Ended(End::Failed(failure)) => inner.unfinished(guest, failure),
            GuestEnd::Ended(other) => inner.unfinished(guest, job_guest::host_fault(other.to_string())),
        }
        self.pump(&mut inner);
        drop(inner);
        self.outbox.control_ready.notify_one();
        self.emptied.notify_one();
    }
}

/// True if the results do not fit into one report.
fn is_long(end: &AttemptEnd) -> bool {
    let AttemptResult::Done(results) = &end.result else {
        return false;
    };
    results.iter().map(Payload::frame_bytes).sum::<usize>() > PAYLOAD_BYTES_MAX
}
