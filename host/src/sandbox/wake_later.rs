//! Wakes that wait for the rest of a row of quick tasks.
//!
//! A thousand workers that answer one after the other would wake the network's thread a thousand times, which takes
//! longer than the answers. On a thread of the pool that has further quick tasks to run, the wake waits for them, for up
//! to [`LATEST`]; everywhere else it takes place at once.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::sync::Notify;

/// Time in nanoseconds after which a wake waits no longer: half a round trip of a message.
const LATEST: u64 = 100_000;

#[derive(Default)]
struct Later {
    /// True while the thread runs a task and has another quick one to run next.
    allowed: bool,
    /// When the thread began to run its present task.
    began: u64,
    /// The wake that waits, and since when.
    waiting: Option<(Arc<Notify>, u64)>,
}

thread_local! {
    static LATER: RefCell<Later> = RefCell::default();
}

/// The thread begins to run a task; `allowed` if it has another quick one to run next. A wake that has waited for too
/// long takes place first.
pub(super) fn begin(now: u64, allowed: bool) {
    LATER.with_borrow_mut(|later| {
        if !allowed || later.waiting.as_ref().is_some_and(|(_, since)| now.saturating_sub(*since) > LATEST) {
            wake(later);
        }
        (later.allowed, later.began) = (allowed, now);
    });
}

/// True if a wake waits.
pub(super) fn has_waiting() -> bool {
    LATER.with_borrow(|later| later.waiting.is_some())
}

/// The thread has nothing to run: the wake that waits takes place.
pub(super) fn flush() {
    LATER.with_borrow_mut(|later| {
        later.allowed = false;
        wake(later);
    });
}

fn wake(later: &mut Later) {
    if let Some((notify, _)) = later.waiting.take() {
        notify.notify_one();
    }
}

/// Wakes whoever waits for `notify`, now or after the row of tasks that this thread runs.
pub(crate) fn notify(notify: &Arc<Notify>) {
    LATER.with_borrow_mut(|later| match &later.waiting {
        Some((waiting, _)) if Arc::ptr_eq(waiting, notify) => {}
        None if later.allowed => later.waiting = Some((notify.clone(), later.began)),
        _ => notify.notify_one(),
    });
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_woken(notify: &Notify) -> bool {
        pin!(notify.notified()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_wake_waits_while_quick_tasks_follow_and_not_longer() {
        let writer = Arc::new(Notify::new());
        notify(&writer);
        assert!(is_woken(&writer), "elsewhere it takes place at once");
        begin(1, true);
        notify(&writer);
        notify(&writer);
        assert!(!is_woken(&writer));
        begin(2, true);
        begin(1 + LATEST, true);
        assert!(!is_woken(&writer));
        begin(2 + LATEST, true);
        assert!(is_woken(&writer), "it is late");
        notify(&writer);
        begin(4 + LATEST, false);
        assert!(is_woken(&writer), "the next task may take long");
        notify(&writer);
        assert!(is_woken(&writer), "no other task follows");
    }

    #[test]
    fn a_thread_that_has_nothing_to_run_leaves_no_wake_behind() {
        let (one, other) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        begin(1, true);
        notify(&one);
        notify(&other);
        assert!(is_woken(&other), "one of another host does not wait behind it");
        assert!(has_waiting());
        flush();
        assert!(is_woken(&one) && !has_waiting());
    }
}
