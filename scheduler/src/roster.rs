//! The roster: the hosts, and their free slots and memory.

use alloc::collections::BTreeSet;

use grid_protocol::host::HostCapacity;
use grid_protocol::id::WorkerId;
use grid_protocol::time::Moment;
use grid_protocol::worker::End;

/// A host that is connected, or that may still come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterHost {
    /// The slots, memory and labels that it offers.
    pub capacity: HostCapacity,
    /// Whether it is connected, and takes workers.
    pub presence: Presence,
    /// The workers on it, from their placement to their end.
    pub workers: BTreeSet<WorkerId>,
    /// Memory promised to these workers, in bytes.
    pub memory_promised: u64,
}

/// Whether a host is connected, and takes workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Connected, and takes workers.
    Ready,
    /// Connected, and takes no more workers.
    Draining,
    /// Not connected; if it does not come back in time, its workers are given up.
    Away {
        /// When its workers are given up.
        until: Moment,
        /// It was draining, and will be when it reconnects.
        draining: bool,
    },
}

/// What happened to a host. Both schedulers are told the same: [`Scheduler::handle_host`](crate::Scheduler::handle_host),
/// [`Jobs::handle_host`](crate::jobs::Jobs::handle_host).
#[derive(Debug, Clone, Copy)]
pub enum HostChange<'a> {
    /// It is connected and let in.
    Joined {
        /// What it offers.
        capacity: &'a HostCapacity,
        /// True if its session continues, with its workers. The caller reports those that ended meanwhile.
        resumed: bool,
    },
    /// It takes no more workers and tasks; those that it has continue.
    Draining,
    /// Its connection is lost, and it may come back.
    Away,
    /// It has forgotten its session, and begins another: its workers are lost. It says which attempts it holds.
    Restarted,
    /// It has left for good, or was sent away.
    Gone {
        /// The end of its workers.
        end: &'a End,
    },
}

impl RosterHost {
    /// Slots without a worker.
    pub fn free_slots(&self) -> u32 {
        let taken = u32::try_from(self.workers.len()).unwrap_or(u32::MAX);
        self.capacity.slots.saturating_sub(taken)
    }

    /// Memory not promised to a worker, in bytes.
    pub fn free_memory(&self) -> u64 {
        self.capacity.memory_bytes.saturating_sub(self.memory_promised)
    }
}
