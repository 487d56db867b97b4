//! Back-off: how long to wait before dialling again.

use std::time::Duration;

/// Waits that grow, with jitter so that diallers do not stay in step: each is drawn between [`Self::FIRST`]
/// and three times the one before, at most [`Self::LAST`].
#[derive(Debug, Clone)]
pub struct Backoff {
    last: Duration,
}

impl Backoff {
    /// The shortest wait: diallers reach a restarted manager within a second or two.
    pub const FIRST: Duration = Duration::from_millis(50);

    /// The longest wait: hosts are back soon after a manager that was down for an hour.
    pub const LAST: Duration = Duration::from_secs(2);

    /// A connection that lasts less than this probably failed for a reason that would end the next one, too.
    pub const STEADY: Duration = Duration::from_secs(2);

    /// The wait before the next attempt; `dice` is a uniformly distributed random number.
    pub fn next(&mut self, dice: u64) -> Duration {
        let ceiling = (self.last * 3).min(Self::LAST);
        let span = u64::try_from((ceiling - Self::FIRST).as_nanos()).unwrap_or(u64::MAX);
        self.last = Self::FIRST + Duration::from_nanos(dice.checked_rem(span).unwrap_or(0));
        self.last
    }

    /// The wait after a connection that lasted `stood`: zero, and a reset, if it was at least
    /// [`Self::STEADY`].
    pub fn after(&mut self, stood: Duration, dice: u64) -> Duration {
        if stood < Self::STEADY {
            return self.next(dice);
        }
        *self = Self::default();
        Duration::ZERO
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { last: Self::FIRST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wait_is_within_its_bounds_and_a_long_outage_reaches_the_last() {
        let mut backoff = Backoff::default();
        let mut longest = Duration::ZERO;
        for dice in (0..1000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            let wait = backoff.next(dice);
            assert!((Backoff::FIRST..=Backoff::LAST).contains(&wait), "{wait:?}");
            longest = longest.max(wait);
        }
        assert!(longest > Backoff::LAST / 2);
        assert_eq!(backoff.after(Backoff::STEADY, 0), Duration::ZERO);
        assert!(backoff.next(u64::MAX) <= Backoff::FIRST * 3);
    }

    #[test]
    fn a_connection_that_is_cut_within_a_second_is_not_made_anew_at_once() {
        let (mut backoff, mut waited) = (Backoff::default(), Duration::ZERO);
        for dice in (0..100u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            waited += backoff.after(Duration::from_secs(1), dice);
        }
        assert!(waited > Duration::from_secs(30), "{waited:?} for a hundred connections");
    }
}
