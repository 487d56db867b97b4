//! Histories: what a task has been through, and which hosts it avoids for that.

use alloc::vec::Vec;

use grid_protocol::key::PublicKey;

/// What a task has been through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskHistory {
    /// Attempts that failed by the guest's fault.
    pub guest: u32,
    /// Attempts that failed by a host's fault.
    pub host: u32,
    /// Attempts whose host was lost while it ran.
    pub lost: u32,
    /// Attempts whose host was lost before it was known to run.
    pub unseen: u32,
    /// Hosts that it failed on or was lost with, the newest last: it goes elsewhere, if it can.
    pub tried: Vec<PublicKey>,
    /// Hosts that it failed on by its own fault, as it seemed.
    pub failed: Vec<PublicKey>,
    /// The host that said that it would fail on any host; it takes another's word to believe that.
    pub(super) permanent: Option<PublicKey>,
}

/// Hosts that a history remembers; a task that failed on more of them is soon dead anyway.
const TRIED_MAX: usize = 8;

/// Hosts that may be lost under a task before it runs alone: the first loss may be chance.
const LOSSES_BEFORE_ALONE: u32 = 2;

/// As [`LOSSES_BEFORE_ALONE`], where the task may only have stood by.
const UNSEEN_BEFORE_ALONE: u32 = 5;

impl TaskHistory {
    /// It shall go elsewhere.
    pub(super) fn avoid(&mut self, host: PublicKey) {
        remember(&mut self.tried, host);
    }

    /// It failed there by its own fault.
    pub(super) fn fail_on(&mut self, host: PublicKey) {
        remember(&mut self.failed, host);
    }

    /// True if it must have a host to itself: it may be what kills hosts.
    pub fn is_suspect(&self) -> bool {
        self.lost >= LOSSES_BEFORE_ALONE || self.unseen >= UNSEEN_BEFORE_ALONE
    }

    /// Attempts that failed, whosever fault it was.
    pub fn failures(&self) -> u32 {
        self.guest + self.host + self.lost
    }
}

fn remember(hosts: &mut Vec<PublicKey>, host: PublicKey) {
    if !hosts.contains(&host) {
        if hosts.len() >= TRIED_MAX {
            hosts.remove(0);
        }
        hosts.push(host);
    }
}
