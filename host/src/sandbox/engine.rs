//! The engine: configures how guests are compiled and how their memory is allocated.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{
    CacheStore, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result, WasmFeatures,
};

use crate::sandbox::Policy;

/// Interval at which a guest that computes yields.
pub(crate) const EPOCH_TICK: Duration = Duration::from_millis(10);

/// Stack of a guest: 512 KiB. Deeper recursion traps.
const WASM_STACK_BYTES: usize = 512 << 10;

/// Stack on which a call into a guest runs, host calls included: 1 MiB.
const CALL_STACK_BYTES: usize = 1 << 20;

/// Address space reserved for each memory, on which compiled code depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

    /// As many bytes as a process was told.
    pub(crate) fn of_bytes(bytes: u64) -> Self {
        Self { bytes: bytes.min(Self::WHOLE.bytes) }
    }

    pub(crate) fn bytes(self) -> u64 {
        self.bytes
    }
}

/// What compiled code depends on, besides the engine itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodeForm {
    /// Address space reserved for each memory.
    pub(crate) reservation: Reservation,
    /// True if the code looks at each loop edge whether it is to yield, so that guests can share a thread. A short inner
    /// loop may take five times as long by it.
    pub(crate) interruptible: bool,
}

impl CodeForm {
    /// Code that shares a thread with other guests, in a process whose address space is not limited.
    pub const SHARED: Self = Self { reservation: Reservation::WHOLE, interruptible: true };

    /// Code that has a thread of its own, in a process whose address space is not limited.
    pub const ALONE: Self = Self { reservation: Reservation::WHOLE, interruptible: false };

    /// The argument that tells the compiler's child process the form.
    pub(crate) fn to_argument(self) -> String {
        let kind = if self.interruptible { "shared" } else { "alone" };
        format!("{kind}-{}", self.reservation.bytes)
    }

    /// Reads what [`Self::to_argument`] wrote.
    pub(crate) fn from_argument(argument: &str) -> Option<Self> {
        let (kind, bytes) = argument.split_once('-')?;
        let interruptible = match kind {
            "shared" => true,
            "alone" => false,
            _ => return None,
        };
        Some(Self { reservation: Reservation { bytes: bytes.parse().ok()? }, interruptible })
    }

    /// A hash of everything that compiled code depends on: version, configuration and features of the engine.
    ///
    /// # Errors
    ///
    /// If the compiler does not support this machine.
    pub(crate) fn compatibility(self) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        compiler(self)?.precompile_compatibility_hash().hash(&mut hasher);
        Ok(hasher.finish())
    }
}

impl Default for CodeForm {
    fn default() -> Self {
        Self::SHARED
    }
}

const WASM_PAGE_BYTES: u64 = 64 << 10;

/// Unmapped space behind each memory, which catches constant offsets in instructions: 32 MiB.
const MEMORY_GUARD_BYTES: u64 = 32 << 20;

/// Frames of a guest that the backtrace of a trap may have.
const BACKTRACE_FRAMES_MAX: usize = 16;

/// An engine that runs guests, with room for `policy.workers_max` of them.
fn runtime(policy: &Policy, form: CodeForm) -> Result<Engine> {
    let mut config = common(form);
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
/// policy with that number of guests, and the form of the code that it runs.
///
/// The number of guests is halved until an engine fits. If whole reservations leave no room for `slots` guests and as
/// many that are ending, reservations are small.
///
/// # Errors
///
/// If not even an engine for one guest fits: why the last attempt failed.
pub(crate) fn fitting(policy: &Policy, slots: usize) -> Result<(Engine, Policy, CodeForm)> {
    let enough = slots.saturating_mul(2).clamp(1, policy.workers_max.max(1));
    let whole = halvings(policy.workers_max, enough).map(|workers| (Reservation::WHOLE, workers));
    let small = Reservation::small(policy.limits.memory_bytes);
    let small = halvings(enough, 1).map(|workers| (small, workers));
    let form = |reservation| CodeForm { reservation, interruptible: true };
    first_fitting(policy, whole.chain(small).map(|(reservation, workers)| (form(reservation), workers)))
}

/// As [`fitting`], for code of this form, with room for as many guests as fit.
///
/// # Errors
///
/// As [`fitting`].
pub(crate) fn fitting_form(policy: &Policy, form: CodeForm) -> Result<(Engine, Policy)> {
    let tries = halvings(policy.workers_max, 1).map(|workers| (form, workers));
    first_fitting(policy, tries).map(|(engine, policy, _)| (engine, policy))
}

fn first_fitting(
    policy: &Policy,
    tries: impl Iterator<Item = (CodeForm, usize)>,
) -> Result<(Engine, Policy, CodeForm)> {
    let mut last = None;
    for (form, workers_max) in tries {
        let policy = Policy { workers_max, ..*policy };
        match runtime(&policy, form) {
            Ok(engine) if leaves_room() => return Ok((engine, policy, form)),
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

/// An engine that only compiles, on one thread; [`runtime`]'s engine with the same form can load its code.
pub(crate) fn compiler(form: CodeForm) -> Result<Engine> {
    Engine::new(&compiling(form))
}

/// As [`compiler`], on the threads of the present pool, and with a store of compiled functions, if there is one.
pub(crate) fn parallel_compiler(form: CodeForm, store: Option<Arc<dyn CacheStore>>) -> Result<Engine> {
    let mut config = compiling(form);
    config.parallel_compilation(true);
    if let Some(store) = store {
        config.enable_incremental_compilation(store)?;
    }
    Engine::new(&config)
}

fn compiling(form: CodeForm) -> Config {
    let mut config = common(form);
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    config
}

fn common(form: CodeForm) -> Config {
    let mut config = Config::new();
    config.wasm_features(WasmFeatures::all(), false);
    config.wasm_features(grid_inspect::component_features(), true);
    // The engine's adapters between two components access the memories of both. No module of a guest has two memories:
    // `inspect` refuses those before anything is compiled.
    config.wasm_multi_memory(true);
    config
        .epoch_interruption(form.interruptible)
        .parallel_compilation(false)
        .relaxed_simd_deterministic(true)
        .concurrency_support(false)
        .shared_memory(false)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(CALL_STACK_BYTES)
        .memory_init_cow(true)
        .memory_may_move(false)
        .memory_reservation(form.reservation.bytes)
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
        for form in [CodeForm::ALONE, CodeForm { reservation: small, interruptible: true }] {
            assert_eq!(CodeForm::from_argument(&form.to_argument()), Some(form));
        }
        assert_eq!(CodeForm::from_argument("other-1"), None);
    }

    #[test]
    fn code_of_one_form_is_no_code_of_another() {
        let small = CodeForm { reservation: Reservation::small(256 << 20), ..CodeForm::SHARED };
        let hashes = [CodeForm::SHARED, CodeForm::ALONE, small].map(|form| form.compatibility().unwrap());
        assert!(hashes[0] != hashes[1] && hashes[0] != hashes[2] && hashes[1] != hashes[2]);
    }
}
