//! The tasks of a pool, and the threads that run some of them inline.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::{PoolShared, is_long_ago, lock};
use crate::sandbox::meter::{Meter, monotonic, nanos};
use crate::sandbox::{guest_clock, wake_later};

type BoxedTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The task of one guest.
pub(in crate::sandbox) struct PoolTask {
    id: u64,
    state: AtomicU8,
    work: Mutex<Option<BoxedTask>>,
    meter: Arc<Meter>,
    /// Since when the present poll has run, as [`monotonic`] has it; 0 between polls.
    polled_since: AtomicU64,
    /// One more for each quick poll, up to [`TRUST_MAX`], and half of it after one that was not.
    trust: AtomicU32,
    /// Held up the network thread, or the wakes of others, for over 1 ms once; neither waits for it again.
    inline_banned: AtomicBool,
    shared: Arc<PoolShared>,
}

/// State of a task that waits to be woken.
const IDLE: u8 = 0;
/// State of a task that is in the queue or about to be.
const READY: u8 = 1;
/// State of a task that a thread is polling.
const RUNNING: u8 = 2;
/// State of a task that a thread is polling and that was woken meanwhile.
const WOKEN: u8 = 3;

thread_local! {
    static GATHERED: RefCell<Option<Vec<Arc<PoolTask>>>> = const { RefCell::new(None) };
    /// What was gathered last, empty again: its memory serves the next time.
    static GATHERED_BEFORE: Cell<Vec<Arc<PoolTask>>> = const { Cell::new(Vec::new()) };
    static POLL_BEGAN: Cell<u64> = const { Cell::new(0) };
    static ROW: RefCell<Row> = const { RefCell::new(Row { tasks: VecDeque::new(), runs: false }) };
}

/// The row of quick tasks that a thread runs.
struct Row {
    /// The rest of it.
    tasks: VecDeque<Arc<PoolTask>>,
    /// The thread runs it, and so what is added to it.
    runs: bool,
}

/// When the last poll on this thread began, as [`monotonic`] has it.
pub(in crate::sandbox) fn poll_began() -> u64 {
    POLL_BEGAN.get()
}

/// Runs `work`, then the tasks that it woke: a single quick one inline, others on the threads of the pool.
pub(crate) fn gather<T>(work: impl FnOnce() -> T) -> T {
    gather_with(Inline::IfQuick, work)
}

/// Which tasks may run inline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Inline {
    /// A single one that counts as quick.
    IfQuick,
    /// Those that count as quick, one after the other, for [`ROW_TIME`]: the thread only hands out messages.
    QuickRow,
    /// A single one, whatever it does: the thread has nothing else to do.
    Always,
}

/// As [`gather`].
pub(in crate::sandbox) fn gather_with<T>(inline: Inline, work: impl FnOnce() -> T) -> T {
    GATHERED.set(Some(GATHERED_BEFORE.take()));
    let result = work();
    let mut tasks = GATHERED.take().unwrap_or_default();
    run_gathered(inline, &mut tasks);
    tasks.clear();
    GATHERED_BEFORE.set(tasks);
    result
}

fn run_gathered(inline: Inline, tasks: &mut Vec<Arc<PoolTask>>) {
    if inline == Inline::QuickRow {
        return run_row(tasks);
    }
    match tasks.pop() {
        Some(only) if tasks.is_empty() && inline == Inline::Always => drop(only.run(monotonic())),
        Some(only) if tasks.is_empty() && only.may_run_here() => only.run_here(),
        Some(last) => {
            let shared = last.shared.clone();
            shared.push(tasks.drain(..).chain([last]));
        }
        None => {}
    }
}

/// Gives tasks that are not quick to the threads of the pool, and runs the others inline as far as [`ROW_TIME`] goes: waking
/// another thread, and moving what belongs to a guest to its processor, takes longer than a quick task. None is banned if
/// it turns out slow: it holds up nobody but those of its own trust domain, for a slice, and soon counts as quick no more.
fn run_row(tasks: &mut Vec<Arc<PoolTask>>) {
    let Some(shared) = tasks.first().map(|task| task.shared.clone()) else { return };
    // Nothing is allocated if there are none.
    let others: Vec<_> = tasks.extract_if(.., |task| !task.is_quick()).collect();
    if !others.is_empty() {
        shared.push(others);
    }
    ROW.with_borrow_mut(|row| {
        row.tasks.extend(tasks.drain(..));
        row.runs = true;
    });
    let began = monotonic();
    let mut now = began;
    while now.saturating_sub(began) < nanos(ROW_TIME)
        && let Some(task) = ROW.with_borrow_mut(|row| row.tasks.pop_front())
    {
        now = task.run(now);
    }
    give_row_away();
}

/// Gives the rest of the row that this thread runs to the threads of the pool.
pub(in crate::sandbox) fn give_row_away() {
    ROW.with_borrow_mut(|row| {
        row.runs = false;
        if let Some(shared) = row.tasks.front().map(|task| task.shared.clone()) {
            shared.push(row.tasks.drain(..));
        }
    });
}

impl PoolTask {
    /// A task that is about to be put into the queue.
    pub(super) fn new(id: u64, meter: Arc<Meter>, work: BoxedTask, shared: Arc<PoolShared>) -> Self {
        Self {
            id,
            state: AtomicU8::new(READY),
            work: Mutex::new(Some(work)),
            meter,
            polled_since: AtomicU64::new(0),
            trust: AtomicU32::new(0),
            inline_banned: AtomicBool::new(false),
            shared,
        }
    }

    /// Polls the task once, and returns when that ended. The state makes sure that no other thread polls it.
    fn run(self: Arc<Self>, now: u64) -> u64 {
        self.state.store(RUNNING, Ordering::Release);
        let waker = Waker::from(self.clone());
        let mut work = lock(&self.work);
        let Some(future) = &mut *work else {
            return now;
        };
        POLL_BEGAN.set(now);
        self.polled_since.store(now, Ordering::Relaxed);
        // In this order: the clock rests only if it sees the one or the other.
        guest_clock::note_computing();
        self.meter.resume(now);
        let polled =
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
        let ended = self.meter.pause();
        self.polled_since.store(0, Ordering::Relaxed);
        drop(work);
        let trust = self.trust.load(Ordering::Relaxed);
        let was_quick = ended - now <= nanos(QUICK);
        self.trust.store(if was_quick { (trust + 1).min(TRUST_MAX) } else { trust / 2 }, Ordering::Relaxed);
        match polled {
            Ok(Poll::Pending) if !self.shared.closed.load(Ordering::SeqCst) => self.rest(),
            Ok(_) => self.end(),
            Err(_) => {
                tracing::error!("a worker's task panicked");
                self.end();
            }
        }
        ended
    }

    /// Makes the task idle or, if it was woken during its poll, puts it at the end of the row that this thread runs, or of the
    /// queue.
    fn rest(self: Arc<Self>) {
        let rests = self.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if rests {
            return;
        }
        self.state.store(READY, Ordering::Release);
        let not_in_row = ROW.with_borrow_mut(|row| {
            if !row.runs || !self.is_quick() {
                return Some(self);
            }
            row.tasks.push_back(self);
            None
        });
        if let Some(task) = not_in_row {
            let shared = task.shared.clone();
            shared.push([task]);
        }
    }

    /// Drops the work, unless a thread is polling it.
    pub(super) fn end(&self) {
        lock(&self.shared.tasks).remove(&self.id);
        let work = self.work.try_lock().ok().and_then(|mut work| work.take());
        // Dropping the work may wake and even end other tasks, so no lock is held.
        drop(work);
    }

    /// True if its present poll has run for longer than [`STUCK`], so that its thread must hang: a guest yields every
    /// 10 ms.
    pub(in crate::sandbox) fn is_stuck(&self) -> bool {
        is_long_ago(self.polled_since.load(Ordering::Relaxed))
    }

    /// True while a thread polls it.
    pub(in crate::sandbox) fn is_polled(&self) -> bool {
        self.polled_since.load(Ordering::Relaxed) != 0
    }

    /// True if its last polls were quick, but for one at most.
    pub(super) fn is_quick(&self) -> bool {
        self.trust.load(Ordering::Relaxed) >= TRUST_QUICK
    }

    /// True if others may wait for its next poll: it counts as quick, and none that others waited for was slow.
    pub(super) fn is_expected_quick(&self) -> bool {
        self.is_quick() && !self.inline_banned.load(Ordering::Relaxed)
    }

    fn may_run_here(&self) -> bool {
        self.is_expected_quick() && self.shared.inline_policy.stands()
    }

    /// Polls the task while wakes of others wait. If that is slow, none waits for it again.
    pub(super) fn run_in_row(self: Arc<Self>, now: u64) {
        let waited_for = wake_later::has_waiting();
        if self.clone().run(now) - now > nanos(SLOW) && waited_for {
            self.inline_banned.store(true, Ordering::Relaxed);
        }
    }

    /// Polls the task inline. If that is slow, bans it from inline polls for good, and all tasks for [`WITHDRAWN`].
    fn run_here(self: Arc<Self>) {
        let now = monotonic();
        if self.clone().run(now) - now > nanos(SLOW) {
            self.inline_banned.store(true, Ordering::Relaxed);
            self.shared.inline_policy.withdraw();
        }
    }
}

impl Wake for PoolTask {
    fn wake(self: Arc<Self>) {
        let became = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| match state {
            IDLE => Some(READY),
            RUNNING => Some(WOKEN),
            _ => None,
        });
        if became != Ok(IDLE) {
            return;
        }
        let not_gathered = GATHERED.with_borrow_mut(|gathered| match gathered {
            Some(tasks) => {
                tasks.push(self);
                None
            }
            None => Some(self),
        });
        if let Some(task) = not_gathered {
            let shared = task.shared.clone();
            shared.push([task]);
        }
    }
}

impl fmt::Debug for PoolTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolTask").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Longest poll that counts as quick: less than waking a thread costs in the worst case.
const QUICK: Duration = Duration::from_micros(100);

/// Time for which quick tasks are run inline before the rest is given to other threads.
const ROW_TIME: Duration = Duration::from_millis(2);

/// Trust of a task that counts as quick.
const TRUST_QUICK: u32 = 8;

/// Most trust of a task: it still counts as quick after a poll that took long, which may have been the system's doing, and no
/// more after a second among the next eight.
const TRUST_MAX: u32 = 16;

/// Longest inline poll that is not held against a task.
const SLOW: Duration = Duration::from_millis(1);

/// Time after a slow inline poll in which no task is polled inline. A guest that is quick at first can block the
/// network for one slice, once; to do it again it needs a new worker, and all guests together can do it once a second.
const WITHDRAWN: Duration = Duration::from_secs(1);

/// Whether tasks may be polled inline, by the thread that wakes them.
#[derive(Default)]
pub(super) struct InlinePolicy {
    /// No inline polls before this time; 0 if they were never withdrawn.
    until: AtomicU64,
}

impl InlinePolicy {
    fn stands(&self) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until == 0 || monotonic() >= until
    }

    fn withdraw(&self) {
        self.until.store(monotonic() + nanos(WITHDRAWN), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::thread::{ThreadId, current};

    use super::super::Pool;
    use super::*;
    use crate::sandbox::guest_clock::timers;

    /// Starts a task of which each poll is told, and takes so long; it is polled `times` for each wake from outside. Waits until
    /// it waits.
    fn start(
        pool: &Pool,
        name: char,
        times: u32,
        takes: Duration,
        polled: &Sender<(char, ThreadId)>,
    ) -> Arc<PoolTask> {
        let (polled, (begins, begun)) = (polled.clone(), channel());
        let mut polls = times;
        let poll = move |cx: &mut Context<'_>| {
            if polls == times {
                begins.send(()).unwrap();
                polls = 0;
                return Poll::Pending;
            }
            std::thread::sleep(takes);
            polled.send((name, current().id())).unwrap();
            polls += 1;
            if polls < times {
                cx.waker().wake_by_ref();
            } else {
                polls = 0;
            }
            Poll::Pending
        };
        let task = pool.spawn(Arc::new(Meter::new()), std::future::poll_fn(poll)).upgrade().unwrap();
        begun.recv().unwrap();
        while task.state.load(Ordering::Acquire) != IDLE {
            std::thread::yield_now();
        }
        task
    }

    #[test]
    fn a_task_that_yields_in_a_row_is_polled_again_after_the_others_and_on_the_same_thread() {
        let pool = Pool::start(1, &timers().unwrap()).unwrap();
        let (polls, polled) = channel();
        let tasks =
            [('y', 3), ('o', 1)].map(|(name, times)| start(&pool, name, times, Duration::ZERO, &polls));
        let is_mine = |_| {
            // The rest of a row that takes long, as on a busy machine, goes to another thread.
            tasks.iter().for_each(|task| task.trust.store(TRUST_MAX, Ordering::Relaxed));
            gather_with(Inline::QuickRow, || tasks.iter().for_each(|task| task.clone().wake()));
            let (names, threads): (String, Vec<_>) = polled.iter().take(4).unzip();
            names == "yoyy" && threads.iter().all(|thread| *thread == current().id())
        };
        assert!((0..20).any(is_mine));
    }

    #[test]
    fn a_task_counts_as_quick_after_one_poll_that_took_long_and_not_after_the_next() {
        let pool = Pool::start(1, &timers().unwrap()).unwrap();
        let (polls, polled) = channel();
        let slow = start(&pool, 's', 1, 2 * QUICK, &polls);
        slow.trust.store(TRUST_MAX, Ordering::Relaxed);
        let is_mine = || {
            gather_with(Inline::QuickRow, || slow.clone().wake());
            polled.recv().unwrap().1 == current().id()
        };
        assert_eq!([is_mine(), is_mine(), is_mine()], [true, true, false]);
    }
}
