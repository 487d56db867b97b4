//! Jobs.

use grid_protocol::job::JobInfo;
use serde::Serialize;

use crate::view::document::Listed;

/// A job and its progress: `submitted = waiting + leased + done + dead`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct JobView {
    /// When it was created, in seconds since 1970 on the manager's clock.
    pub created: u64,
    /// Tasks with a final failure.
    pub dead: u64,
    /// Tasks with results.
    pub done: u64,
    /// Number of hosts that hold attempts of the job.
    pub hosts: u32,
    /// Its id: `j` and 32 hexadecimal digits.
    pub id: String,
    /// Tasks that a host holds.
    pub leased: u64,
    /// The digest of the module that its tasks run.
    pub module: String,
    /// Its display name.
    pub name: String,
    /// The key of the client that created it.
    pub owner: String,
    /// Failed or lost attempts after which the task was retried.
    pub retried: u64,
    /// `open`, `running`, `finished`, `stopped` or `given-up`.
    pub state: &'static str,
    /// Tasks that the manager has accepted.
    pub submitted: u64,
    /// Tasks that wait for a host.
    pub waiting: u64,
}

impl From<&JobInfo> for JobView {
    fn from(job: &JobInfo) -> Self {
        let counts = job.counts;
        Self {
            created: job.created,
            dead: counts.dead,
            done: counts.done,
            hosts: job.hosts,
            id: job.id.to_string(),
            leased: counts.leased,
            module: job.spec.module.to_string(),
            name: job.spec.name.clone(),
            owner: job.owner.to_string(),
            retried: counts.retried,
            state: job.state.label(),
            submitted: counts.submitted,
            waiting: counts.waiting,
        }
    }
}

impl Listed for JobView {
    const LIST: &'static str = "jobs";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{json, key};
    use grid_protocol::digest::Digest;
    use grid_protocol::job::{GiveUp, JobCounts, JobId, JobSpec, JobState};
    use serde_json::json;

    #[test]
    fn a_job() {
        let spec = JobSpec {
            name: "sums".to_owned(),
            module: Digest::of(b"module"),
            arguments: b"secret".to_vec(),
            labels: Vec::new(),
            memory_bytes: 0,
            priority: 0,
            timeout_ms: 0,
            attempts_max: 1,
            give_up: GiveUp::Never,
        };
        let job = JobInfo {
            id: JobId([7; 16]),
            owner: key(1),
            spec,
            state: JobState::Closed,
            counts: JobCounts { submitted: 150, waiting: 100, leased: 8, done: 40, dead: 2, retried: 5 },
            created: 1_700_000_000,
            recorded: 42,
            hosts: 2,
            executing: 6,
        };
        let expected = json!({
            "created": 1_700_000_000,
            "dead": 2,
            "done": 40,
            "hosts": 2,
            "id": "j07070707070707070707070707070707",
            "leased": 8,
            "module": Digest::of(b"module").to_string(),
            "name": "sums",
            "owner": key(1).to_string(),
            "retried": 5,
            "state": "running",
            "submitted": 150,
            "waiting": 100,
        });
        assert_eq!(json(&JobView::from(&job)), expected);
    }
}
