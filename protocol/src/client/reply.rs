//! Replies: the manager's answers to requests.

use alloc::string::String;
use alloc::vec::Vec;

use crate::activity::{
    AuditEntry, FeedEntry, HostLoad, HostWork, JobSummary, ModuleSpread, Overview, TaskInfo, TaskSample,
};
use crate::client::{Denial, DeploymentInfo, HostInfo, KeyInfo, ModuleInfo, Status, TicketInfo, WorkerInfo};
#[cfg(doc)]
use crate::client::{DenialCode, Placement, Request};
use crate::codec::{Decode, Encode};
use crate::digest::Digest;
use crate::host::WorkerStatus;
use crate::id::{DeploymentId, WorkerId};
use crate::job::{JobInfo, OutcomeEntry};
use crate::token::TokenInfo;
use crate::trace::TaskTrace;
use crate::worker::LogLine;

/// The manager's answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[bincode(decode_context = "crate::codec::PayloadRoom")]
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
