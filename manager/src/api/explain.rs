//! Explanations, in words: why something waits, where it ran, why it failed.

use grid_protocol::job::{AttemptFailure, JobId};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;

use crate::cluster::Cluster;

/// Hosts or attempts that an explanation names; a person reads no more.
const NAMED_MAX: usize = 20;

/// Explains why a job is not finished.
pub(crate) fn job(cluster: &Cluster, now: Moment, id: JobId) -> Vec<String> {
    let Some(info) = cluster.coordinator.info(id) else {
        return Vec::new();
    };
    let counts = info.counts;
    let mut lines = vec![format!(
        "job {} is {}: {} tasks, {} done, {} dead, {} with hosts, {} waiting",
        info.spec.name,
        info.state.label(),
        counts.submitted,
        counts.done,
        counts.dead,
        counts.leased,
        counts.waiting
    )];
    if let grid_protocol::job::JobState::GivenUp { why } = &info.state {
        lines.push(format!("it was given up: {why}"));
    }
    if info.state.is_over() {
        return lines;
    }
    lines.extend(trouble(cluster));
    if counts.waiting > 0 {
        lines.extend(waits(cluster, now, id));
    } else if counts.leased == 0 && counts.submitted == counts.done + counts.dead {
        lines.push("it waits for its client to bring tasks, or to say that no more will come".to_owned());
    }
    lines
}

/// Explains why no task at all is handed out, if so.
fn trouble(cluster: &Cluster) -> Option<String> {
    let why = cluster.coordinator.trouble()?;
    Some(format!(
        "the manager's store takes nothing, so that no task is taken in and none is handed out: {why}"
    ))
}

fn waits(cluster: &Cluster, now: Moment, id: JobId) -> Vec<String> {
    let jobs = &cluster.coordinator.jobs;
    let Some(job) = jobs.jobs().get(&id) else {
        return Vec::new();
    };
    if cluster.coordinator.trouble().is_some() {
        // The trouble holds up every job; no other reason matters until it is over.
        return Vec::new();
    }
    if !jobs.hosts().values().any(|host| host.present) {
        return vec!["no host is connected; `grid ticket new` prints the line that joins one".to_owned()];
    }
    let obstacles = jobs.obstacles(now, job);
    let why = |(key, obstacle): &(PublicKey, _)| format!("host {} {obstacle}", name(cluster, *key));
    obstacles.iter().take(NAMED_MAX).map(why).collect()
}

/// Explains why a task has no outcome yet.
pub(crate) fn task(
    cluster: &Cluster,
    now: Moment,
    id: JobId,
    task: u64,
    failed: &[AttemptFailure],
) -> Vec<String> {
    let jobs = &cluster.coordinator.jobs;
    let Some(job) = jobs.jobs().get(&id).filter(|job| task < job.submitted()) else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for attempt in job.attempts_at(task) {
        if let Some(lease) = jobs.lease(*attempt) {
            let host = name(cluster, lease.host);
            let left = lease.until.since(now).as_secs();
            lines.push(match lease.executing {
                Some(since) => format!(
                    "task {task} has been running on {host} for {:.1} s as attempt {attempt}; its lease is good for {left} s",
                    now.since(since).as_secs_f64()
                ),
                None => format!("task {task} is with {host} as attempt {attempt} and has not begun"),
            });
        }
    }
    if lines.is_empty() {
        lines.push(format!("task {task} waits for a host"));
        lines.extend(trouble(cluster));
        lines.extend(waits(cluster, now, id));
    }
    lines.extend(failures(failed));
    if job.history(task).is_some_and(grid_scheduler::jobs::TaskHistory::is_suspect) {
        lines.push("hosts were lost while they ran it, so it gets a host to itself".to_owned());
    }
    lines
}

/// Explains why a task is dead.
pub(crate) fn dead(task: u64, why: &str, attempts: &[AttemptFailure]) -> Vec<String> {
    let mut lines = vec![format!("task {task} is dead: {why}")];
    lines.extend(failures(attempts));
    lines
}

fn failures(attempts: &[AttemptFailure]) -> Vec<String> {
    let mut lines = Vec::new();
    for attempt in attempts.iter().take(NAMED_MAX) {
        let ran = attempt.ran_us as f64 / 1e6;
        match &attempt.failure {
            Some(failure) => {
                lines.push(format!(
                    "on {} after {ran:.3} s: {}: {}",
                    attempt.host_name,
                    failure.kind.label(),
                    failure.message
                ));
                lines.extend(failure.backtrace.iter().map(|frame| format!("  at {frame}")));
            }
            None => lines.push(format!("on {}: the host was lost while it ran", attempt.host_name)),
        }
        lines.extend(
            attempt.log.iter().map(|line| format!("  it wrote ({}): {}", line.level.label(), line.text)),
        );
    }
    lines
}

/// Explains which work a host gets, and which it does not.
pub(crate) fn host(cluster: &Cluster, now: Moment, key: PublicKey) -> Vec<String> {
    let Some(host) = cluster.coordinator.jobs.hosts().get(&key) else {
        return Vec::new();
    };
    let called = name(cluster, key);
    let mut lines = vec![match host.quarantine {
        _ if !host.present => format!("host {called} is not connected"),
        Some(until) => format!(
            "host {called} failed what other hosts did for several clients, and gets nothing for {} s more; look at its log",
            until.since(now).as_secs()
        ),
        None if host.window == 0 => {
            format!("host {called} takes no tasks: it drains, or workers have all of its slots")
        }
        None => format!("host {called} holds {} attempts and would hold {}", host.held, host.window),
    }];
    lines.extend(trouble(cluster));
    let barred =
        cluster.coordinator.jobs.jobs().values().filter_map(|job| Some((job, job.barred.get(&key)?)));
    lines.extend(barred.take(NAMED_MAX).map(|(job, until)| {
        let left = until.since(now).as_secs();
        let name = &job.spec.name;
        format!("host {called} failed what other hosts did of job {name}, and gets nothing of it for {left} s more; look at its log")
    }));
    let unfit = cluster.coordinator.jobs.jobs().values().filter_map(|job| Some((job, job.unfit.get(&key)?)));
    lines.extend(
        unfit
            .take(NAMED_MAX)
            .map(|(job, unfit)| format!("it cannot run job {}: {}", job.spec.name, unfit.why)),
    );
    lines
}

fn name(cluster: &Cluster, key: PublicKey) -> String {
    cluster.scheduler.hosts().get(&key).map_or_else(|| key.fingerprint(), |host| host.capacity.name.clone())
}
