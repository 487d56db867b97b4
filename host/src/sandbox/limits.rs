//! The limits of a guest, each with the attack that it stops.

use std::time::Duration;

use grid_protocol::worker::LimitsAsked;

/// Limits of one guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, in bytes (default 256 MiB). Growing beyond it makes `memory.grow` return −1; a guest that
    /// starts with more is refused.
    pub memory_bytes: usize,
    /// Elements of each table (default 100 000, about 1.6 MB). Beyond it `table.grow` returns −1.
    pub table_elements: usize,
    /// Length of one message, in bytes (default 64 MiB). A guest that sends a longer one traps.
    pub message_bytes: usize,
    /// Processor time of one call of `handle_msg` or `loop` (default 1 h). A guest that spins uses this much of
    /// one compute thread, in slices of 10 ms, and starves no other guest; waiting is not charged.
    pub call: Duration,
    /// Processor time of everything before the first message (default 10 s).
    pub start: Duration,
    /// Processor time of `stop` (default 2 s).
    pub stop: Duration,
    /// Bytes of log that a guest may write in one burst (default 64 KiB).
    pub log_burst_bytes: u32,
    /// Bytes of log per second that a guest may write after a burst (default 16 KiB). What exceeds it is dropped.
    pub log_bytes_per_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            table_elements: 100_000,
            message_bytes: grid_abi::MESSAGE_BYTES_MAX,
            call: Duration::from_secs(3600),
            start: Duration::from_secs(10),
            stop: Duration::from_secs(2),
            log_burst_bytes: 64 << 10,
            log_bytes_per_s: 16 << 10,
        }
    }
}

impl Limits {
    /// These limits, lowered to those of `asked` that are lower. Asking for more raises no limit.
    #[must_use]
    pub fn lowered(self, asked: &LimitsAsked) -> Self {
        let memory = asked.memory_bytes.and_then(|bytes| usize::try_from(bytes).ok());
        let call = asked.call_ms.map(Duration::from_millis);
        Self {
            memory_bytes: memory.map_or(self.memory_bytes, |asked| asked.min(self.memory_bytes)),
            call: call.map_or(self.call, |asked| asked.min(self.call)),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_lowers_a_limit_and_never_raises_it() {
        let limits = Limits::default();
        let asked = LimitsAsked { memory_bytes: Some(1 << 40), call_ms: Some(5) };
        let lowered = limits.lowered(&asked);
        assert_eq!(lowered.memory_bytes, limits.memory_bytes);
        assert_eq!(lowered.call, Duration::from_millis(5));
        assert_eq!(limits.lowered(&LimitsAsked::default()), limits);
    }
}
