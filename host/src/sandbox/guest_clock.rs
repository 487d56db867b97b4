//! The guests' clock: it ends the slices of guests that share threads, and drives the timers of all guests.
//!
//! A process has one, however many sandboxes it has. It ticks only while guests are called, so that a process whose guests
//! all wait for messages wakes for nobody.

use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior, interval};
use wasmtime::{Engine, EngineWeak};

use crate::sandbox::engine::EPOCH_TICK;
use crate::sandbox::pool::PoolWatch;

/// Whose slices the clock ends, and what drives the timers.
static CLOCK: Mutex<GuestClock> = Mutex::new(GuestClock { timers: None, watched: Vec::new() });

/// Notified when a guest computes while the clock rests.
static BEGUN: Notify = Notify::const_new();

/// Whether guests compute, as far as the clock knows.
static ACTIVITY: AtomicU8 = AtomicU8::new(UNUSED);

/// The clock does not tick until a guest computes.
const RESTS: u8 = 0;
/// It ticks, and no guest has begun to compute since the last tick.
const QUIET: u8 = 1;
/// It ticks, and a guest has begun to compute since the last tick.
const BUSY: u8 = 2;
/// There is nothing yet for which it would tick.
const UNUSED: u8 = 3;

/// Quiet ticks in a row after which the clock rests: what hands out work in batches does not wake it for each.
const QUIET_TICKS: u32 = 2;

struct GuestClock {
    timers: Option<Handle>,
    watched: Vec<Watched>,
}

/// An engine whose guests are interrupted, and the threads that run them.
struct Watched {
    engine: EngineWeak,
    pool: PoolWatch,
}

/// What drives the timers of the guests; the first call starts the thread.
///
/// # Errors
///
/// If the system starts no thread.
pub(super) fn timers() -> std::io::Result<Handle> {
    let mut clock = CLOCK.lock();
    if let Some(timers) = &clock.timers {
        return Ok(timers.clone());
    }
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let timers = runtime.handle().clone();
    std::thread::Builder::new().name("grid-clock".to_owned()).spawn(move || runtime.block_on(tick()))?;
    clock.timers = Some(timers.clone());
    Ok(timers)
}

/// Ends the slices of this engine's guests, which run on this pool, as long as both exist.
pub(super) fn watch(engine: &Engine, pool: PoolWatch) {
    CLOCK.lock().watched.push(Watched { engine: engine.weak(), pool });
    change(UNUSED, RESTS);
}

/// Notes that a guest begins to compute, or goes on.
pub(super) fn note_computing() {
    if ACTIVITY.load(Ordering::Relaxed) < BUSY && ACTIVITY.swap(BUSY, Ordering::AcqRel) == RESTS {
        BEGUN.notify_one();
    }
}

async fn tick() {
    let mut interval = interval(EPOCH_TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        BEGUN.notified().await;
        // It may have been notified before it rested.
        ACTIVITY.store(BUSY, Ordering::Release);
        interval.reset();
        tick_while_guests_compute(&mut interval).await;
    }
}

async fn tick_while_guests_compute(interval: &mut Interval) {
    let mut quiet = 0;
    loop {
        interval.tick().await;
        end_slices();
        quiet = if change(BUSY, QUIET) { 0 } else { quiet + 1 };
        if quiet < QUIET_TICKS || !change(QUIET, RESTS) {
            continue;
        }
        // Who begins from now on wakes the clock. Who has begun before is seen after another tick.
        interval.tick().await;
        end_slices();
        if !is_any_polled() {
            return;
        }
        change(RESTS, QUIET);
        quiet = 0;
    }
}

/// Ends the slices of all guests that are interrupted.
fn end_slices() {
    CLOCK.lock().watched.retain(|watched| {
        let engine = watched.engine.upgrade();
        engine.is_some_and(|engine| {
            engine.increment_epoch();
            true
        })
    });
}

/// True if a guest that is interrupted computes, as far as other threads see it.
fn is_any_polled() -> bool {
    CLOCK.lock().watched.iter().any(|watched| watched.pool.is_any_polled())
}

fn change(from: u8, to: u8) -> bool {
    ACTIVITY.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::time::{Duration, Instant};

    use wasmtime::{Instance, Module, Store};

    use super::*;
    use crate::sandbox::engine::{CodeForm, compiler};
    use crate::sandbox::meter::Meter;
    use crate::sandbox::pool::Pool;

    /// Longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Before it rests, it looks for one tick whether guests are called.
    fn wait_until_it_rests() {
        let began = Instant::now();
        let mut since = None;
        while since.is_none_or(|since: Instant| since.elapsed() < 10 * EPOCH_TICK) {
            assert!(began.elapsed() < PATIENCE, "the clock ticks for nobody");
            let rests = ACTIVITY.load(Ordering::Acquire) == RESTS;
            since = rests.then(|| since.unwrap_or_else(Instant::now));
            std::thread::yield_now();
        }
    }

    /// The error with which a loop without end ends, after `before`, in one poll of a task on this pool.
    fn end_of_a_loop(engine: &Engine, pool: &Pool, before: impl FnOnce() + Send + 'static) -> String {
        let engine = engine.clone();
        let (ended, ends) = mpsc::channel();
        pool.spawn(Arc::new(Meter::new()), async move {
            before();
            let mut store = Store::new(&engine, ());
            store.set_epoch_deadline(1);
            let module = wat::parse_str(r#"(module (func (export "f") (loop $l (br $l))))"#).unwrap();
            let module = Module::new(&engine, module).unwrap();
            let instance = Instance::new_async(&mut store, &module, &[]).await.unwrap();
            let function = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
            let error = function.call_async(&mut store, ()).await.unwrap_err();
            ended.send(format!("{:?}", error.downcast_ref::<wasmtime::Trap>())).unwrap();
        });
        ends.recv_timeout(PATIENCE).expect("the loop is not interrupted")
    }

    #[test]
    fn the_clock_rests_when_no_guest_computes_and_ticks_for_one_that_does_even_if_it_began_long_ago() {
        let engine = compiler(CodeForm::SHARED).unwrap();
        let pool = Pool::start(1, &timers().unwrap()).unwrap();
        watch(&engine, pool.watch());
        assert_eq!(end_of_a_loop(&engine, &pool, || ()), "Some(Interrupt)");
        wait_until_it_rests();
        assert_eq!(end_of_a_loop(&engine, &pool, || ()), "Some(Interrupt)");
        // A call of the host within the poll takes longer than the clock waits.
        let call = || std::thread::sleep(20 * EPOCH_TICK);
        assert_eq!(end_of_a_loop(&engine, &pool, call), "Some(Interrupt)");
        wait_until_it_rests();
    }
}
