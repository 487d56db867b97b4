//! A histogram of times without a lock: that of `prometheus-client` takes one each time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Number of buckets with an upper bound.
const BUCKETS: usize = 16;

/// The upper bound of a bucket in microseconds, each four times the one before: from 10 µs to about three hours.
fn bound_us(bucket: usize) -> u64 {
    10 << (2 * bucket)
}

/// A histogram of times. Clones refer to the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct TimeHistogram(Arc<TimeCounts>);

#[derive(Debug, Default)]
struct TimeCounts {
    /// How many times fell between a bound and the one before it.
    within: [AtomicU64; BUCKETS],
    /// How many were over the last bound.
    over: AtomicU64,
    sum_us: AtomicU64,
}

impl TimeHistogram {
    /// Counts a time in microseconds.
    pub(super) fn observe(&self, us: u64) {
        let bucket = (0..BUCKETS).find(|bucket| us <= bound_us(*bucket));
        let bucket = bucket.and_then(|bucket| self.0.within.get(bucket)).unwrap_or(&self.0.over);
        bucket.fetch_add(1, Ordering::Relaxed);
        self.0.sum_us.fetch_add(us, Ordering::Relaxed);
    }
}

impl EncodeMetric for TimeHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let seconds = |us: u64| us as f64 / 1e6;
        let within = self.0.within.iter().enumerate();
        let mut buckets: Vec<_> = within
            .map(|(bucket, count)| (seconds(bound_us(bucket)), count.load(Ordering::Relaxed)))
            .collect();
        buckets.push((f64::INFINITY, self.0.over.load(Ordering::Relaxed)));
        // Counted here and not on the way, so that it is the sum of the buckets, whatever is counted meanwhile.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = seconds(self.0.sum_us.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_bucket_that_holds_it_and_in_all_above() {
        let times = TimeHistogram::default();
        for us in [0, 10, 11, 1_000_000, u64::from(u32::MAX) * 10] {
            times.observe(us);
        }
        let mut registry = Registry::default();
        registry.register("run", "Time", times);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let bucket = |bound: &str| {
            let start = format!("run_bucket{{le=\"{bound}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_else(|| panic!("{text}"))
        };
        let bounds = ["0.00001", "0.00004", "0.65536", "2.62144", "10737.41824", "+Inf"];
        assert_eq!(bounds.map(bucket), ["2", "3", "3", "4", "4", "5"]);
        assert!(text.contains("run_count 5\n"), "{text}");
    }
}
