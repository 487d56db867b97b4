//! Pace: how often a loop turns when there is always something to do.

use std::time::Duration;

/// The pauses of a loop that gathers what has come meanwhile for its next turn: the first [`Self::AT_ONCE`] turns after a
/// quiet time follow at once, so that nobody waits for others that do not come, and then there is one in each `turn` on
/// average.
#[derive(Debug)]
pub struct Pace {
    turn: Duration,
    /// When the last turn ended, by the caller's clock.
    last: Duration,
    /// The turns taken, in time, less the time that has passed; never negative.
    taken: Duration,
}

impl Pace {
    /// Turns that may follow each other without a pause.
    pub const AT_ONCE: u32 = 8;

    /// A loop that turns once in `turn` on average.
    pub fn new(turn: Duration) -> Self {
        Self { turn, last: Duration::ZERO, taken: Duration::ZERO }
    }

    /// The pause after a turn that has ended at `now`, a time since some moment that stays the same; `None` if the next turn may
    /// follow at once.
    pub fn after_turn(&mut self, now: Duration) -> Option<Duration> {
        let passed = now.saturating_sub(self.last);
        self.last = now;
        self.taken = self.taken.saturating_sub(passed) + self.turn;
        Some(self.taken.saturating_sub(self.turn * Self::AT_ONCE)).filter(|pause| !pause.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_millis(1);

    #[test]
    fn a_few_turns_follow_at_once_and_then_there_is_one_in_each_turns_time() {
        let (mut pace, mut now) = (Pace::new(TURN), Duration::from_secs(100));
        for _ in 0..Pace::AT_ONCE {
            assert_eq!(pace.after_turn(now), None);
        }
        let began = now;
        for _ in 0..1000 {
            now += pace.after_turn(now).unwrap();
        }
        assert_eq!(now - began, TURN * 1000);
    }

    #[test]
    fn turns_that_take_their_time_are_not_paused_after_and_a_quiet_time_counts_once() {
        let (mut pace, mut now) = (Pace::new(TURN), Duration::ZERO);
        for _ in 0..1000 {
            now += TURN;
            assert_eq!(pace.after_turn(now), None);
        }
        now += Duration::from_secs(3600);
        let at_once = (0..1000).take_while(|_| pace.after_turn(now).is_none()).count();
        assert_eq!(at_once, Pace::AT_ONCE as usize);
    }
}
