//! What a key can change, what is lost by it, and who may.

use wasm_grid::{
    HostInfo, HostState, JobId, JobInfo, PublicKey, Request, Role, WorkerId, WorkerInfo, WorkerState,
};

use crate::command::output::counted;

/// How long a worker may take to finish the message at hand, in milliseconds, as with `grid worker stop`.
const GRACE_MS: u32 = 10_000;

/// A change, with the name of what is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopDeed {
    /// Let a host in that waits.
    Approve {
        /// The host.
        host: PublicKey,
        /// Its name.
        name: String,
    },
    /// Give a host no more work, and send it away.
    Drain {
        /// The host.
        host: PublicKey,
        /// Its name.
        name: String,
        /// Workers on it.
        workers: u32,
    },
    /// Stop a job.
    StopJob {
        /// The job.
        job: JobId,
        /// Its name.
        name: String,
        /// Tasks that wait.
        waiting: u64,
        /// Tasks that hosts hold.
        leased: u64,
    },
    /// Stop a worker.
    StopWorker {
        /// The worker.
        worker: WorkerId,
        /// Messages that it has not answered.
        unanswered: u32,
        /// True if a deployment puts another one in its place.
        is_deployed: bool,
    },
    /// Try the failed tasks of a job again.
    Retry {
        /// The job.
        job: JobId,
        /// Its name.
        name: String,
        /// Number of the tasks.
        dead: u64,
    },
}

impl TopDeed {
    /// Approves a host; the error says why there is nothing to approve.
    pub(crate) fn approve(host: &HostInfo) -> Result<Self, String> {
        let name = host.capacity.name.clone();
        match host.state {
            HostState::Pending => Ok(Self::Approve { host: host.key, name }),
            _ => Err(format!("host {name} does not wait for approval")),
        }
    }

    /// Drains a host; the error says why there is nothing to drain.
    pub(crate) fn drain(host: &HostInfo) -> Result<Self, String> {
        let name = host.capacity.name.clone();
        match host.state {
            HostState::Ready | HostState::Away => {
                Ok(Self::Drain { host: host.key, name, workers: host.workers })
            }
            state => Err(format!("host {name} is {}, so there is nothing to drain", state.label())),
        }
    }

    /// Stops a job; the error says why there is nothing to stop.
    pub(crate) fn stop_job(job: &JobInfo) -> Result<Self, String> {
        let name = job.spec.name.clone();
        if job.state.is_over() {
            return Err(format!("job {name} is {} already", job.state.label()));
        }
        Ok(Self::StopJob { job: job.id, name, waiting: job.counts.waiting, leased: job.counts.leased })
    }

    /// Stops a worker; the error says why there is nothing to stop.
    pub(crate) fn stop_worker(worker: &WorkerInfo) -> Result<Self, String> {
        if let WorkerState::Ended(end) = &worker.state {
            return Err(format!("worker {} has ended: {end}", worker.id));
        }
        let (worker, unanswered, is_deployed) = (worker.id, worker.unanswered, worker.deployment.is_some());
        Ok(Self::StopWorker { worker, unanswered, is_deployed })
    }

    /// Tries the failed tasks of a job again; the error says why not.
    pub(crate) fn retry(job: &JobInfo) -> Result<Self, String> {
        let name = job.spec.name.clone();
        if !job.state.is_over() {
            return Err(format!("job {name} is not over; failed tasks are tried again when it is"));
        }
        match job.counts.dead {
            0 => Err(format!("job {name} has no failed task")),
            dead => Ok(Self::Retry { job: job.id, name, dead }),
        }
    }

    /// The role that it takes.
    pub(crate) fn needs(&self) -> Role {
        match self {
            Self::Approve { .. } | Self::Drain { .. } => Role::Admin,
            Self::StopJob { .. } | Self::StopWorker { .. } | Self::Retry { .. } => Role::Client,
        }
    }

    /// The question before it is done, and what is lost by it; `None` if nothing is.
    pub(crate) fn question(&self) -> Option<(String, Vec<String>)> {
        match self {
            Self::Approve { .. } | Self::Retry { .. } => None,
            Self::Drain { name, workers, .. } => {
                let stops = match workers {
                    0 => "It gets no more work, finishes what it has, and leaves the grid.".to_owned(),
                    _ => format!(
                        "It gets no more work, stops its {}, and leaves the grid.",
                        counted((*workers).into(), "worker")
                    ),
                };
                Some((format!("Drain host {name}?"), vec![stops]))
            }
            Self::StopJob { name, waiting, leased, .. } => {
                let lost = vec![
                    format!("tasks that wait, and get no outcome: {waiting}"),
                    format!("tasks that hosts have, and are ended: {leased}"),
                    "Outcomes that are there stay.".to_owned(),
                ];
                Some((format!("Stop job {name}?"), lost))
            }
            Self::StopWorker { worker, unanswered, is_deployed } => {
                let mut lost = vec!["It has 10 s to finish the message at hand.".to_owned()];
                lost.push(format!("messages that it has not answered: {unanswered}"));
                if *is_deployed {
                    lost.push("Its deployment starts another one in its place.".to_owned());
                }
                Some((format!("Stop worker {worker}?"), lost))
            }
        }
    }

    /// The request that does it.
    pub(crate) fn request(&self) -> Request {
        match self {
            Self::Approve { host, .. } => Request::HostApprove { host: *host },
            Self::Drain { host, .. } => Request::HostDrain { host: *host },
            Self::StopJob { job, .. } => Request::JobStop { job: *job },
            Self::StopWorker { worker, .. } => {
                Request::WorkerStop { workers: vec![*worker], grace_ms: GRACE_MS }
            }
            Self::Retry { job, .. } => Request::JobRetry { job: *job },
        }
    }

    /// What is said when it is done.
    pub(crate) fn done(&self) -> String {
        match self {
            Self::Approve { name, .. } => format!("{name} is in"),
            Self::Drain { name, .. } => format!("{name} takes no more workers, and goes when it has none"),
            Self::StopJob { name, .. } => format!("job {name} is stopped"),
            Self::StopWorker { worker, .. } => format!("worker {worker} is stopping"),
            Self::Retry { name, dead, .. } => format!("{} of job {name} wait again", counted(*dead, "task")),
        }
    }
}
