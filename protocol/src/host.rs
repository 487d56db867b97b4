//! What a host and the manager say to each other on the control stream (ALPN `grid-host/1`).
//!
//! The host opens one two-way stream and sends [`Hello`]; the manager answers with [`Greeting`]s: any number
//! of `Pending`, then `Welcome` or `Refused`. After `Welcome` both ends send [`ControlFrame`]s. Numbers on the
//! wire are the places of variants and fields: append only.
//!
//! [`ControlFrame`]: crate::control::ControlFrame

use alloc::string::String;
use alloc::vec::Vec;

use crate::codec::{Decode, Encode};
use crate::digest::Digest;
use crate::id::{SessionId, WorkerId};
use crate::job::{Assignment, AttemptEnd, AttemptId, BlobRef, JobBrief, JobId};
pub use crate::join::JoinRefusal;
use crate::key::PublicKey;
pub use crate::label::Label;
use crate::limits::{LOG_LINE_BYTES_MAX, LOG_LINES_KEPT_MAX};
use crate::ticket::Proof;
use crate::worker::{End, LimitsAsked, LogLine};

/// The version of everything in this crate; the ALPNs carry it too.
pub const PROTOCOL_VERSION: u16 = 1;

/// A host's first frame.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the host.
    pub version: u16,
    /// What the host brings.
    pub capacity: HostCapacity,
    /// Answers the ticket's challenge, where the host was given a ticket.
    pub proof: Option<Proof>,
    /// What the host remembers of an earlier connection.
    pub resume: Option<Resume>,
}

/// What a host brings to the grid: all of it alleged.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HostCapacity {
    /// What people call the host.
    pub name: String,
    /// Workers that it will run at once.
    pub slots: u32,
    /// Memory that it sets aside for workers, in bytes.
    pub memory_bytes: u64,
    /// What placements may ask for, by name and value.
    pub labels: Vec<Label>,
    /// Processor and system, for people.
    pub platform: String,
    /// Version of the software, for people.
    pub software: String,
}

/// What one end remembers of a session, so that the other goes on from there.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Resume {
    /// Which session.
    pub session: SessionId,
    /// Up to where the control link is here.
    pub control: u64,
    /// Up to where each worker's link is here.
    pub workers: Vec<Position>,
}

/// Up to where a worker's link has arrived whole at the end that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Position {
    /// Whose link.
    pub worker: WorkerId,
    /// Everything up to this number has arrived.
    pub received: u64,
}

/// The manager's answer to a [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Greeting {
    /// The host's key is not approved yet; the connection stays open and another greeting follows.
    Pending,
    /// The host is in.
    Welcome(Welcome),
    /// The host is not let in, and the connection ends.
    Refused(JoinRefusal),
}

/// What a welcomed host needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Welcome {
    /// What the manager remembers: the host's old session where `resumed`, else a new one with nothing in it.
    pub state: Resume,
    /// False if the host must forget its old workers: the manager does not know them.
    pub resumed: bool,
    /// Publishers that the manager vouches for; a host with pins of its own does not care.
    pub publishers: Vec<PublicKey>,
    /// Publisher keys that the manager has revoked.
    pub revoked: Vec<PublicKey>,
}

/// What a host tells the manager.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum HostEvent {
    /// Workers run: instantiated, and through their `init`.
    Started {
        /// Which.
        workers: Vec<WorkerId>,
    },
    /// A worker has ended.
    Ended {
        /// Which.
        worker: WorkerId,
        /// How.
        end: End,
        /// The number of the last message that it sent; those that are still on their way come first.
        sent: u64,
        /// The number of the last message that it settled.
        settled: u64,
    },
    /// A worker wrote lines.
    Log {
        /// Which.
        worker: WorkerId,
        /// What.
        lines: Vec<LogLine>,
        /// Lines that were dropped before these, because the worker wrote too much.
        dropped: u64,
    },
    /// A module can run here now.
    ModuleReady {
        /// Which.
        module: Digest,
        /// Bytes of it that crossed the network for this.
        fetched_bytes: u64,
        /// Time spent compiling, in microseconds; `None` if the compiled form was on disk.
        compile_us: Option<u64>,
    },
    /// The host takes no more workers and goes when the last one has ended.
    Draining,
    /// The answer to [`HostCommand::Ping`].
    Pong {
        /// The number in the ping.
        nonce: u64,
        /// What the worker does.
        worker_status: WorkerStatus,
    },
    /// The host is ready to hold so many attempts at once, those that it has included: it pulls.
    Window {
        /// How many.
        attempts: u32,
    },
    /// The first note of a new session: these attempts the host has from before, and no others.
    Holding {
        /// Which.
        attempts: Vec<AttemptId>,
    },
    /// These attempts have begun. One that was over before it could be said is left out.
    Executing {
        /// Which.
        attempts: Vec<AttemptId>,
    },
    /// Every five seconds, for all leases at once: the host vouches for these attempts, whose executors it sees at
    /// work or about to be.
    Alive {
        /// Which.
        attempts: Vec<AttemptId>,
    },
    /// These attempts have ended. The host keeps each until the manager has settled it.
    Outcomes {
        /// How.
        ends: Vec<AttemptEnd>,
    },
    /// These attempts were not begun and will not be: the host drains.
    Returned {
        /// Which.
        attempts: Vec<AttemptId>,
    },
}

impl HostEvent {
    /// Holds a host to what it may report: long texts are cut, and of many lines the last are kept.
    pub fn clamp(&mut self) {
        match self {
            Self::Ended { end: End::Failed(failure), .. } => failure.clamp(),
            Self::Log { lines, dropped, .. } => {
                let more = lines.len().saturating_sub(LOG_LINES_KEPT_MAX);
                lines.drain(..more);
                *dropped = dropped.saturating_add(more as u64);
                lines.iter_mut().for_each(|line| line.clamp(LOG_LINE_BYTES_MAX));
            }
            Self::Outcomes { ends } => ends.iter_mut().for_each(AttemptEnd::clamp),
            _ => {}
        }
    }
}

/// What a worker does, as its host sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum WorkerStatus {
    /// The host has no such worker.
    Absent,
    /// It is being started.
    Starting,
    /// It waits for a message.
    Idle,
    /// It is at work.
    Busy,
}

/// What the manager tells a host.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum HostCommand {
    /// Start workers.
    Spawn(SpawnWorker),
    /// Stop workers: let them finish the message at hand and call their `stop`, for so long at most.
    Stop {
        /// Which.
        workers: Vec<WorkerId>,
        /// For how long, in milliseconds; 0 ends them at once.
        grace_ms: u32,
    },
    /// The publishers have changed.
    Publishers {
        /// All that the manager vouches for.
        trusted: Vec<PublicKey>,
        /// All that it has revoked.
        revoked: Vec<PublicKey>,
    },
    /// Take no more workers; go when the last one has ended.
    Drain,
    /// Say what a worker does.
    Ping {
        /// Which.
        worker: WorkerId,
        /// Comes back in the answer.
        nonce: u64,
    },
    /// A job that attempts will come of.
    Job(JobBrief),
    /// Attempt these tasks of a job that was described before, in order.
    Assign {
        /// Whose tasks.
        job: JobId,
        /// Which.
        attempts: Vec<Assignment>,
    },
    /// Drop these attempts, whatever they do: their leases are gone.
    Abandon {
        /// Which.
        attempts: Vec<AttemptId>,
    },
    /// What came of these attempts is on the manager's disk: forget them.
    Settled {
        /// Which.
        attempts: Vec<AttemptId>,
    },
    /// No more attempts of these jobs will come.
    JobsOver {
        /// Which.
        jobs: Vec<JobId>,
    },
}

/// Workers of one module, to be started with the same arguments.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SpawnWorker {
    /// Their ids.
    pub workers: Vec<WorkerId>,
    /// Their module.
    pub module: Digest,
    /// What their `init` receives.
    pub arguments: Vec<u8>,
    /// Limits that the client asks for.
    pub limits: LimitsAsked,
}

/// What a host asks on a two-way stream of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Transfer {
    /// The bytes of a module; answered by [`ModuleOffered`].
    Module {
        /// Which.
        module: Digest,
    },
    /// The bytes of a payload; answered by [`Transferred`].
    Fetch {
        /// Of which job.
        job: JobId,
        /// Which.
        payload: BlobRef,
    },
    /// Brings a payload, whose bytes follow on the stream; answered by [`Transferred`].
    Keep {
        /// Of which job.
        job: JobId,
        /// Which.
        payload: BlobRef,
    },
}

/// The answer to a host that fetches or brings a payload.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Transferred {
    /// Exactly as many bytes as were asked for follow.
    Follows,
    /// It is on the manager's disk.
    Kept,
    /// No.
    Refused {
        /// Why.
        why: String,
    },
}

/// The answer to [`Transfer::Module`]; where it is `Found`, exactly `length` bytes of module follow on the stream.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ModuleOffered {
    /// Here it is.
    Found {
        /// The signed manifest, as its publisher made it.
        manifest: Vec<u8>,
        /// Length of the module.
        length: u64,
    },
    /// The manager has no such module.
    Unknown,
}
