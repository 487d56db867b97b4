//! Whether the driver of a process waits a moment for its answer before the host's thread does anything else.
//!
//! A quick guest answers within a few microseconds. To sleep and be woken takes longer than that, at either end of the ring,
//! so that a host with little else to do stays awake: it gives its processor to others until the answer is there. It stops
//! doing so with processes whose answers do not come soon, but for a try now and then.

use std::time::Duration;

/// The longest time to wait.
pub(super) const WAIT_MAX: Duration = Duration::from_micros(20);

/// Messages on their way, to all processes of the host together, with which it has little else to do.
const FEW_MESSAGES: usize = 4;

/// After so many misses one of 1024 messages is waited for.
const MISSES_MAX: u32 = 10;

/// What is known of a process's answers.
#[derive(Debug, Default)]
pub(super) struct AdaptiveWait {
    /// Times in a row that no answer came soon.
    misses: u32,
    /// Messages that were not waited for since.
    passed: u32,
}

impl AdaptiveWait {
    /// True if the next answer shall be waited for, of `unanswered` messages on their way to all processes.
    pub(super) fn wants(&mut self, unanswered: usize) -> bool {
        if !(1..=FEW_MESSAGES).contains(&unanswered) {
            return false;
        }
        self.passed += 1;
        let wants = self.passed >= 1 << self.misses;
        if wants {
            self.passed = 0;
        }
        wants
    }

    /// Notes that an answer, or nothing, came after so long.
    pub(super) fn note(&mut self, is_answered: bool, waited: Duration) {
        self.misses = if waited > WAIT_MAX * 10 {
            // Another program wants the processor, and has it for longer than the answer takes.
            MISSES_MAX
        } else if is_answered && waited <= WAIT_MAX * 2 {
            // It may be later than the wait is long: the processor was the executor's for that time.
            0
        } else {
            (self.misses + 1).min(MISSES_MAX)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(wait: &mut AdaptiveWait, messages: u32) -> usize {
        (0..messages).filter(|_| wait.wants(1)).count()
    }

    #[test]
    fn quick_answers_are_always_waited_for_and_slow_ones_ever_more_seldom() {
        let mut wait = AdaptiveWait::default();
        for _ in 0..100 {
            assert!(wait.wants(1));
            wait.note(true, WAIT_MAX / 4);
        }
        let mut waited = 0;
        for _ in 0..10_000 {
            if wait.wants(1) {
                waited += 1;
                wait.note(false, WAIT_MAX);
            }
        }
        assert!((15..=20).contains(&waited), "{waited}");
        // Until one is quick again.
        assert_eq!(tries(&mut wait, 1024), 1);
        wait.note(true, WAIT_MAX / 4);
        assert_eq!(tries(&mut wait, 10), 10);
    }

    #[test]
    fn answers_that_take_the_processor_for_longer_than_the_wait_are_not_always_waited_for() {
        let mut wait = AdaptiveWait::default();
        let mut waited = 0;
        for _ in 0..10_000 {
            if wait.wants(1) {
                waited += 1;
                wait.note(true, WAIT_MAX * 5);
            }
        }
        assert!((15..=20).contains(&waited), "{waited}");
    }

    #[test]
    fn a_host_with_much_to_do_or_whose_processor_others_want_does_not_wait() {
        let mut wait = AdaptiveWait::default();
        assert!(!wait.wants(FEW_MESSAGES + 1) && wait.wants(FEW_MESSAGES));
        assert!(!wait.wants(0), "what it was given is no message");
        wait.note(true, Duration::from_millis(3));
        assert_eq!(tries(&mut wait, 1023), 0);
    }
}
