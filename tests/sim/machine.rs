//! Simulated machines: wrong clocks, and randomness from the seed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use grid_disk::{Machine, SimulatedMachine};
use grid_tests::Dice;

/// When the simulation begins, by correct clocks, as time since 1970: a day in 2039.
const BEGIN: Duration = Duration::from_secs(2_200_000_000);

/// A machine whose clock is wrong by `offset` seconds, and runs at `pace`.
#[derive(Debug)]
struct WrongClock {
    dice: Mutex<Dice>,
    offset: i64,
    pace: f64,
}

/// Makes the machine of a node.
pub fn machine(seed: u64, offset: i64, pace: f64) -> Machine {
    Machine::simulated(Arc::new(WrongClock { dice: Mutex::new(Dice::new(seed)), offset, pace }))
}

impl SimulatedMachine for WrongClock {
    fn fill(&self, bytes: &mut [u8]) {
        let mut dice = self.dice.lock().unwrap();
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&dice.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    fn unix_time(&self) -> Duration {
        let now = BEGIN + turmoil::sim_elapsed().unwrap_or_default();
        let offset = Duration::from_secs(self.offset.unsigned_abs());
        if self.offset < 0 { now.saturating_sub(offset) } else { now + offset }
    }

    fn pace(&self) -> f64 {
        self.pace
    }
}
