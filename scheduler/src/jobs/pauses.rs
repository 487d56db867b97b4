//! Pauses: what is left alone for a while, and when that is over.

use alloc::vec::Vec;
use core::time::Duration;

use grid_protocol::job::JobId;
use grid_protocol::time::Moment;

use super::{JobDecision, Jobs};

/// A job that no host can run is given up after so long: hosts may be on their way back.
pub(super) const HOPE_PATIENCE: Duration = Duration::from_secs(30);

impl Jobs {
    /// When [`Self::handle_timeout`] is due, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let pause = self.pause_ends.into_iter();
        pause.chain(self.leases.due()).min()
    }

    /// Does what is due at `now`: ends leases, quarantines and pauses. [`Self::dispatch`] comes after it.
    pub fn handle_timeout(&mut self, now: Moment) {
        // All of them first: what becomes of one does not concern another that has ended, too.
        let expired = self.leases.expired(now).into_iter();
        let expired: Vec<_> =
            expired.filter_map(|attempt| Some((attempt, self.take_lease(attempt)?))).collect();
        for (attempt, lease) in expired {
            self.lose(now, attempt, lease, false);
            if let Some(place) = self.hosts.place(&lease.host) {
                self.hosts.update(place, |host| host.silent = host.present);
            }
            self.decisions
                .push_back(JobDecision::Abandon { host: lease.host, attempts: alloc::vec![attempt] });
        }
        if self.pause_ends.is_some_and(|due| due <= now) {
            self.end_pauses(now);
        }
    }

    fn end_pauses(&mut self, now: Moment) {
        while let Some((_, place)) = self.hosts.quarantined.first().copied().filter(|(due, _)| *due <= now) {
            self.hosts.set_quarantine(place, None);
        }
        while let Some((_, place)) = self.pauses.first().copied().filter(|(due, _)| *due <= now) {
            let next = self.jobs.at_mut(place).and_then(|job| job.end_pauses(now));
            self.set_pause(place, next);
            self.note_waiting(place);
        }
        let quarantines = self.hosts.quarantined.first().map(|(due, _)| *due);
        self.pause_ends = quarantines.into_iter().chain(self.next_pause()).min();
        self.look_at_hopeless(now);
    }

    /// When the next pause of a job ends.
    fn next_pause(&mut self) -> Option<Moment> {
        loop {
            let (due, place) = self.pauses.first().copied()?;
            let next = self.jobs.at(place).and_then(super::ScheduledJob::next_pause);
            if next == Some(due) {
                return next;
            }
            // The one that would have ended first is not there any more.
            self.set_pause(place, next);
        }
    }

    fn look_at_hopeless(&mut self, now: Moment) {
        let hopeless: Vec<JobId> = self.hopeless.iter().copied().collect();
        let mut due = Vec::new();
        for id in hopeless {
            let job = self.jobs.get(&id).filter(|job| !job.state.is_over());
            match job.and_then(|job| job.hopeless_since) {
                Some(since) if since + HOPE_PATIENCE > now => self.note_pause(since + HOPE_PATIENCE),
                Some(_) => due.push(id),
                None => drop(self.hopeless.remove(&id)),
            }
        }
        due.into_iter().for_each(|id| self.give_hope_up(now, id));
    }

    /// Something is to be looked at again at `due`.
    pub(super) fn note_pause(&mut self, due: Moment) {
        self.pause_ends = Some(self.pause_ends.map_or(due, |other| other.min(due)));
    }

    /// A pause of a job ends at `due`.
    pub(super) fn note_job_pause(&mut self, place: u32, due: Moment) {
        self.note_pause(due);
        let known = self.jobs.at(place).and_then(|job| job.indexed.pause_ends);
        if known.is_none_or(|known| due < known) {
            self.set_pause(place, Some(due));
        }
    }

    fn set_pause(&mut self, place: u32, due: Option<Moment>) {
        let Some(job) = self.jobs.at_mut(place) else {
            return;
        };
        if let Some(known) = core::mem::replace(&mut job.indexed.pause_ends, due) {
            self.pauses.remove(&(known, place));
        }
        if let Some(due) = due {
            self.pauses.insert((due, place));
        }
    }
}
