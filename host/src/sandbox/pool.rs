//! The pool: the threads that run guests.
//!
//! A guest is one task. Ready tasks wait in one queue, first come, first served; a task that yields goes to its end. A
//! thread that delivers messages gathers the tasks that this wakes ([`gather`]): several go to the queue together, and
//! a single quick one is run inline, on the delivering thread, because waking another takes longer than most messages. A
//! thread that does nothing else runs all quick ones, one after the other: a row, to whose end one goes that yields.

mod pool_task;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::sandbox::meter::{Meter, monotonic, nanos};
use crate::sandbox::wake_later;

pub(crate) use pool_task::gather;
pub(super) use pool_task::{Inline, PoolTask, gather_with, give_row_away, poll_began};

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
    inline_policy: pool_task::InlinePolicy,
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
            inline_policy: pool_task::InlinePolicy::default(),
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

    /// What tells whether its tasks are being polled.
    pub(super) fn watch(&self) -> PoolWatch {
        PoolWatch(Arc::downgrade(&self.shared))
    }

    /// Runs `work` to its end on the threads of the pool, and charges its processor time to `meter`.
    pub(super) fn spawn(
        &self,
        meter: Arc<Meter>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Weak<PoolTask> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let task = Arc::new(PoolTask::new(id, meter, Box::pin(work), self.shared.clone()));
        lock(&self.shared.tasks).insert(id, task.clone());
        let weak = Arc::downgrade(&task);
        self.shared.push([task]);
        weak
    }
}

/// Tells whether the tasks of a pool are being polled, as long as there is the pool.
pub(super) struct PoolWatch(Weak<PoolShared>);

impl PoolWatch {
    /// True if a thread polls one of the tasks.
    pub(super) fn is_any_polled(&self) -> bool {
        let is_any_polled =
            |shared: Arc<PoolShared>| lock(&shared.tasks).values().any(|task| task.is_polled());
        self.0.upgrade().is_some_and(is_any_polled)
    }
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

/// Time after which a poll counts as hanging: five hundred slices.
const STUCK: Duration = Duration::from_secs(5);

/// True if `since` is not 0 and more than [`STUCK`] ago.
fn is_long_ago(since: u64) -> bool {
    since != 0 && monotonic().saturating_sub(since) > nanos(STUCK)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
