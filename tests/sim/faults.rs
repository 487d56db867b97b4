//! The faults of a run, drawn from the seed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use grid_manager::FaultyDisk;
use grid_tests::Dice;
use turmoil::Sim;

use crate::guests::Stage;
use crate::network::SharedNetwork;
use crate::run::{MANAGER, RunReport, host_name};

/// Injects faults, and repairs each after a time.
pub struct FaultPlan {
    dice: Dice,
    next: Duration,
    mends: Vec<(Duration, Mend)>,
    disk: FaultyDisk,
    stages: Vec<Arc<Stage>>,
    shared_network: Arc<SharedNetwork>,
}

enum Mend {
    Start(String),
    Repair(String, String),
    Wake(usize),
}

impl FaultPlan {
    pub fn new(
        seed: u64,
        disk: FaultyDisk,
        stages: Vec<Arc<Stage>>,
        shared_network: Arc<SharedNetwork>,
    ) -> Self {
        let mut dice = Dice::new(seed);
        shared_network.loss.store([0, 0, 20, 100, 300][dice.roll(5)], Ordering::Relaxed);
        Self { dice, next: Duration::from_secs(3), mends: Vec::new(), disk, stages, shared_network }
    }

    fn ms(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((from + self.dice.roll(to - from)) as u64)
    }

    /// Makes the repairs that are due at `now`, and the next fault if it is due.
    pub fn step(&mut self, sim: &mut Sim<'_>, now: Duration, report: &mut RunReport) {
        self.mend(sim, now);
        if now < self.next {
            return;
        }
        self.next = now + self.ms(300, 4000);
        let host = self.dice.roll(self.stages.len());
        let name = host_name(host);
        match self.dice.roll(9) {
            0..3 if sim.is_host_running(name.as_str()) => {
                sim.crash(name.as_str());
                self.stages[host].hangs.store(false, Ordering::Relaxed);
                let up = now + self.ms(10, 5000);
                self.mends.push((up, Mend::Start(name)));
                report.host_crashes += 1;
            }
            3 | 4 if sim.is_host_running(MANAGER) => {
                if self.dice.roll(2) == 0 {
                    self.disk.lose_power();
                    report.power_losses += 1;
                } else {
                    self.disk.kill();
                }
                sim.crash(MANAGER);
                let up = now + self.ms(10, 3000);
                self.mends.push((up, Mend::Start(MANAGER.to_owned())));
                report.manager_crashes += 1;
            }
            5 | 6 => {
                let clients = ["client-1", "client-2", "client-3"];
                let other = if self.dice.roll(3) == 0 { clients[self.dice.roll(3)].to_owned() } else { name };
                match self.dice.roll(3) {
                    0 => sim.partition_oneway(MANAGER, other.as_str()),
                    1 => sim.partition_oneway(other.as_str(), MANAGER),
                    _ => sim.partition(other.as_str(), MANAGER),
                }
                // Short interruptions, or silences longer than a lease.
                let whole =
                    now + if self.dice.roll(2) == 0 { self.ms(100, 4000) } else { self.ms(13_000, 24_000) };
                self.mends.push((whole, Mend::Repair(other, MANAGER.to_owned())));
                report.partitions += 1;
            }
            7 => {
                self.stages[host].hangs.store(true, Ordering::Relaxed);
                let awake = now + self.ms(500, 40_000);
                self.mends.push((awake, Mend::Wake(host)));
            }
            _ => {
                let loss = [0, 10, 50, 150, 300][self.dice.roll(5)];
                self.shared_network.loss.store(loss, Ordering::Relaxed);
                let latency = self.ms(2, 500);
                sim.set_max_message_latency(latency);
            }
        }
    }

    fn mend(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let (due, later) = std::mem::take(&mut self.mends).into_iter().partition(|(when, _)| *when <= now);
        self.mends = later;
        let due: Vec<(Duration, Mend)> = due;
        for (_, mend) in due {
            match mend {
                Mend::Start(name) => sim.bounce(name.as_str()),
                Mend::Repair(a, b) => sim.repair(a.as_str(), b.as_str()),
                Mend::Wake(host) => self.stages[host].hangs.store(false, Ordering::Relaxed),
            }
        }
    }

    /// Repairs everything: the network is good from now on.
    pub fn end(&mut self, sim: &mut Sim<'_>) {
        self.mend(sim, Duration::MAX);
        self.shared_network.loss.store(0, Ordering::Relaxed);
        sim.set_max_message_latency(Duration::from_millis(20));
    }
}
