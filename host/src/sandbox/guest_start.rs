//! What a guest is started with, whom it may share a process with, and how it ends.

use std::sync::Arc;

use bytes::Bytes;
use grid_protocol::job::JobId;
use grid_protocol::key::PublicKey;
use grid_protocol::worker::End;

use crate::mailbox::MessagePort;
use crate::sandbox::Limits;

/// What a guest is started with.
pub(crate) struct GuestStart {
    /// The bytes that its `init` receives.
    pub(crate) arguments: Bytes,
    pub(crate) limits: Limits,
    pub(crate) mailbox: Arc<dyn MessagePort>,
    /// Called when the guest is ready for messages.
    pub(crate) on_start: Box<dyn FnOnce() + Send>,
    /// Called exactly once when the guest has ended, even if it never became ready.
    pub(crate) on_end: Box<dyn FnOnce(GuestEnd) + Send>,
}

/// How a guest came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GuestEnd {
    /// It stopped, was ended, or failed.
    Ended(End),
    /// Its executor process ended, and not because of anything that is known of the guest.
    Lost {
        /// What became of the process.
        reason: String,
    },
}

/// Whose guests a guest may share a process with, if they run the same module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TrustDomain {
    /// Workers of this owner; of all owners if the manager, an older one, did not tell.
    Workers { owner: Option<PublicKey> },
    /// The tasks of a job, one after the other.
    Job(JobId),
}
