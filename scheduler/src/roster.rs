//! The roster: which hosts there are, and what they have left.

use alloc::collections::BTreeSet;

use grid_protocol::host::HostCapacity;
use grid_protocol::id::WorkerId;
use grid_protocol::time::Moment;

/// A host that the scheduler may use, or may have to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterHost {
    /// What it brings.
    pub capacity: HostCapacity,
    /// Whether it is here.
    pub presence: Presence,
    /// The workers on it, from their placement to their end.
    pub workers: BTreeSet<WorkerId>,
    /// Memory that they were promised, in bytes.
    pub memory_promised: u64,
}

/// Whether a host is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Connected, and takes workers.
    Ready,
    /// Connected, and takes no more.
    Draining,
    /// Its connection is lost; its workers are given up at this moment.
    Away {
        /// When.
        until: Moment,
        /// It was draining, and will be when it comes back.
        draining: bool,
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
