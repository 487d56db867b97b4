//! Log budgets: a limit on the rate at which a guest writes to its log.

use std::time::Instant;

use crate::sandbox::limits::Limits;

/// The bytes that a guest may still write to its log, refilled over time.
#[derive(Debug)]
pub(crate) struct LogBudget {
    left: u32,
    refilled: Option<Instant>,
}

impl LogBudget {
    /// A full budget.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { left: limits.log_burst_bytes, refilled: None }
    }

    /// True if a line of `length` bytes may be written now; takes it from the budget.
    pub(crate) fn allow(&mut self, limits: &Limits, length: usize) -> bool {
        let now = Instant::now();
        let elapsed = self.refilled.map_or(0, |refilled| now.duration_since(refilled).as_millis());
        let gained = u128::from(limits.log_bytes_per_s) * elapsed / 1000;
        if gained > 0 || self.refilled.is_none() {
            self.refilled = Some(now);
            let gained = u32::try_from(gained).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(gained).min(limits.log_burst_bytes);
        }
        // Each line costs 32 bytes more, so that empty lines are limited too.
        let cost = u32::try_from(length).unwrap_or(u32::MAX).saturating_add(32);
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

/// Bytes of a guest as text, cut to the longest log line before they are copied. Invalid UTF-8 is replaced.
pub(crate) fn text(bytes: &[u8]) -> String {
    let bytes = bytes.get(..grid_abi::TEXT_BYTES_MAX).unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_log_is_cut_to_its_rate() {
        let limits = Limits::default();
        let mut budget = LogBudget::new(&limits);
        let allowed = (0..100_000).filter(|_| budget.allow(&limits, 100)).count();
        assert!((400..1000).contains(&allowed), "{allowed}");
    }
}
