//! The wire protocol between a host and the manager on the control stream (ALPN `grid-host/1`).
//!
//! The host opens a bidirectional stream and sends [`Hello`]; the manager answers with [`Greeting`]s: any
//! number of `Pending`, then `Welcome` or `Refused`. After `Welcome` both ends send [`ControlFrame`]s.
//! Variants and fields are numbered by position on the wire, so new ones are appended.
//!
//! [`ControlFrame`]: crate::control::ControlFrame

use alloc::string::String;
use alloc::vec::Vec;

use crate::codec::{Decode, Encode};
use crate::digest::Digest;
use crate::extensions::Extensions;
use crate::id::{SessionId, WorkerId};
use crate::job::{Assignment, AttemptEnd, AttemptId, BlobRef, JobBrief, JobId};
pub use crate::join::JoinRefusal;
use crate::key::PublicKey;
pub use crate::label::Label;
use crate::limits::{LOG_LINE_BYTES_MAX, LOG_LINES_KEPT_MAX};
use crate::ticket::Proof;
use crate::trace::AttemptTimes;
use crate::worker::{End, LimitsAsked, LogLine};

/// The version of the wire protocol of this crate; the ALPNs carry it too.
pub const PROTOCOL_VERSION: u16 = 1;

/// A host's first frame.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the host.
    pub version: u16,
    /// What the host offers.
    pub capacity: HostCapacity,
    /// Proof that the host holds a ticket; `None` if it was given none.
    pub proof: Option<Proof>,
    /// What the host remembers of an earlier connection; `None` starts a new session.
    pub resume: Option<Resume>,
    /// What a newer host says beyond this.
    pub extensions: Extensions,
}

/// What a host offers the grid. All of it is an allegation of the host.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HostCapacity {
    /// The host's display name.
    pub name: String,
    /// Number of workers that the host runs at the same time.
    pub slots: u32,
    /// Memory that the host sets aside for workers, in bytes.
    pub memory_bytes: u64,
    /// Labels that a placement may require.
    pub labels: Vec<Label>,
    /// Processor and operating system, for people.
    pub platform: String,
    /// Version of the software, for people.
    pub software: String,
}

/// What one end remembers of a session, so that the other can continue it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Resume {
    /// The session.
    pub session: SessionId,
    /// Highest number on the control link up to which this end has received every note.
    pub control: u64,
    /// The same for each worker's link.
    pub workers: Vec<Position>,
}

/// How far one end has received a worker's link without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Position {
    /// The worker whose link it is.
    pub worker: WorkerId,
    /// This end has received every message up to this number.
    pub received: u64,
}

/// The manager's answer to a [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Greeting {
    /// The host's key is not approved yet. The connection stays open, and another greeting follows.
    Pending,
    /// The host is admitted.
    Welcome(Welcome),
    /// The host is refused, and the connection ends.
    Refused(JoinRefusal),
}

/// What an admitted host needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Welcome {
    /// The manager's state of the session: the old session if `resumed`, else a new and empty one.
    pub state: Resume,
    /// True if the old session continues. If false, the host ends its old workers: the manager does not know
    /// them.
    pub resumed: bool,
    /// Publishers that the manager trusts; a host with pinned publishers ignores them.
    pub publishers: Vec<PublicKey>,
    /// Publishers that the manager has revoked; every host obeys these.
    pub revoked: Vec<PublicKey>,
    /// What a newer manager says beyond this.
    pub extensions: Extensions,
}

/// What a host tells the manager.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[bincode(decode_context = "crate::codec::PayloadRoom")]
#[non_exhaustive]
pub enum HostEvent {
    /// Workers are running: they are instantiated and their `init` has returned.
    Started {
        /// The workers.
        workers: Vec<WorkerId>,
    },
    /// A worker has ended.
    Ended {
        /// The worker that ended.
        worker: WorkerId,
        /// How it ended.
        end: End,
        /// The number of the last message that it sent. Messages up to this number may still be in transit
        /// and must be delivered first.
        sent: u64,
        /// The number of the last message that it settled.
        settled: u64,
    },
    /// A worker wrote log lines.
    Log {
        /// The worker.
        worker: WorkerId,
        /// The lines, oldest first.
        lines: Vec<LogLine>,
        /// Number of lines dropped since the last report, because the worker wrote too much.
        dropped: u64,
    },
    /// A module is loaded and can run on this host.
    ModuleReady {
        /// The module.
        module: Digest,
        /// Bytes of the module that were fetched over the network for this.
        fetched_bytes: u64,
        /// Time spent compiling, in microseconds; `None` if the compiled form was cached.
        compile_us: Option<u64>,
    },
    /// The host takes no more work and leaves when its last worker has ended.
    Draining,
    /// The answer to [`HostCommand::Ping`].
    Pong {
        /// The nonce of the ping.
        nonce: u64,
        /// The worker's status.
        worker_status: WorkerStatus,
    },
    /// The number of attempts that the host is ready to hold, those that it holds already included. The
    /// manager assigns no more than that.
    Window {
        /// Number of attempts.
        attempts: u32,
    },
    /// Sent at the start of a new session: the attempts that the host still holds from before. It holds no
    /// other attempt that has not ended.
    Holding {
        /// The attempts.
        attempts: Vec<AttemptId>,
    },
    /// These attempts have begun. Attempts that ended before this was sent are left out.
    Executing {
        /// The attempts.
        attempts: Vec<AttemptId>,
    },
    /// Renews leases, for all attempts together, every five seconds. The host lists only attempts whose
    /// executors it sees working or about to work.
    Alive {
        /// The attempts.
        attempts: Vec<AttemptId>,
    },
    /// These attempts have ended. The host keeps each end until [`HostCommand::Settled`] names it.
    Outcomes {
        /// How each attempt ended.
        ends: Vec<AttemptEnd>,
    },
    /// These attempts were not begun and will not be, for example because the host drains or has less room than
    /// before. The manager requeues their tasks.
    Returned {
        /// The attempts.
        attempts: Vec<AttemptId>,
    },
    /// Answers [`HostCommand::Trace`], before the [`Self::Outcomes`] that ends the attempts.
    Traced {
        /// When what happened to each attempt.
        times: Vec<AttemptTimes>,
    },
}

impl HostEvent {
    /// Applies the wire's limits to a report: cuts long texts, and keeps only the newest log lines.
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
    /// The worker is being started.
    Starting,
    /// The worker waits for a message.
    Idle,
    /// The worker is handling a message, or has one waiting.
    Busy,
}

/// What the manager tells a host.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[bincode(decode_context = "crate::codec::PayloadRoom")]
#[non_exhaustive]
pub enum HostCommand {
    /// Start workers.
    Spawn(SpawnWorker),
    /// Stop workers: each may finish its current message and run its `stop`, within the grace period.
    Stop {
        /// The workers to stop.
        workers: Vec<WorkerId>,
        /// Grace period, in milliseconds; 0 ends them immediately.
        grace_ms: u32,
    },
    /// The publishers have changed; these lists replace the earlier ones.
    Publishers {
        /// All publishers that the manager trusts.
        trusted: Vec<PublicKey>,
        /// All publishers that the manager has revoked.
        revoked: Vec<PublicKey>,
    },
    /// Take no more work, stop the workers, and leave when the last one has ended.
    Drain,
    /// Report a worker's status with [`HostEvent::Pong`].
    Ping {
        /// The worker.
        worker: WorkerId,
        /// The host returns it in the answer.
        nonce: u64,
    },
    /// Describes a job; sent before the first attempt of the job.
    Job(JobBrief),
    /// Attempt these tasks of a job, in order.
    Assign {
        /// The job.
        job: JobId,
        /// The attempts.
        attempts: Vec<Assignment>,
    },
    /// Drop these attempts, whatever their state: their leases have ended.
    Abandon {
        /// The attempts.
        attempts: Vec<AttemptId>,
    },
    /// The ends of these attempts are on the manager's disk, or the manager has rejected them: forget them.
    Settled {
        /// The attempts.
        attempts: Vec<AttemptId>,
    },
    /// No more attempts of these jobs will come.
    JobsOver {
        /// The jobs.
        jobs: Vec<JobId>,
    },
    /// Take the times of these attempts, which the next [`Self::Assign`] brings. Sent to a host that has said in an
    /// extension that it knows this.
    Trace {
        /// The attempts.
        attempts: Vec<AttemptId>,
    },
    /// As [`Self::Spawn`], with the owner of the workers, who shares processes with nobody else. Sent to a host that tells
    /// [`Wall::Process`](crate::wall::Wall::Process), which knows this.
    SpawnFor {
        /// The owner.
        owner: PublicKey,
        /// The workers.
        spawn: SpawnWorker,
    },
}

/// Workers of one module, to be started with the same arguments.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SpawnWorker {
    /// The ids of the workers.
    pub workers: Vec<WorkerId>,
    /// The module that they run.
    pub module: Digest,
    /// The bytes that their `init` receives.
    pub arguments: Vec<u8>,
    /// Limits that the client asks for.
    pub limits: LimitsAsked,
}

/// What a host asks on a bidirectional stream of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Transfer {
    /// Fetches a module; answered by [`ModuleOffered`].
    Module {
        /// The module.
        module: Digest,
    },
    /// Fetches a payload; answered by [`Transferred`].
    Fetch {
        /// The job that the payload belongs to.
        job: JobId,
        /// The payload's digest and length.
        payload: BlobRef,
    },
    /// Uploads a payload, whose bytes follow on the stream; answered by [`Transferred`].
    Keep {
        /// The job that the payload belongs to.
        job: JobId,
        /// The payload's digest and length.
        payload: BlobRef,
    },
}

/// The answer to a host that fetches or uploads a payload.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Transferred {
    /// The payload follows on the stream, with exactly the length that was asked for.
    Follows,
    /// The payload is on the manager's disk.
    Kept,
    /// The manager refuses the transfer.
    Refused {
        /// The reason.
        why: String,
    },
}

/// The answer to [`Transfer::Module`]. After `Found`, exactly `length` bytes of module follow on the stream.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ModuleOffered {
    /// The manager has the module and sends it.
    Found {
        /// The signed manifest, as its publisher made it.
        manifest: Vec<u8>,
        /// Length of the module, in bytes.
        length: u64,
    },
    /// The manager has no such module, or the host has no work that needs it.
    Unknown,
}
