//! Rates: what happened in each of the last seconds.

use std::collections::VecDeque;

use grid_protocol::activity::RateSecond;

/// Seconds that are kept: five minutes, a graph's width.
const SECONDS_KEPT: usize = 300;

/// What happened in each of the last seconds.
#[derive(Debug, Default)]
pub(super) struct RateHistory {
    /// Seconds that are over, oldest first.
    over: VecDeque<RateSecond>,
    /// The second that is being counted, since 1970.
    second: u64,
    now: RateSecond,
}

impl RateHistory {
    /// Counts an attempt that ended in this second.
    pub(super) fn count(&mut self, second: u64, done: bool) {
        self.advance(second);
        let count = if done { &mut self.now.done } else { &mut self.now.failed };
        *count = count.saturating_add(1);
    }

    /// The seconds that are over at `second`, oldest first.
    pub(super) fn until(&mut self, second: u64) -> Vec<RateSecond> {
        self.advance(second);
        self.over.iter().copied().collect()
    }

    /// Closes the seconds up to `second`. A clock that goes back stays where it is.
    fn advance(&mut self, second: u64) {
        if self.second == 0 {
            self.second = second;
        }
        let passed = second.saturating_sub(self.second);
        if passed == 0 {
            return;
        }
        self.over.push_back(std::mem::take(&mut self.now));
        let idle = usize::try_from(passed - 1).unwrap_or(usize::MAX).min(SECONDS_KEPT);
        self.over.extend(std::iter::repeat_n(RateSecond::default(), idle));
        let surplus = self.over.len().saturating_sub(SECONDS_KEPT);
        self.over.drain(..surplus);
        self.second = second;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_without_work_are_counted_too() {
        let mut rates = RateHistory::default();
        rates.count(100, true);
        rates.count(100, false);
        rates.count(103, true);
        let done: Vec<_> = rates.until(104).iter().map(|second| (second.done, second.failed)).collect();
        assert_eq!(done, [(1, 1), (0, 0), (0, 0), (1, 0)]);
    }

    #[test]
    fn a_clock_that_jumps_costs_no_memory_and_one_that_goes_back_no_figures() {
        let mut rates = RateHistory::default();
        rates.count(100, true);
        rates.count(50, true);
        assert_eq!(rates.until(101).last().map(|second| second.done), Some(2));
        rates.count(u64::MAX, true);
        assert_eq!(rates.until(u64::MAX).len(), SECONDS_KEPT);
    }
}
