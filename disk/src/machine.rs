//! The machine: a program's source of time and randomness, or a simulation's.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::keyfile::KeyFileError;

/// A source of time and randomness. Clones refer to the same machine.
#[derive(Debug, Clone, Default)]
pub struct Machine(Option<Arc<dyn SimulatedMachine>>);

/// A simulated machine: the same seed gives the same times and the same numbers.
///
/// It has one thread, so a program on it does its disk work in place, not on other threads.
pub trait SimulatedMachine: Debug + Send + Sync {
    /// Fills `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);

    /// Time since 1970 on the machine's clock, which may be wrong.
    fn unix_time(&self) -> Duration;

    /// Rate of the machine's clock: 1 if it is right, less if it is slow.
    fn pace(&self) -> f64;
}

impl Machine {
    /// A simulated machine.
    pub fn simulated(machine: Arc<dyn SimulatedMachine>) -> Self {
        Self(Some(machine))
    }

    /// True if the machine is simulated.
    pub fn is_simulated(&self) -> bool {
        self.0.is_some()
    }

    /// Fresh random bytes, from a cryptographic source unless the machine is simulated.
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

    /// A random number for back-offs; 0 if the system has no randomness. Not for secrets.
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

    /// The real duration of `time` measured by this machine's clock.
    pub fn stretch(&self, time: Duration) -> Duration {
        match &self.0 {
            Some(machine) => time.div_f64(machine.pace()),
            None => time,
        }
    }

    /// What this machine's clock measures during the real duration `time`: the reverse of [`Self::stretch`].
    pub fn shrink(&self, time: Duration) -> Duration {
        match &self.0 {
            Some(machine) => time.mul_f64(machine.pace()),
            None => time,
        }
    }
}
