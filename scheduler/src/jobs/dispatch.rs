//! Handing out: whose task goes next, and to which host.
//!
//! Clients share the slots: the one with the fewest attempts under way is next, whatever its priorities; among the
//! jobs of one client the highest priority goes first, then the oldest. A host that has the module already is
//! preferred while such hosts have room for all that waits.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use grid_protocol::job::AttemptId;
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;

use super::host_order::Traits;
use super::lease::{LeasePlaces, LeaseRow};
use super::{JobDecision, Jobs, ScheduledJob, WorkHost};

/// Tasks that a client gets in one turn while others wait, too.
const TURN_MAX: u32 = 16;

/// Tasks that are looked at and passed over in one turn: those that failed here and may go elsewhere.
const SCAN_MAX: usize = 256;

/// Why a host gets nothing of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// Its connection is lost.
    Away,
    /// It lacks a label or memory.
    Unsuited,
    /// It cannot run the module.
    Unfit(String),
    /// It is quarantined for so long.
    Quarantined(Duration),
    /// It failed what other hosts did of the job, and gets none of it for so long.
    Barred(Duration),
    /// It takes no tasks now: it drains, or workers have all of its slots.
    Closed,
    /// It runs a task that must have it to itself.
    Alone,
    /// It holds as many attempts as it wants.
    Full,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away => f.write_str("is not connected"),
            Self::Unsuited => f.write_str("lacks a label or the memory that the job asks for"),
            Self::Unfit(why) => write!(f, "cannot run the module: {why}"),
            Self::Quarantined(pause) => {
                write!(f, "failed too many tasks and is left alone for {} s more", pause.as_secs())
            }
            Self::Barred(pause) => {
                write!(
                    f,
                    "failed what other hosts did of the job, and gets nothing of it for {} s more",
                    pause.as_secs()
                )
            }
            Self::Closed => f.write_str("takes no tasks: it drains, or workers have all of its slots"),
            Self::Alone => f.write_str("runs a task that must have it to itself"),
            Self::Full => f.write_str("is busy with other tasks"),
        }
    }
}

/// What a host was given in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Served {
    /// Tasks of a job.
    Tasks,
    /// Nothing. Of these kinds of work it got none only because hosts that have the module will do all that waits.
    Nothing { others_will_do: u64 },
}

/// What a job has for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offer {
    /// Tasks, now in [`Jobs::chosen`].
    Tasks,
    /// Hosts that have the module will do all that waits.
    OthersWillDo,
    /// Nothing, for another reason.
    Nothing,
}

impl Jobs {
    /// Gives hosts with room what waits. Call it after anything that may have made room or work.
    pub fn dispatch(&mut self, now: Moment) {
        if self.clients.waiting() > 0 {
            self.place_suspects(now);
            self.serve_hosts(now);
        }
        self.look_at_stragglers(now);
    }

    /// Gives every host with room a turn, the least loaded first, so that little work spreads over many hosts; then those
    /// that got something another, until there is no room or no work.
    fn serve_hosts(&mut self, now: Moment) {
        self.passes += 1;
        let mut served = Vec::new();
        let mut last = None;
        let mut others_will_do = 0;
        while self.clients.waiting() > 0 {
            let offered = self.hosts.kinds.offered();
            // Hosts that suit nothing that is offered would get nothing, nor would those without a module where others will do.
            let wanted = Traits { suits: offered & !others_will_do, holds: offered & others_will_do };
            let Some(next) = self.hosts.ready.next(last, wanted) else {
                break;
            };
            last = Some(next);
            let place = next.place();
            // One that was served in this pass stands further back now.
            if !self.hosts.look_at(place, self.passes) {
                continue;
            }
            match self.serve(now, place) {
                Served::Tasks => {
                    served.push(place);
                    // The hosts that would do may have got other work.
                    others_will_do = 0;
                }
                Served::Nothing { others_will_do: more } => others_will_do |= more,
            }
        }
        while !served.is_empty() && self.clients.waiting() > 0 {
            served.sort_by_key(|place| self.hosts.at(*place).map(WorkHost::load));
            served.retain(|place| self.serve(now, *place) == Served::Tasks);
        }
    }

    /// Why each host gets nothing of `job` just now; a host that would is not named.
    pub fn obstacles(&self, now: Moment, job: &ScheduledJob) -> Vec<(PublicKey, Obstacle)> {
        let obstacle = |key: &PublicKey, host: &WorkHost| match host.quarantine {
            _ if !host.present => Some(Obstacle::Away),
            Some(until) => Some(Obstacle::Quarantined(until.since(now))),
            None if !host.suits(&job.spec) => Some(Obstacle::Unsuited),
            None => match job.unfit.get(key).filter(|unfit| unfit.until.is_some()) {
                Some(unfit) => Some(Obstacle::Unfit(unfit.why.clone())),
                None if let Some(until) = job.barred.get(key) => Some(Obstacle::Barred(until.since(now))),
                None if host.alone.is_some() => Some(Obstacle::Alone),
                None if host.window == 0 => Some(Obstacle::Closed),
                None if host.room() == 0 => Some(Obstacle::Full),
                None => None,
            },
        };
        self.hosts.table().iter().filter_map(|(key, host)| Some((*key, obstacle(key, host)?))).collect()
    }

    /// Gives one host one client's turn.
    fn serve(&mut self, now: Moment, place: u32) -> Served {
        let room = self.hosts.at(place).map_or(0, WorkHost::room);
        if room == 0 {
            return Served::Nothing { others_will_do: 0 };
        }
        // An eighth at a time, so that hosts of different speeds and many windows share what there is.
        let turn = room.div_ceil(8).min(if self.clients.waiting() > 1 { TURN_MAX } else { u32::MAX });
        let mut chosen = core::mem::take(&mut self.chosen);
        chosen.clear();
        let result = self.choose(place, turn, &mut chosen);
        let served = match result {
            Ok(job) => {
                self.grant(now, place, job, &chosen, None);
                Served::Tasks
            }
            Err(others_will_do) => Served::Nothing { others_will_do },
        };
        self.chosen = chosen;
        served
    }

    /// The next tasks for a host: of the client that has least, its best job that suits. If there are none, the kinds of
    /// work of which other hosts will do all that waits.
    fn choose(&self, place: u32, most: u32, chosen: &mut Vec<u64>) -> Result<u32, u64> {
        let Some((key, host)) = self.hosts.entry(place) else {
            return Err(0);
        };
        let (mut others_will_do, mut refused) = (0, 0);
        for at in self.clients.jobs() {
            let Some(job) = self.jobs.at(at) else {
                continue;
            };
            match self.offer(*key, host, job, most, chosen) {
                Offer::Tasks => return Ok(at),
                Offer::OthersWillDo => others_will_do |= job.kind(),
                Offer::Nothing => refused |= job.kind(),
            }
        }
        Err(others_will_do & !refused)
    }

    /// Takes tasks of one job that may go to `key`, out of those that wait.
    fn offer(
        &self,
        key: PublicKey,
        host: &WorkHost,
        job: &ScheduledJob,
        most: u32,
        chosen: &mut Vec<u64>,
    ) -> Offer {
        if !host.suits(&job.spec) || job.is_closed_to(&key) {
            return Offer::Nothing;
        }
        if self.others_will_do(host, job) {
            return Offer::OthersWillDo;
        }
        let most = usize::try_from(most.min(host.room_for(job.usual_bytes()))).unwrap_or(usize::MAX);
        for task in job.again.iter().take(most.saturating_add(SCAN_MAX)) {
            if chosen.len() == most {
                break;
            }
            let tried =
                job.histories.get(task).map(|history| &history.tried).filter(|tried| tried.contains(&key));
            if !tried.is_some_and(|tried| self.is_hope_elsewhere(job, tried)) {
                chosen.push(*task);
            }
        }
        let fresh = job.submitted - job.fresh;
        let more = u64::try_from(most - chosen.len()).unwrap_or(0).min(fresh);
        chosen.extend(job.fresh..job.fresh + more);
        if chosen.is_empty() { Offer::Nothing } else { Offer::Tasks }
    }

    /// True if hosts that have the module, as `host` has not, would begin everything that waits at once.
    fn others_will_do(&self, host: &WorkHost, job: &ScheduledJob) -> bool {
        // A task that failed elsewhere is not to go there again.
        let waiting = job.waiting();
        if self.hosts.idle_slots < waiting || !job.again.is_empty() || host.has_module_of(job) {
            return false;
        }
        let mut room = 0;
        self.hosts.idle_with_module(job).any(|(other, host)| {
            room += if job.is_closed_to(other) { 0 } else { u64::from(host.idle()) };
            room >= waiting
        })
    }

    /// True if a host that is not among `tried` could take a task of `job`, now or before long.
    pub(super) fn is_hope_elsewhere(&self, job: &ScheduledJob, tried: &[PublicKey]) -> bool {
        let mut open = self.hosts.open_for(job);
        open.any(|(key, _)| !tried.contains(key) && !job.is_closed_to(key))
    }

    /// Takes `tasks` off the waiting ones and grants a host their leases; or that of one task beside `other`, which is under
    /// way.
    pub(super) fn grant(
        &mut self,
        now: Moment,
        host: u32,
        job: u32,
        tasks: &[u64],
        other: Option<AttemptId>,
    ) {
        let (Some((id, known)), Some((key, _))) = (self.jobs.entry_mut(job), self.hosts.entry(host)) else {
            return;
        };
        let (id, key) = (*id, *key);
        let bytes = known.usual_bytes();
        let client = known.indexed.client;
        let mut attempts = Vec::with_capacity(tasks.len());
        let mut suspect = None;
        for task in tasks {
            self.attempts += 1;
            let attempt = AttemptId::new(self.incarnation, self.attempts);
            if other.is_none() {
                known.take_out(*task);
            }
            if known.is_suspect(*task) {
                suspect = Some(attempt);
            }
            let slot = known.live.add(*task, attempt, other);
            let at = LeasePlaces { job, host, slot };
            self.leases.grant(LeaseRow::new(now, attempt, *task, bytes, other.is_some(), at));
            attempts.push((attempt, *task));
        }
        let count = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
        self.hosts.update(host, |host| {
            host.held = host.held.saturating_add(count);
            host.held_bytes = host.held_bytes.saturating_add(bytes.saturating_mul(count.into()));
            host.alone = suspect.or(host.alone);
        });
        self.hosts.note_module_of(host, known);
        let served = self.attempts;
        self.clients.update(client, |share| {
            share.live += u64::from(count);
            share.served = served;
        });
        self.decisions.push_back(JobDecision::Lease { host: key, job: id, attempts });
        self.note_waiting(job);
    }
}
