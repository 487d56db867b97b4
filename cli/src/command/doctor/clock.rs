//! The clock, beside the manager's.

use std::time::Duration;

use wasm_grid::ClockReading;
use wasm_grid::view::CheckView;

/// Difference of clocks that is no matter.
const CLOCK_SLACK: Duration = Duration::from_secs(30);

/// Difference of clocks with which tickets and modules expire at the wrong time.
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(300);

/// Judges the clock against the manager's, if that is known.
pub(super) fn judge(clock: Result<Option<ClockReading>, &str>) -> CheckView {
    let check = |found: &str| CheckView::ok("clock", found);
    let clock = match clock {
        Ok(Some(clock)) => clock,
        Ok(None) => {
            let reason = "the manager is too old to tell its time";
            return check("not known").warning(reason, "upgrade the manager: cargo install --path cli");
        }
        Err(why) => return check("not known").warning(format!("not checked: {why}"), ""),
    };
    let difference = clock.manager.abs_diff(clock.here);
    let seconds = difference.as_secs();
    if seconds <= 1 {
        return check("within a second of the manager's");
    }
    let side = if clock.here > clock.manager { "ahead of" } else { "behind" };
    let found = check(&format!("{seconds} s {side} the manager's"));
    let reason = "tickets and modules expire by the clock";
    let advice = "set the clock that is wrong, here or there: sudo timedatectl set-ntp true";
    match difference {
        difference if difference > CLOCK_DIFFERENCE_MAX => found.fails(reason, advice),
        difference if difference > CLOCK_SLACK => found.warning(reason, advice),
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_grid::view::CheckState::{Fails, Ok as Well, Warning};

    fn judged(manager: u64, here: u64) -> CheckView {
        let [manager, here] = [manager, here].map(Duration::from_secs);
        judge(Ok(Some(ClockReading { manager, here })))
    }

    #[test]
    fn half_a_minute_is_a_warning_and_five_minutes_fail_whichever_clock_is_ahead() {
        for (difference, state) in [(0, Well), (30, Well), (31, Warning), (300, Warning), (301, Fails)] {
            assert_eq!(judged(1000, 1000 + difference).state, state, "{difference}");
            assert_eq!(judged(1000 + difference, 1000).state, state, "{difference}");
        }
        assert_eq!(judged(1000, 1040).found, "40 s ahead of the manager's");
        assert_eq!(judged(1040, 1000).found, "40 s behind the manager's");
        assert_eq!(judge(Ok(None)).state, Warning);
        assert_eq!(judge(Err("no manager")).state, Warning);
    }
}
