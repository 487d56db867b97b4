//! What a client and the manager say to each other (ALPN `grid-client/1`).
//!
//! The client opens one two-way stream and sends [`ClientHello`]; the manager answers with a
//! [`ClientGreeting`], and both then send control frames on it. Each [`Request`] has a two-way stream of its
//! own: one frame there, one [`Reply`] back. Messages cross the mail streams of an attached client in the
//! same frames as between a manager and a host. Numbers on the wire are places: append only.

use alloc::string::String;
use alloc::vec::Vec;

use crate::codec::{Decode, Encode};
use crate::digest::Digest;
use crate::host::{HostCapacity, JoinRefusal, Label, Resume, WorkerStatus};
use crate::id::{DeploymentId, WorkerId};
use crate::job::{BlobRef, JobId, JobInfo, JobSpec, OutcomeEntry, Payload};
use crate::key::PublicKey;
use crate::role::{Role, Roles};
use crate::ticket::Proof;
use crate::worker::{End, LimitsAsked, LogLine, Restart};

/// The client's end of its control channel: nothing out yet, events in.
pub type ClientEnd = crate::control::Control<ClientNote, ClientEvent>;

/// The manager's end towards a client.
pub type ManagerClientEnd = crate::control::Control<ClientEvent, ClientNote>;

/// Tells the programs of one key apart: workers belong to the channel that spawned them.
///
/// The command line always uses [`Channel::COMMAND`], so that `grid worker spawn` in one process and
/// `grid msg collect` in the next belong together; a library client draws one at random, and its workers
/// end when it has been gone for [`CHANNEL_GRACE_MS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Channel(pub u64);

impl Channel {
    /// The one of the command line; it outlives every process.
    pub const COMMAND: Self = Self(0);
}

/// How long the workers of a library client outlive it: a minute, for a reboot of a router.
pub const CHANNEL_GRACE_MS: u64 = 60_000;

/// A client's first frame.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClientHello {
    /// [`PROTOCOL_VERSION`](crate::host::PROTOCOL_VERSION) of the client.
    pub version: u16,
    /// Answers the ticket's challenge, where the client was given a ticket.
    pub proof: Option<Proof>,
    /// The mail that it wants; `None` if it only has requests.
    pub attach: Option<Attach>,
}

/// Asks for the mail of a channel. An earlier client on the same channel is sent away.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Attach {
    /// Which channel.
    pub channel: Channel,
    /// What the client remembers of an earlier connection.
    pub resume: Option<Resume>,
}

/// The manager's answer to a [`ClientHello`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum ClientGreeting {
    /// The client is in.
    Welcome {
        /// Where an attached client goes on from: its old session where `resumed`, else a new one.
        state: Option<Resume>,
        /// False if links start again from 1.
        resumed: bool,
        /// What the key may do.
        roles: Roles,
    },
    /// The client is not let in, and the connection ends.
    Refused(JoinRefusal),
}

/// What a client tells the manager on its control channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum ClientNote {
    /// The channel is not needed any more: stop its workers now.
    Goodbye {
        /// For how long its workers may finish, in milliseconds.
        grace_ms: u32,
    },
}

/// What happens to the workers of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A worker runs and takes messages.
    Joined {
        /// Which.
        worker: WorkerId,
        /// Where.
        host: PublicKey,
        /// Its module.
        module: Digest,
        /// The worker in whose place it came.
        replaces: Option<WorkerId>,
    },
    /// A worker has ended; what was sent to it and not settled was never answered.
    Left {
        /// Which.
        worker: WorkerId,
        /// How.
        end: End,
        /// The number of its last message; those that are still on their way come first.
        sent: u64,
        /// The number of the last message that it settled.
        settled: u64,
    },
}

/// What a client asks. Numbers on the wire are the places of the variants: append only.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Request {
    /// The grid at a glance.
    Status,
    /// Makes a ticket.
    TicketNew {
        /// What it lets in.
        role: Role,
        /// For how long, in seconds.
        ttl_s: u64,
    },
    /// The tickets that are not expired.
    TicketList,
    /// Makes a ticket useless.
    TicketRemove {
        /// Which.
        id: [u8; 16],
    },
    /// The hosts.
    HostList,
    /// Lets a pending host in.
    HostApprove {
        /// Which.
        host: PublicKey,
    },
    /// Gives a host no more workers, and sends it away when it has none.
    HostDrain {
        /// Which.
        host: PublicKey,
    },
    /// Takes away a host's role and its connection.
    HostRemove {
        /// Which.
        host: PublicKey,
    },
    /// Brings a module; exactly `length` bytes follow on the stream.
    ModuleUpload {
        /// The signed manifest.
        manifest: Vec<u8>,
        /// Length of the module.
        length: u64,
    },
    /// The modules.
    ModuleList,
    /// Forgets a module that no worker runs.
    ModuleRemove {
        /// Which.
        module: Digest,
    },
    /// Starts workers.
    Spawn(SpawnRequest),
    /// The workers.
    WorkerList {
        /// Those of every key, which needs the admin role; else the asker's own.
        everyones: bool,
        /// Those that have ended too, as far as the manager remembers.
        ended: bool,
    },
    /// Stops workers.
    WorkerStop {
        /// Which.
        workers: Vec<WorkerId>,
        /// For how long they may finish, in milliseconds.
        grace_ms: u32,
    },
    /// What a worker wrote.
    WorkerLogs {
        /// Which.
        worker: WorkerId,
    },
    /// Asks a worker's host what the worker does.
    WorkerPing {
        /// Which.
        worker: WorkerId,
    },
    /// The deployments.
    DeploymentList,
    /// Ends a deployment and its workers.
    DeploymentRemove {
        /// Which.
        deployment: DeploymentId,
    },
    /// The keys and what they may do.
    KeyList,
    /// Gives a key a role.
    KeyTrust {
        /// Which.
        key: PublicKey,
        /// What it may be from now on.
        role: Role,
    },
    /// Takes away everything that a key may do, for good, and its connections.
    KeyRevoke {
        /// Which.
        key: PublicKey,
    },
    /// Makes a job under an id that the client drew. The same again changes nothing.
    JobNew {
        /// Its id.
        job: JobId,
        /// What it is.
        spec: JobSpec,
    },
    /// Brings tasks number `first` and following; answered when they are on disk. Those that the manager has
    /// already are passed over, so that the same again changes nothing.
    JobSubmit {
        /// Whose tasks.
        job: JobId,
        /// The number of the first.
        first: u64,
        /// Their inputs.
        inputs: Vec<Payload>,
    },
    /// No more tasks will come.
    JobClose {
        /// Which job.
        job: JobId,
    },
    /// Asks for outcomes after number `after`, waiting for the first of them.
    JobResults {
        /// Which job.
        job: JobId,
        /// The number of the last outcome that the client has.
        after: u64,
        /// How long to wait for another, in milliseconds; 30 s at most.
        wait_ms: u32,
    },
    /// One job, with its counts.
    JobShow {
        /// Which.
        job: JobId,
    },
    /// The jobs.
    JobList {
        /// Those of every key, which needs the admin role; else the asker's own.
        everyones: bool,
    },
    /// Stops a job: what waits gets no outcome, what runs is ended.
    JobStop {
        /// Which.
        job: JobId,
    },
    /// Tries the dead tasks of a job again.
    JobRetry {
        /// Which.
        job: JobId,
    },
    /// Forgets a job that is over, with its inputs and outcomes.
    JobForget {
        /// Which.
        job: JobId,
    },
    /// Asks in words why something is as it is.
    Explain(Subject),
    /// Brings a payload that is too long for a frame; exactly its bytes follow on the stream.
    PayloadKeep {
        /// Of which job.
        job: JobId,
        /// Which.
        payload: BlobRef,
    },
    /// Asks for the bytes of a payload.
    PayloadFetch {
        /// Of which job.
        job: JobId,
        /// Which.
        payload: BlobRef,
    },
    /// Asks for the highest serial that a publisher's modules of a name ever had: the next must not be lower.
    ModuleSerial {
        /// Whose.
        publisher: PublicKey,
        /// Of which name.
        name: String,
    },
    /// Sends a message to a worker of the asker's key, whichever channel it belongs to; exactly its bytes follow on the
    /// stream. Answered once the manager has it, which may wait for room in the worker's window. What the worker says to it
    /// comes with the mail of the worker's own channel.
    MessageSend {
        /// To which worker.
        worker: WorkerId,
        /// How many bytes the message has.
        length: u64,
    },
}

impl Request {
    /// True for what is asked about jobs and their tasks.
    pub fn is_about_jobs(&self) -> bool {
        matches!(
            self,
            Self::JobNew { .. }
                | Self::JobSubmit { .. }
                | Self::JobClose { .. }
                | Self::JobResults { .. }
                | Self::JobShow { .. }
                | Self::JobList { .. }
                | Self::JobStop { .. }
                | Self::JobRetry { .. }
                | Self::JobForget { .. }
                | Self::Explain(_)
        )
    }
}

/// What an explanation is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Subject {
    /// A job.
    Job(JobId),
    /// A task of a job, by its number.
    Task(JobId, u64),
    /// A host.
    Host(PublicKey),
}

/// Where workers shall run.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Placement {
    /// One on each of these hosts.
    On(Vec<PublicKey>),
    /// So many, wherever there is room.
    Anywhere {
        /// How many.
        count: u32,
    },
    /// One for each slot of every host that fits, present and future: a deployment.
    EverySlot,
}

/// Asks for workers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SpawnRequest {
    /// Whose mail they get.
    pub channel: Channel,
    /// What they run.
    pub module: Digest,
    /// What their `init` receives.
    pub arguments: Vec<u8>,
    /// Where.
    pub place: Placement,
    /// Labels that a host must carry.
    pub labels: Vec<Label>,
    /// Memory that a host must set aside for each, in bytes; 0 leaves it to the slots.
    pub memory_bytes: u64,
    /// Limits.
    pub limits: LimitsAsked,
    /// What to do when one dies.
    pub restart: Restart,
    /// A worker that owes an answer and is silent for longer is dead; in milliseconds, 0 for never.
    pub ttl_ms: u64,
}

/// The manager's answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Reply {
    /// It is done.
    Done,
    /// It is not done, and nothing has changed.
    Denied(Denial),
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::TicketNew`]: the line to paste.
    Ticket {
        /// The ticket; a secret.
        text: String,
    },
    /// To [`Request::TicketList`].
    Tickets(Vec<TicketInfo>),
    /// To [`Request::HostList`].
    Hosts(Vec<HostInfo>),
    /// To [`Request::ModuleUpload`].
    Module(ModuleInfo),
    /// To [`Request::ModuleList`].
    Modules(Vec<ModuleInfo>),
    /// To [`Request::Spawn`].
    Spawned {
        /// The workers placed so far.
        workers: Vec<WorkerId>,
        /// The deployment, if it was one.
        deployment: Option<DeploymentId>,
    },
    /// To [`Request::WorkerList`].
    Workers(Vec<WorkerInfo>),
    /// To [`Request::WorkerLogs`].
    Logs {
        /// The newest lines, oldest first.
        lines: Vec<LogLine>,
        /// Lines that were dropped.
        dropped: u64,
    },
    /// To [`Request::WorkerPing`].
    WorkerStatus(WorkerStatus),
    /// To [`Request::DeploymentList`].
    Deployments(Vec<DeploymentInfo>),
    /// To [`Request::KeyList`].
    Keys(Vec<KeyInfo>),
    /// To [`Request::JobNew`], [`Request::JobShow`] and what changes a job.
    Job(JobInfo),
    /// To [`Request::JobList`].
    Jobs(Vec<JobInfo>),
    /// To [`Request::JobSubmit`]: what the manager has is on its disk.
    Submitted {
        /// The number of the next task that it expects; lower than asked if its queue is full.
        next: u64,
    },
    /// To [`Request::JobResults`].
    Results {
        /// Outcomes, in the order in which they were recorded.
        outcomes: Vec<OutcomeEntry>,
        /// How the job stands now.
        job: JobInfo,
    },
    /// To [`Request::Explain`].
    Explanation {
        /// In words, a sentence each.
        lines: Vec<String>,
    },
    /// To [`Request::PayloadFetch`]: exactly so many bytes follow on the stream.
    Payload {
        /// How many.
        length: u64,
    },
    /// To [`Request::ModuleSerial`].
    Serial {
        /// The highest; 0 if there was none.
        seen: u64,
    },
}

/// What kind of no it is; the command line's exit code follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum DenialCode {
    /// The request makes no sense.
    BadRequest,
    /// The key lacks a role.
    NotAllowed,
    /// There is no such thing.
    NotFound,
    /// The module, its manifest or its signature is refused.
    ModuleRejected,
    /// No host has room for it, or a limit of the manager is reached.
    NoCapacity,
    /// It cannot be done as things stand.
    Conflict,
    /// The manager itself failed: its disk, for example.
    ManagerFault,
}

/// A no, with its reason and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Denial {
    /// What kind of no.
    pub code: DenialCode,
    /// What was not done.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do about it; empty if nothing helps.
    pub help: String,
}

/// The grid at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Status {
    /// The manager's key.
    pub manager: PublicKey,
    /// Version of its software.
    pub software: String,
    /// How long it has been up, in milliseconds.
    pub uptime_ms: u64,
    /// Hosts connected.
    pub hosts: u32,
    /// Hosts that wait for approval.
    pub pending_hosts: u32,
    /// Slots of connected hosts.
    pub slots: u32,
    /// Workers that run or start.
    pub workers: u32,
    /// Modules kept.
    pub modules: u32,
    /// Deployments.
    pub deployments: u32,
    /// Why the manager's store takes nothing, or should not, while that is so.
    pub store_trouble: Option<String>,
}

/// A ticket, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TicketInfo {
    /// Its id.
    pub id: [u8; 16],
    /// What it lets in.
    pub role: Role,
    /// Until when, in seconds since 1970.
    pub expires: u64,
    /// The key that it let in.
    pub used_by: Option<PublicKey>,
}

/// How a host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum HostState {
    /// Connected, its key not approved.
    Pending,
    /// Connected and at work.
    Ready,
    /// Connected; takes no more workers.
    Draining,
    /// Its connection is lost; its workers are expected back.
    Away,
    /// Known, and not here.
    Gone,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HostInfo {
    /// Its key.
    pub key: PublicKey,
    /// How it stands.
    pub state: HostState,
    /// What it brings.
    pub capacity: HostCapacity,
    /// Its address, as the manager sees it.
    pub address: String,
    /// Workers on it.
    pub workers: u32,
    /// Bytes of modules sent to it since the manager started.
    pub module_bytes_sent: u64,
    /// Modules compiled there since the manager started.
    pub compilations: u32,
    /// Time spent on them, in microseconds.
    pub compile_us: u64,
}

/// A module.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ModuleInfo {
    /// Its id.
    pub digest: Digest,
    /// Its name.
    pub name: String,
    /// Its serial.
    pub serial: u64,
    /// Its version, for people.
    pub version: String,
    /// Its publisher.
    pub publisher: PublicKey,
    /// Its length.
    pub length: u64,
    /// Until when it is valid, in seconds since 1970; 0 for ever.
    pub expires: u64,
    /// The way in, for people: `core`, `command`, `command with files` or `component`.
    pub entry_point: String,
    /// True if it was here already.
    pub known: bool,
}

/// How a worker stands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum WorkerState {
    /// Placed, not yet running.
    Starting,
    /// Runs.
    Running,
    /// Its host's connection is lost.
    Away,
    /// Asked to stop.
    Stopping,
    /// Has ended.
    Ended(End),
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WorkerInfo {
    /// Its id.
    pub id: WorkerId,
    /// Its module.
    pub module: Digest,
    /// Its host.
    pub host: PublicKey,
    /// How it stands.
    pub state: WorkerState,
    /// The key of its client.
    pub owner: PublicKey,
    /// The channel of its client.
    pub channel: Channel,
    /// Messages sent to it and not settled.
    pub unanswered: u32,
    /// Messages from it that its client has not taken.
    pub uncollected: u32,
    /// The deployment that it belongs to.
    pub deployment: Option<DeploymentId>,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DeploymentInfo {
    /// Its id.
    pub id: DeploymentId,
    /// What was asked.
    pub request: SpawnRequest,
    /// By whom.
    pub owner: PublicKey,
    /// Workers that it has now.
    pub workers: u32,
}

/// A key and what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyInfo {
    /// The key.
    pub key: PublicKey,
    /// What it may do.
    pub roles: Roles,
    /// True if it was revoked.
    pub revoked: bool,
}
