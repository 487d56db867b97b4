//! The sampler: which attempts are kept for the picture of what ran.

/// Samples that are taken in a second, about: more cannot be told apart in a picture.
const SAMPLES_A_SECOND: u32 = 1000;

/// Failed attempts that are kept in a second before they are sampled like the others.
const FAILURES_A_SECOND: u32 = 100;

/// Takes one of every so many attempts, as many as the last second tells.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    second: u64,
    /// Attempts of this second so far.
    seen: u32,
    /// Failed attempts of this second so far.
    failures: u32,
    /// One of so many is taken; 0 before the first second is over, and then each is.
    stride: u32,
    /// Attempts since the last that was taken.
    skipped: u32,
}

impl Sampler {
    /// The number of attempts that this one stands for, itself among them, if it is taken.
    pub(super) fn take(&mut self, second: u64, failed: bool) -> Option<u32> {
        if second != self.second {
            // After a pause nothing is known of the rate.
            let follows = second == self.second.wrapping_add(1);
            self.stride = if follows { self.seen.div_ceil(SAMPLES_A_SECOND) } else { 1 };
            (self.second, self.seen, self.failures) = (second, 0, 0);
        }
        self.seen = self.seen.saturating_add(1);
        // A second that is faster than the last thins out as it goes.
        let stride = self.stride.max(self.seen.div_ceil(SAMPLES_A_SECOND));
        self.skipped += 1;
        let rare = failed && self.failures < FAILURES_A_SECOND;
        self.failures += u32::from(rare);
        (rare || self.skipped >= stride).then(|| std::mem::take(&mut self.skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_attempts_are_all_kept() {
        let mut sampler = Sampler::default();
        assert!((0..900).all(|_| sampler.take(10, false) == Some(1)));
        assert!((0..900).all(|_| sampler.take(11, false) == Some(1)));
    }

    #[test]
    fn many_attempts_are_thinned_out_and_stand_for_all() {
        let mut sampler = Sampler::default();
        for second in 10..13 {
            let taken: Vec<_> = (0..100_000).filter_map(|_| sampler.take(second, false)).collect();
            assert!((500..7000).contains(&taken.len()), "{} in second {second}", taken.len());
            let sum: u32 = taken.iter().sum();
            assert!(sum.abs_diff(100_000) <= 100, "{sum}");
        }
    }

    #[test]
    fn a_failure_among_many_that_succeed_is_kept() {
        let mut sampler = Sampler::default();
        assert!((0..100_000).any(|_| sampler.take(10, false).is_none()));
        assert!(sampler.take(10, true).is_some());
    }
}
