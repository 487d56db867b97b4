//! The hub: what all connections of a manager share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use grid_disk::Machine;
use grid_net::{Network, Timing};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::foreman::{Foreman, UNWRITTEN_BYTES_MAX};
use crate::ledger::Ledger;
use crate::newcomers::Newcomers;
use crate::payloads::{PayloadError, Payloads};
use crate::registry::{Registry, RegistryError};
use crate::state::State;
use crate::store::{Store, StoreError};
use crate::trust;

/// How a manager shall be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it keeps its key, its store and its modules.
    pub state_folder: PathBuf,
    /// Where it listens; `None` if it only serves this process.
    pub listen: Option<SocketAddr>,
    /// Addresses to write into tickets, as `host:port`; empty for the one that it listens on.
    pub advertise: Vec<String>,
    /// Lets hosts in that nobody approved. Only for a manager that strangers cannot reach.
    pub open_join: bool,
    /// How long a lost connection may stay lost before the workers behind it are given up: 10 s, which
    /// with the transport's own 10 s makes 20 s of silence.
    pub away_grace: Duration,
    /// How soon the transport notices silence.
    pub timing: Timing,
    /// The network that it listens on.
    pub network: Network,
    /// Where it takes time and randomness from.
    pub machine: Machine,
    /// The store to use, not a file in the state folder.
    pub store: Option<Arc<dyn Store>>,
    /// A promise to break on purpose.
    #[cfg(feature = "rehearsal")]
    pub sabotage: Option<crate::audit::Sabotage>,
}

impl Settings {
    /// A manager that keeps its state in `state_folder` and serves this process only.
    pub fn new(state_folder: PathBuf) -> Self {
        Self {
            state_folder,
            listen: None,
            advertise: Vec::new(),
            open_join: false,
            away_grace: Duration::from_secs(10),
            timing: Timing::default(),
            network: Network::default(),
            machine: Machine::default(),
            store: None,
            #[cfg(feature = "rehearsal")]
            sabotage: None,
        }
    }
}

/// What all connections share.
pub(crate) struct Hub {
    pub(crate) settings: Settings,
    pub(crate) key: PublicKey,
    /// Addresses that tickets name.
    pub(crate) addresses: Vec<String>,
    /// Reads what is kept of jobs.
    pub(crate) ledger: Ledger,
    /// Inputs and results in files.
    pub(crate) payloads: Arc<Payloads>,
    /// When [`Self::now`] was zero.
    pub(crate) started: Instant,
    /// Who has knocked and said nothing yet.
    pub(crate) newcomers: Newcomers,
    state: Mutex<State>,
    registry: Mutex<Registry>,
    /// Held by whoever writes the journal, so that what was decided first is on disk first.
    pub(crate) committing: Arc<tokio::sync::Mutex<()>>,
    /// Held by whoever tries dead tasks again.
    pub(crate) retrying: tokio::sync::Mutex<()>,
    /// Wakes the clockwork: something may be due earlier than it thinks.
    pub(crate) rescheduled: Notify,
}

impl Hub {
    pub(crate) fn new(
        settings: Settings,
        addresses: Vec<String>,
        registry: Registry,
        foreman: Foreman,
        payloads: Payloads,
    ) -> Self {
        let ledger = Ledger::new(registry.store());
        let state = State::new(&settings, &registry, foreman);
        let key = registry.key().public();
        Self {
            settings,
            key,
            addresses,
            ledger,
            payloads: Arc::new(payloads),
            started: Instant::now(),
            newcomers: Newcomers::default(),
            state: Mutex::new(state),
            registry: Mutex::new(registry),
            committing: Arc::default(),
            retrying: tokio::sync::Mutex::default(),
            rescheduled: Notify::new(),
        }
    }

    /// The manager's own clock.
    pub(crate) fn now(&self) -> Moment {
        Moment::from_epoch(self.settings.machine.shrink(self.started.elapsed()))
    }

    /// The volatile state. Never held across a wait.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and does what the scheduler decides then.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State, Moment) -> T) -> T {
        let now = self.now();
        let mut state = self.state();
        let result = change(&mut state, now);
        state.carry_out(now);
        drop(state);
        self.rescheduled.notify_one();
        result
    }

    /// Works with the registry on a thread that may wait for the disk.
    ///
    /// # Errors
    ///
    /// That of `work`, or that the runtime is going down.
    pub(crate) async fn registry<T, E>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Registry) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<RegistryError> + Send + 'static,
    {
        let hub = self.clone();
        self.off_thread(move || hub.with_registry(work)).await?
    }

    /// As [`Self::registry`], for a caller that may wait for the disk itself. A change of trust that `work` makes is in
    /// force everywhere when this returns.
    pub(crate) fn with_registry<T>(&self, work: impl FnOnce(&mut Registry) -> T) -> T {
        // The registry's lock comes before the state's, here and everywhere.
        let mut registry = self.registry_now();
        let before = registry.trust_changes();
        let done = work(&mut registry);
        if registry.trust_changes() != before {
            trust::apply(self, &registry);
        }
        done
    }

    /// Reads or changes what is kept of jobs, on a thread that may wait for the disk.
    ///
    /// # Errors
    ///
    /// The store's, or that the runtime is going down.
    pub(crate) async fn ledger<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Ledger) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let hub = self.clone();
        Ok(self.off_thread(move || work(&hub.ledger)).await??)
    }

    /// Reads or changes payloads, on a thread that may wait for the disk, and not too many at a time.
    ///
    /// # Errors
    ///
    /// That of `work`, or that the runtime is going down.
    pub(crate) async fn payloads<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Payloads) -> Result<T, PayloadError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let payloads = self.payloads.clone();
        let _room = self.payloads.room.acquire().await;
        let done = self.off_thread(move || work(&payloads)).await?;
        done.map_err(|error| match error {
            PayloadError::Disk(error) => error.into(),
            PayloadError::Store(error) => error.into(),
            error => RegistryError::Payload { reason: error.to_string() },
        })
    }

    /// Waits until the store takes what is brought.
    pub(crate) async fn out_of_trouble(&self) {
        loop {
            let mut written = std::pin::pin!(self.state().foreman.written.clone().notified_owned());
            // Listening comes before looking.
            written.as_mut().enable();
            if self.state().foreman.trouble().is_none() {
                return;
            }
            written.await;
        }
    }

    /// Does something that may wait for the disk where it holds up nobody.
    pub(crate) async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RegistryError> {
        if self.settings.machine.is_made_up() {
            return Ok(work());
        }
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| RegistryError::Interrupted { reason: error.to_string() })
    }

    /// Waits while so much waits for the disk that nobody may bring more.
    pub(crate) async fn room_in_the_journal(&self) {
        loop {
            let written = {
                let state = self.state();
                if state.foreman.unwritten() <= UNWRITTEN_BYTES_MAX {
                    return;
                }
                state.foreman.written.clone().notified_owned()
            };
            written.await;
        }
    }

    /// Seconds since 1970 on this machine's clock.
    pub(crate) fn unix_now(&self) -> u64 {
        self.settings.machine.unix_now()
    }

    /// The registry, for a caller that may wait for the disk itself.
    pub(crate) fn registry_now(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
