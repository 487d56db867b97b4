//! The wire protocol between a client and the manager (ALPN `grid-client/1`).
//!
//! The client opens a bidirectional stream and sends [`ClientHello`]; the manager answers with a
//! [`ClientGreeting`], after which both send control frames on that stream. Each [`Request`] has a
//! bidirectional stream of its own: the client sends one frame, the manager answers with one [`Reply`]. An
//! attached client exchanges messages on mail streams, in the same frames as a host. Variants and fields are
//! numbered by position on the wire, so new ones are appended.

use alloc::string::String;
use alloc::vec::Vec;

use crate::activity::{
    AuditEntry, FeedEntry, HostLoad, HostWork, JobSummary, ModuleSpread, Overview, TaskInfo, TaskSample,
};
use crate::codec::{Decode, Encode};
use crate::digest::Digest;
use crate::extensions::Extensions;
use crate::host::{HostCapacity, JoinRefusal, Label, Resume, WorkerStatus};
use crate::id::{DeploymentId, WorkerId};
use crate::job::{BlobRef, JobId, JobInfo, JobSpec, OutcomeEntry, Payload};
use crate::key::PublicKey;
use crate::role::{Role, Roles};
use crate::ticket::Proof;
use crate::token::TokenInfo;
use crate::trace::{TaskTrace, TraceContext};
use crate::worker::{End, LimitsAsked, LogLine, Restart};

/// The client's end of its control channel: sends [`ClientNote`]s, receives [`ClientEvent`]s.
pub type ClientEnd = crate::control::Control<ClientNote, ClientEvent>;

/// The manager's end of a client's control channel: sends [`ClientEvent`]s, receives [`ClientNote`]s.
pub type ManagerClientEnd = crate::control::Control<ClientEvent, ClientNote>;

/// Tells the programs of one key apart: a worker belongs to the channel that spawned it.
///
/// The command line always uses [`Channel::COMMAND`], so that a worker spawned by one `grid` process can be
/// used by the next. A library client draws a random channel; the manager stops its workers when the client
/// has been disconnected for [`CHANNEL_GRACE_MS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Channel(pub u64);

impl Channel {
    /// The channel of the command line. Its workers outlive the process that spawned them.
    pub const COMMAND: Self = Self(0);
}

/// How long the workers of a disconnected library client are kept, in milliseconds: one minute, long enough
/// for a router to reboot.
pub const CHANNEL_GRACE_MS: u64 = 60_000;

/// A client's first frame.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClientHello {
    /// The client's [`PROTOCOL_VERSION`](crate::host::PROTOCOL_VERSION).
    pub version: u16,
    /// Proof that the client holds a ticket; `None` if it was given none.
    pub proof: Option<Proof>,
    /// The channel whose mail the client takes; `None` if it only sends requests.
    pub attach: Option<Attach>,
    /// What a newer client says beyond this.
    pub extensions: Extensions,
}

/// Asks for the mail of a channel. The manager closes an earlier connection that has the same channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Attach {
    /// The channel.
    pub channel: Channel,
    /// What the client remembers of an earlier connection; `None` starts a new session.
    pub resume: Option<Resume>,
}

/// The manager's answer to a [`ClientHello`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum ClientGreeting {
    /// The client is admitted.
    Welcome {
        /// The manager's state of the client's session: the old session if `resumed`, else a new one. `None`
        /// for a client that did not attach.
        state: Option<Resume>,
        /// True if the old session continues; false if links start again from 1.
        resumed: bool,
        /// The roles of the client's key.
        roles: Roles,
        /// What a newer manager says beyond this.
        extensions: Extensions,
    },
    /// The client is refused, and the connection ends.
    Refused(JoinRefusal),
}

/// What a client tells the manager on its control channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum ClientNote {
    /// The client no longer needs the channel: the manager stops its workers now.
    Goodbye {
        /// How long the workers may take to finish, in milliseconds.
        grace_ms: u32,
    },
}

/// What the manager tells a client about the workers of its channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A worker is running and takes messages.
    Joined {
        /// The worker.
        worker: WorkerId,
        /// The host that runs it.
        host: PublicKey,
        /// The module that it runs.
        module: Digest,
        /// The ended worker that it replaces, if any.
        replaces: Option<WorkerId>,
    },
    /// A worker has ended. Messages to it with numbers above `settled` were never answered.
    Left {
        /// The worker that ended.
        worker: WorkerId,
        /// How it ended.
        end: End,
        /// The number of its last message. Messages up to this number may still be in transit and must be
        /// delivered first.
        sent: u64,
        /// The number of the last message that the worker settled.
        settled: u64,
    },
}

/// What a client asks of the manager. Variants are numbered by position on the wire: append only.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
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
        inputs: Vec<Payload>,
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

/// The manager's answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Reply {
    /// The request was carried out.
    Done,
    /// The request was refused and has changed nothing, with two exceptions. After
    /// [`DenialCode::ManagerFault`], a change to a job may still be written: the client may repeat the
    /// request. [`Request::KeyRevoke`] of an unknown key revokes it, and says [`DenialCode::NotFound`].
    Denied(Denial),
    /// Answers [`Request::Status`].
    Status(Status),
    /// Answers [`Request::TicketNew`]: the line to paste.
    Ticket {
        /// The ticket as text; a secret.
        text: String,
    },
    /// Answers [`Request::TicketList`].
    Tickets(Vec<TicketInfo>),
    /// Answers [`Request::HostList`].
    Hosts(Vec<HostInfo>),
    /// Answers [`Request::ModuleUpload`].
    Module(ModuleInfo),
    /// Answers [`Request::ModuleList`].
    Modules(Vec<ModuleInfo>),
    /// Answers [`Request::Spawn`].
    Spawned {
        /// The workers placed so far.
        workers: Vec<WorkerId>,
        /// The deployment that was created, for [`Placement::EverySlot`].
        deployment: Option<DeploymentId>,
    },
    /// Answers [`Request::WorkerList`].
    Workers(Vec<WorkerInfo>),
    /// Answers [`Request::WorkerLogs`].
    Logs {
        /// The newest lines that the manager keeps, oldest first.
        lines: Vec<LogLine>,
        /// Number of lines that were dropped, by the host or the manager.
        dropped: u64,
    },
    /// Answers [`Request::WorkerPing`].
    WorkerStatus(WorkerStatus),
    /// Answers [`Request::DeploymentList`].
    Deployments(Vec<DeploymentInfo>),
    /// Answers [`Request::KeyList`].
    Keys(Vec<KeyInfo>),
    /// Answers [`Request::JobNew`], [`Request::JobShow`] and requests that change a job: the job as it is
    /// now.
    Job(JobInfo),
    /// Answers [`Request::JobList`].
    Jobs(Vec<JobInfo>),
    /// Answers [`Request::JobSubmit`]. The request's tasks with numbers below `next` are on the manager's
    /// disk.
    Submitted {
        /// The number of the next task that the manager expects; equal to `first` if its queue is full.
        next: u64,
    },
    /// Answers [`Request::JobResults`].
    Results {
        /// The outcomes, in the order in which they were recorded.
        outcomes: Vec<OutcomeEntry>,
        /// The job as it is now, without its arguments.
        job: JobInfo,
    },
    /// Answers [`Request::Explain`].
    Explanation {
        /// The explanation, one sentence per line.
        lines: Vec<String>,
    },
    /// Answers [`Request::PayloadFetch`]: exactly `length` bytes follow on the stream.
    Payload {
        /// Length of the payload, in bytes.
        length: u64,
    },
    /// Answers [`Request::ModuleSerial`].
    Serial {
        /// The highest serial seen; 0 if there was none.
        seen: u64,
    },
    /// Answers [`Request::Overview`].
    Overview(Overview),
    /// Answers [`Request::Feed`].
    Feed {
        /// The events that the caller may see, oldest first.
        entries: Vec<FeedEntry>,
        /// Number of events above `after` that have left the ring.
        missed: u64,
        /// The number to ask with next: that of the last event that was looked at.
        next: u64,
    },
    /// Answers [`Request::TaskSamples`].
    TaskSamples {
        /// The samples that the caller may see, oldest first.
        samples: Vec<TaskSample>,
        /// Number of samples above `after` that have left the ring.
        missed: u64,
        /// The number to ask with next: that of the last sample that was looked at.
        next: u64,
    },
    /// Answers [`Request::JobSummary`].
    JobSummary(JobSummary),
    /// Answers [`Request::TaskShow`].
    Task(TaskInfo),
    /// Answers [`Request::HostShow`].
    HostWork(HostWork),
    /// Answers [`Request::AuditList`].
    Audit(Vec<AuditEntry>),
    /// Answers [`Request::PageLink`].
    PageLink {
        /// The link; a secret until it is used.
        url: String,
        /// The SHA-256 of the page's certificate, if the manager made it itself, so that a browser's warning can be
        /// checked.
        certificate: Option<Digest>,
    },
    /// Answers [`Request::TokenList`].
    Tokens(Vec<TokenInfo>),
    /// Answers [`Request::JobTraces`]: those that are kept, in the order in which the tasks' outcomes were recorded.
    Traces(Vec<TaskTrace>),
    /// Answers [`Request::HostLoads`]: of the hosts that may get tasks.
    HostLoads(Vec<HostLoad>),
    /// Answers [`Request::ModuleSpread`]: modules that no host has are left out, and those beyond what a reply holds.
    ModuleSpread(Vec<ModuleSpread>),
}

/// The kind of a denial. The command line derives its exit code from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum DenialCode {
    /// The request is malformed, or asks for something outside the limits.
    BadRequest,
    /// The caller's key lacks a role.
    NotAllowed,
    /// What the request names does not exist, or the caller may not see it.
    NotFound,
    /// The manager refuses the module, its manifest or its signature.
    ModuleRejected,
    /// No host has room, or a limit of the manager is reached.
    NoCapacity,
    /// The present state does not allow it.
    Conflict,
    /// The manager itself failed, for example its disk.
    ManagerFault,
}

impl DenialCode {
    /// The kind in a word or two, for scripts.
    pub fn label(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::NotAllowed => "not-allowed",
            Self::NotFound => "not-found",
            Self::ModuleRejected => "module-rejected",
            Self::NoCapacity => "no-capacity",
            Self::Conflict => "conflict",
            Self::ManagerFault => "manager-fault",
        }
    }
}

/// A refusal, with its reason and what the caller can do about it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Denial {
    /// The kind of refusal.
    pub code: DenialCode,
    /// What was not done.
    pub what: String,
    /// The reason.
    pub why: String,
    /// What to do about it; empty if there is nothing to do.
    pub help: String,
}

/// A summary of the grid.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Status {
    /// The manager's key.
    pub manager: PublicKey,
    /// Version of the manager's software.
    pub software: String,
    /// How long the manager has been up, in milliseconds.
    pub uptime_ms: u64,
    /// Number of connected hosts, without those that are pending.
    pub hosts: u32,
    /// Number of hosts that wait for approval.
    pub pending_hosts: u32,
    /// Slots of all hosts that are connected or expected back.
    pub slots: u32,
    /// Number of workers that have not ended.
    pub workers: u32,
    /// Number of modules that the manager keeps.
    pub modules: u32,
    /// Number of deployments.
    pub deployments: u32,
    /// Why the manager's store refuses writes, or should be spared them; `None` if it works.
    pub store_trouble: Option<String>,
}

/// A ticket, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TicketInfo {
    /// The ticket's id.
    pub id: [u8; 16],
    /// The role that the ticket grants.
    pub role: Role,
    /// When the ticket expires, in seconds since 1970.
    pub expires: u64,
    /// The key that used the ticket, if any.
    pub used_by: Option<PublicKey>,
}

/// The state of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum HostState {
    /// Connected; its key is not approved yet.
    Pending,
    /// Connected and working.
    Ready,
    /// Connected; takes no more work.
    Draining,
    /// Disconnected; the manager keeps its workers and expects it back.
    Away,
    /// Known from an earlier session; disconnected and not expected back.
    Gone,
}

impl HostState {
    /// The state in a word, as people and scripts read it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Away => "away",
            Self::Gone => "gone",
        }
    }
}

/// A host, as the manager sees it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HostInfo {
    /// The host's key.
    pub key: PublicKey,
    /// The host's state.
    pub state: HostState,
    /// What the host offers.
    pub capacity: HostCapacity,
    /// The host's address as the manager sees it; empty if the host is gone.
    pub address: String,
    /// Number of workers on the host.
    pub workers: u32,
    /// Bytes of modules sent to the host. Like the next two, counted until the manager gives the host up.
    pub module_bytes_sent: u64,
    /// Number of modules that the host compiled.
    pub compilations: u32,
    /// Time that the host spent compiling, in microseconds.
    pub compile_us: u64,
}

/// A module that the manager keeps.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ModuleInfo {
    /// The module's digest, which is its id.
    pub digest: Digest,
    /// The module's name.
    pub name: String,
    /// The serial of the release.
    pub serial: u64,
    /// The version, for people.
    pub version: String,
    /// The key that signed the manifest.
    pub publisher: PublicKey,
    /// Length of the module, in bytes.
    pub length: u64,
    /// When the manifest expires, in seconds since 1970; 0 for never.
    pub expires: u64,
    /// The kind of entry point, for people: `core`, `command`, `command with files` or `component`.
    pub entry_point: String,
    /// True if the manager already had the module when it was uploaded.
    pub known: bool,
}

/// The state of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum WorkerState {
    /// Placed on a host, not yet running.
    Starting,
    /// Running.
    Running,
    /// Its host is disconnected and expected back.
    Away,
    /// Asked to stop, not yet ended.
    Stopping,
    /// Ended.
    Ended(End),
}

impl WorkerState {
    /// The state in a word, as people and scripts read it; how a worker ended says [`End::label`].
    pub fn label(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Away => "away",
            Self::Stopping => "stopping",
            Self::Ended(_) => "ended",
        }
    }
}

/// A worker, as the manager sees it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WorkerInfo {
    /// The worker's id.
    pub id: WorkerId,
    /// The module that it runs.
    pub module: Digest,
    /// The host that it was placed on.
    pub host: PublicKey,
    /// The worker's state.
    pub state: WorkerState,
    /// The key of the client that it belongs to.
    pub owner: PublicKey,
    /// The channel that it belongs to.
    pub channel: Channel,
    /// Number of messages that were sent to it and that it has not settled.
    pub unanswered: u32,
    /// Number of messages from it that its client has not taken.
    pub uncollected: u32,
    /// The deployment that it belongs to, if any.
    pub deployment: Option<DeploymentId>,
}

/// A deployment, as the manager keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DeploymentInfo {
    /// The deployment's id.
    pub id: DeploymentId,
    /// The request that created it.
    pub request: SpawnRequest,
    /// The key that requested it.
    pub owner: PublicKey,
    /// Number of workers that it has now.
    pub workers: u32,
}

/// A key and its roles.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyInfo {
    /// The key.
    pub key: PublicKey,
    /// The roles of the key.
    pub roles: Roles,
    /// True if the key was revoked.
    pub revoked: bool,
}
