//! What the grid is doing: figures, events, sampled tasks, one job, one task, one host, who did what.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use grid_protocol::activity::{
    Audience, FEED_BATCH_MAX, GridEvent, HeldAttempt, HostLoad, HostWork, MODULE_HOSTS_MAX, ModuleSpread,
    Overview, TaskInfo, TaskStanding,
};
use grid_protocol::client::{Denial, Reply};
use grid_protocol::digest::Digest;
use grid_protocol::job::{JobId, Outcome, OutcomeEntry};
use grid_protocol::key::PublicKey;
use grid_protocol::limits::LABELS_MAX;
use grid_protocol::role::Roles;
use grid_protocol::time::{Moment, millis};
use grid_scheduler::jobs::WorkHost;
use tokio::time::{Instant, timeout_at};

use crate::activity::RingPage;
use crate::activity::metrics::{HostGauges, Snapshot};
use crate::api::denials::{fault, found};
use crate::api::{explain, jobs};
use crate::asker::Asker;
use crate::cluster::Cluster;
use crate::context::Context;

/// Longest wait for an event; the client then asks again.
const FEED_WAIT_MAX: Duration = Duration::from_secs(30);

/// Hosts whose loads one reply tells: some 60 bytes each, of a frame of 1 MiB.
const LOADS_MAX: usize = 10_000;

/// Modules of which one reply tells where they are: up to 1.7 KiB each, of a frame of 1 MiB.
const SPREADS_MAX: usize = 500;

/// Tasks of all jobs that are not over.
#[derive(Debug, Default)]
struct OpenTasks {
    jobs: usize,
    waiting: u64,
    leased: u64,
}

impl OpenTasks {
    fn of(cluster: &Cluster) -> Self {
        let open = cluster.coordinator.jobs.jobs().values().filter(|job| !job.state.is_over());
        open.fold(Self::default(), |sum, job| {
            let counts = job.counts();
            Self {
                jobs: sum.jobs + 1,
                waiting: sum.waiting + counts.waiting,
                leased: sum.leased + counts.leased,
            }
        })
    }
}

/// Attempts that run on a host, as far as it has said.
fn executing_on(cluster: &Cluster, host: PublicKey) -> usize {
    cluster.coordinator.jobs.leases_of(&host).filter(|lease| lease.executing.is_some()).count()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn overview(context: &Context) -> Overview {
    let (tasks, executing, quarantined) = {
        let cluster = context.cluster();
        let hosts = cluster.coordinator.jobs.hosts();
        let executing = cluster.scheduler.hosts().keys().map(|host| executing_on(&cluster, *host)).sum();
        let quarantined = hosts.values().filter(|host| host.quarantine.is_some()).count();
        (OpenTasks::of(&cluster), executing, quarantined)
    };
    let (newest_event, newest_sample) = context.activity.newest();
    Overview {
        unix_ms: millis(context.config.machine.unix_time()),
        jobs: count(tasks.jobs),
        waiting: tasks.waiting,
        leased: tasks.leased,
        executing: count(executing),
        quarantined: count(quarantined),
        totals: context.activity.metrics.totals(),
        rates: context.activity.rates(),
        newest_event,
        newest_sample,
    }
}

/// What the gauges of the metrics show now.
pub(crate) fn snapshot(context: &Context) -> Snapshot {
    let mut snapshot = {
        let cluster = context.cluster();
        let tasks = OpenTasks::of(&cluster);
        let mut by_host = Vec::new();
        for (key, host) in cluster.scheduler.hosts() {
            let work = cluster.coordinator.jobs.hosts().get(key);
            by_host.push(HostGauges {
                host: format!("{} {}", host.capacity.name, key.fingerprint()),
                slots: host.capacity.slots,
                leased: work.map_or(0, |work| work.held),
                executing: count(executing_on(&cluster, *key)),
                workers: host.workers.len(),
            });
        }
        let hosts = cluster.hosts();
        let states = ["pending", "ready", "draining", "away"];
        let in_state = |state| (state, hosts.iter().filter(|host| host.state.label() == state).count());
        Snapshot {
            uptime: context.now().since(Moment::ZERO),
            waiting: tasks.waiting,
            leased: tasks.leased,
            executing: by_host.iter().map(|host| u64::from(host.executing)).sum(),
            jobs_open: tasks.jobs,
            hosts: states.map(in_state).to_vec(),
            slots: by_host.iter().map(|host| host.slots).sum(),
            workers: cluster.scheduler.workers().len(),
            clients: cluster.clients.len(),
            modules: 0,
            unwritten_bytes: cluster.coordinator.unwritten(),
            store_trouble: cluster.coordinator.trouble().is_some(),
            by_host,
        }
    };
    snapshot.modules = context.catalog_now().modules().len();
    snapshot
}

fn may_see(asker: Asker, roles: Roles, event: &GridEvent) -> bool {
    match event.audience() {
        Audience::Everybody => true,
        Audience::Owner(owner) => roles.sees_all() || owner == asker.key,
        Audience::Overseers => roles.sees_all(),
    }
}

pub(super) async fn feed(
    context: &Context,
    asker: Asker,
    roles: Roles,
    mut after: u64,
    most: u32,
    wait_ms: u32,
) -> Reply {
    let until = Instant::now() + Duration::from_millis(wait_ms.into()).min(FEED_WAIT_MAX);
    let mut missed_so_far = 0;
    loop {
        let mut noted = std::pin::pin!(context.activity.next_event());
        // Listen before looking, so that an event in between is not missed.
        noted.as_mut().enable();
        let page = context.activity.events(after, most, |event| may_see(asker, roles, event));
        let RingPage { entries, missed, next } = page;
        missed_so_far += missed;
        if !entries.is_empty() || missed > 0 || timeout_at(until, noted).await.is_err() {
            return Reply::Feed { entries, missed: missed_so_far, next };
        }
        after = next;
    }
}

pub(super) fn samples(context: &Context, asker: Asker, roles: Roles, after: u64, most: u32) -> Reply {
    let may_see = |owner: &PublicKey| roles.sees_all() || *owner == asker.key;
    let RingPage { entries: samples, missed, next } = context.activity.samples(after, most, may_see);
    Reply::TaskSamples { samples, missed, next }
}

pub(super) fn job_summary(context: &Context, asker: Asker, job: JobId) -> Result<Reply, Denial> {
    jobs::check_seen(context, asker, job)?;
    Ok(Reply::JobSummary(context.cluster().coordinator.summaries.get(job)))
}

pub(super) async fn task(
    context: &Arc<Context>,
    asker: Asker,
    job: JobId,
    task: u64,
) -> Result<Reply, Denial> {
    jobs::check_seen(context, asker, job)?;
    let outcome = context.outcome_of(job, task).await.map_err(fault)?;
    let failures = context.job_store(move |job_store| job_store.failures(job, task)).await.map_err(fault)?;
    let cluster = context.cluster();
    if cluster.coordinator.job(job).is_none_or(|job| task >= job.submitted()) {
        return found(false, "task", "`grid job show JOB` says how many tasks the job has");
    }
    let (standing, failures) = match outcome {
        Some(OutcomeEntry { host, ran_us, outcome: Outcome::Done(results), .. }) => {
            let results = results.iter().map(grid_protocol::job::Payload::length).collect();
            (TaskStanding::Done { host, ran_us, results }, failures)
        }
        Some(OutcomeEntry { outcome: Outcome::Dead { why, attempts }, .. }) => {
            (TaskStanding::Dead { why }, attempts)
        }
        None => {
            let held = cluster.held_attempts_at(job, task, context.now());
            let held = if held.is_empty() { TaskStanding::Waiting } else { TaskStanding::Held(held) };
            (held, failures)
        }
    };
    Ok(Reply::Task(TaskInfo { job, task, standing, failures }))
}

pub(super) fn host_loads(context: &Context) -> Reply {
    let (cluster, now) = (context.cluster(), context.now());
    let load = |(key, host): (&PublicKey, &WorkHost)| HostLoad {
        host: *key,
        held: host.held,
        window: host.window,
        executing: count(executing_on(&cluster, *key)),
        quarantine_ms: host.quarantine.map(|until| millis(until.since(now))),
    };
    Reply::HostLoads(cluster.coordinator.jobs.hosts().iter().map(load).take(LOADS_MAX).collect())
}

pub(super) fn module_spread(context: &Context) -> Reply {
    let mut by_module: BTreeMap<Digest, ModuleSpread> = BTreeMap::new();
    let cluster = context.cluster();
    for (key, host) in cluster.coordinator.jobs.hosts() {
        for module in host.modules() {
            let new = || ModuleSpread { module: *module, hosts: 0, on: Vec::new() };
            let spread = by_module.entry(*module).or_insert_with(new);
            spread.hosts += 1;
            if spread.on.len() < MODULE_HOSTS_MAX {
                spread.on.push(*key);
            }
        }
    }
    Reply::ModuleSpread(by_module.into_values().take(SPREADS_MAX).collect())
}

pub(super) fn host(context: &Context, asker: Asker, roles: Roles, host: PublicKey) -> Result<Reply, Denial> {
    let cluster = context.cluster();
    let Some(work) = cluster.coordinator.jobs.hosts().get(&host) else {
        return found(false, "host", "`grid host ls` lists them");
    };
    let now = context.now();
    let is_seen = |job: JobId| {
        roles.sees_all() || cluster.coordinator.job(job).is_some_and(|job| job.owner == asker.key)
    };
    let mut attempts = cluster.attempts_on(host, now, is_seen);
    attempts.sort_by_key(|attempt| (std::cmp::Reverse(attempt.running_ms), attempt.task));
    attempts.truncate(FEED_BATCH_MAX as usize);
    let explanation = if roles.sees_all() { explain::host(&cluster, now, host) } else { Vec::new() };
    Ok(Reply::HostWork(HostWork {
        host,
        attempts,
        held: work.held,
        window: work.window,
        modules: work.modules().take(8 * LABELS_MAX).copied().collect(),
        explanation,
    }))
}

impl Cluster {
    /// Attempts at a task that hosts hold.
    fn held_attempts_at(&self, job: JobId, task: u64, now: Moment) -> Vec<HeldAttempt> {
        let jobs = &self.coordinator.jobs;
        let attempts = jobs.jobs().get(&job).into_iter().flat_map(|job| job.attempts_at(task));
        attempts.filter_map(|attempt| Some(self.held(*attempt, jobs.lease(*attempt)?, now))).collect()
    }

    /// Attempts that a host holds of jobs that `is_seen` names.
    fn attempts_on(&self, host: PublicKey, now: Moment, is_seen: impl Fn(JobId) -> bool) -> Vec<HeldAttempt> {
        let held = self.coordinator.jobs.attempts_of(&host);
        held.filter(|(_, lease)| is_seen(lease.job))
            .map(|(attempt, lease)| self.held(attempt, lease, now))
            .collect()
    }

    fn held(
        &self,
        attempt: grid_protocol::job::AttemptId,
        lease: grid_scheduler::jobs::Lease,
        now: Moment,
    ) -> HeldAttempt {
        let host = self.scheduler.hosts().get(&lease.host);
        HeldAttempt {
            attempt: attempt.to_string(),
            job: lease.job,
            task: lease.task,
            host: host.map_or_else(|| lease.host.fingerprint(), |host| host.capacity.name.clone()),
            running_ms: lease.executing.map(|since| millis(now.since(since))),
            lease_ms: millis(lease.until.since(now)),
        }
    }
}

pub(super) async fn audit(context: &Arc<Context>, before: u64, most: u32) -> Result<Reply, Denial> {
    let log = context.audit.clone();
    let most = most.min(FEED_BATCH_MAX) as usize;
    let listed = context.off_thread(move || log.list(before, most)).await.map_err(fault)?;
    listed.map(Reply::Audit).map_err(|error| fault(error.into()))
}
