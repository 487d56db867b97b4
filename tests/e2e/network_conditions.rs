//! Networks as people have them: they lose, they are slow, they are narrow, and they part for a while.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::{Duration, Instant};

use grid_tests::{ChildProcess, Grid, NetworkConditions, Relay, sleeper, within_minutes};
use tokio::time::sleep;
use wasm_grid::{Client, Reply, Request, SecretKey};

use crate::resilience::under_load;

/// Tasks of the job, and messages to workers, that go on under each condition.
const TASKS: u64 = 500;
const MESSAGES: u32 = 4_000;

/// Two hosts and a client, none of which reaches the manager but through a relay.
struct Far {
    _grid: Grid,
    hosts: Vec<ChildProcess>,
    relays: Vec<Relay>,
    client: Client,
}

impl Far {
    async fn within(conditions: NetworkConditions) -> Self {
        let grid = Grid::start(&["--open-join", "true"]);
        let mut relays = Vec::new();
        for _ in 0..3 {
            relays.push(Relay::under_conditions(grid.bare_address(), conditions).await);
        }
        let mut hosts = Vec::new();
        for (name, relay) in ["north", "south"].iter().zip(&relays) {
            hosts.push(grid.host_at(&relay.address(), name, &["--slots", "4"]).hear("joined").await);
        }
        let (manager, _) = grid.address().split_once('@').unwrap();
        let key = std::fs::read(grid.folder("user.key")).unwrap();
        let client = Client::builder()
            .home(grid.folder("far"))
            .key(SecretKey::from_seed(&key.try_into().unwrap()))
            .connect(&format!("{manager}@{}", relays[2].address()))
            .unwrap();
        Self { _grid: grid, hosts, relays, client }
    }

    /// Each of so many tasks has one outcome. `meanwhile` goes on after the first tenth of them.
    async fn does_tasks(&self, tasks: u64, meanwhile: impl Future<Output = ()>) {
        let module = self.client.upload("sleeper", sleeper()).await.unwrap().digest;
        let time = Duration::from_millis(5).as_nanos() as u64;
        let inputs = (0..tasks).map(|number| [number.to_le_bytes(), time.to_le_bytes()].concat());
        let mut results = self.client.job("conditions", module).map(inputs).await.unwrap();
        let mut done = BTreeSet::new();
        let mut meanwhile = pin!(meanwhile);
        let mut over = false;
        while done.len() < usize::try_from(tasks).unwrap() {
            tokio::select! {
                outcome = results.next() => {
                    let outcome = outcome.unwrap().expect("a task was lost");
                    let square = outcome.task.wrapping_mul(outcome.task).to_le_bytes();
                    assert_eq!(outcome.results.unwrap()[..], [square.to_vec()], "task {}", outcome.task);
                    assert!(done.insert(outcome.task), "task {} came twice", outcome.task);
                }
                () = &mut meanwhile, if !over && done.len() as u64 > tasks / 10 => over = true,
            }
        }
        let info = results.job().show().await.unwrap();
        assert!(over, "it was over before anything happened");
        assert_eq!((info.counts.done, info.counts.dead, info.recorded), (tasks, 0, tasks));
    }
}

/// Messages and tasks at once: each message comes back once and in order, each task has one outcome.
async fn works_in(conditions: NetworkConditions) {
    within_minutes(3, async {
        let far = Far::within(conditions).await;
        under_load(&far.client, MESSAGES, far.does_tasks(TASKS, async {})).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_where_one_datagram_of_a_hundred_is_lost() {
    works_in(NetworkConditions { loss: 1, ..NetworkConditions::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_where_five_datagrams_of_a_hundred_are_lost() {
    works_in(NetworkConditions { loss: 5, ..NetworkConditions::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_where_every_fifth_datagram_is_lost() {
    works_in(NetworkConditions { loss: 20, ..NetworkConditions::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_over_two_mbit_a_second() {
    works_in(NetworkConditions { bits: 2_000_000, ..NetworkConditions::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_where_an_answer_takes_three_hundred_milliseconds() {
    works_in(NetworkConditions { delay: Duration::from_millis(150), ..NetworkConditions::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_where_long_packets_vanish() {
    works_in(NetworkConditions { packet: 1280, ..NetworkConditions::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_back_within_fifteen_seconds_of_a_partition_of_thirty() {
    within_minutes(3, async {
        let mut far = Far::within(NetworkConditions::default()).await;
        let mut hosts = std::mem::take(&mut far.hosts);
        hosts.iter_mut().for_each(ChildProcess::forget);
        far.does_tasks(8 * TASKS, async {
            far.relays.iter().for_each(Relay::cut);
            sleep(Duration::from_secs(30)).await;
            assert!(far.relays.iter().all(|relay| relay.mend() > 0), "all of them felt it");
            let mended = Instant::now();
            let status = far.client.request(Request::Status).await;
            assert!(matches!(status, Ok(Reply::Status(_))), "{status:?}");
            for host in &mut hosts {
                tokio::task::block_in_place(|| host.wait_for("joined"));
            }
            assert!(mended.elapsed() < Duration::from_secs(15), "{:?}", mended.elapsed());
        })
        .await;
    })
    .await;
}
