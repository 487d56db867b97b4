//! The metrics of a host in the text format of OpenMetrics.

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::HostMetrics;
use crate::lockdown::{LandlockWall, NamespaceWall, Walls};

/// How a host stands at one moment.
#[derive(Debug, Clone)]
pub(crate) struct HostSnapshot {
    pub(crate) connected: bool,
    pub(crate) pending: bool,
    pub(crate) draining: bool,
    /// No guest gives its thread back.
    pub(crate) wedged: bool,
    pub(crate) slots: usize,
    pub(crate) slots_used: usize,
    /// Memory of all guests together, in bytes.
    pub(crate) memory_bytes: u64,
    /// Memory that the host offers for guests, in bytes.
    pub(crate) memory_offered_bytes: u64,
}

/// How full a folder of the disk cache is.
#[derive(Debug, Clone)]
pub(crate) struct CacheUse {
    /// `own` for this host's own folder, `shared` for that of compiled code which several programs use.
    pub(crate) folder: &'static str,
    pub(crate) bytes: u64,
    pub(crate) limit_bytes: u64,
}

impl HostSnapshot {
    /// Why the host takes no work; `None` if it does.
    pub(crate) fn not_ready(&self) -> Option<&'static str> {
        match self {
            Self { draining: true, .. } => Some("this host drains: it takes no more work"),
            Self { connected: false, pending: true, .. } => Some("this host waits for approval"),
            Self { connected: false, .. } => Some("this host is not connected to its manager"),
            Self { wedged: true, .. } => Some("no guest of this host gives its thread back"),
            _ => None,
        }
    }
}

impl HostMetrics {
    /// All metrics, with how the host and its disk cache stand; `lockdown` is what confines the compiler, if it is known.
    pub(crate) fn text(
        &self,
        now: &HostSnapshot,
        caches: &[CacheUse],
        lockdown: Option<Walls>,
    ) -> Result<String, fmt::Error> {
        self.count_traffic();
        // Made for each reader: it costs some microseconds, and there is nothing to keep in step between readers.
        let mut registry = Registry::with_prefix("grid_host");
        self.register_connection(&mut registry, now);
        self.register_work(&mut registry, now);
        self.register_modules(&mut registry, caches);
        register_facts(&mut registry, lockdown);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }

    fn register_connection(&self, r: &mut Registry, now: &HostSnapshot) {
        let truth = |holds: bool| ConstGauge::new(i64::from(holds));
        r.register("connected", "1 if the host is connected to its manager, else 0", truth(now.connected));
        r.register("draining", "1 if the host takes no more work, else 0", truth(now.draining));
        let help = "Connections to the manager that were made after the first";
        r.register("reconnections", help, self.reconnections.clone());
        let help = "Size of all datagrams to the manager";
        r.register_with_unit("sent", help, Unit::Bytes, self.sent_bytes.clone());
        let help = "Size of all datagrams from the manager";
        r.register_with_unit("received", help, Unit::Bytes, self.received_bytes.clone());
    }

    fn register_work(&self, r: &mut Registry, now: &HostSnapshot) {
        let count = |number: usize| ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
        r.register("slots_offered", "Slots of the host", count(now.slots));
        r.register("slots_used", "Slots that workers and tasks occupy", count(now.slots_used));
        r.register("tasks_begun", "Tasks that were given to a guest", self.tasks_begun.clone());
        let help = "Tasks that ended: done, abandoned (the lease was over), or by kind of failure";
        r.register("tasks_ended", help, self.tasks_ended.clone());
        let help = "Running time of tasks";
        r.register_with_unit("task_run", help, Unit::Seconds, self.task_run.clone());
        r.register(
            "workers_running",
            "Workers that have started and not ended",
            self.workers_running.clone(),
        );
        r.register("workers_started", "Workers that have started", self.workers_started.clone());
        let help = "Workers that ended: stopped, or by kind of failure";
        r.register("workers_ended", help, self.workers_ended.clone());
        let help = "Linear memory of all guests together, in use or not";
        r.register_with_unit("guest_memory", help, Unit::Bytes, size(now.memory_bytes));
        let help = "Memory that the host offers for guests";
        r.register_with_unit("guest_memory_offered", help, Unit::Bytes, size(now.memory_offered_bytes));
    }

    fn register_modules(&self, r: &mut Registry, caches: &[CacheUse]) {
        let help = "Size of the modules that came from the manager";
        r.register_with_unit("modules_fetched", help, Unit::Bytes, self.module_bytes_fetched.clone());
        r.register_with_unit("compile", "Time to compile a module", Unit::Seconds, self.compile.clone());
        let help = "Modules that were refused or not finished by the compiler";
        r.register("compilations_failed", help, self.compilations_failed.clone());
        let help = "Modules whose compiled code was in the disk cache";
        r.register("compiled_code_hits", help, self.compiled_hits.clone());
        let help = "Modules whose compiled code was not in the disk cache";
        r.register("compiled_code_misses", help, self.compiled_misses.clone());
        let help =
            "Functions that were not compiled, because an earlier module of the same publisher had them";
        r.register("compiled_functions_reused", help, self.functions_reused.clone());
        let (used, limits) = <(Family<_, Gauge>, Family<_, Gauge>)>::default();
        for CacheUse { folder, bytes, limit_bytes } in caches {
            let label = [("folder", *folder)];
            used.get_or_create(&label).set(i64::try_from(*bytes).unwrap_or(i64::MAX));
            limits.get_or_create(&label).set(i64::try_from(*limit_bytes).unwrap_or(i64::MAX));
        }
        let help = "Size of the disk cache of modules and compiled code";
        r.register_with_unit("cache", help, Unit::Bytes, used);
        let help = "Size beyond which the oldest files of the disk cache are removed";
        r.register_with_unit("cache_limit", help, Unit::Bytes, limits);
    }
}

fn size(bytes: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn register_facts(r: &mut Registry, lockdown: Option<Walls>) {
    let platform = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let build = vec![("version", env!("CARGO_PKG_VERSION").to_owned()), ("platform", platform)];
    r.register("build", "The host's software", Info::new(build));
    if let Some(Walls { filters_calls, landlock, namespaces }) = lockdown {
        let calls = if filters_calls { "filtered" } else { "unfiltered" }.to_owned();
        let landlock = match landlock {
            LandlockWall::InForce(version) => version.to_string(),
            LandlockWall::SwitchedOff => "off".to_owned(),
            LandlockWall::Missing => "missing".to_owned(),
        };
        let namespaces = match namespaces {
            NamespaceWall::InForce => "own",
            NamespaceWall::Refused(_) | NamespaceWall::WithFiles(_) => "refused",
            NamespaceWall::Missing => "missing",
        };
        let help =
            "What confines the compiler: the filter of system calls, the version of Landlock, namespaces";
        let labels =
            vec![("system_calls", calls), ("landlock", landlock), ("namespaces", namespaces.to_owned())];
        r.register("lockdown", help, Info::new(labels));
    }
}

#[cfg(test)]
mod tests {
    use grid_protocol::job::{AttemptEnd, AttemptId, AttemptResult};
    use grid_protocol::worker::{End, Failure, FailureKind};

    use super::*;

    fn now() -> HostSnapshot {
        HostSnapshot {
            connected: true,
            pending: false,
            draining: false,
            wedged: false,
            slots: 4,
            slots_used: 3,
            memory_bytes: 1,
            memory_offered_bytes: 2,
        }
    }

    #[test]
    fn a_host_is_ready_only_if_nothing_keeps_it_from_work() {
        assert_eq!(now().not_ready(), None);
        let others = [
            HostSnapshot { draining: true, ..now() },
            HostSnapshot { wedged: true, ..now() },
            HostSnapshot { connected: false, ..now() },
            HostSnapshot { connected: false, pending: true, ..now() },
        ];
        let reasons: std::collections::BTreeSet<_> = others.iter().map(HostSnapshot::not_ready).collect();
        assert!(reasons.len() == 4 && !reasons.contains(&None), "{reasons:?}");
    }

    #[test]
    fn endings_are_counted_by_kind_and_exit_codes_are_one_kind() {
        let metrics = HostMetrics::default();
        let attempt = AttemptId::new(1, 1);
        let failed = |kind| {
            let failure = Failure { kind, message: String::new(), backtrace: Vec::new() };
            AttemptResult::Failed { failure, log: Vec::new() }
        };
        metrics.task_ended(&AttemptEnd { attempt, ran_us: 0, result: AttemptResult::Done(Vec::new()) });
        for code in 0..100 {
            let end = AttemptEnd { attempt, ran_us: 7, result: failed(FailureKind::Exit(code)) };
            metrics.task_ended(&end);
        }
        metrics.task_ended(&AttemptEnd { attempt, ran_us: 0, result: failed(FailureKind::ModuleRefused) });
        metrics.task_abandoned();
        metrics.worker_started();
        metrics.worker_ended(&End::Stopped, true);
        metrics.worker_ended(&End::Stopped, false);
        let text = metrics.text(&now(), &[], None).unwrap();
        for line in [
            "grid_host_tasks_ended_total{ending=\"done\"} 1",
            "grid_host_tasks_ended_total{ending=\"exit\"} 100",
            "grid_host_tasks_ended_total{ending=\"module-refused\"} 1",
            "grid_host_tasks_ended_total{ending=\"abandoned\"} 1",
            "grid_host_task_run_seconds_count 101",
            "grid_host_workers_ended_total{ending=\"stopped\"} 2",
            "grid_host_workers_running 0",
            "grid_host_slots_used 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
