//! What an executor process takes of the machine, as the system tells.

use std::time::Duration;

use tokio::time::Instant;

/// The use of one process.
#[derive(Debug)]
pub(super) struct Usage {
    /// `None` if the process has ended already.
    folder: Option<String>,
    /// The guest's progress when its use was last looked at, and the processor time until then.
    begun: Option<(u64, Duration)>,
}

impl Usage {
    pub(super) fn of(process: Option<u32>) -> Self {
        Self { folder: process.map(|process| format!("/proc/{process}")), begun: None }
    }

    /// Processor time since `progress` first had this value, as far as it was asked; zero at the first time.
    pub(super) fn processor_since(&mut self, progress: u64) -> Duration {
        let now = self.processor().unwrap_or_default();
        match self.begun {
            Some((seen, since)) if seen == progress => now.saturating_sub(since),
            _ => {
                self.begun = Some((progress, now));
                Duration::ZERO
            }
        }
    }

    /// Processor time of the process so far.
    fn processor(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("{}/stat", self.folder.as_ref()?)).ok()?;
        // The name of the program, in parentheses, may have spaces in it. Fields 14 and 15 are user and system time.
        let (_, fields) = stat.rsplit_once(')')?;
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Some(Duration::from_millis(ticks.saturating_mul(1000) / rustix::param::clock_ticks_per_second()))
    }

    /// Memory that the process keeps resident, in bytes; 0 if it is gone.
    pub(super) fn resident_bytes(&self) -> u64 {
        let read = || {
            let statm = std::fs::read_to_string(format!("{}/statm", self.folder.as_ref()?)).ok()?;
            statm.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        read().unwrap_or_default().saturating_mul(rustix::param::page_size() as u64)
    }
}

/// The sign of life of a process: a number that rises.
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    seen: u32,
    looked: Option<Instant>,
    silent: Duration,
}

impl Heartbeat {
    /// True if the number has been the same for [`SILENCE_MAX`] of the time in which the host itself was awake.
    pub(super) fn is_silent(&mut self, beats: u32, now: Instant) -> bool {
        let since = self.looked.replace(now).map_or(Duration::ZERO, |looked| now.duration_since(looked));
        self.silent = if beats == self.seen { self.silent + since.min(STEP_MAX) } else { Duration::ZERO };
        self.seen = beats;
        self.silent >= SILENCE_MAX
    }
}

/// The most that counts at a time: more, and the host itself slept.
const STEP_MAX: Duration = Duration::from_secs(4);

/// Time without a sign of life after which a process counts as hanging: 16 signs.
const SILENCE_MAX: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_use_of_a_process_is_what_it_took_since_its_last_progress() {
        let mut usage = Usage::of(Some(std::process::id()));
        assert!(usage.resident_bytes() > 1 << 20);
        assert_eq!(usage.processor_since(1), Duration::ZERO);
        let before = usage.processor().unwrap();
        while usage.processor().unwrap() < before + Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        assert!(usage.processor_since(1) >= Duration::from_millis(20));
        assert_eq!(usage.processor_since(2), Duration::ZERO);
        assert_eq!(Usage::of(None).resident_bytes(), 0);
    }
}
