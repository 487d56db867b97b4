//! What a worker may take, each limit with the attack that it stops.

use std::time::Duration;

use grid_protocol::worker::LimitsAsked;

/// Limits of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, in bytes: 256 MiB. A guest that grows beyond gets −1 from `memory.grow`; one that
    /// starts beyond is refused.
    pub memory_bytes: usize,
    /// Elements of each table: 100 000, some 1.6 MB; `table.grow` beyond gives −1.
    pub table_elements: usize,
    /// One message, in bytes: 64 MiB. A guest that sends more traps.
    pub message_bytes: usize,
    /// Time on a processor for one call of `handle_msg` or `loop`: an hour. A guest that spins burns this
    /// much of one compute thread, in slices of 10 ms, and starves nobody; waiting is not charged.
    pub call: Duration,
    /// Time on a processor for everything before the first message: 10 s.
    pub start: Duration,
    /// Time on a processor for `stop`: 2 s.
    pub stop: Duration,
    /// Bytes of log that a worker may write at once: 64 KiB.
    pub log_burst_bytes: u32,
    /// Bytes of log a second, after that: 16 KiB. What is over is dropped and counted.
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
    /// These, made smaller where somebody asks for less; nobody gets more by asking.
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
