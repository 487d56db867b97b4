//! Suspects: tasks under which hosts were lost, and which run alone.

use alloc::vec::Vec;

use grid_protocol::job::JobId;
use grid_protocol::time::Moment;

use super::{Jobs, WorkHost};

/// Tasks that must be alone and are looked at, at once.
const SUSPECTS_MAX: usize = 64;

impl Jobs {
    /// Gives each task that must be alone a host to itself, as soon as one is empty: it is kept empty for that.
    pub(super) fn place_suspects(&mut self, now: Moment) {
        self.end_reservations();
        let jobs = self.suspects.iter().filter_map(|(id, place)| Some((*id, *place, self.jobs.at(*place)?)));
        let suspects =
            jobs.flat_map(|(id, place, job)| job.suspects.iter().map(move |task| (id, place, *task)));
        let suspects: Vec<_> = suspects.take(SUSPECTS_MAX).collect();
        for (id, job, task) in suspects {
            let mut reserved = self.hosts.reserved.iter();
            let reserved = reserved.find(|(_, suspect)| **suspect == (id, task)).map(|(place, _)| *place);
            let Some(place) = reserved.or_else(|| self.host_for_suspect(job, task)) else {
                continue;
            };
            if self.hosts.at(place).is_some_and(|host| host.held > 0) {
                self.hosts.reserve(place, Some((id, task)));
            } else {
                self.hosts.reserve(place, None);
                self.grant(now, place, job, &[task], None);
            }
        }
    }

    /// Ends the reservations of tasks that do not wait any more, and at hosts that take nothing.
    fn end_reservations(&mut self) {
        let stands = |place: u32, (id, task): &(JobId, u64)| {
            self.hosts.at(place).is_some_and(WorkHost::is_open)
                && self.jobs.get(id).is_some_and(|job| job.suspects.contains(task))
        };
        let reserved = self.hosts.reserved.iter();
        let ended: Vec<_> =
            reserved.filter(|(place, suspect)| !stands(**place, suspect)).map(|(place, _)| *place).collect();
        for place in ended {
            self.hosts.reserve(place, None);
        }
    }

    /// The host that has been there longest, since one that comes and goes is no judge; one where the task was not tried
    /// if there is one.
    fn host_for_suspect(&self, job: u32, task: u64) -> Option<u32> {
        let job = self.jobs.at(job)?;
        let tried = job.histories.get(&task).map(|history| history.tried.as_slice()).unwrap_or_default();
        let mut tried_here = None;
        for (place, key) in self.hosts.unclaimed_for(job).filter(|(_, key)| !job.is_closed_to(key)) {
            if !tried.contains(key) {
                return Some(place);
            }
            tried_here = tried_here.or(Some(place));
        }
        tried_here
    }
}
