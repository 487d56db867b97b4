//! Events: what happens on the grid, as those who look are told.

use alloc::string::String;

use crate::codec::{Decode, Encode};
use crate::digest::Digest;
use crate::id::WorkerId;
use crate::job::{JobId, JobState};
use crate::key::PublicKey;
use crate::role::Role;
use crate::worker::cut;

/// Longest text within an event, in bytes: a reason, a name.
pub const EVENT_TEXT_BYTES_MAX: usize = 300;

/// Something that happened on the grid.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum GridEvent {
    /// Something happened to a host.
    Host {
        /// The host's key.
        host: PublicKey,
        /// The host's display name.
        name: String,
        /// What happened.
        change: HostActivity,
    },
    /// A peer was not let in.
    Refused {
        /// The peer's key.
        key: PublicKey,
        /// The peer's address.
        from: String,
        /// Why.
        why: String,
    },
    /// A client connected, or somebody logged in to the page.
    Login {
        /// The client's key.
        key: PublicKey,
        /// The client's address, or `this process`.
        from: String,
    },
    /// A key was given a role.
    Granted {
        /// The key.
        key: PublicKey,
        /// The role.
        role: Role,
    },
    /// A key was revoked.
    Revoked {
        /// The key.
        key: PublicKey,
    },
    /// A module was uploaded.
    ModuleUploaded {
        /// The module.
        module: Digest,
        /// Its name.
        name: String,
        /// The key that signed it.
        publisher: PublicKey,
    },
    /// A module was removed.
    ModuleRemoved {
        /// The module.
        module: Digest,
        /// Its name.
        name: String,
    },
    /// A job was created, or its state changed.
    Job {
        /// The job.
        job: JobId,
        /// Its display name.
        name: String,
        /// The key of the client that created it.
        owner: PublicKey,
        /// Its state.
        state: JobState,
    },
    /// A task failed for good.
    TaskDead {
        /// The task's job.
        job: JobId,
        /// The task's number in its job.
        task: u64,
        /// The key of the client that created the job.
        owner: PublicKey,
        /// Why it is not tried again.
        why: String,
    },
    /// A worker runs.
    WorkerStarted {
        /// The worker.
        worker: WorkerId,
        /// The module that it runs.
        module: Digest,
        /// The host that it runs on.
        host: PublicKey,
        /// The key of the client that it belongs to.
        owner: PublicKey,
    },
    /// A worker has ended.
    WorkerEnded {
        /// The worker.
        worker: WorkerId,
        /// The host that it ran on.
        host: PublicKey,
        /// The key of the client that it belonged to.
        owner: PublicKey,
        /// How it ended, in a word or two.
        end: String,
        /// True if nobody ended it on purpose.
        accident: bool,
    },
    /// The manager's store takes nothing, or is short of room.
    StoreTrouble {
        /// Why.
        why: String,
    },
    /// The manager's store takes everything again.
    StoreWorks,
}

/// What happened to a host.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum HostActivity {
    /// It waits for approval.
    Pending,
    /// It joined.
    Joined {
        /// Number of workers or tasks that it runs at the same time.
        slots: u32,
    },
    /// It came back, with everything that it had.
    Returned,
    /// Its connection is lost; it is expected back.
    Away,
    /// It takes no more work.
    Draining,
    /// It is not expected back.
    Gone,
    /// It failed what others did, and gets nothing for a while.
    Quarantined {
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// It failed what others did of one job, and gets nothing of that for a while.
    Barred {
        /// The job.
        job: JobId,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// It cannot run a job.
    Unfit {
        /// The job.
        job: JobId,
        /// Why.
        why: String,
    },
    /// It compiled a module.
    Compiled {
        /// The module.
        module: Digest,
        /// Time that it took, in microseconds.
        us: u64,
    },
}

/// Who may see an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every client.
    Everybody,
    /// The client with this key, viewers and admins.
    Owner(PublicKey),
    /// Viewers and admins.
    Overseers,
}

impl GridEvent {
    /// Who may see it.
    pub fn audience(&self) -> Audience {
        match self {
            Self::Host { change: HostActivity::Barred { .. } | HostActivity::Unfit { .. }, .. } => {
                Audience::Overseers
            }
            Self::Host { .. }
            | Self::ModuleUploaded { .. }
            | Self::ModuleRemoved { .. }
            | Self::StoreTrouble { .. }
            | Self::StoreWorks => Audience::Everybody,
            Self::Job { owner, .. }
            | Self::TaskDead { owner, .. }
            | Self::WorkerStarted { owner, .. }
            | Self::WorkerEnded { owner, .. }
            | Self::Login { key: owner, .. } => Audience::Owner(*owner),
            Self::Refused { .. } | Self::Granted { .. } | Self::Revoked { .. } => Audience::Overseers,
        }
    }

    /// Cuts its texts to [`EVENT_TEXT_BYTES_MAX`] bytes each.
    pub fn clamp(&mut self) {
        let texts: [Option<&mut String>; 2] = match self {
            Self::Host { name, change: HostActivity::Unfit { why, .. }, .. } => [Some(name), Some(why)],
            Self::Host { name, .. }
            | Self::ModuleUploaded { name, .. }
            | Self::ModuleRemoved { name, .. } => [Some(name), None],
            Self::Refused { from, why, .. } => [Some(from), Some(why)],
            Self::Login { from, .. } => [Some(from), None],
            Self::Job { name, state: JobState::GivenUp { why }, .. } => [Some(name), Some(why)],
            Self::Job { name, .. } => [Some(name), None],
            Self::TaskDead { why, .. } | Self::StoreTrouble { why } => [Some(why), None],
            Self::WorkerEnded { end, .. } => [Some(end), None],
            Self::Granted { .. } | Self::Revoked { .. } | Self::WorkerStarted { .. } | Self::StoreWorks => {
                [None, None]
            }
        };
        texts.into_iter().flatten().for_each(|text| cut(text, EVENT_TEXT_BYTES_MAX));
    }
}

/// An event in the feed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FeedEntry {
    /// Its number, from 1.
    pub seq: u64,
    /// When it happened, in milliseconds since 1970 on the manager's clock.
    pub unix_ms: u64,
    /// What happened.
    pub event: GridEvent,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SecretKey;
    use alloc::string::ToString;

    #[test]
    fn texts_of_an_event_are_cut_and_its_numbers_stay() {
        let key = SecretKey::from_seed(&[1; 32]).public();
        let mut event = GridEvent::Refused { key, from: "x".repeat(1000), why: "ä".repeat(1000) };
        event.clamp();
        let GridEvent::Refused { from, why, .. } = event else { panic!("it is another event") };
        assert_eq!((from.len(), why.len()), (EVENT_TEXT_BYTES_MAX, EVENT_TEXT_BYTES_MAX));
    }

    #[test]
    fn what_is_said_of_a_job_is_for_its_owner() {
        let owner = SecretKey::from_seed(&[1; 32]).public();
        let job = JobId([1; 16]);
        let event = GridEvent::Job { job, name: "sums".to_string(), owner, state: JobState::Open };
        assert_eq!(event.audience(), Audience::Owner(owner));
        assert_eq!(GridEvent::Revoked { key: owner }.audience(), Audience::Overseers);
        assert_eq!(GridEvent::StoreWorks.audience(), Audience::Everybody);
    }
}
