//! A client of a compute grid of WebAssembly workers.
//!
//! A [`Client`] connects to a manager, uploads signed modules, spawns workers of them on the grid's hosts, exchanges plain
//! messages with them, and runs lists of tasks as jobs. The crate has no engine, no store and no command line in it; a
//! program that is to hold the manager too links `wasm-grid`, whose `Manager` is a client with the same calls.

#![forbid(unsafe_code)]

mod access;
mod cbor;
mod client;
mod command_output;
mod connect;
mod connection;
mod denial;
mod job;
mod json;
mod probe;
mod publish;
mod session;
pub mod view;

pub use access::{Access, Answer};
pub use bytes::Bytes;
pub use cbor::{CborError, from_cbor, to_cbor};
pub use client::{Client, DEFAULT_TTL, SpawnBuilder};
pub use command_output::CommandOutput;
pub use connect::{ClientBuilder, ClientError};
pub use connection::ConnectError;
pub use denial::unexpected;
pub use grid_net::{
    BindError, DialError, KnownManagersError, MTU_INITIAL, MTU_SOUGHT, PathFigures, ReachError,
    SOCKET_BUFFER_BYTES, Timing,
};
pub use grid_protocol::client::{
    Channel, Denial, DenialCode, DeploymentInfo, HostInfo, HostState, KeyInfo, ModuleInfo, Placement, Reply,
    Request, SpawnRequest, Status, Subject, TicketInfo, WorkerInfo, WorkerState,
};
pub use grid_protocol::digest::Digest;
pub use grid_protocol::event::{Event, SendError};
pub use grid_protocol::host::{HostCapacity, JoinRefusal, Label, WorkerStatus};
pub use grid_protocol::id::{DeploymentId, WorkerId};
pub use grid_protocol::job::{
    AttemptFailure, GiveUp, JobCounts, JobId, JobInfo, JobSpec, JobState, Outcome, OutcomeEntry,
    ParseJobIdError,
};
pub use grid_protocol::key::{PublicKey, SecretKey};
pub use grid_protocol::manifest::FilesAsked;
pub use grid_protocol::role::{Role, Roles};
pub use grid_protocol::ticket::{ManagerAddress, ParseManagerError};
pub use grid_protocol::token::{Token, TokenInfo};
pub use grid_protocol::trace::{PartKind, TaskTrace, TraceContext, TraceContextError, TracePart};
pub use grid_protocol::wall::Wall;
pub use grid_protocol::worker::{Blame, End, Failure, FailureKind, LimitsAsked, LogLevel, LogLine, Restart};
pub use job::{
    CborInputs, DEFAULT_ATTEMPTS, DEFAULT_TIMEOUT, Inputs, Job, JobBuilder, Map, SubmitError, TaskFailed,
    TaskOutcome,
};
pub use json::from_json;
pub use probe::{
    AddressFault, ClockReading, GreetingError, ManagerGreeting, PATH_TIME_MAX, ProbeError, REACH_TIME_MAX,
    ReachedManager, UnreachedAddress, probe_manager,
};
pub use publish::{Publication, PublishError, find_module};
