//! Turns: how many modules are compiled at the same time, and how much of their code is read.

use std::sync::Arc;
use std::thread::available_parallelism;

use grid_protocol::digest::Digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Length from which a module is long: its compilation may take as much memory as it is allowed, 2 GiB. One that was made to
/// take as much as it can, and was of this length, took a quarter of that.
const LONG_BYTES_MIN: usize = 256 << 10;

/// Codes that are read, checked and loaded at the same time. Each is in memory twice meanwhile.
const READ_MAX: usize = 4;

/// The turns of one host. Clones refer to the same ones, which are taken in the order in which they are asked for.
#[derive(Debug, Clone)]
pub(super) struct LoadTurns {
    /// For short modules, so that none of them waits until long ones are compiled.
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
    read: Arc<Semaphore>,
}

/// A turn; given back when it is dropped.
#[derive(Debug)]
pub(super) struct LoadTurn(
    // None only if the semaphore were closed, which it never is.
    #[expect(dead_code, reason = "held until it is dropped")] Option<OwnedSemaphorePermit>,
);

impl Default for LoadTurns {
    /// Two long modules, or one for every four processors, because a compilation has four threads at most; and four times as many
    /// short ones.
    fn default() -> Self {
        let long = available_parallelism().map_or(2, |processors| (processors.get() / 4).max(2));
        let of = |count| Arc::new(Semaphore::new(count));
        Self { short: of(4 * long), long: of(long), read: of(READ_MAX) }
    }
}

impl LoadTurns {
    /// Waits for a turn to compile a module of so many bytes.
    pub(super) async fn to_compile(&self, module: Digest, bytes: usize) -> LoadTurn {
        let turns = self.of(bytes);
        if turns.available_permits() == 0 {
            tracing::info!(%module, "it waits until other modules are compiled");
        }
        LoadTurn(turns.clone().acquire_owned().await.ok())
    }

    /// Waits for a turn to read code.
    pub(super) async fn to_read(&self) -> LoadTurn {
        LoadTurn(self.read.clone().acquire_owned().await.ok())
    }

    /// Those for modules of so many bytes.
    pub(super) fn of(&self, bytes: usize) -> &Arc<Semaphore> {
        if bytes < LONG_BYTES_MIN { &self.short } else { &self.long }
    }
}
