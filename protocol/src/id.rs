//! Numbers that name things; none is ever used twice.

use core::fmt;
use core::str::FromStr;

use crate::codec::{Decode, Encode};

/// Names one worker, for ever: 32 bits of the manager's incarnation, then 32 bits of counter.
///
/// A restarted manager counts its incarnation up first, so that no id of an earlier life comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct WorkerId(u64);

impl WorkerId {
    /// The `count`th worker of the manager's life number `incarnation`.
    pub fn new(incarnation: u32, count: u32) -> Self {
        Self(u64::from(incarnation) << 32 | u64::from(count))
    }

    /// The id from its number, as a peer or a person gave it.
    pub fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The id as a number.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}.{}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for WorkerId {
    type Err = ParseIdError;

    /// Reads `w3.17`, the form that [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let (incarnation, count) =
            text.strip_prefix('w').and_then(|rest| rest.split_once('.')).ok_or(ParseIdError)?;
        let number = |digits: &str| digits.parse::<u32>().map_err(|_| ParseIdError);
        Ok(Self::new(number(incarnation)?, number(count)?))
    }
}

/// The text names no worker: whoever typed it must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a worker's id looks like `w1.17`")]
pub struct ParseIdError;

/// Names a deployment; the manager counts them up and keeps the count on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct DeploymentId(pub u64);

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "o{}", self.0)
    }
}

/// Names a host's stay with a manager: as long as both remember it, a lost connection loses nothing.
///
/// Drawn at random by the manager, so that a restarted one never mistakes another's session for its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct SessionId(pub [u8; 16]);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_worker_id_reads_back_as_it_was_written() {
        let id = WorkerId::new(3, 17);
        assert_eq!(id.to_string(), "w3.17");
        assert_eq!("w3.17".parse(), Ok(id));
        for wrong in ["", "w", "w3", "3.17", "w3.x", "w3.4294967296", "w-1.2"] {
            assert_eq!(wrong.parse::<WorkerId>(), Err(ParseIdError), "{wrong}");
        }
    }
}
