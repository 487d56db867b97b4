//! What a host needs of its machine, in figures, and whether the machine's address space suffices.

use crate::sandbox::engine::{self, Reservation};
use crate::sandbox::{Policy, SandboxError};

/// What a host with some number of slots needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostNeeds {
    /// Its slots.
    pub slots: u32,
    /// Memory that it offers unless it is told otherwise, in bytes.
    pub memory_bytes: u64,
    /// File descriptors.
    pub descriptors: u64,
    /// Memory mappings, at least.
    pub mappings: u64,
}

/// Memory that a host offers for each slot unless it is told otherwise: a guest's limit.
pub const SLOT_MEMORY_BYTES: u64 = 256 << 20;

/// Descriptors of a host without guests: it has 13, ten executors without guests have four each, and folders that are read or
/// synced take some for a moment. With eight jobs on its two slots at once a host had 84.
const DESCRIPTORS: u64 = 80;

/// Descriptors for each slot: an executor with four, and the code that it runs; an image of its module's memory; and a
/// compiler's child with three pipes and a handle.
const DESCRIPTORS_A_SLOT: u64 = 10;

/// Mappings of a host without guests: programs, libraries, threads and compiled modules. A host takes more where there are more: its
/// pool has room for as many guests as fit.
const MAPPINGS: u64 = 1024;

/// Mappings of a guest: two for its place in the pool, and two more while it runs.
const MAPPINGS_A_GUEST: u64 = 4;

/// Guests for each slot: one that runs and one that is ending.
const GUESTS_A_SLOT: u64 = 2;

impl HostNeeds {
    /// The needs of a host with `slots` slots.
    pub fn of(slots: u32) -> Self {
        let count = u64::from(slots);
        Self {
            slots,
            memory_bytes: count * SLOT_MEMORY_BYTES,
            descriptors: DESCRIPTORS + count * DESCRIPTORS_A_SLOT,
            mappings: MAPPINGS + count * GUESTS_A_SLOT * MAPPINGS_A_GUEST,
        }
    }

    /// The needs of a host that is told nothing: one slot for each processor.
    pub fn usual() -> Self {
        let processors = std::thread::available_parallelism();
        Self::of(processors.map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)))
    }
}

/// How a host's guests fit into the address space of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostRoom {
    /// Slots that a host in this process would have.
    pub slots: u32,
    /// True if compiled code needs no bounds checks, because each guest has as much address space as an index reaches.
    pub is_ample: bool,
}

/// Finds out how a host with so many slots would fit into the address space of this process, by making room as a host does, and
/// giving it up again. It takes no memory, and less than a second.
///
/// # Errors
///
/// [`SandboxError::AddressSpace`] if there is no room for even one guest.
pub fn room_for(slots: u32) -> Result<HostRoom, SandboxError> {
    let wanted = usize::try_from(slots).unwrap_or(usize::MAX);
    let (engine, policy, form) = engine::fitting(&Policy::default(), wanted)
        .map_err(|error| SandboxError::AddressSpace(format!("{error:#}")))?;
    drop(engine);
    let slots = u32::try_from(wanted.min(policy.workers_max)).unwrap_or(u32::MAX);
    Ok(HostRoom { slots, is_ample: form.reservation == Reservation::WHOLE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_all_the_slots_that_the_policy_has_needs_more_mappings_than_linux_gives() {
        let slots = u32::try_from(Policy::default().workers_max).unwrap();
        assert!(HostNeeds::of(slots).mappings > 65_530);
        assert!(HostNeeds::of(1000).mappings < 65_530);
    }

    #[test]
    fn this_machine_has_room_for_a_slot() {
        assert_eq!(room_for(1).unwrap().slots, 1);
    }
}
