//! The machine: the time and the randomness that a program takes from it; or made up, for a simulation.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::keyfile::KeyFileError;

/// Where a program takes the time and randomness from. Clones are the same machine.
#[derive(Debug, Clone, Default)]
pub struct Machine(Option<Arc<dyn SimulatedMachine>>);

/// A machine that is made up: the same seed gives the same time and the same numbers.
///
/// It has one thread. Work that waits for the disk is done where it is asked for.
pub trait SimulatedMachine: Debug + Send + Sync {
    /// Random bytes.
    fn fill(&self, bytes: &mut [u8]);

    /// Time since 1970 on its clock, which may be wrong.
    fn unix_time(&self) -> Duration;

    /// How fast its clock runs: 1 if it is right, less if it is slow.
    fn pace(&self) -> f64;
}

impl Machine {
    /// A machine that is made up.
    pub fn simulated(machine: Arc<dyn SimulatedMachine>) -> Self {
        Self(Some(machine))
    }

    /// True if it is made up.
    pub fn is_made_up(&self) -> bool {
        self.0.is_some()
    }

    /// Fresh random bytes.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::Random`]: the system has none.
    pub fn random<const N: usize>(&self) -> Result<[u8; N], KeyFileError> {
        let mut bytes = [0; N];
        match &self.0 {
            Some(machine) => machine.fill(&mut bytes),
            None => {
                getrandom::fill(&mut bytes).map_err(|error| KeyFileError::Random(error.to_string()))?;
            }
        }
        Ok(bytes)
    }

    /// A number that need not be hard to guess: for back-offs.
    pub fn dice(&self) -> u64 {
        self.random().map_or(0, u64::from_le_bytes)
    }

    /// Time since 1970 on this machine's clock; a clock before that reads as 0.
    pub fn unix_time(&self) -> Duration {
        match &self.0 {
            Some(machine) => machine.unix_time(),
            None => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
        }
    }

    /// Seconds since 1970 on this machine's clock.
    pub fn unix_now(&self) -> u64 {
        self.unix_time().as_secs()
    }

    /// How long `time` on this machine's clock really takes.
    pub fn stretch(&self, time: Duration) -> Duration {
        match &self.0 {
            Some(machine) => time.div_f64(machine.pace()),
            None => time,
        }
    }

    /// What this machine's clock makes of `time`: the reverse of [`Self::stretch`].
    pub fn shrink(&self, time: Duration) -> Duration {
        match &self.0 {
            Some(machine) => time.mul_f64(machine.pace()),
            None => time,
        }
    }
}
