//! Numeric ids, none of which is used twice.

use core::fmt;
use core::str::FromStr;

use crate::codec::{Decode, Encode};

/// Identifies one worker forever: 32 bits of the manager's incarnation, then 32 bits of counter.
///
/// A manager that starts increments its incarnation before it assigns ids, so no earlier id is reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct WorkerId(u64);

impl WorkerId {
    /// Worker number `count` of the manager's incarnation number `incarnation`.
    pub fn new(incarnation: u32, count: u32) -> Self {
        Self(u64::from(incarnation) << 32 | u64::from(count))
    }

    /// The id from its number, as given by a peer or a person.
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

/// The text is not a worker id; whoever typed it must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a worker's id looks like `w1.17`")]
pub struct ParseIdError;

/// Identifies a deployment. The manager counts deployments, and keeps the count on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct DeploymentId(pub u64);

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "o{}", self.0)
    }
}

/// Identifies a session of a host or client with a manager. While both ends remember it, a lost connection
/// loses no message.
///
/// The manager draws it at random, so that a restarted manager does not mistake an earlier session for its
/// own.
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
