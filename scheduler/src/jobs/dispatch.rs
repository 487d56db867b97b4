//! Handing out: whose task goes next, and to which host.
//!
//! Clients share the slots: the one with the fewest attempts under way is next, whatever its priorities; among the
//! jobs of one client the highest priority goes first, then the oldest. A host that has the module already is
//! preferred while such hosts have room for all that waits.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use grid_protocol::job::{AttemptId, JobId};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;

use super::lease::{LEASE_TERM, Lease};
use super::{ClientShare, JobDecision, Jobs, ScheduledJob, WorkHost};

/// Tasks that a client gets in one turn while others wait, too.
const TURN_MAX: u32 = 16;

/// Tasks that are looked at and passed over in one turn: those that failed here and may go elsewhere.
const SCAN_MAX: usize = 256;

/// Tasks that must be alone and are looked at, at once.
const SUSPECTS_MAX: usize = 64;

/// How often second attempts are thought about.
const EXTRAS_PAUSE: Duration = Duration::from_millis(500);

/// A task is late when it has run for three times as long as usual, and two seconds more.
const LATE_FACTOR: u32 = 3;
const LATE_AT_LEAST: Duration = Duration::from_secs(2);

/// An attempt that waits at its host for so long is recalled for a host that is idle and has done tasks of the job.
const RECALL_AFTER: Duration = Duration::from_secs(2);

/// An attempt that runs for so much longer than its task may is taken from its host, whatever the host says: time enough
/// for a result of 64 MiB over a line of 1 Mbit/s.
const OVERDUE_AFTER: Duration = Duration::from_secs(10 * 60);

/// Second attempts may take a tenth of the slots.
const EXTRA_SHARE: u32 = 10;

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

impl Jobs {
    /// Gives hosts with room what waits. Call it after anything that may have made room or work.
    pub fn dispatch(&mut self, now: Moment) {
        if self.clients.values().any(|client| !client.has_waiting.is_empty()) {
            self.place_suspects(now);
            self.serve_hosts(now);
        }
        if now >= self.extras_due {
            self.extras_due = now + EXTRAS_PAUSE;
            self.second_attempts(now);
            self.recall(now);
            self.end_overdue(now);
        }
    }

    fn serve_hosts(&mut self, now: Moment) {
        let mut hosts: Vec<_> =
            self.hosts.iter().filter(|(_, host)| host.room() > 0).map(|(key, _)| *key).collect();
        while !hosts.is_empty() && self.clients.values().any(|client| !client.has_waiting.is_empty()) {
            // The least loaded first, so that little work spreads over many hosts.
            hosts.sort_by_key(|key| {
                self.hosts.get(key).map(|host| u64::from(host.held) * 1024 / u64::from(host.slots.max(1)))
            });
            hosts.retain(|key| self.serve(now, *key));
        }
    }

    /// Gives each task that must be alone a host to itself, as soon as one is empty: it is kept empty for that.
    fn place_suspects(&mut self, now: Moment) {
        let Self { jobs, hosts, .. } = self;
        for host in hosts.values_mut() {
            let stands = |(id, task): &(JobId, u64)| {
                host.is_open() && jobs.get(id).is_some_and(|job| job.suspects.contains(task))
            };
            host.reserved = host.reserved.filter(stands);
        }
        let suspects: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, job)| !job.state.is_over())
            .flat_map(|(id, job)| job.suspects.iter().map(|task| (*id, *task)))
            .take(SUSPECTS_MAX)
            .collect();
        for (id, task) in suspects {
            let reserved = self.hosts.iter().find(|(_, host)| host.reserved == Some((id, task)));
            let Some(key) = reserved.map(|(key, _)| *key).or_else(|| self.host_for_suspect(id, task)) else {
                continue;
            };
            let Some(host) = self.hosts.get_mut(&key) else {
                continue;
            };
            host.reserved = Some((id, task));
            if host.held == 0 {
                host.reserved = None;
                self.grant(now, key, id, &[task], false);
            }
        }
    }

    /// The host that has been there longest, since one that comes and goes is no judge; one where the task was not tried
    /// if there is one.
    fn host_for_suspect(&self, id: JobId, task: u64) -> Option<PublicKey> {
        let job = self.jobs.get(&id)?;
        let tried = |key| job.trials.get(&task).is_some_and(|trial| trial.tried.contains(key));
        self.hosts
            .iter()
            .filter(|(key, host)| {
                host.is_hopeful(&job.spec)
                    && host.alone.is_none()
                    && host.reserved.is_none()
                    && !job.is_closed_to(key)
            })
            .min_by_key(|(key, host)| (tried(*key), host.joined))
            .map(|(key, _)| *key)
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
        self.hosts.iter().filter_map(|(key, host)| Some((*key, obstacle(key, host)?))).collect()
    }

    /// Gives one host one client's turn; false if there is nothing more for it.
    fn serve(&mut self, now: Moment, key: PublicKey) -> bool {
        let Some(host) = self.hosts.get(&key) else {
            return false;
        };
        let room = host.room();
        if room == 0 {
            return false;
        }
        let rivals = self.clients.values().filter(|client| !client.has_waiting.is_empty()).count();
        // An eighth at a time, so that hosts of different speeds and many windows share what there is.
        let turn = room.div_ceil(8).min(if rivals > 1 { TURN_MAX } else { u32::MAX });
        let Some((id, tasks)) = self.choose(key, turn) else {
            return false;
        };
        self.grant(now, key, id, &tasks, false);
        true
    }

    /// The next tasks for a host: of the client that has least, its best job that suits.
    fn choose(&self, key: PublicKey, most: u32) -> Option<(JobId, Vec<u64>)> {
        let mut clients: Vec<_> = self
            .clients
            .iter()
            .filter(|(_, client)| !client.has_waiting.is_empty())
            .map(|(owner, client)| (client.live, client.served, *owner))
            .collect();
        clients.sort_unstable();
        for (_, _, owner) in clients {
            for (_, _, id) in &self.clients.get(&owner)?.has_waiting {
                let tasks = self.take(key, *id, most);
                if !tasks.is_empty() {
                    return Some((*id, tasks));
                }
            }
        }
        None
    }

    /// Takes tasks of one job that may go to `key`, out of those that wait.
    fn take(&self, key: PublicKey, id: JobId, most: u32) -> Vec<u64> {
        let (Some(job), Some(host)) = (self.jobs.get(&id), self.hosts.get(&key)) else {
            return Vec::new();
        };
        if !host.suits(&job.spec) || job.is_closed_to(&key) || self.others_will_do(key, host, job) {
            return Vec::new();
        }
        let most = usize::try_from(most.min(host.room_for(job.usual_bytes()))).unwrap_or(usize::MAX);
        let mut tasks = Vec::new();
        for task in job.again.iter().take(most.saturating_add(SCAN_MAX)) {
            if tasks.len() == most {
                break;
            }
            let tried = job.trials.get(task).map(|trial| &trial.tried).filter(|tried| tried.contains(&key));
            if !tried.is_some_and(|tried| self.is_hope_elsewhere(job, tried)) {
                tasks.push(*task);
            }
        }
        let fresh = job.submitted - job.fresh;
        let more = u64::try_from(most - tasks.len()).unwrap_or(0).min(fresh);
        tasks.extend(job.fresh..job.fresh + more);
        tasks
    }

    /// True if hosts that have the module already would begin everything that waits at once.
    fn others_will_do(&self, key: PublicKey, host: &WorkHost, job: &ScheduledJob) -> bool {
        // A task that failed elsewhere is not to go there again.
        if host.modules.contains(&job.spec.module) || !job.again.is_empty() {
            return false;
        }
        let others = self.hosts.iter().filter(|(other, host)| {
            **other != key
                && host.modules.contains(&job.spec.module)
                && host.suits(&job.spec)
                && !job.is_closed_to(other)
        });
        let room: u64 = others.map(|(_, host)| u64::from(host.idle())).sum();
        room >= job.waiting()
    }

    /// True if a host that is not among `tried` could take a task of `job`, now or before long.
    pub(super) fn is_hope_elsewhere(&self, job: &ScheduledJob, tried: &[PublicKey]) -> bool {
        self.hosts
            .iter()
            .any(|(key, host)| host.is_hopeful(&job.spec) && !tried.contains(key) && !job.is_closed_to(key))
    }

    /// Takes `tasks` off the waiting ones and grants `key` their leases.
    fn grant(&mut self, now: Moment, key: PublicKey, id: JobId, tasks: &[u64], extra: bool) {
        let (Some(job), Some(host)) = (self.jobs.get_mut(&id), self.hosts.get_mut(&key)) else {
            return;
        };
        let bytes = job.usual_bytes();
        let mut attempts = Vec::new();
        for task in tasks {
            self.attempts += 1;
            let attempt = AttemptId::new(self.incarnation, self.attempts);
            if !extra {
                job.take_out(*task);
            }
            if job.trials.get(task).is_some_and(super::TaskHistory::is_suspect) {
                host.alone = Some(attempt);
            }
            job.live.entry(*task).or_default().push(attempt);
            let until = now + LEASE_TERM;
            let lease =
                Lease { job: id, task: *task, host: key, granted: now, until, executing: None, extra, bytes };
            self.leases.grant(attempt, lease);
            attempts.push((attempt, *task));
        }
        let count = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
        host.held = host.held.saturating_add(count);
        host.held_bytes = host.held_bytes.saturating_add(bytes.saturating_mul(count.into()));
        host.note_module(job.spec.module);
        let served = self.attempts;
        let client: &mut ClientShare = self.clients.entry(job.owner).or_default();
        client.live += u64::from(count);
        client.served = served;
        self.decisions.push_back(JobDecision::Lease { host: key, job: id, attempts });
        self.note_hunger(id);
    }

    /// Gives tasks that take long another try elsewhere, where slots are idle because nothing waits for them.
    fn second_attempts(&mut self, now: Moment) {
        let slots: u32 = self.hosts.values().filter(|host| host.present).map(|host| host.slots).sum();
        let under_way = self.leases.iter().filter(|(_, lease)| lease.extra).count();
        let mut left = usize::try_from(slots.div_ceil(EXTRA_SHARE)).unwrap_or(0).saturating_sub(under_way);
        if left == 0 {
            return;
        }
        let late: Vec<_> = self
            .leases
            .iter()
            .filter(|(_, lease)| self.is_late(now, lease))
            .map(|(_, lease)| *lease)
            .collect();
        for lease in late {
            if left == 0 {
                return;
            }
            let Some(job) = self.jobs.get(&lease.job) else {
                continue;
            };
            let idle = self.hosts.iter().find(|(key, host)| {
                **key != lease.host && host.idle() > 0 && host.suits(&job.spec) && !job.is_closed_to(key)
            });
            if let Some((key, _)) = idle {
                self.grant(now, *key, lease.job, &[lease.task], true);
                left -= 1;
            }
        }
    }

    /// Takes attempts that wait behind others at their hosts, or at a host that begins nothing, to hosts that are idle.
    fn recall(&mut self, now: Moment) {
        let waits = |lease: &Lease| lease.executing.is_none() && now.since(lease.granted) >= RECALL_AFTER;
        let waiting: Vec<_> = self.leases.iter().filter(|(_, lease)| waits(lease)).map(copied).collect();
        for (attempt, lease) in waiting {
            if self.hosts.values().all(|host| host.idle() == 0) {
                return;
            }
            let Some(job) = self.jobs.get(&lease.job).filter(|job| job.attempts_at(lease.task).len() == 1)
            else {
                continue;
            };
            let suspect = job.trials.get(&lease.task).is_some_and(super::TaskHistory::is_suspect);
            let idle = self.hosts.iter().find(|(key, host)| {
                **key != lease.host
                    && host.idle() > 0
                    && job.done_by.contains(key)
                    && host.suits(&job.spec)
                    && !job.is_closed_to(key)
            });
            if let Some((key, _)) = idle.filter(|_| !suspect) {
                let key = *key;
                self.abandon(&[attempt]);
                self.settle_back(now, lease);
                self.grant(now, key, lease.job, &[lease.task], false);
            }
        }
    }

    /// Takes attempts from hosts that say for far too long that they run them.
    fn end_overdue(&mut self, now: Moment) {
        let overdue = |lease: &Lease| {
            let (Some(since), Some(job)) = (lease.executing, self.jobs.get(&lease.job)) else {
                return false;
            };
            now.since(since) > Duration::from_millis(job.spec.timeout_ms).saturating_add(OVERDUE_AFTER)
        };
        let overdue: Vec<_> = self.leases.iter().filter(|(_, lease)| overdue(lease)).map(copied).collect();
        for (attempt, lease) in overdue {
            if self.leases.remove(attempt).is_some() {
                self.lose(now, attempt, lease, false);
                let attempts = alloc::vec![attempt];
                self.decisions.push_back(JobDecision::Abandon { host: lease.host, attempts });
                self.blame_host(now, lease);
            }
        }
    }

    fn is_late(&self, now: Moment, lease: &Lease) -> bool {
        let (Some(since), Some(job)) = (lease.executing, self.jobs.get(&lease.job)) else {
            return false;
        };
        let alone = job.attempts_at(lease.task).len() == 1;
        let suspect = job.trials.get(&lease.task).is_some_and(super::TaskHistory::is_suspect);
        let usual = job.usual_time().filter(|_| alone && !suspect);
        usual.is_some_and(|usual| now.since(since) > usual * LATE_FACTOR + LATE_AT_LEAST)
    }
}

fn copied((attempt, lease): (AttemptId, &Lease)) -> (AttemptId, Lease) {
    (attempt, *lease)
}
