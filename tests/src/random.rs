//! Randomly generated modules, run on a real grid.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use wasm_grid::{Client, End, Event, FailureKind, LimitsAsked, PublishError, Reply, Request, WorkerId};
use wasm_smith::Config;

use crate::{ChildProcess, Dice, Grid};

/// The imports and exports of a worker.
const WORKER: &str = r#"(module
    (import "grid" "recv" (func (param i32 i32) (result i32)))
    (import "grid" "send" (func (param i32 i32)))
    (import "grid" "log" (func (param i32 i32 i32)))
    (import "grid" "fail" (func (param i32 i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
    (memory (export "memory") 1)
    (func (export "init") (param i32))
    (func (export "loop") (result i32) i32.const 0)
    (func (export "handle_msg") (param i32)))"#;

/// The imports and exports of a command.
const COMMAND: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")))"#;

/// Generates a module from a seed: mostly a worker or a command, sometimes with features that the grid does not run,
/// sometimes with one wrong bit.
///
/// # Panics
///
/// If the generator has a fault.
pub fn random_module(seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let bytes: Vec<_> = (0..1 << (7 + dice.roll(5))).flat_map(|_| dice.next_u64().to_le_bytes()).collect();
    let shape = match dice.roll(10) {
        0 => None,
        1 | 2 => Some(COMMAND),
        _ => Some(WORKER),
    };
    let known = dice.roll(10) > 0;
    let config = Config {
        module_shape: shape.map(|shape| wat::parse_str(shape).expect("the shape is good")),
        // The grid checks for a start function last.
        allow_start_export: true,
        max_memory32_bytes: 1 << 30,
        max_table_elements: 200_000,
        memory64_enabled: !known,
        exceptions_enabled: !known,
        gc_enabled: !known,
        // They include external references, which the grid does not run.
        reference_types_enabled: !known,
        relaxed_simd_enabled: !known,
        tail_call_enabled: !known,
        threads_enabled: !known,
        ..Config::default()
    };
    let module = wasm_smith::Module::new(config, &mut arbitrary::Unstructured::new(&bytes));
    let mut wasm = module.expect("there are bytes enough").to_bytes();
    if dice.roll(10) == 0 {
        let bit = dice.roll(wasm.len() * 8);
        wasm[bit / 8] ^= 1 << (bit % 8);
    }
    wasm
}

/// A grid that is given generated modules.
pub struct RandomModules {
    _grid: Grid,
    host: ChildProcess,
    client: Client,
    /// The ends of workers and the refusals of modules, each with its count.
    pub ends: BTreeMap<String, u64>,
}

/// Modules that run at a time.
const BATCH: u64 = 16;

/// Processor time of one call into a worker, in milliseconds.
const CALL_MS: u64 = 20;

/// How long a worker may take to finish its message after it was asked to stop.
const GRACE: Duration = Duration::from_millis(50);

impl RandomModules {
    /// Starts the grid.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start() -> Self {
        let grid = Grid::closed();
        let host = grid.host("child", &["--slots", &BATCH.to_string()]);
        let client = grid.client();
        Self { _grid: grid, host, client, ends: BTreeMap::new() }
    }

    /// Uploads and runs the modules of these seeds. Each must be refused with a reason, or run and end for a reason.
    ///
    /// # Panics
    ///
    /// If the manager or the host fails on a module.
    pub async fn run(&mut self, seeds: std::ops::Range<u64>) {
        let mut from = seeds.start;
        while from < seeds.end {
            let to = seeds.end.min(from + BATCH);
            self.run_batch(from..to).await;
            from = to;
        }
    }

    /// Checks the host after the runs.
    ///
    /// # Panics
    ///
    /// If it panicked, or holds more than half a GiB.
    pub fn check_host(&mut self) {
        assert!(!self.host.has_said("panicked"), "the host panicked");
        let kib = self.host.memory_kib();
        assert!(kib < 512 << 10, "the host holds {kib} KiB");
    }

    async fn run_batch(&mut self, seeds: std::ops::Range<u64>) {
        let mut workers = BTreeMap::new();
        let mut modules = Vec::new();
        for seed in seeds {
            // Different names, because a host takes only the newest module of a name.
            let name = format!("random-{}", seed % BATCH);
            match self.client.upload(&name, random_module(seed)).await {
                Ok(module) => modules.push((seed, module.digest)),
                Err(PublishError::Module(refusal)) => self.count("refused: ", &refusal.to_string()),
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
        // Some loop for ever when they start.
        let limits = LimitsAsked { memory_bytes: None, call_ms: Some(CALL_MS) };
        let spawned = modules.iter().map(async |(seed, module)| {
            let workers = self.client.spawn(*module).limits(limits).anywhere(1).await;
            (workers.unwrap()[0], *seed)
        });
        workers.extend(join_all(spawned).await);
        for worker in workers.keys() {
            // The worker may have ended already.
            let _ = self.client.try_send(*worker, vec![7; 64]);
        }
        let ids: Vec<_> = workers.keys().copied().collect();
        self.client.stop_workers(&ids, GRACE).await.unwrap();
        while !workers.is_empty() {
            if let Event::Left { worker, end, .. } = self.client.next_event().await {
                let seed = workers.remove(&worker);
                self.count_end(worker, seed, &end);
            }
        }
        for (_, module) in modules {
            let removed = self.client.request(Request::ModuleRemove { module }).await;
            assert!(matches!(removed, Ok(Reply::Done)), "{removed:?}");
        }
    }

    fn count_end(&mut self, worker: WorkerId, seed: Option<u64>, end: &End) {
        match end {
            End::Stopped => self.count("ran: ", "stopped"),
            End::Failed(failure)
                if failure.kind != FailureKind::HostFault && !failure.message.contains("serial") =>
            {
                self.count("ran: ", failure.kind.label());
            }
            other => panic!("seed {seed:?}, worker {worker}: {other:?}"),
        }
    }

    fn count(&mut self, what: &str, how: &str) {
        // Reasons that differ only in numbers are counted together.
        let how: String = how.chars().filter(|letter| !letter.is_ascii_digit()).take(48).collect();
        *self.ends.entry(format!("{what}{how}")).or_default() += 1;
    }
}
