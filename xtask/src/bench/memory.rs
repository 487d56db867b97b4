//! The memory of a host and of its executors.

use std::fs;

use crate::bench::testbed::{Cores, HostWalls, Testbed, figure};
use crate::chore::{ChoreError, say};

/// Idle workers whose memory is counted.
const IDLE_WORKERS: u32 = 10_000;

/// KiB of memory, page tables included, of the host and its executors, for each of 10 000 idle workers.
pub(super) fn idle_worker_kib(testbed: &Testbed) -> Result<f64, ChoreError> {
    let mut end = testbed.start_grid(&["idle", &IDLE_WORKERS.to_string()], Cores::All)?;
    let host = testbed.start_host(&end.line()?, IDLE_WORKERS, Cores::All, HostWalls::Full)?;
    let count = figure(&end.line()?)?;
    let mut used = ProcessMemory::of(host.id())?.all_kib();
    for executor in executors(host.id())? {
        used += ProcessMemory::of(executor)?.all_kib();
    }
    end.go_on()?;
    say(&format!("bench: one past the limit: {}", end.line()?));
    Ok(used / count)
}

/// MiB that an executor without a guest does not share with others, page tables included: the largest of the host's.
pub(super) fn empty_executor_mib(testbed: &Testbed) -> Result<f64, ChoreError> {
    let mut end = testbed.start_grid(&["executor"], Cores::All)?;
    let host = testbed.start_host(&end.line()?, 1, Cores::All, HostWalls::Full)?;
    end.line()?;
    let mut most: f64 = 0.0;
    for executor in executors(host.id())? {
        most = most.max(ProcessMemory::of(executor)?.own_kib());
    }
    if most == 0.0 {
        return Err(ChoreError::Other("the host has no executors".to_owned()));
    }
    end.go_on()?;
    Ok(most / 1024.0)
}

/// What a process has in memory, in KiB.
#[derive(Debug, Clone, Copy)]
struct ProcessMemory {
    /// A page that several processes share counts in parts.
    proportional: f64,
    private: f64,
    page_tables: f64,
}

impl ProcessMemory {
    fn of(id: u32) -> Result<Self, ChoreError> {
        let rollup = read(id, "smaps_rollup")?;
        let status = read(id, "status")?;
        Ok(Self {
            proportional: field(&rollup, "Pss:")?,
            private: field(&rollup, "Private_Clean:")? + field(&rollup, "Private_Dirty:")?,
            page_tables: field(&status, "VmPTE:")?,
        })
    }

    fn all_kib(self) -> f64 {
        self.proportional + self.page_tables
    }

    fn own_kib(self) -> f64 {
        self.private + self.page_tables
    }
}

/// The executors that a host has started.
fn executors(host: u32) -> Result<Vec<u32>, ChoreError> {
    let entries = fs::read_dir("/proc").map_err(|error| ChoreError::Other(format!("/proc: {error}")))?;
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_executor = |id: &u32| {
        let parent = read(*id, "status").and_then(|status| field(&status, "PPid:"));
        let words = read(*id, "cmdline").unwrap_or_default();
        parent.is_ok_and(|parent| parent == f64::from(host))
            && words.split('\0').any(|word| word == "--executor")
    };
    Ok(ids.filter(is_executor).collect())
}

fn read(id: u32, file: &str) -> Result<String, ChoreError> {
    let path = format!("/proc/{id}/{file}");
    fs::read_to_string(&path).map_err(|error| ChoreError::Other(format!("{path}: {error}")))
}

/// A number of a file in `/proc`.
fn field(text: &str, name: &str) -> Result<f64, ChoreError> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| ChoreError::Other(format!("the system does not tell `{name}` of a process")))
}
