//! The pool: threads that run guests, and nothing else does.
//!
//! A worker is one task. Ready tasks wait in one queue, first come, first served; a task that gives way goes to its
//! end. A thread that hands messages to workers gathers the tasks that this wakes ([`Pool::gather`]): many go to the
//! queue together, and a single quick one is run where it is, because waking another thread takes longer than most
//! messages.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::sandbox::meter::{Meter, nanos};

type BoxedTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Threads and their tasks; they end when it is dropped.
pub(super) struct Pool {
    shared: Arc<PoolShared>,
}

struct PoolShared {
    queue: Mutex<Queue>,
    ready: Condvar,
    /// Every task that has not ended, so that none outlives the pool.
    tasks: Mutex<HashMap<u64, Arc<PoolTask>>>,
    next: AtomicU64,
    closed: AtomicBool,
    inline_policy: InlinePolicy,
    /// Since when each thread has been with one task, in nanoseconds since the epoch of the policy; 0 while it is not.
    busy_since: Vec<AtomicU64>,
    /// When a task was last taken from the queue, or came into an empty one.
    moved: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<PoolTask>>,
    /// Threads that have nothing to do.
    sleeping: usize,
}

/// A worker's life, from the pool's side.
pub(super) struct PoolTask {
    id: u64,
    state: AtomicU8,
    work: Mutex<Option<BoxedTask>>,
    meter: Arc<Meter>,
    /// Since when it is polled, in nanoseconds since the epoch of the policy; 0 while it is not.
    polled_since: AtomicU64,
    /// Polls in a row that were quick.
    quick: AtomicU32,
    /// Was slow where others waited: never again.
    inline_banned: AtomicBool,
    shared: Arc<PoolShared>,
}

/// Waits to be woken.
const IDLE: u8 = 0;
/// In the queue, or about to be.
const READY: u8 = 1;
/// On a thread.
const RUNNING: u8 = 2;
/// On a thread, and woken meanwhile.
const WOKEN: u8 = 3;

thread_local! {
    static GATHERED: RefCell<Option<Vec<Arc<PoolTask>>>> = const { RefCell::new(None) };
}

impl Pool {
    /// Starts the threads; `timers` is the runtime whose clock the tasks use.
    pub(super) fn start(threads: usize, timers: &Handle) -> std::io::Result<Self> {
        let shared = Arc::new(PoolShared {
            queue: Mutex::default(),
            ready: Condvar::new(),
            tasks: Mutex::default(),
            next: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            inline_policy: InlinePolicy::new(),
            busy_since: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            moved: AtomicU64::new(0),
        });
        for number in 0..threads {
            let (shared, timers) = (shared.clone(), timers.clone());
            std::thread::Builder::new().name(format!("grid-compute-{number}")).spawn(move || {
                let _context = timers.enter();
                while let Some(task) = shared.next() {
                    shared.note_busy(number, true);
                    task.run();
                    shared.note_busy(number, false);
                }
            })?;
        }
        Ok(Self { shared })
    }

    /// True if every thread has been with one task for so long that it must hang, or none takes what waits.
    pub(super) fn is_wedged(&self) -> bool {
        let inline_policy = &self.shared.inline_policy;
        let mut since = self.shared.busy_since.iter().map(|since| since.load(Ordering::Relaxed));
        let hangs = since.all(|since| inline_policy.is_long_ago(since));
        hangs
            || inline_policy.is_long_ago(self.shared.moved.load(Ordering::Relaxed))
                && self.shared.queue.try_lock().is_ok_and(|queue| !queue.waiting.is_empty())
    }

    /// Runs `work` to its end; its time on a processor is measured.
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

/// Does `work`, which may wake tasks, and then runs those or has them run.
pub(crate) fn gather<T>(work: impl FnOnce() -> T) -> T {
    GATHERED.set(Some(Vec::new()));
    let result = work();
    let mut tasks = GATHERED.take().unwrap_or_default();
    match tasks.pop() {
        Some(only) if tasks.is_empty() && only.may_run_here() => only.run_here(),
        Some(last) => {
            let shared = last.shared.clone();
            shared.push(tasks.into_iter().chain([last]));
        }
        None => {}
    }
    result
}

impl PoolShared {
    fn note_busy(&self, thread: usize, busy: bool) {
        let now = if busy { self.inline_policy.now() } else { 0 };
        if busy {
            self.moved.store(now, Ordering::Relaxed);
        }
        if let Some(since) = self.busy_since.get(thread) {
            since.store(now, Ordering::Relaxed);
        }
    }

    /// The next task, once there is one; `None` when the pool is closed.
    fn next(&self) -> Option<Arc<PoolTask>> {
        let mut queue = lock(&self.queue);
        loop {
            if self.closed.load(Ordering::SeqCst) {
                return None;
            }
            if let Some(task) = queue.waiting.pop_front() {
                // Waking another thread takes longer than a quick task, and the two then fight over the queue.
                let help = !queue.waiting.is_empty() && queue.sleeping > 0 && !task.is_quick();
                drop(queue);
                if help {
                    self.ready.notify_one();
                }
                return Some(task);
            }
            queue.sleeping += 1;
            queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.sleeping -= 1;
        }
    }

    fn push(&self, tasks: impl IntoIterator<Item = Arc<PoolTask>>) {
        let mut queue = lock(&self.queue);
        if queue.waiting.is_empty() {
            self.moved.store(self.inline_policy.now(), Ordering::Relaxed);
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
    /// Polls the task once; nobody else does meanwhile.
    fn run(self: Arc<Self>) -> Duration {
        self.state.store(RUNNING, Ordering::Release);
        let waker = Waker::from(self.clone());
        let mut work = lock(&self.work);
        let Some(future) = &mut *work else {
            return Duration::ZERO;
        };
        self.polled_since.store(self.shared.inline_policy.now(), Ordering::Relaxed);
        let resumed = self.meter.resume();
        let polled =
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
        let ran = self.meter.pause(resumed);
        self.polled_since.store(0, Ordering::Relaxed);
        drop(work);
        let quick = if ran <= QUICK { self.quick.load(Ordering::Relaxed).saturating_add(1) } else { 0 };
        self.quick.store(quick, Ordering::Relaxed);
        match polled {
            Ok(Poll::Pending) if !self.shared.closed.load(Ordering::SeqCst) => self.rest(),
            Ok(_) => self.end(),
            Err(_) => {
                tracing::error!("a worker's task panicked");
                self.end();
            }
        }
        ran
    }

    /// Waits to be woken, or goes to the end of the queue if it was woken already.
    fn rest(self: Arc<Self>) {
        let rests = self.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !rests {
            self.state.store(READY, Ordering::Release);
            let shared = self.shared.clone();
            shared.push([self]);
        }
    }

    /// Drops the work, if nobody is at it.
    fn end(&self) {
        lock(&self.shared.tasks).remove(&self.id);
        let work = self.work.try_lock().ok().and_then(|mut work| work.take());
        // Its end may wake and even end other tasks: no lock is held.
        drop(work);
    }

    /// True if it has been polled for so long that its thread must hang: a guest gives way every 10 ms.
    pub(super) fn is_stuck(&self) -> bool {
        self.shared.inline_policy.is_long_ago(self.polled_since.load(Ordering::Relaxed))
    }

    /// True if its last polls were all quick.
    fn is_quick(&self) -> bool {
        self.quick.load(Ordering::Relaxed) >= QUICK_IN_A_ROW
    }

    fn may_run_here(&self) -> bool {
        self.is_quick() && !self.inline_banned.load(Ordering::Relaxed) && self.shared.inline_policy.stands()
    }

    /// Runs the task on a thread that has better things to do.
    fn run_here(self: Arc<Self>) {
        if self.clone().run() > SLOW {
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
        // A thread that has looked and not yet gone to sleep holds this lock.
        drop(lock(&self.shared.queue));
        self.shared.ready.notify_all();
        let tasks: Vec<_> = lock(&self.shared.tasks).values().cloned().collect();
        for task in tasks {
            // One that is on a thread just now sees that the pool is closed.
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

/// A poll that takes no longer is quick: less than what waking a thread costs at its worst.
const QUICK: Duration = Duration::from_micros(100);

/// Quick polls in a row after which a task may be run where it is woken.
const QUICK_IN_A_ROW: u32 = 8;

/// A task that takes longer where others wait has blocked them.
const SLOW: Duration = Duration::from_millis(1);

/// For so long after that, nobody is run where it is woken. A guest that is quick until it is not can hold up the
/// network by a slice once, for which it needs a new worker each time, and all of them together once a second.
const WITHDRAWN: Duration = Duration::from_secs(1);

/// A poll that takes longer hangs: five hundred slices.
const STUCK: Duration = Duration::from_secs(5);

/// Whether tasks may be run by the thread that wakes them.
struct InlinePolicy {
    epoch: Instant,
    /// Not before then, in nanoseconds since `epoch`.
    until: AtomicU64,
}

impl InlinePolicy {
    fn new() -> Self {
        Self { epoch: Instant::now(), until: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        nanos(self.epoch.elapsed()).max(1)
    }

    /// True if `since` is a moment, and long past.
    fn is_long_ago(&self, since: u64) -> bool {
        since != 0 && self.now().saturating_sub(since) > nanos(STUCK)
    }

    fn stands(&self) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until == 0 || nanos(self.epoch.elapsed()) >= until
    }

    fn withdraw(&self) {
        self.until.store(nanos(self.epoch.elapsed() + WITHDRAWN), Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
