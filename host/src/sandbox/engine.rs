//! The engine: configures how guests are compiled and how their memory is allocated.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result, WasmFeatures};

use crate::sandbox::Policy;

/// Interval at which a guest that computes yields.
pub(crate) const EPOCH_TICK: Duration = Duration::from_millis(10);

/// Stack of a guest: 512 KiB. Deeper recursion traps.
const WASM_STACK_BYTES: usize = 512 << 10;

/// Stack on which a call into a guest runs, host calls included: 1 MiB.
const CALL_STACK_BYTES: usize = 1 << 20;

/// Address space reserved for each memory, on which compiled code depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reservation {
    bytes: u64,
}

impl Reservation {
    /// All that a 32-bit index reaches, so that compiled code needs no bounds checks. 15 000 of them take 60 TiB of the
    /// 128 TiB that a process has; they use no memory before it is touched.
    pub(crate) const WHOLE: Self = Self { bytes: 4 << 30 };

    /// No more than a guest may use, for a process whose address space is limited: compiled code checks each index.
    pub(crate) fn small(memory_bytes: usize) -> Self {
        let bytes = (memory_bytes as u64).max(1).next_multiple_of(WASM_PAGE_BYTES);
        Self { bytes: bytes.min(Self::WHOLE.bytes) }
    }

    /// The argument that tells the compiler's child process the reservation.
    pub(crate) fn to_argument(self) -> String {
        self.bytes.to_string()
    }

    /// Reads what [`Self::to_argument`] wrote.
    pub(crate) fn from_argument(argument: &str) -> Option<Self> {
        argument.parse().ok().map(|bytes| Self { bytes })
    }
}

const WASM_PAGE_BYTES: u64 = 64 << 10;

/// Unmapped space behind each memory, which catches constant offsets in instructions: 32 MiB.
const MEMORY_GUARD_BYTES: u64 = 32 << 20;

/// Frames of a guest that the backtrace of a trap may have.
const BACKTRACE_FRAMES_MAX: usize = 16;

/// An engine that runs guests, with room for `policy.workers_max` of them.
pub(crate) fn runtime(policy: &Policy, reservation: Reservation) -> Result<Engine> {
    let mut config = common(reservation);
    let count = u32::try_from(policy.workers_max).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(count.saturating_mul(CORE_INSTANCES_A_WORKER))
        .total_component_instances(count)
        .max_component_instance_size(4 << 20)
        .max_core_instances_per_component(CORE_INSTANCES_A_COMPONENT)
        .max_memories_per_component(MEMORIES_A_COMPONENT)
        .max_tables_per_component(TABLES_A_COMPONENT)
        .total_memories(count)
        .total_tables(count.saturating_mul(TABLES_A_MODULE))
        .total_stacks(count)
        .max_memories_per_module(1)
        .max_tables_per_module(TABLES_A_MODULE)
        .max_memory_size(policy.limits.memory_bytes)
        .table_elements(policy.limits.table_elements)
        .max_core_instance_size(4 << 20)
        .max_unused_warm_slots(count.min(1000))
        .linear_memory_keep_resident(0)
        .table_keep_resident(0)
        .async_stack_keep_resident(0);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// The engine with the most room, up to `policy.workers_max` guests, that the address space of this process allows, the
/// policy with that number of guests, and the reservation for each memory.
///
/// The number of guests is halved until an engine fits. If whole reservations leave no room for `slots` guests and as
/// many that are ending, reservations are small.
///
/// # Errors
///
/// If not even an engine for one guest fits: why the last attempt failed.
pub(crate) fn fitting(policy: &Policy, slots: usize) -> Result<(Engine, Policy, Reservation)> {
    let enough = slots.saturating_mul(2).clamp(1, policy.workers_max.max(1));
    let whole = halvings(policy.workers_max, enough).map(|workers| (Reservation::WHOLE, workers));
    let small = Reservation::small(policy.limits.memory_bytes);
    let small = halvings(enough, 1).map(|workers| (small, workers));
    let mut last = None;
    for (reservation, workers_max) in whole.chain(small) {
        let policy = Policy { workers_max, ..*policy };
        match runtime(&policy, reservation) {
            Ok(engine) if leaves_room() => return Ok((engine, policy, reservation)),
            Ok(_) => {}
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| wasmtime::Error::msg("it would leave no memory for the host itself")))
}

/// `most` and its repeated halves, down to the last that is not below `least`.
fn halvings(most: usize, least: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(most), |count| Some(count / 2)).take_while(move |count| *count >= least)
}

/// True if the host itself can still map [`HOST_BYTES`].
fn leaves_room() -> bool {
    // Reserved and released again without being touched.
    Vec::<u8>::new().try_reserve_exact(HOST_BYTES).is_ok()
}

/// Address space that the host needs besides its guests, for thread stacks, compiled modules and messages: 256 MiB.
const HOST_BYTES: usize = 256 << 20;

const TABLES_A_MODULE: u32 = 2;

/// Core instances of one component: Python has about thirty, for its libraries and the adapters between them.
const CORE_INSTANCES_A_COMPONENT: u32 = 128;

/// Core instances of a guest, on average over all guests: only a count, for which nothing is reserved.
const CORE_INSTANCES_A_WORKER: u32 = 8;

/// Memories of one component: if it was composed from several languages, each of its modules has its own.
const MEMORIES_A_COMPONENT: u32 = 4;

/// Tables of one component.
const TABLES_A_COMPONENT: u32 = 8;

/// Host resources, such as streams and timers, that a guest may hold at a time: about 100 bytes each. Wasmtime's own
/// default is a million.
pub(crate) const RESOURCES_MAX: usize = 4096;

/// An engine that only compiles; [`runtime`]'s engine with the same reservation can load its code.
pub(crate) fn compiler(reservation: Reservation) -> Result<Engine> {
    let mut config = common(reservation);
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    Engine::new(&config)
}

/// A hash of everything that compiled code depends on: version, configuration and features of the engine.
pub(crate) fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

fn common(reservation: Reservation) -> Config {
    let mut config = Config::new();
    config.wasm_features(WasmFeatures::all(), false);
    config.wasm_features(grid_inspect::component_features(), true);
    // The engine's adapters between two components access the memories of both. No module of a guest has two memories:
    // `inspect` refuses those before anything is compiled.
    config.wasm_multi_memory(true);
    config
        .epoch_interruption(true)
        .relaxed_simd_deterministic(true)
        .concurrency_support(false)
        .shared_memory(false)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(CALL_STACK_BYTES)
        .memory_init_cow(true)
        .memory_may_move(false)
        .memory_reservation(reservation.bytes)
        .memory_reservation_for_growth(0)
        .memory_guard_size(MEMORY_GUARD_BYTES)
        .guard_before_linear_memory(true)
        .generate_address_map(true)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES_MAX));
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_reservation_holds_a_workers_memory_and_no_index_reaches_beyond_a_whole_one() {
        assert_eq!(Reservation::small(1).bytes, WASM_PAGE_BYTES);
        assert_eq!(Reservation::small(256 << 20).bytes, 256 << 20);
        assert_eq!(Reservation::small((256 << 20) + 1).bytes, (256 << 20) + WASM_PAGE_BYTES);
        assert_eq!(Reservation::small(8 << 30), Reservation::WHOLE);
        let small = Reservation::small(256 << 20);
        assert_eq!(Reservation::from_argument(&small.to_argument()), Some(small));
    }

    #[test]
    fn code_that_checks_bounds_is_no_code_that_does_not() {
        let hash = |reservation| compatibility(&compiler(reservation).unwrap());
        assert_ne!(hash(Reservation::WHOLE), hash(Reservation::small(256 << 20)));
    }
}
