//! Workers, deployments and logs.

use grid_protocol::client::{WorkerInfo, WorkerState};
use grid_protocol::id::{DeploymentId, WorkerId};
use grid_protocol::worker::LogLine;
use serde::Serialize;

use crate::view::document::Listed;

/// A worker, as the manager sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct WorkerView {
    /// The deployment that it belongs to; null if there is none.
    pub deployment: Option<String>,
    /// How it ended, in a word or two; null if it has not.
    pub end: Option<&'static str>,
    /// The key of the host that it was placed on.
    pub host: String,
    /// The digest of the module that it runs.
    pub module: String,
    /// `starting`, `running`, `away`, `stopping` or `ended`.
    pub state: &'static str,
    /// Number of messages that were sent to it and that it has not settled.
    pub unanswered: u32,
    /// Number of messages from it that its client has not taken.
    pub uncollected: u32,
    /// Its id, as `w1.17`.
    pub worker: String,
}

impl From<&WorkerInfo> for WorkerView {
    fn from(worker: &WorkerInfo) -> Self {
        Self {
            deployment: worker.deployment.map(|deployment| deployment.to_string()),
            end: if let WorkerState::Ended(end) = &worker.state { Some(end.label()) } else { None },
            host: worker.host.to_string(),
            module: worker.module.to_string(),
            state: worker.state.label(),
            unanswered: worker.unanswered,
            uncollected: worker.uncollected,
            worker: worker.id.to_string(),
        }
    }
}

impl Listed for WorkerView {
    const LIST: &'static str = "workers";
}

/// A worker that was just spawned: its id alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SpawnedWorkerView(String);

impl From<WorkerId> for SpawnedWorkerView {
    fn from(worker: WorkerId) -> Self {
        Self(worker.to_string())
    }
}

impl Listed for SpawnedWorkerView {
    const LIST: &'static str = "workers";
}

/// A deployment that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeploymentView {
    /// Its id, as `o3`.
    pub deployment: String,
}

impl From<DeploymentId> for DeploymentView {
    fn from(deployment: DeploymentId) -> Self {
        Self { deployment: deployment.to_string() }
    }
}

/// A line that a worker wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct LogLineView {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    /// The line, without its line break.
    pub text: String,
    /// When the host took it, in milliseconds since 1970 on the host's clock.
    pub unix_ms: u64,
}

impl From<&LogLine> for LogLineView {
    fn from(line: &LogLine) -> Self {
        Self { level: line.level.label(), text: line.text.clone(), unix_ms: line.unix_ms }
    }
}

impl Listed for LogLineView {
    const LIST: &'static str = "lines";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{json, key};
    use grid_protocol::client::Channel;
    use grid_protocol::digest::Digest;
    use grid_protocol::worker::{End, LogLevel};
    use serde_json::json;

    #[test]
    fn a_worker_that_runs_and_one_that_has_ended() {
        let mut worker = WorkerInfo {
            id: WorkerId::new(1, 17),
            module: Digest::of(b"module"),
            host: key(1),
            state: WorkerState::Running,
            owner: key(2),
            channel: Channel::COMMAND,
            unanswered: 3,
            uncollected: 4,
            deployment: Some(DeploymentId(5)),
        };
        let mut expected = json!({
            "deployment": "o5",
            "end": null,
            "host": key(1).to_string(),
            "module": Digest::of(b"module").to_string(),
            "state": "running",
            "unanswered": 3,
            "uncollected": 4,
            "worker": "w1.17",
        });
        assert_eq!(json(&WorkerView::from(&worker)), expected);
        (worker.state, worker.deployment) = (WorkerState::Ended(End::HostLost), None);
        (expected["state"], expected["end"], expected["deployment"]) =
            ("ended".into(), "host-lost".into(), json!(null));
        assert_eq!(json(&WorkerView::from(&worker)), expected);
    }

    #[test]
    fn what_was_just_made() {
        assert_eq!(json(&SpawnedWorkerView::from(WorkerId::new(1, 17))), json!("w1.17"));
        assert_eq!(json(&DeploymentView::from(DeploymentId(5))), json!({ "deployment": "o5" }));
    }

    #[test]
    fn a_line_of_a_log() {
        let line = LogLine { unix_ms: 1_700_000_000_123, level: LogLevel::Warn, text: "odd".to_owned() };
        let expected = json!({ "level": "warn", "text": "odd", "unix_ms": 1_700_000_000_123_u64 });
        assert_eq!(json(&LogLineView::from(&line)), expected);
    }
}
