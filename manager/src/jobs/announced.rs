//! What clients are told of jobs: how they stand on disk, and nothing that a loss of power could take back.

use std::collections::BTreeMap;

use grid_protocol::job::{JobCounts, JobId, JobState};
use grid_scheduler::jobs::ScheduledJob;

/// How jobs stand on disk.
#[derive(Debug, Default)]
pub(crate) struct Announced(BTreeMap<JobId, AnnouncedJob>);

/// How one job stands.
#[derive(Debug, Clone)]
pub(crate) struct AnnouncedJob {
    pub(crate) state: JobState,
    counts: JobCounts,
    /// The number of the newest outcome.
    pub(crate) recorded: u64,
}

impl AnnouncedJob {
    /// How a job stands in memory, which is how it stands on disk once everything so far is there.
    pub(crate) fn of(job: &ScheduledJob) -> Self {
        Self { state: job.state.clone(), counts: job.counts(), recorded: job.recorded }
    }

    /// How far the job is, where `leased` tasks are with hosts just now. What is done but not yet on disk counts as waiting,
    /// so that the numbers add up.
    pub(crate) fn counts(&self, leased: u64) -> JobCounts {
        let open = self.counts.submitted.saturating_sub(self.counts.done + self.counts.dead);
        let leased = leased.min(open);
        JobCounts { leased, waiting: open - leased, ..self.counts }
    }
}

impl Announced {
    /// A job stands so on disk; `None` if it is there no more.
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
