//! The wire protocol between a client and the manager (ALPN `grid-client/1`).
//!
//! The client opens a bidirectional stream and sends [`ClientHello`]; the manager answers with a
//! [`ClientGreeting`], after which both send control frames on that stream. Each [`Request`] has a
//! bidirectional stream of its own: the client sends one frame, the manager answers with one [`Reply`]. An
//! attached client exchanges messages on mail streams, in the same frames as a host. Variants and fields are
//! numbered by position on the wire, so new ones are appended.

mod denial;
mod info;
mod reply;
mod request;

use crate::codec::{Decode, Encode};
use crate::digest::Digest;
use crate::extensions::Extensions;
use crate::host::{JoinRefusal, Resume};
use crate::id::WorkerId;
use crate::key::PublicKey;
use crate::role::Roles;
use crate::ticket::Proof;
use crate::worker::End;

pub use denial::{Denial, DenialCode};
pub use info::{
    DeploymentInfo, HostInfo, HostState, KeyInfo, ModuleInfo, Status, TicketInfo, WorkerInfo, WorkerState,
};
pub use reply::Reply;
pub use request::{Placement, Request, SpawnRequest, Subject};

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
