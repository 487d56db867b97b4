//! The pool: the threads that run guests.
//!
//! A guest is one task. Ready tasks wait in one queue, first come, first served; a task that yields goes to its end. A
//! thread that delivers messages gathers the tasks that this wakes ([`gather`]): several go to the queue together, and
//! a single quick one is run inline, on the delivering thread, because waking another takes longer than most messages.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::sandbox::meter::{Meter, monotonic, nanos};
use crate::sandbox::wake_later;

type BoxedTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Threads and their tasks; both end when the pool is dropped.
pub(super) struct Pool {
    shared: Arc<PoolShared>,
}

struct PoolShared {
    queue: Mutex<Queue>,
    ready: Condvar,
    /// Every task that has not ended, so that dropping the pool can end them.
    tasks: Mutex<HashMap<u64, Arc<PoolTask>>>,
    next: AtomicU64,
    closed: AtomicBool,
    inline_policy: InlinePolicy,
    /// Since when each thread has run its present task, as [`monotonic`] has it; 0 if it has none.
    busy_since: Vec<AtomicU64>,
    /// When a task was last taken from the queue or put into an empty one.
    moved: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<PoolTask>>,
    /// Number of threads that wait for a task.
    sleeping: usize,
}

/// The task of one guest.
pub(super) struct PoolTask {
    id: u64,
    state: AtomicU8,
    work: Mutex<Option<BoxedTask>>,
    meter: Arc<Meter>,
    /// Since when the present poll has run, as [`monotonic`] has it; 0 between polls.
    polled_since: AtomicU64,
    /// Number of the latest polls in a row that were quick.
    quick: AtomicU32,
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
    /// The rest of the row that this thread runs, the next one last.
    static ROW: RefCell<Vec<Arc<PoolTask>>> = const { RefCell::new(Vec::new()) };
}

/// When the last poll on this thread began, as [`monotonic`] has it.
pub(super) fn poll_began() -> u64 {
    POLL_BEGAN.get()
}

impl Pool {
    /// Starts the threads; `timers` is the runtime that drives the timers of the tasks.
    ///
    /// # Errors
    ///
    /// If the system starts no thread.
    pub(super) fn start(threads: usize, timers: &Handle) -> std::io::Result<Self> {
        let shared = Arc::new(PoolShared {
            queue: Mutex::default(),
            ready: Condvar::new(),
            tasks: Mutex::default(),
            next: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            inline_policy: InlinePolicy::default(),
            busy_since: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            moved: AtomicU64::new(0),
        });
        for number in 0..threads {
            let (shared, timers) = (shared.clone(), timers.clone());
            std::thread::Builder::new().name(format!("grid-compute-{number}")).spawn(move || {
                let _context = timers.enter();
                while let Some((task, quick_follows)) = shared.next() {
                    let now = monotonic();
                    shared.moved.store(now, Ordering::Relaxed);
                    shared.note_busy(number, now);
                    wake_later::begin(now, quick_follows && task.is_expected_quick());
                    task.run_in_row(now);
                    shared.note_busy(number, 0);
                }
                wake_later::flush();
            })?;
        }
        Ok(Self { shared })
    }

    /// True if every thread has run its task for longer than [`STUCK`], or no thread has taken a waiting task for as
    /// long.
    pub(super) fn is_wedged(&self) -> bool {
        let mut since = self.shared.busy_since.iter().map(|since| since.load(Ordering::Relaxed));
        let hangs = since.all(is_long_ago);
        hangs
            || is_long_ago(self.shared.moved.load(Ordering::Relaxed))
                && self.shared.queue.try_lock().is_ok_and(|queue| !queue.waiting.is_empty())
    }

    /// Runs `work` to its end on the threads of the pool, and charges its processor time to `meter`.
    pub(super) fn spawn(
        &self,
        meter: Arc<Meter>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Weak<PoolTask> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let task = Arc::new(PoolTask {
            id,
            state: AtomicU8::new(READY),
            work: Mutex::new(Some(Box::pin(work))),
            meter,
            polled_since: AtomicU64::new(0),
            quick: AtomicU32::new(0),
            inline_banned: AtomicBool::new(false),
            shared: self.shared.clone(),
        });
        lock(&self.shared.tasks).insert(id, task.clone());
        let weak = Arc::downgrade(&task);
        self.shared.push([task]);
        weak
    }
}

/// Runs `work`, then the tasks that it woke: a single quick one inline, others on the threads of the pool.
pub(crate) fn gather<T>(work: impl FnOnce() -> T) -> T {
    gather_with(Inline::IfQuick, work)
}

/// Which tasks may run inline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inline {
    /// A single one whose last polls were all quick.
    IfQuick,
    /// Those whose last polls were all quick, one after the other, for [`ROW_TIME`]: the thread only hands out messages.
    QuickRow,
    /// A single one, whatever it does: the thread has nothing else to do.
    Always,
}

/// As [`gather`].
pub(super) fn gather_with<T>(inline: Inline, work: impl FnOnce() -> T) -> T {
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
/// it turns out slow: it holds up nobody but those of its own trust domain, for a slice, and is not quick next time.
fn run_row(tasks: &mut Vec<Arc<PoolTask>>) {
    let Some(shared) = tasks.first().map(|task| task.shared.clone()) else { return };
    // Nothing is allocated if there are none.
    let others: Vec<_> = tasks.extract_if(.., |task| !task.is_quick()).collect();
    if !others.is_empty() {
        shared.push(others);
    }
    tasks.reverse();
    ROW.with_borrow_mut(|row| std::mem::swap(row, tasks));
    let began = monotonic();
    let mut now = began;
    while now.saturating_sub(began) < nanos(ROW_TIME)
        && let Some(task) = ROW.with_borrow_mut(Vec::pop)
    {
        now = task.run(now);
    }
    give_row_away();
    // Its memory serves the next time.
    ROW.with_borrow_mut(|row| std::mem::swap(row, tasks));
}

/// Gives the rest of the row that this thread runs to the threads of the pool.
pub(super) fn give_row_away() {
    ROW.with_borrow_mut(|row| {
        if let Some(shared) = row.last().map(|task| task.shared.clone()) {
            shared.push(row.drain(..).rev());
        }
    });
}

impl PoolShared {
    /// A thread has run its task since then, or has none (0).
    fn note_busy(&self, thread: usize, since: u64) {
        if let Some(busy_since) = self.busy_since.get(thread) {
            busy_since.store(since, Ordering::Relaxed);
        }
    }

    /// Waits for the next task, and tells if it is quick and a quick one follows it; `None` once the pool is closed.
    fn next(&self) -> Option<(Arc<PoolTask>, bool)> {
        let mut queue = lock(&self.queue);
        loop {
            if self.closed.load(Ordering::SeqCst) {
                return None;
            }
            if let Some(task) = queue.waiting.pop_front() {
                // Waking another thread takes longer than a quick task, and both would then contend for the queue.
                let help = !queue.waiting.is_empty() && queue.sleeping > 0 && !task.is_quick();
                let quick_follows = queue.waiting.front().is_some_and(|next| next.is_expected_quick());
                drop(queue);
                if help {
                    self.ready.notify_one();
                }
                return Some((task, quick_follows));
            }
            if wake_later::has_waiting() {
                drop(queue);
                wake_later::flush();
                queue = lock(&self.queue);
                continue;
            }
            queue.sleeping += 1;
            queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.sleeping -= 1;
        }
    }

    fn push(&self, tasks: impl IntoIterator<Item = Arc<PoolTask>>) {
        let mut queue = lock(&self.queue);
        if queue.waiting.is_empty() {
            self.moved.store(monotonic(), Ordering::Relaxed);
        }
        queue.waiting.extend(tasks);
        let wanted = !queue.waiting.is_empty() && queue.sleeping > 0;
        drop(queue);
        if wanted {
            self.ready.notify_one();
        }
    }
}

impl PoolTask {
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
        self.meter.resume(now);
        let polled =
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
        let ended = self.meter.pause();
        self.polled_since.store(0, Ordering::Relaxed);
        drop(work);
        let quick = if ended - now <= nanos(QUICK) {
            self.quick.load(Ordering::Relaxed).saturating_add(1)
        } else {
            0
        };
        self.quick.store(quick, Ordering::Relaxed);
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

    /// Makes the task idle or, if it was woken during its poll, puts it at the end of the queue.
    fn rest(self: Arc<Self>) {
        let rests = self.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !rests {
            self.state.store(READY, Ordering::Release);
            let shared = self.shared.clone();
            shared.push([self]);
        }
    }

    /// Drops the work, unless a thread is polling it.
    fn end(&self) {
        lock(&self.shared.tasks).remove(&self.id);
        let work = self.work.try_lock().ok().and_then(|mut work| work.take());
        // Dropping the work may wake and even end other tasks, so no lock is held.
        drop(work);
    }

    /// True if its present poll has run for longer than [`STUCK`], so that its thread must hang: a guest yields every
    /// 10 ms.
    pub(super) fn is_stuck(&self) -> bool {
        is_long_ago(self.polled_since.load(Ordering::Relaxed))
    }

    /// True while a thread polls it.
    pub(super) fn is_polled(&self) -> bool {
        self.polled_since.load(Ordering::Relaxed) != 0
    }

    /// True if its last [`QUICK_IN_A_ROW`] polls were all quick.
    fn is_quick(&self) -> bool {
        self.quick.load(Ordering::Relaxed) >= QUICK_IN_A_ROW
    }

    /// True if others may wait for its next poll: its last ones were quick, and none that others waited for was slow.
    fn is_expected_quick(&self) -> bool {
        self.is_quick() && !self.inline_banned.load(Ordering::Relaxed)
    }

    fn may_run_here(&self) -> bool {
        self.is_expected_quick() && self.shared.inline_policy.stands()
    }

    /// Polls the task while wakes of others wait. If that is slow, none waits for it again.
    fn run_in_row(self: Arc<Self>, now: u64) {
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

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // A thread that has checked `closed` but does not wait yet holds this lock, and would miss the notification.
        drop(lock(&self.shared.queue));
        self.shared.ready.notify_all();
        let tasks: Vec<_> = lock(&self.shared.tasks).values().cloned().collect();
        for task in tasks {
            // A task that a thread is polling is ended after the poll, because the pool is closed.
            task.end();
        }
        let waiting = std::mem::take(&mut lock(&self.shared.queue).waiting);
        drop(waiting);
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

/// Quick polls in a row after which a task may be polled inline.
const QUICK_IN_A_ROW: u32 = 8;

/// Longest inline poll that is not held against a task.
const SLOW: Duration = Duration::from_millis(1);

/// Time after a slow inline poll in which no task is polled inline. A guest that is quick at first can block the
/// network for one slice, once; to do it again it needs a new worker, and all guests together can do it once a second.
const WITHDRAWN: Duration = Duration::from_secs(1);

/// Time after which a poll counts as hanging: five hundred slices.
const STUCK: Duration = Duration::from_secs(5);

/// Whether tasks may be polled inline, by the thread that wakes them.
#[derive(Default)]
struct InlinePolicy {
    /// No inline polls before this time; 0 if they were never withdrawn.
    until: AtomicU64,
}

/// True if `since` is not 0 and more than [`STUCK`] ago.
fn is_long_ago(since: u64) -> bool {
    since != 0 && monotonic().saturating_sub(since) > nanos(STUCK)
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
