//! One run: starts the nodes, simulates two minutes or more, and reports the result.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use grid_host::{Host, HostEnded};
use grid_manager::{FaultInjection, FaultyDisk, FileStore, ManagerServer};
use grid_protocol::key::{PublicKey, SecretKey};
use grid_protocol::role::Role;
use grid_tests::Dice;
use turmoil::Sim;
use wasm_grid::ManagerAddress;

use crate::check::Checker;
use crate::client::ClientNode;
use crate::faults::FaultPlan;
use crate::guests::{Cast, Stage};
use crate::machine::machine;
use crate::network::{SharedNetwork, network};

pub const MANAGER: &str = "manager";
const PORT: u16 = 4747;
const HOSTS: usize = 8;
const CLIENTS: usize = 2;

/// Clients that exchange messages with workers; their numbers follow those of the others.
const MAILERS: usize = 2;

/// Length of a run on the simulated clock, if all jobs are over by then.
const LENGTH: Duration = Duration::from_secs(120);

/// Jobs that are not over by then count as stuck: on the repaired network a task may still need the ends of two leases,
/// and a third attempt of twenty seconds.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long faults are injected.
const STORM: Duration = Duration::from_secs(70);

/// Clients begin no new job after this time.
const BEGIN_UNTIL: Duration = Duration::from_secs(60);

/// Step of the simulated clock.
const TICK: Duration = Duration::from_millis(10);

/// The parameters of a run.
pub struct Scenario {
    pub seed: u64,
    pub sabotage: Option<FaultInjection>,
}

/// The result of a run, or the sum of several.
#[derive(Debug, Default)]
pub struct RunReport {
    pub seeds: u64,
    pub violation: Option<String>,
    pub simulated: Duration,
    pub tasks: u64,
    pub outcomes: u64,
    pub dead: u64,
    pub answers: u64,
    pub datagrams: u64,
    pub trace: u64,
    pub host_crashes: u64,
    pub manager_crashes: u64,
    pub power_losses: u64,
    pub partitions: u64,
}

impl RunReport {
    pub fn add(&mut self, other: &Self) {
        self.seeds += 1;
        self.trace ^= other.trace;
        self.simulated += other.simulated;
        self.tasks += other.tasks;
        self.outcomes += other.outcomes;
        self.dead += other.dead;
        self.answers += other.answers;
        self.datagrams += other.datagrams;
        self.host_crashes += other.host_crashes;
        self.manager_crashes += other.manager_crashes;
        self.power_losses += other.power_losses;
        self.partitions += other.partitions;
    }
}

pub fn host_name(number: usize) -> String {
    format!("host-{number}")
}

fn key(kind: u8, number: usize) -> SecretKey {
    SecretKey::from_seed(&[kind, number as u8, 7, 7].repeat(8).try_into().unwrap())
}

/// Writes a fixed key to the file from which a program reads its own; returns the public key.
fn keep_key(file: &Path, kind: u8, number: usize) -> PublicKey {
    let seed: [u8; 32] = [kind, number as u8, 7, 7].repeat(8).try_into().unwrap();
    grid_disk::use_folder(file.parent().unwrap()).unwrap();
    grid_disk::replace(file, &seed).unwrap();
    key(kind, number).public()
}

type Ended = Result<(), Box<dyn std::error::Error>>;

/// Runs a scenario to its end, or to the first broken promise.
pub fn run(scenario: &Scenario) -> RunReport {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(scenario.seed);
    let shared_network = Arc::<SharedNetwork>::default();
    let checker = Arc::<Checker>::default();
    let disk = FaultyDisk::new(dice.next_u64());
    let mut sim = turmoil::Builder::new()
        .rng_seed(dice.next_u64())
        .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(2_200_000_000))
        .simulation_duration(LENGTH * 2)
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(50))
        .udp_capacity(10_000)
        .build();
    start_manager(&mut sim, scenario, folder.path(), &disk, &shared_network, &checker, &mut dice);
    let address = format!("{}@{}:{PORT}", key(1, 0).public(), sim.lookup(MANAGER));
    let address: ManagerAddress = address.parse().unwrap();
    let stages: Vec<_> = (0..HOSTS)
        .map(|number| start_host(&mut sim, number, folder.path(), &address, &shared_network, &mut dice))
        .collect();
    for number in 0..CLIENTS + MAILERS {
        let seed = dice.next_u64();
        let node = ClientNode {
            number: number as u8,
            seed: scenario.seed,
            home: folder.path().join(format!("client-{number}")),
            key: key(3, number),
            machine: machine(seed, offset(&mut dice), 1.0),
            network: network(seed + 1, &shared_network),
            manager: address.clone(),
            checker: checker.clone(),
            until: BEGIN_UNTIL,
        };
        sim.host(format!("client-{number}"), move || {
            let node = node.clone();
            async move {
                if number < CLIENTS {
                    node.run().await
                } else {
                    node.exchange().await
                }
                Ok(())
            }
        });
    }
    let mut faults = FaultPlan::new(dice.next_u64(), disk, stages, shared_network.clone());
    let mut report = RunReport::default();
    let mut calm = false;
    let over = |now: Duration| now >= if checker.through() < CLIENTS + MAILERS { PATIENCE } else { LENGTH };
    while !over(sim.elapsed()) && checker.violation().is_none() {
        let now = sim.elapsed();
        if now < STORM {
            faults.step(&mut sim, now, &mut report);
        } else if !std::mem::replace(&mut calm, true) {
            faults.end(&mut sim);
        }
        if let Err(error) = sim.step() {
            checker.violate(format!("a node ended: {error}"));
        }
    }
    if checker.through() < CLIENTS + MAILERS {
        checker.violate(format!(
            "I1, M3: jobs or messages are not over though the network is good\n{}",
            checker.state()
        ));
    }
    report.violation = checker.violation();
    report.simulated = sim.elapsed();
    (report.tasks, report.outcomes, report.dead) = checker.counts();
    report.answers = checker.answers();
    (report.datagrams, report.trace) = shared_network.trace();
    report
}

/// Seconds by which a clock is wrong: up to a day.
fn offset(dice: &mut Dice) -> i64 {
    [0, 0, -3600, 86_400, -86_400][dice.roll(5)]
}

fn start_manager(
    sim: &mut Sim<'_>,
    scenario: &Scenario,
    folder: &Path,
    disk: &FaultyDisk,
    shared_network: &Arc<SharedNetwork>,
    checker: &Arc<Checker>,
    dice: &mut Dice,
) {
    let folder = folder.join(MANAGER);
    keep_key(&folder.join("manager.key"), 1, 0);
    let machine = machine(dice.next_u64(), offset(dice), [1.0, 1.0, 0.95, 1.05][dice.roll(4)]);
    let network = network(dice.next_u64(), shared_network);
    let (disk, checker, sabotage) = (disk.clone(), checker.clone(), scenario.sabotage);
    sim.host(MANAGER, move || {
        let config = grid_manager::ManagerConfig {
            listen: Some((Ipv4Addr::UNSPECIFIED, PORT).into()),
            advertise: vec!["manager:4747".into()],
            open_join: true,
            network: network.clone(),
            machine: machine.clone(),
            sabotage,
            ..grid_manager::ManagerConfig::new(folder.clone())
        };
        let (disk, checker) = (disk.clone(), checker.clone());
        async move { manage(config, &disk, &checker).await }
    });
}

async fn manage(mut config: grid_manager::ManagerConfig, disk: &FaultyDisk, checker: &Checker) -> Ended {
    match FileStore::open_on(disk.plug_in()) {
        Ok(store) => config.store = Some(Arc::new(store)),
        Err(error) => {
            checker.violate(format!("the store does not open: {error}"));
            return Ok(());
        }
    }
    let manager = ManagerServer::start_here(config)?;
    for client in 0..CLIENTS + MAILERS {
        let key = key(3, client).public();
        manager.grant(key, Role::Client)?;
        manager.grant(key, Role::Publisher)?;
    }
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Err(violation) = manager.audit() {
            checker.violate(violation);
        }
        checker.note_state(manager.describe());
    }
}

fn start_host(
    sim: &mut Sim<'_>,
    number: usize,
    folder: &Path,
    manager: &ManagerAddress,
    shared_network: &Arc<SharedNetwork>,
    dice: &mut Dice,
) -> Arc<Stage> {
    let stage = Arc::<Stage>::default();
    let folder = folder.join(host_name(number));
    keep_key(&folder.join("host.key"), 2, number);
    let machine = machine(dice.next_u64(), offset(dice), [1.0, 1.0, 0.8, 1.25][dice.roll(4)]);
    let network = network(dice.next_u64(), shared_network);
    let slots = [2, 3, 4][dice.roll(3)];
    let (manager, on_stage) = (manager.clone(), stage.clone());
    sim.host(host_name(number), move || {
        let config = grid_host::HostConfig {
            name: host_name(number),
            slots,
            network: network.clone(),
            machine: machine.clone(),
            guests: Some(Arc::new(Cast(on_stage.clone()))),
            ..grid_host::HostConfig::new(folder.clone())
        };
        let manager = manager.clone();
        async move { serve(config, manager).await }
    });
    stage
}

async fn serve(config: grid_host::HostConfig, manager: ManagerAddress) -> Ended {
    let host = Host::new(config)?;
    let ended = host.serve(manager, |_| ()).await?;
    match ended {
        HostEnded::Drained => Ok(()),
        other => Err(other.to_string().into()),
    }
}
