//! The context: what all connections of a manager share.

pub(crate) mod trust;

use std::sync::Arc;

use grid_protocol::job::{JobId, OutcomeEntry};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;
use grid_scheduler::SchedulerConfig;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::activity::Activity;
use crate::audit::AuditLog;
use crate::blobs::store::{BlobError, BlobStore};
use crate::catalog::{Catalog, CatalogError};
use crate::cluster::Cluster;
use crate::cluster::newcomers::Newcomers;
use crate::config::ManagerConfig;
use crate::jobs::coordinator::{Coordinator, UNWRITTEN_BYTES_MAX};
use crate::jobs::store::JobStore;
use crate::page_links::PageLinks;
use crate::store::StoreError;

/// What all connections of a manager share.
pub(crate) struct Context {
    pub(crate) config: ManagerConfig,
    pub(crate) key: PublicKey,
    /// Addresses that are written into tickets.
    pub(crate) addresses: Vec<String>,
    /// Jobs on disk.
    pub(crate) job_store: JobStore,
    /// Blobs on disk.
    pub(crate) payloads: Arc<BlobStore>,
    /// The instant at which [`Self::now`] was zero.
    pub(crate) started: Instant,
    /// Connections whose first frame has not come yet.
    pub(crate) newcomers: Newcomers,
    cluster: Mutex<Cluster>,
    catalog: Mutex<Catalog>,
    /// Locked by whoever commits the journal, so that changes reach the disk in the order of their decisions.
    pub(crate) committing: Arc<tokio::sync::Mutex<()>>,
    /// Locked by whoever retries dead tasks.
    pub(crate) retrying: tokio::sync::Mutex<()>,
    /// Locked by whoever reads how all tasks of a job ended, for the outcome of one of them.
    searching: Arc<tokio::sync::Mutex<()>>,
    /// Notified when a timeout may have become due earlier than the timer loop expects.
    pub(crate) rescheduled: Notify,
    /// What the grid is doing, for those who look.
    pub(crate) activity: Arc<Activity>,
    /// Who did what.
    pub(crate) audit: Arc<AuditLog>,
    /// Links that log people in to the page.
    pub(crate) page_links: PageLinks,
}

impl Context {
    pub(crate) fn new(
        config: ManagerConfig,
        addresses: Vec<String>,
        catalog: Catalog,
        coordinator: Coordinator,
        payloads: BlobStore,
        audit: AuditLog,
    ) -> Self {
        let job_store = JobStore::new(catalog.store());
        let incarnation = catalog.incarnation();
        let scheduling = SchedulerConfig { incarnation, away_grace: config.away_grace };
        let activity = coordinator.activity.clone();
        let cluster = Cluster::new(scheduling, catalog.deployments().values(), coordinator);
        let key = catalog.key().public();
        Self {
            config,
            key,
            addresses,
            job_store,
            payloads: Arc::new(payloads),
            started: Instant::now(),
            newcomers: Newcomers::default(),
            cluster: Mutex::new(cluster),
            catalog: Mutex::new(catalog),
            committing: Arc::default(),
            retrying: tokio::sync::Mutex::default(),
            searching: Arc::default(),
            rescheduled: Notify::new(),
            activity,
            audit: Arc::new(audit),
            page_links: PageLinks::default(),
        }
    }

    /// The manager's clock: the time since it started.
    pub(crate) fn now(&self) -> Moment {
        Moment::from_epoch(self.config.machine.shrink(self.started.elapsed()))
    }

    /// Locks the cluster. The guard must not be held across an await.
    pub(crate) fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock()
    }

    /// Changes the cluster, carries out what the scheduler then decides, and wakes the timer loop.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Cluster, Moment) -> T) -> T {
        let now = self.now();
        let mut cluster = self.cluster();
        let result = change(&mut cluster, now);
        cluster.carry_out(now);
        drop(cluster);
        self.rescheduled.notify_one();
        result
    }

    /// Runs `work` with the catalog on a thread that may block on the disk.
    ///
    /// # Errors
    ///
    /// That of `work`, or that the manager is shutting down.
    pub(crate) async fn catalog<T, E>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Catalog) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<CatalogError> + Send + 'static,
    {
        let context = self.clone();
        self.off_thread(move || context.with_catalog(work)).await?
    }

    /// As [`Self::catalog`], on the caller's thread, which may block on the disk. If `work` changes trust, the change
    /// is in force everywhere when this returns.
    pub(crate) fn with_catalog<T>(&self, work: impl FnOnce(&mut Catalog) -> T) -> T {
        // Lock order: the catalog before the cluster.
        let mut catalog = self.catalog_now();
        let before = catalog.trust_changes();
        let done = work(&mut catalog);
        if catalog.trust_changes() != before {
            trust::apply(self, &catalog);
        }
        done
    }

    /// Runs `work` with the job store on a thread that may block on the disk.
    ///
    /// # Errors
    ///
    /// The store's, or that the manager is shutting down.
    pub(crate) async fn job_store<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&JobStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        let context = self.clone();
        Ok(self.off_thread(move || work(&context.job_store)).await??)
    }

    /// The outcome of a task, if it has one. One is searched for at a time.
    ///
    /// # Errors
    ///
    /// As [`Self::job_store`].
    pub(crate) async fn outcome_of(
        self: &Arc<Self>,
        job: JobId,
        task: u64,
    ) -> Result<Option<OutcomeEntry>, CatalogError> {
        // The blocking thread holds the lock, so it stays held if this future is dropped.
        let turn = self.searching.clone().lock_owned().await;
        let search = move |job_store: &JobStore| {
            let _turn = turn;
            job_store.outcome_of(job, task)
        };
        self.job_store(search).await
    }

    /// Runs `work` with the blob store on a thread that may block on the disk, after waiting for a free permit.
    ///
    /// # Errors
    ///
    /// That of `work`, or that the manager is shutting down.
    pub(crate) async fn payloads<T: Send + 'static>(
        &self,
        work: impl FnOnce(&BlobStore) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        let payloads = self.payloads.clone();
        let _room = self.payloads.room.acquire().await;
        let done = self.off_thread(move || work(&payloads)).await?;
        done.map_err(|error| match error {
            BlobError::Disk(error) => error.into(),
            BlobError::Store(error) => error.into(),
            error => CatalogError::Payload { reason: error.to_string() },
        })
    }

    /// Waits until the store is out of trouble.
    pub(crate) async fn out_of_trouble(&self) {
        loop {
            let mut written = std::pin::pin!(self.cluster().coordinator.written.clone().notified_owned());
            // Listen before looking, so that a commit in between is not missed.
            written.as_mut().enable();
            if self.cluster().coordinator.trouble().is_none() {
                return;
            }
            written.await;
        }
    }

    /// Runs `work` on a thread that may block on the disk; on a simulated machine, on the caller's thread.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Interrupted`]: the manager is shutting down, or `work` panicked.
    pub(crate) async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CatalogError> {
        if self.config.machine.is_simulated() {
            return Ok(work());
        }
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| CatalogError::Interrupted { reason: error.to_string() })
    }

    /// Waits while the unwritten journal is too long for anybody to add to it.
    pub(crate) async fn room_in_the_journal(&self) {
        loop {
            let written = {
                let cluster = self.cluster();
                if cluster.coordinator.unwritten() <= UNWRITTEN_BYTES_MAX {
                    return;
                }
                cluster.coordinator.written.clone().notified_owned()
            };
            written.await;
        }
    }

    /// Seconds since 1970, by this machine's clock.
    pub(crate) fn unix_now(&self) -> u64 {
        self.config.machine.unix_now()
    }

    /// Locks the catalog, for a caller that may block on the disk.
    pub(crate) fn catalog_now(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock()
    }
}
