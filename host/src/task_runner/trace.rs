//! The times of attempts that the manager asked about.

use std::collections::BTreeMap;
use std::time::Duration;

use grid_protocol::job::AttemptId;
use grid_protocol::time::micros;
use grid_protocol::trace::{AttemptTimes, TRACED_A_FRAME_MAX};
use tokio::time::Instant;

/// Attempts whose times are taken at once.
const TRACED_MAX: usize = 4 * TRACED_A_FRAME_MAX;

/// Time after which an attempt that the manager asked about must have arrived; it comes next.
const ARRIVAL_MAX: Duration = Duration::from_secs(60);

/// The attempts whose times are taken.
#[derive(Debug, Default)]
pub(super) struct TracedAttempts(BTreeMap<AttemptId, TakenTimes>);

/// When what happened to one attempt.
#[derive(Debug)]
struct TakenTimes {
    arrived: Instant,
    input: Option<Instant>,
    module: Instant,
    compile: Duration,
    given: Instant,
    begun: Instant,
    ended: Instant,
}

impl TracedAttempts {
    /// The manager asks about attempts that are about to arrive.
    pub(super) fn follow(&mut self, now: Instant, attempts: &[AttemptId], held: impl Fn(AttemptId) -> bool) {
        // Attempts that were given back or abandoned meanwhile.
        self.0.retain(|attempt, taken| held(*attempt) || now.duration_since(taken.arrived) < ARRIVAL_MAX);
        let room = TRACED_MAX - self.0.len().min(TRACED_MAX);
        for attempt in attempts.iter().take(room) {
            let taken = TakenTimes {
                arrived: now,
                input: None,
                module: now,
                compile: Duration::ZERO,
                given: now,
                begun: now,
                ended: now,
            };
            self.0.insert(*attempt, taken);
        }
    }

    /// True if no times are taken: then there is no need to look at the clock.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The attempt's input was fetched.
    pub(super) fn fetched(&mut self, now: Instant, attempt: AttemptId) {
        if let Some(taken) = self.0.get_mut(&attempt) {
            taken.input = Some(now);
        }
    }

    /// A guest was chosen for the attempt; its module was ready at `module`, after it was compiled for `compile`.
    pub(super) fn given(&mut self, now: Instant, attempt: AttemptId, (module, compile): (Instant, Duration)) {
        if let Some(taken) = self.0.get_mut(&attempt) {
            (taken.module, taken.compile, taken.given) = (module, compile, now);
        }
    }

    /// The guest is done with the attempt, which it ran for `ran`; true if its times are taken.
    pub(super) fn ended(&mut self, now: Instant, attempt: AttemptId, ran: Duration) -> bool {
        let taken = self.0.get_mut(&attempt);
        let is_taken = taken.is_some();
        if let Some(taken) = taken {
            (taken.begun, taken.ended) = (now.checked_sub(ran).unwrap_or(now), now);
        }
        is_taken
    }

    /// The attempt's end is told to the manager now: its times, for the same report.
    pub(super) fn told(&mut self, now: Instant, attempt: AttemptId) -> Option<AttemptTimes> {
        let taken = self.0.remove(&attempt)?;
        let mut latest = taken.arrived;
        let mut since = |moment: Instant| {
            latest = latest.max(moment);
            micros(latest - taken.arrived)
        };
        let input_us = since(taken.input.unwrap_or(taken.arrived));
        let module_us = since(taken.module);
        Some(AttemptTimes {
            attempt,
            input_us,
            module_us,
            compile_us: micros(taken.compile).min(module_us - input_us),
            given_us: since(taken.given),
            begun_us: since(taken.begun),
            ended_us: since(taken.ended),
            told_us: since(now),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt() -> AttemptId {
        AttemptId::new(1, 1)
    }

    #[test]
    fn times_count_from_the_arrival_of_the_attempt() {
        let began = Instant::now();
        let at = |us| began + Duration::from_micros(us);
        let mut traced = TracedAttempts::default();
        traced.follow(at(0), &[attempt()], |_| false);
        traced.fetched(at(10), attempt());
        traced.given(at(120), attempt(), (at(100), Duration::from_micros(60)));
        traced.ended(at(900), attempt(), Duration::from_micros(750));
        let times = traced.told(at(1000), attempt()).unwrap();
        let expected = AttemptTimes {
            attempt: attempt(),
            input_us: 10,
            module_us: 100,
            compile_us: 60,
            given_us: 120,
            begun_us: 150,
            ended_us: 900,
            told_us: 1000,
        };
        assert_eq!(times, expected);
        assert_eq!(traced.told(at(1000), attempt()), None, "they are told once");
    }

    #[test]
    fn a_module_that_was_ready_before_the_attempt_came_took_none_of_its_time() {
        let began = Instant::now();
        let at = |us| began + Duration::from_micros(us);
        let mut traced = TracedAttempts::default();
        traced.follow(at(5000), &[attempt()], |_| false);
        traced.given(at(5001), attempt(), (at(100), Duration::from_micros(60)));
        traced.ended(at(5100), attempt(), Duration::from_micros(90));
        let times = traced.told(at(5200), attempt()).unwrap();
        assert_eq!((times.module_us, times.compile_us, times.given_us, times.begun_us), (0, 0, 1, 10));
        assert!(times.is_within(200));
    }

    #[test]
    fn only_attempts_that_were_asked_about_are_taken_and_no_more_than_a_limit() {
        let now = Instant::now();
        let mut traced = TracedAttempts::default();
        assert!(!traced.ended(now, attempt(), Duration::ZERO));
        assert_eq!(traced.told(now, attempt()), None);
        let attempts: Vec<_> = (0..10_000).map(|count| AttemptId::new(1, count)).collect();
        traced.follow(now, &attempts, |_| false);
        assert_eq!(traced.0.len(), TRACED_MAX);
        traced.follow(now + ARRIVAL_MAX, &[], |held| held == attempt());
        assert_eq!(traced.0.len(), 1);
    }
}
