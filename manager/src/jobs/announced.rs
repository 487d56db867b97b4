//! What clients are told about jobs: their state at the last commit, which a power loss cannot take back.

use std::collections::BTreeMap;

use grid_protocol::job::{JobCounts, JobId, JobState};
use grid_scheduler::jobs::ScheduledJob;

/// State of every job as of the last commit.
#[derive(Debug, Default)]
pub(crate) struct Announced(BTreeMap<JobId, AnnouncedJob>);

/// State of one job as of the last commit.
#[derive(Debug, Clone)]
pub(crate) struct AnnouncedJob {
    pub(crate) state: JobState,
    counts: JobCounts,
    /// Number of the newest outcome.
    pub(crate) recorded: u64,
}

impl AnnouncedJob {
    /// Copies a job's state from memory. The caller publishes it once all changes so far are on disk.
    pub(crate) fn of(job: &ScheduledJob) -> Self {
        Self { state: job.state.clone(), counts: job.counts(), recorded: job.recorded }
    }

    /// Progress of the job, of whose tasks hosts hold `leased` at present. A task that is done but not yet on disk
    /// counts as waiting, so that the counts add up to `submitted`.
    pub(crate) fn counts(&self, leased: u64) -> JobCounts {
        let open = self.counts.submitted.saturating_sub(self.counts.done + self.counts.dead);
        let leased = leased.min(open);
        JobCounts { leased, waiting: open - leased, ..self.counts }
    }
}

impl Announced {
    /// Records that the job stands like this on disk; `None` means that the job was forgotten.
    pub(crate) fn commit(&mut self, id: JobId, standing: Option<AnnouncedJob>) {
        match standing {
            Some(standing) => self.0.insert(id, standing),
            None => self.0.remove(&id),
        };
    }

    pub(crate) fn get(&self, id: JobId) -> Option<&AnnouncedJob> {
        self.0.get(&id)
    }
}
