use super::*;
use crate::sandbox::GuestHandle;

/// A guest's process, in which it has begun with its first message alone.
#[derive(Debug)]
struct AtTheFirst;

impl GuestHandle for AtTheFirst {
    fn end(&self) {}

    fn expire(&self, _: bool) {}

    fn withdraw(&self, first: u64, _: u64) -> Option<u64> {
        Some(first)
    }

    fn is_stuck(&self) -> bool {
        false
    }
}

/// A guest that has taken so many tasks.
fn guest_of(tasks: u64) -> Arc<JobGuest> {
    let task = |number| {
        let (attempt, input) = (AttemptId::from_u64(number), Bytes::from_static(b"input"));
        RunningTask::new(attempt, number, input, Duration::from_secs(1), true, Instant::now())
    };
    let guest = JobGuest::new(Weak::new(), JobId([1; 16]));
    *guest.abort.lock() = Some(AbortHandle(Arc::new(AtTheFirst)));
    (1..=tasks).for_each(|number| guest.lock().tasks.push_back(task(number)));
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..tasks {
        assert!(guest.poll_incoming(&mut cx).is_ready());
    }
    assert!(guest.poll_incoming(&mut cx).is_pending());
    guest
}

#[test]
fn tasks_that_were_quick_and_are_not_any_more_do_not_wait_behind_each_other() {
    let guest = guest_of(256);
    let now = guest.lock().tasks[0].began;
    assert!(guest.withdraw(now, 4e-6).is_empty(), "255 of them take a millisecond");
    let withdrawn = guest.withdraw(now, 4e-3);
    assert_eq!(withdrawn.iter().map(|task| task.task).collect::<Vec<_>>(), (2..=256).collect::<Vec<_>>());
    assert!(guest.withdraw(now + AHEAD_TIME_MAX, 4e-3).is_empty(), "one is left, which it has begun with");
}

#[test]
fn tasks_behind_one_that_takes_long_are_taken_back_however_quick_the_others_were() {
    let guest = guest_of(3);
    let now = guest.lock().tasks[0].began;
    assert!(guest.withdraw(now + AHEAD_TIME_MAX / 2, 4e-6).is_empty());
    assert_eq!(guest.withdraw(now + AHEAD_TIME_MAX, 4e-6).len(), 2);
}
