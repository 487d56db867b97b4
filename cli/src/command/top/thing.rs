//! What can be selected and described.

use grid_protocol::activity::GridEvent;
use wasm_grid::{Digest, JobId, PublicKey, WorkerId};

/// One thing of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopThing {
    /// A host.
    Host(PublicKey),
    /// A job.
    Job(JobId),
    /// A task, by its number in its job.
    Task(JobId, u64),
    /// A worker.
    Worker(WorkerId),
    /// A module.
    Module(Digest),
    /// An event, by the number that it has here.
    Event(u64),
}

impl TopThing {
    /// What an event is about, if that can be described.
    pub(crate) fn of_event(event: &GridEvent) -> Option<Self> {
        match event {
            GridEvent::Host { host, .. } => Some(Self::Host(*host)),
            GridEvent::Job { job, .. } => Some(Self::Job(*job)),
            GridEvent::TaskDead { job, task, .. } => Some(Self::Task(*job, *task)),
            GridEvent::WorkerStarted { worker, .. } | GridEvent::WorkerEnded { worker, .. } => {
                Some(Self::Worker(*worker))
            }
            GridEvent::ModuleUploaded { module, .. } => Some(Self::Module(*module)),
            _ => None,
        }
    }

    /// What it is, for a title.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Host(host) => format!("host {}", host.fingerprint()),
            Self::Job(job) => format!("job {job}"),
            Self::Task(job, task) => format!("task {task} of job {}", short(*job)),
            Self::Worker(worker) => format!("worker {worker}"),
            Self::Module(module) => format!("module {}", module.short()),
            Self::Event(_) => "event".to_owned(),
        }
    }
}

/// The beginning of a job's id, which is enough to name it to every command.
pub(crate) fn short(job: JobId) -> String {
    let mut text = job.to_string();
    text.truncate(9);
    text
}
