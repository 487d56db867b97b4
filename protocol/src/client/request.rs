//! Requests: what a client asks of the manager.

use alloc::string::String;
use alloc::vec::Vec;

use crate::client::Channel;
use crate::codec::{Decode, Encode};
use crate::digest::Digest;
use crate::host::Label;
use crate::id::{DeploymentId, WorkerId};
use crate::job::{BlobRef, JobId, JobSpec};
use crate::key::PublicKey;
use crate::role::Role;
use crate::submission::EncodedInputs;
use crate::trace::TraceContext;
use crate::worker::{LimitsAsked, Restart};

/// What a client asks of the manager. Variants are numbered by position on the wire: append only.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[bincode(decode_context = "crate::codec::PayloadRoom")]
#[non_exhaustive]
pub enum Request {
    /// A summary of the grid.
    Status,
    /// Makes a ticket.
    TicketNew {
        /// The role that the ticket grants.
        role: Role,
        /// How long the ticket is valid, in seconds from now.
        ttl_s: u64,
    },
    /// Lists the tickets that have not expired.
    TicketList,
    /// Deletes a ticket, so that it admits nobody.
    TicketRemove {
        /// The ticket's id.
        id: [u8; 16],
    },
    /// Lists the hosts.
    HostList,
    /// Approves a pending host.
    HostApprove {
        /// The host's key.
        host: PublicKey,
    },
    /// Drains a host: it gets no more work, stops its workers, and leaves the grid when none is left.
    HostDrain {
        /// The host's key.
        host: PublicKey,
    },
    /// Revokes a host's key, exactly as [`Request::KeyRevoke`] does: it loses every role, not only that of a
    /// host.
    HostRemove {
        /// The host's key.
        host: PublicKey,
    },
    /// Uploads a module; exactly `length` bytes follow on the stream.
    ModuleUpload {
        /// The signed manifest, encoded.
        manifest: Vec<u8>,
        /// Length of the module, in bytes.
        length: u64,
    },
    /// Lists the modules.
    ModuleList,
    /// Removes a module that no worker, deployment or unfinished job uses.
    ModuleRemove {
        /// The module.
        module: Digest,
    },
    /// Starts workers.
    Spawn(SpawnRequest),
    /// Lists workers.
    WorkerList {
        /// True for the workers of every key, which needs the admin role; false for the caller's own.
        everyones: bool,
        /// True to include ended workers that the manager still remembers.
        ended: bool,
    },
    /// Stops workers.
    WorkerStop {
        /// The workers to stop.
        workers: Vec<WorkerId>,
        /// How long they may take to finish, in milliseconds.
        grace_ms: u32,
    },
    /// Returns the log lines that the manager keeps of a worker.
    WorkerLogs {
        /// The worker.
        worker: WorkerId,
    },
    /// Asks a worker's host for the worker's status.
    WorkerPing {
        /// The worker.
        worker: WorkerId,
    },
    /// Lists the caller's deployments; for an admin, everybody's.
    DeploymentList,
    /// Removes a deployment and stops its workers.
    DeploymentRemove {
        /// The deployment.
        deployment: DeploymentId,
    },
    /// Lists the keys and their roles.
    KeyList,
    /// Adds a role to a key, and undoes the key's revocation if there was one.
    KeyTrust {
        /// The key.
        key: PublicKey,
        /// The role to add.
        role: Role,
    },
    /// Revokes a key: takes all its roles, closes its connections, stops its workers, deployments and jobs,
    /// and bans the modules that it signed. It lasts until [`Request::KeyTrust`] names the key again.
    KeyRevoke {
        /// The key.
        key: PublicKey,
    },
    /// Creates a job under an id that the client drew. Idempotent: the same id with the same spec changes
    /// nothing.
    JobNew {
        /// The job's id.
        job: JobId,
        /// What the tasks have in common.
        spec: JobSpec,
    },
    /// Adds tasks, numbered from `first`; answered when they are on the manager's disk. Idempotent: the
    /// manager skips tasks that it already has.
    JobSubmit {
        /// The job.
        job: JobId,
        /// The number of the first task in `inputs`.
        first: u64,
        /// The inputs, one per task.
        inputs: EncodedInputs,
    },
    /// Declares that no more tasks will be added.
    JobClose {
        /// The job.
        job: JobId,
    },
    /// Asks for outcomes numbered above `after`; waits for the first if there is none yet.
    JobResults {
        /// The job.
        job: JobId,
        /// The number of the last outcome that the client has; 0 for none.
        after: u64,
        /// How long to wait for an outcome, in milliseconds; the manager waits at most 30 s.
        wait_ms: u32,
    },
    /// Returns one job with its counts.
    JobShow {
        /// The job.
        job: JobId,
    },
    /// Lists jobs, without their arguments; only the newest if not all fit into a reply.
    JobList {
        /// True for the jobs of every key, which needs the admin role; false for the caller's own.
        everyones: bool,
    },
    /// Cancels a job: waiting tasks get no outcome, and running attempts are ended.
    JobStop {
        /// The job.
        job: JobId,
    },
    /// Requeues the dead tasks of a job.
    JobRetry {
        /// The job.
        job: JobId,
    },
    /// Deletes a job that is over, with its inputs and outcomes.
    JobForget {
        /// The job.
        job: JobId,
    },
    /// Asks for an explanation, in words, of the state of a job, task or host.
    Explain(Subject),
    /// Uploads a payload that is too long for a frame; exactly its bytes follow on the stream.
    PayloadKeep {
        /// The job that the payload belongs to.
        job: JobId,
        /// The payload's digest and length.
        payload: BlobRef,
    },
    /// Downloads a payload.
    PayloadFetch {
        /// The job that the payload belongs to.
        job: JobId,
        /// The payload's digest and length.
        payload: BlobRef,
    },
    /// Asks for the highest serial that the manager has seen for a publisher's module name. A lower serial
    /// would be refused.
    ModuleSerial {
        /// The publisher's key.
        publisher: PublicKey,
        /// The module's name.
        name: String,
    },
    /// Sends a message to a worker of the caller's key, on any channel; exactly `length` bytes follow on the
    /// stream. Answered once the manager has queued it; while the worker's window is full, the manager waits
    /// for room, then refuses. The worker's answer goes to the mail of the worker's own channel.
    MessageSend {
        /// The worker.
        worker: WorkerId,
        /// Length of the message, in bytes.
        length: u64,
    },
    /// The grid at a glance, in figures.
    Overview,
    /// Asks for events with numbers above `after`; waits for the first if there is none yet.
    Feed {
        /// The number of the last event that the client has; 0 for none.
        after: u64,
        /// Most events to send; the manager sends at most [`FEED_BATCH_MAX`](crate::activity::FEED_BATCH_MAX).
        most: u32,
        /// How long to wait for an event, in milliseconds; the manager waits at most 30 s.
        wait_ms: u32,
    },
    /// Asks for sampled tasks with numbers above `after`. Does not wait.
    TaskSamples {
        /// The number of the last sample that the client has; 0 for none.
        after: u64,
        /// Most samples to send; the manager sends at most [`SAMPLE_BATCH_MAX`](crate::activity::SAMPLE_BATCH_MAX).
        most: u32,
    },
    /// Asks why attempts of a job failed, and which of its tasks were slowest.
    JobSummary {
        /// The job.
        job: JobId,
    },
    /// Asks how one task stands.
    TaskShow {
        /// The task's job.
        job: JobId,
        /// The task's number in its job.
        task: u64,
    },
    /// Asks what a host is doing.
    HostShow {
        /// The host's key.
        host: PublicKey,
    },
    /// Asks who did what, newest first, beginning below the number `before`.
    AuditList {
        /// The number of the oldest entry that the client has; 0 to begin with the newest.
        before: u64,
        /// Most entries to send; the manager sends at most [`FEED_BATCH_MAX`](crate::activity::FEED_BATCH_MAX).
        most: u32,
    },
    /// Asks for a link to the manager's page that logs the caller in, once, within a minute.
    PageLink,
    /// Makes a token that acts for the caller. The client draws the token and tells its public half.
    TokenNew {
        /// The token's public half.
        token: PublicKey,
        /// What the token may do at most; the caller must have the role.
        role: Role,
        /// How long it is valid, in seconds from now.
        ttl_s: u64,
        /// What it is for.
        name: String,
    },
    /// Lists the caller's tokens; for an admin, everybody's.
    TokenList,
    /// Deletes a token.
    TokenRemove {
        /// The token's public half.
        token: PublicKey,
    },
    /// As [`Self::JobNew`], of a job that is part of a trace. Sent to a manager that has said in an extension that it
    /// knows this.
    JobNewTraced {
        /// The job's id.
        job: JobId,
        /// What the tasks have in common.
        spec: JobSpec,
        /// What the job is a part of.
        context: TraceContext,
    },
    /// Asks where the time of a job's tasks went, as far as it was traced.
    JobTraces {
        /// The job.
        job: JobId,
    },
    /// Asks how much each host has to do.
    HostLoads,
    /// Asks which hosts have which modules.
    ModuleSpread,
}

impl Request {
    /// True for requests about jobs and their tasks, and for [`Request::Explain`]. False for the two payload
    /// transfers, which carry bytes on their streams.
    pub fn is_about_jobs(&self) -> bool {
        matches!(
            self,
            Self::JobNew { .. }
                | Self::JobNewTraced { .. }
                | Self::JobSubmit { .. }
                | Self::JobClose { .. }
                | Self::JobResults { .. }
                | Self::JobShow { .. }
                | Self::JobList { .. }
                | Self::JobStop { .. }
                | Self::JobRetry { .. }
                | Self::JobForget { .. }
                | Self::JobTraces { .. }
                | Self::Explain(_)
        )
    }
}

/// The subject of an explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Subject {
    /// A job.
    Job(JobId),
    /// A task of a job, by its number from 0.
    Task(JobId, u64),
    /// A host.
    Host(PublicKey),
}

/// Where to place workers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Placement {
    /// One worker on each of these hosts.
    On(Vec<PublicKey>),
    /// `count` workers on any hosts that fit; all of them are placed, or none.
    Anywhere {
        /// Number of workers.
        count: u32,
    },
    /// A deployment: one worker for each slot of every host that fits, including hosts that join later.
    EverySlot,
}

/// A request to start workers that have everything but their host in common.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SpawnRequest {
    /// The channel that the workers belong to.
    pub channel: Channel,
    /// The module that they run.
    pub module: Digest,
    /// The bytes that their `init` receives.
    pub arguments: Vec<u8>,
    /// Where to place them.
    pub place: Placement,
    /// Labels that a host must have.
    pub labels: Vec<Label>,
    /// Memory reserved on the host for each worker, in bytes; 0 reserves none, so that only slots limit.
    pub memory_bytes: u64,
    /// Limits that the client asks for.
    pub limits: LimitsAsked,
    /// What the manager does when a worker dies.
    pub restart: Restart,
    /// The manager ends a worker that owes an answer and has been silent for longer, in milliseconds; 0 never
    /// does.
    pub ttl_ms: u64,
}
