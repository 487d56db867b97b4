//! Metrics: counters and histograms that are added to as things happen, and gauges that are set when they are read.
//!
//! Labels are few and bounded: a kind, a code, a host. Never a job, a task or a worker, of which there is no end.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use grid_protocol::activity::Totals;
use grid_protocol::client::DenialCode;
use grid_protocol::frame::FrameBatch;
use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// One label with its value.
type MetricLabel = [(&'static str, String); 1];

/// A histogram of times from 10 µs to about 40 s.
fn times() -> Histogram {
    Histogram::new(exponential_buckets(0.000_01, 4.0, 12))
}

/// What the manager counts. Adding to a counter is one atomic addition; to a histogram, a short lock.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    pub(crate) tasks_submitted: Counter,
    pub(crate) tasks_done: Counter,
    pub(crate) tasks_dead: Counter,
    attempts_failed: Family<MetricLabel, Counter>,
    /// All of them together.
    failed_attempts: Counter,
    pub(crate) attempts_lost: Counter,
    pub(crate) traces_dropped: Counter,
    pub(crate) task_run: Histogram,
    pub(crate) lease_overhead: Histogram,
    pub(crate) commit: Histogram,
    pub(crate) committed_changes: Counter,
    pub(crate) committed_bytes: Counter,
    pub(crate) mail_frames_in: Counter,
    pub(crate) mail_bytes_in: Counter,
    pub(crate) module_bytes_sent: Counter,
    pub(crate) requests: Counter,
    denials: Family<MetricLabel, Counter>,
    refusals: Family<MetricLabel, Counter>,
    gauges: Gauges,
}

/// Figures that are set when they are read.
#[derive(Default)]
struct Gauges {
    tasks: Family<MetricLabel, Gauge>,
    jobs_open: Gauge,
    hosts: Family<MetricLabel, Gauge>,
    slots: Gauge,
    workers: Gauge,
    clients: Gauge,
    modules: Gauge,
    unwritten_bytes: Gauge,
    store_trouble: Gauge,
    uptime_seconds: Gauge<f64, AtomicU64>,
    host_slots: Family<MetricLabel, Gauge>,
    host_leased: Family<MetricLabel, Gauge>,
    host_executing: Family<MetricLabel, Gauge>,
    host_workers: Family<MetricLabel, Gauge>,
}

/// What the gauges show at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) uptime: Duration,
    pub(crate) waiting: u64,
    pub(crate) leased: u64,
    pub(crate) executing: u64,
    pub(crate) jobs_open: usize,
    /// Number of hosts by state.
    pub(crate) hosts: Vec<(&'static str, usize)>,
    pub(crate) slots: u32,
    pub(crate) workers: usize,
    pub(crate) clients: usize,
    pub(crate) modules: usize,
    pub(crate) unwritten_bytes: usize,
    pub(crate) store_trouble: bool,
    pub(crate) by_host: Vec<HostGauges>,
}

/// What the gauges show of one host.
#[derive(Debug)]
pub(crate) struct HostGauges {
    /// Its name and the beginning of its key: names may be equal.
    pub(crate) host: String,
    pub(crate) slots: u32,
    pub(crate) leased: u32,
    pub(crate) executing: u32,
    pub(crate) workers: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("grid")),
            tasks_submitted: Counter::default(),
            tasks_done: Counter::default(),
            tasks_dead: Counter::default(),
            attempts_failed: Family::default(),
            failed_attempts: Counter::default(),
            attempts_lost: Counter::default(),
            traces_dropped: Counter::default(),
            task_run: times(),
            lease_overhead: times(),
            commit: times(),
            committed_changes: Counter::default(),
            committed_bytes: Counter::default(),
            mail_frames_in: Counter::default(),
            mail_bytes_in: Counter::default(),
            module_bytes_sent: Counter::default(),
            requests: Counter::default(),
            denials: Family::default(),
            refusals: Family::default(),
            gauges: Gauges::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&self) {
        let mut registry = self.registry.lock();
        let r = &mut *registry;
        r.register("tasks_submitted", "Tasks that were accepted", self.tasks_submitted.clone());
        r.register("tasks_done", "Tasks that were done", self.tasks_done.clone());
        r.register("tasks_dead", "Tasks that failed for good", self.tasks_dead.clone());
        let help = "Attempts at tasks that failed, by kind of failure";
        r.register("attempts_failed", help, self.attempts_failed.clone());
        let help = "Attempts at tasks that were lost with their hosts";
        r.register("attempts_lost", help, self.attempts_lost.clone());
        let help = "Traces that were not exported, because the collector was too slow";
        r.register("traces_dropped", help, self.traces_dropped.clone());
        let help = "Running time of attempts, as hosts say";
        r.register_with_unit("attempt_run", help, Unit::Seconds, self.task_run.clone());
        let help = "Time from the grant of a lease to the end of its attempt, less its running time; of short attempts";
        r.register_with_unit("lease_overhead", help, Unit::Seconds, self.lease_overhead.clone());
        let help = "Time of a group commit, until the disk has it";
        r.register_with_unit("commit", help, Unit::Seconds, self.commit.clone());
        let help = "Records that were written by group commits";
        r.register("committed_changes", help, self.committed_changes.clone());
        let help = "Size of the records that were written by group commits";
        r.register_with_unit("committed", help, Unit::Bytes, self.committed_bytes.clone());
        let help = "Frames of workers' mail that came from hosts and clients";
        r.register("mail_frames_received", help, self.mail_frames_in.clone());
        let help = "Size of workers' mail that came from hosts and clients, without what is long";
        r.register_with_unit("mail_received", help, Unit::Bytes, self.mail_bytes_in.clone());
        let help = "Bytes of modules that were sent to hosts";
        r.register_with_unit("modules_sent", help, Unit::Bytes, self.module_bytes_sent.clone());
        r.register("requests", "Requests of clients", self.requests.clone());
        r.register("requests_denied", "Requests that were denied, by kind of denial", self.denials.clone());
        r.register("peers_refused", "Peers that were not let in, by reason", self.refusals.clone());
        self.gauges.register(r);
    }

    /// What has happened since the manager started.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            done: self.tasks_done.get(),
            dead: self.tasks_dead.get(),
            failed: self.failed_attempts.get(),
            lost: self.attempts_lost.get(),
            submitted: self.tasks_submitted.get(),
        }
    }

    /// Counts a group commit.
    pub(crate) fn committed(&self, took: Duration, changes: usize, bytes: usize) {
        self.commit.observe(took.as_secs_f64());
        self.committed_changes.inc_by(changes as u64);
        self.committed_bytes.inc_by(bytes as u64);
    }

    /// Counts frames of mail that have come.
    pub(crate) fn mail(&self, frames: &FrameBatch) {
        self.mail_frames_in.inc_by(frames.count() as u64);
        self.mail_bytes_in.inc_by(frames.body_bytes() as u64);
    }

    /// Counts an attempt that failed.
    pub(crate) fn attempt_failed(&self, kind: &'static str) {
        self.failed_attempts.inc();
        self.attempts_failed.get_or_create(&[("kind", kind.to_owned())]).inc();
    }

    /// Counts a request that was denied.
    pub(crate) fn denied(&self, code: DenialCode) {
        self.denials.get_or_create(&[("code", code.label().to_owned())]).inc();
    }

    /// Counts a peer that was not let in.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&[("reason", reason.to_owned())]).inc();
    }

    /// All metrics in the text format of OpenMetrics.
    pub(crate) fn text(&self, snapshot: &Snapshot) -> Result<String, fmt::Error> {
        // Held throughout, so that two readers do not mix their gauges.
        let registry = self.registry.lock();
        self.gauges.set(snapshot);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Gauges {
    fn register(&self, r: &mut Registry) {
        r.register("tasks", "Tasks that are not over, by how they stand", self.tasks.clone());
        r.register("jobs_open", "Jobs that are not over", self.jobs_open.clone());
        r.register("hosts", "Hosts, by state", self.hosts.clone());
        r.register("slots", "Slots of the hosts that are connected or expected back", self.slots.clone());
        r.register("workers", "Workers that have not ended", self.workers.clone());
        r.register("clients", "Connections of clients", self.clients.clone());
        r.register("modules", "Modules that the manager keeps", self.modules.clone());
        let help = "Size of the journal that is not on disk yet";
        r.register_with_unit("unwritten", help, Unit::Bytes, self.unwritten_bytes.clone());
        let help = "1 if the store takes nothing or is short of room, else 0";
        r.register("store_trouble", help, self.store_trouble.clone());
        let help = "How long the manager has been up";
        r.register_with_unit("uptime", help, Unit::Seconds, self.uptime_seconds.clone());
        r.register("host_slots", "Slots of a host", self.host_slots.clone());
        r.register("host_leased", "Attempts that a host holds", self.host_leased.clone());
        r.register("host_executing", "Attempts that run on a host", self.host_executing.clone());
        r.register("host_workers", "Workers on a host", self.host_workers.clone());
    }

    fn set(&self, snapshot: &Snapshot) {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let tasks = |state: &str| self.tasks.get_or_create_owned(&[("state", state.to_owned())]);
        tasks("waiting").set(whole(snapshot.waiting));
        tasks("leased").set(whole(snapshot.leased));
        tasks("executing").set(whole(snapshot.executing));
        self.jobs_open.set(count(snapshot.jobs_open));
        self.hosts.clear();
        for (state, number) in &snapshot.hosts {
            self.hosts.get_or_create_owned(&[("state", (*state).to_owned())]).set(count(*number));
        }
        self.slots.set(snapshot.slots.into());
        self.workers.set(count(snapshot.workers));
        self.clients.set(count(snapshot.clients));
        self.modules.set(count(snapshot.modules));
        self.unwritten_bytes.set(count(snapshot.unwritten_bytes));
        self.store_trouble.set(snapshot.store_trouble.into());
        self.uptime_seconds.set(snapshot.uptime.as_secs_f64());
        let families = [&self.host_slots, &self.host_leased, &self.host_executing, &self.host_workers];
        families.into_iter().for_each(Family::clear);
        for host in &snapshot.by_host {
            let figures = [host.slots.into(), host.leased.into(), host.executing.into(), count(host.workers)];
            for (family, figure) in families.into_iter().zip(figures) {
                family.get_or_create_owned(&[("host", host.host.clone())]).set(figure);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_gone_is_not_shown_any_more() {
        let metrics = Metrics::default();
        let host = HostGauges { host: "rack-1".to_owned(), slots: 4, leased: 2, executing: 1, workers: 0 };
        let with = Snapshot { by_host: vec![host], ..Snapshot::default() };
        assert!(metrics.text(&with).unwrap().contains("grid_host_slots{host=\"rack-1\"} 4\n"));
        assert!(!metrics.text(&Snapshot::default()).unwrap().contains("rack-1"));
    }

    #[test]
    fn a_name_cannot_break_out_of_its_label() {
        let metrics = Metrics::default();
        let name = "a\"} 1\ngrid_fake 2\n#\\".to_owned();
        let host = HostGauges { host: name, slots: 4, leased: 0, executing: 0, workers: 0 };
        let text = metrics.text(&Snapshot { by_host: vec![host], ..Snapshot::default() }).unwrap();
        assert!(!text.lines().any(|line| line.starts_with("grid_fake")), "{text}");
        assert!(text.contains(r#"grid_host_slots{host="a\"} 1\ngrid_fake 2\n#\\"} 4"#), "{text}");
    }
}
