//! Peers that speak the wire and break its rules, while another client's service is measured.
//!
//! An attack is a row: its name, who does it, what is done. What it gives back is held while the bystander is measured
//! again; then it is let go, and the manager must be as it was before.

mod clients;
mod hosts;
mod peer;
mod strangers;

use std::any::Any;
use std::time::{Duration, Instant};

use grid_tests::{ChildProcess, Grid, echo, within_minutes};
use wasm_grid::{Client, Digest, Event, WorkerId};

/// What an attacker holds while the bystander is measured.
type Held = Box<dyn Any>;

/// A client that has done nothing, and what it gets.
struct Bystander {
    client: Client,
    worker: WorkerId,
    module: Digest,
}

/// How well a client is served.
#[derive(Debug, Clone, Copy)]
struct Service {
    /// The round trip that one in a hundred exceeds.
    p99: Duration,
    /// Fifty tasks, from the first to the last.
    tasks: Duration,
}

/// What a manager takes of its machine.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    memory_kib: u64,
    descriptors: usize,
    threads: u64,
}

const ROUNDS: usize = 300;

/// On a machine with two cores one round trip in a hundred waits for another process, whatever happens.
const P99_FLOOR: Duration = Duration::from_millis(10);
const TASKS_FLOOR: Duration = Duration::from_millis(500);

/// How often the service beside an attack is measured, until it is as good as before.
const TRIES: usize = 4;

/// How many tries do not count, because another machine had our processors meanwhile.
const DISTURBED_MAX: usize = 40;

/// What allocators keep.
const MEMORY_KIB_MAX: u64 = 10 << 10;

impl Bystander {
    async fn new(grid: &Grid) -> Self {
        let client = grid.another_client("bystander");
        let admin = grid.client();
        let module = admin.upload("echo", echo()).await.unwrap().digest;
        let worker = client.spawn(module).anywhere(1).await.unwrap()[0];
        Self { client, worker, module }
    }

    /// A task whose input goes through the disk.
    async fn long_task(&self) {
        let mut results = self.client.job("long", self.module).map(vec![vec![7; 3 << 20]]).await.unwrap();
        let outcome = results.next().await.unwrap().unwrap();
        assert_eq!(outcome.results.unwrap()[0].len(), 3 << 20);
    }

    async fn serve(&self) -> Service {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            self.client.send(self.worker, &b"ping"[..]).await.unwrap();
            while !matches!(self.client.next_event().await, Event::Message { .. }) {}
            times.push(began.elapsed());
        }
        times.sort();
        let began = Instant::now();
        let inputs = (0..50).map(|task: u64| task.to_string().into_bytes());
        let mut results = self.client.job("bystander", self.module).map(inputs).await.unwrap();
        let mut done = 0;
        while let Some(outcome) = results.next().await.unwrap() {
            done += usize::from(outcome.results.is_ok());
        }
        assert_eq!(done, 50);
        Service { p99: times[ROUNDS * 99 / 100], tasks: began.elapsed() }
    }
}

impl Service {
    /// True if it is half as good as before, or better.
    fn is_like(&self, before: &Self) -> bool {
        self.p99 <= (2 * before.p99).max(P99_FLOOR) && self.tasks <= (2 * before.tasks).max(TASKS_FLOOR)
    }
}

impl Footprint {
    fn of(process: &ChildProcess) -> Self {
        let folder = format!("/proc/{}", process.id());
        let status = std::fs::read_to_string(format!("{folder}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        let descriptors = std::fs::read_dir(format!("{folder}/fd")).unwrap().count();
        Self { memory_kib: field("VmRSS:"), descriptors, threads: field("Threads:") }
    }

    /// True if no more is taken than before. Threads that wait for the disk end by themselves after ten seconds.
    fn is_back_at(&self, before: &Self) -> bool {
        self.memory_kib <= before.memory_kib + MEMORY_KIB_MAX
            && self.descriptors <= before.descriptors
            && self.threads <= before.threads + 1
    }
}

/// Hundredths of a second in which this machine's processors were another machine's: what is measured meanwhile says
/// nothing of ours.
fn stolen_ticks() -> u64 {
    let line = std::fs::read_to_string("/proc/stat").unwrap();
    line.split_whitespace().nth(8).unwrap().parse().unwrap()
}

/// The manager's resident memory, in MiB.
pub(crate) fn memory_mib(grid: &Grid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", grid.manager.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

/// Does an attack beside a bystander.
pub(crate) fn beside(attack: impl AsyncFnOnce(&Grid) -> Held) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(within_minutes(2, async {
        let grid = Grid::closed();
        let _host = grid.host("honest", &["--slots", "4"]);
        let bystander = Bystander::new(&grid).await;
        // What the manager's allocator keeps of work like a client's is there before.
        bystander.long_task().await;
        bystander.serve().await;
        let (before, service) = (Footprint::of(&grid.manager), bystander.serve().await);
        let held = attack(&grid).await;
        let (mut measured, mut disturbed) = (Vec::new(), 0);
        // What harms does so every time; what another process of this machine does passes.
        loop {
            let stolen = stolen_ticks();
            let beside = bystander.serve().await;
            if beside.is_like(&service) {
                break;
            }
            if stolen_ticks() > stolen && disturbed < DISTURBED_MAX {
                disturbed += 1;
                continue;
            }
            measured.push(beside);
            assert!(measured.len() < TRIES, "{measured:?} beside, {service:?} before");
        }
        let during = Footprint::of(&grid.manager);
        drop(held);
        let began = Instant::now();
        loop {
            let after = Footprint::of(&grid.manager);
            if after.is_back_at(&before) {
                return;
            }
            let waited = began.elapsed() < Duration::from_secs(60);
            assert!(waited, "before {before:?}, during {during:?}, and after a minute {after:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }));
}

/// Rows of attacks, each a test.
macro_rules! rows {
    ($($name:ident: $attack:expr;)*) => {
        $(#[test]
        fn $name() {
            crate::hostile_peer::beside($attack);
        })*
    };
}
pub(crate) use rows;
