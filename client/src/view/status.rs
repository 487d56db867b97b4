//! The grid at a glance.

use grid_protocol::client::Status;
use serde::Serialize;

/// A summary of the grid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct StatusView {
    /// Number of deployments.
    pub deployments: u32,
    /// Number of connected hosts, without those that are pending.
    pub hosts: u32,
    /// The manager's key.
    pub manager: String,
    /// Number of modules that the manager keeps.
    pub modules: u32,
    /// Number of hosts that wait for approval.
    pub pending_hosts: u32,
    /// Slots of all hosts that are connected or expected back.
    pub slots: u32,
    /// The version of the manager's software.
    pub software: String,
    /// Why the manager's store refuses writes, or should be spared them; null if it works.
    pub store_trouble: Option<String>,
    /// How long the manager has been up, in milliseconds.
    pub uptime_ms: u64,
    /// Number of workers that have not ended.
    pub workers: u32,
}

impl From<&Status> for StatusView {
    fn from(status: &Status) -> Self {
        Self {
            deployments: status.deployments,
            hosts: status.hosts,
            manager: status.manager.to_string(),
            modules: status.modules,
            pending_hosts: status.pending_hosts,
            slots: status.slots,
            software: status.software.clone(),
            store_trouble: status.store_trouble.clone(),
            uptime_ms: status.uptime_ms,
            workers: status.workers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{json, key};
    use serde_json::json;

    #[test]
    fn the_grid() {
        let status = Status {
            manager: key(1),
            software: "0.1.0".to_owned(),
            uptime_ms: 61_000,
            hosts: 2,
            pending_hosts: 1,
            slots: 8,
            workers: 5,
            modules: 3,
            deployments: 4,
            store_trouble: None,
        };
        let expected = json!({
            "deployments": 4,
            "hosts": 2,
            "manager": key(1).to_string(),
            "modules": 3,
            "pending_hosts": 1,
            "slots": 8,
            "software": "0.1.0",
            "store_trouble": null,
            "uptime_ms": 61_000,
            "workers": 5,
        });
        assert_eq!(json(&StatusView::from(&status)), expected);
    }
}
