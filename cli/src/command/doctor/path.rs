//! The path to the manager: how long datagrams get through.

use wasm_grid::view::CheckView;
use wasm_grid::{MTU_INITIAL, PathFigures};

/// Length of datagrams below which there is a warning.
const MTU_AMPLE: u16 = 1280;

/// Judges how long datagrams get through.
pub(super) fn judge(path: Option<PathFigures>) -> CheckView {
    let Some(path) = path else {
        return CheckView::ok("mtu", "not known")
            .warning("the connection was lost while it was measured", "grid doctor");
    };
    let round_trip = path.round_trip.as_secs_f64() * 1000.0;
    let found = format!("datagrams of {} bytes, {round_trip:.1} ms there and back", path.mtu);
    let check = CheckView::ok("mtu", found);
    if path.mtu >= MTU_AMPLE {
        return check;
    }
    let reason = if path.mtu <= MTU_INITIAL {
        "no longer ones got through: a tunnel on the way may cut them off; it works, and takes more packets"
    } else {
        "a tunnel on the way leaves little room; it works, and takes more packets"
    };
    check.warning(reason, "look at the tunnel's MTU: ip link show; 1500 is usual, 1330 enough")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wasm_grid::view::CheckState::{self, Ok as Well, Warning};

    fn judged(mtu: u16) -> CheckState {
        judge(Some(PathFigures { mtu, round_trip: Duration::from_millis(3) })).state
    }

    #[test]
    fn a_path_on_which_only_short_datagrams_get_through_is_a_warning() {
        assert_eq!([1452, 1280, 1279, MTU_INITIAL].map(judged), [Well, Well, Warning, Warning]);
        assert_eq!(judge(None).state, Warning);
    }
}
