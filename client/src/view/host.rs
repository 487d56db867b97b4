//! Hosts.

use grid_protocol::client::HostInfo;
use grid_protocol::wall::Wall;
use serde::Serialize;

use crate::view::document::Listed;

/// A host, as the manager sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct HostView {
    /// Its address as the manager sees it, `IP:PORT`; empty if the host is gone.
    pub address: String,
    /// Number of modules that it compiled.
    pub compilations: u32,
    /// Time that it spent compiling, in microseconds.
    pub compile_us: u64,
    /// The beginning of its key, for people.
    pub fingerprint: String,
    /// Its key.
    pub key: String,
    /// The labels that its operator gave it, each as `NAME=VALUE`.
    pub labels: Vec<String>,
    /// Memory that it sets aside for workers, in bytes.
    pub memory_bytes: u64,
    /// Bytes of modules sent to it since it joined.
    pub module_bytes_sent: u64,
    /// Its display name.
    pub name: String,
    /// Its processor and operating system, for people.
    pub platform: String,
    /// Number of workers that it runs at the same time.
    pub slots: u32,
    /// The version of its software.
    pub software: String,
    /// `pending`, `ready`, `draining`, `away` or `gone`.
    pub state: &'static str,
    /// The walls around guests there, as it says: `process`, `landlock`, `system calls`, `namespaces`.
    pub walls: Vec<&'static str>,
    /// Number of workers on it.
    pub workers: u32,
}

impl From<&HostInfo> for HostView {
    fn from(host: &HostInfo) -> Self {
        let capacity = &host.capacity;
        let labels = &capacity.labels;
        let named = labels.iter().filter(|label| !label.name.starts_with(Wall::LABEL_PREFIX));
        let walls = Wall::ALL.into_iter().filter(|wall| wall.stands(labels));
        Self {
            address: host.address.clone(),
            compilations: host.compilations,
            compile_us: host.compile_us,
            fingerprint: host.key.fingerprint(),
            key: host.key.to_string(),
            labels: named.map(|label| format!("{}={}", label.name, label.value)).collect(),
            memory_bytes: capacity.memory_bytes,
            module_bytes_sent: host.module_bytes_sent,
            name: capacity.name.clone(),
            platform: capacity.platform.clone(),
            slots: capacity.slots,
            software: capacity.software.clone(),
            state: host.state.label(),
            walls: walls.map(Wall::name).collect(),
            workers: host.workers,
        }
    }
}

impl Listed for HostView {
    const LIST: &'static str = "hosts";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{json, key};
    use grid_protocol::client::HostState;
    use grid_protocol::host::{HostCapacity, Label};
    use serde_json::json;

    #[test]
    fn a_host() {
        let host = HostInfo {
            key: key(1),
            state: HostState::Ready,
            capacity: HostCapacity {
                name: "rack-1".to_owned(),
                slots: 4,
                memory_bytes: 1 << 30,
                labels: vec![
                    Label { name: "zone".to_owned(), value: "a".to_owned() },
                    Wall::Landlock.label(),
                ],
                platform: "x86_64 linux".to_owned(),
                software: "0.1.0".to_owned(),
            },
            address: "192.0.2.7:4747".to_owned(),
            workers: 3,
            module_bytes_sent: 70_000,
            compilations: 2,
            compile_us: 1500,
        };
        let expected = json!({
            "address": "192.0.2.7:4747",
            "compilations": 2,
            "compile_us": 1500,
            "fingerprint": key(1).fingerprint(),
            "key": key(1).to_string(),
            "labels": ["zone=a"],
            "memory_bytes": 1_073_741_824,
            "module_bytes_sent": 70_000,
            "name": "rack-1",
            "platform": "x86_64 linux",
            "slots": 4,
            "software": "0.1.0",
            "state": "ready",
            "walls": ["landlock"],
            "workers": 3,
        });
        assert_eq!(json(&HostView::from(&host)), expected);
    }
}
