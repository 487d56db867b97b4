//! Rates: how often somebody may ask.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Those whose rates are kept; beyond that, those who have asked for nothing lately are forgotten.
const KNOWN_MAX: usize = 4096;

/// Lets each of many ask so many times a second, and now and then more at once.
pub(crate) struct RateLimit<K> {
    per_second: f64,
    burst: f64,
    known: Mutex<HashMap<K, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl<K: Hash + Eq> RateLimit<K> {
    pub(crate) fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, known: Mutex::default() }
    }

    /// True if `who` may ask now.
    pub(crate) fn allow(&self, who: K, now: Instant) -> bool {
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX && !known.contains_key(&who) {
            let full_after = Duration::from_secs_f64(self.burst / self.per_second);
            known.retain(|_, bucket| now.duration_since(bucket.at) < full_after);
            if known.len() >= KNOWN_MAX {
                return false;
            }
        }
        let bucket = known.entry(who).or_insert(Bucket { left: self.burst, at: now });
        let earned = now.duration_since(bucket.at).as_secs_f64() * self.per_second;
        bucket.left = (bucket.left + earned).min(self.burst);
        bucket.at = now;
        let may = bucket.left >= 1.0;
        if may {
            bucket.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_too_often_waits_and_others_do_not() {
        let limit = RateLimit::new(10.0, 20.0);
        let start = Instant::now();
        assert_eq!((0..100).filter(|_| limit.allow("a", start)).count(), 20);
        assert!(limit.allow("b", start));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| limit.allow("a", later)).count(), 10);
    }

    #[test]
    fn many_strangers_cost_no_memory_and_are_forgotten() {
        let limit = RateLimit::new(10.0, 20.0);
        let start = Instant::now();
        (0..100_000).for_each(|number| _ = limit.allow(number, start));
        assert!(limit.known.lock().len() <= KNOWN_MAX);
        assert!(limit.allow(-1, start + Duration::from_secs(3)));
    }
}
