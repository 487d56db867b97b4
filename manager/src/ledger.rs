//! The ledger: how jobs stand on disk.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | job | id | what it is, how it stands, how many tasks were acknowledged |
//! | task | id, number | the input |
//! | lease | attempt | id, number, host |
//! | trial | id, number | the failures so far |
//! | outcome | id, number of the outcome | the task's number and its outcome |
//!
//! A task with an outcome is over, one with a lease is under way, and every other one that was acknowledged waits.

use std::collections::BTreeSet;
use std::sync::Arc;

use grid_protocol::job::{AttemptId, JobId, Outcome, Payload, Recorded};
use grid_protocol::key::PublicKey;
use grid_protocol::record::{JobRecord, OutcomeRecord, TrialRecord};
use grid_protocol::time::Moment;
use grid_protocol::wire::Wire;
use grid_scheduler::jobs::{Job, Jobs, Trial};
use hashbrown::HashMap;

use crate::store::{Change, Store, StoreError, Table};

/// Numbers of a job on their way to the disk: each key is the job's id and a number, in order.
fn key(job: JobId, number: u64) -> Vec<u8> {
    [&job.0[..], &number.to_be_bytes()].concat()
}

/// The number in a key.
fn number(key: &[u8]) -> u64 {
    key.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Changes to what is kept of jobs.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    changes: Vec<Change>,
    bytes: usize,
}

impl Journal {
    fn push(&mut self, change: Change) {
        self.bytes += change.bytes();
        self.changes.push(change);
    }

    /// What waits to be written, in bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The changes, for one commit.
    pub(crate) fn take(&mut self) -> Vec<Change> {
        self.bytes = 0;
        std::mem::take(&mut self.changes)
    }

    pub(crate) fn job(&mut self, id: JobId, record: &JobRecord) {
        self.push(Change::put(Table::Job, id.0, record.to_body()));
    }

    pub(crate) fn input(&mut self, job: JobId, task: u64, input: &Payload) {
        self.push(Change::put(Table::Task, key(job, task), input.to_body()));
    }

    pub(crate) fn lease(&mut self, attempt: AttemptId, job: JobId, task: u64, host: PublicKey) {
        let value = [&job.0[..], &task.to_be_bytes(), host.as_bytes()].concat();
        self.push(Change::put(Table::Lease, attempt.as_u64().to_be_bytes(), value));
    }

    pub(crate) fn end_lease(&mut self, attempt: AttemptId) {
        self.push(Change::remove(Table::Lease, attempt.as_u64().to_be_bytes()));
    }

    pub(crate) fn trial(&mut self, job: JobId, task: u64, record: &TrialRecord) {
        self.push(Change::put(Table::Trial, key(job, task), record.to_body()));
    }

    pub(crate) fn end_trial(&mut self, job: JobId, task: u64) {
        self.push(Change::remove(Table::Trial, key(job, task)));
    }

    pub(crate) fn outcome(&mut self, job: JobId, seq: u64, record: &OutcomeRecord) {
        self.push(Change::put(Table::Outcome, key(job, seq), record.to_body()));
    }

    /// An outcome that somebody wants anew.
    pub(crate) fn end_outcome(&mut self, job: JobId, seq: u64) {
        self.push(Change::remove(Table::Outcome, key(job, seq)));
    }
}

/// Reads what is kept of jobs. Everything here may wait for the disk.
#[derive(Clone)]
pub(crate) struct Ledger {
    store: Arc<dyn Store>,
}

/// Everything that a manager knows of its jobs when it starts.
pub(crate) struct Recovered {
    pub(crate) jobs: Jobs,
    pub(crate) records: HashMap<JobId, JobRecord>,
    pub(crate) trials: HashMap<(JobId, u64), TrialRecord>,
}

/// Records that are removed in one commit.
const FORGET_AT_ONCE: usize = 4096;

impl Ledger {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    pub(crate) fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.store.commit(changes)
    }

    /// The input of a task.
    pub(crate) fn input(&self, job: JobId, task: u64) -> Result<Option<Payload>, StoreError> {
        let body = self.store.get(Table::Task, &key(job, task))?;
        Ok(body.and_then(|body| Payload::from_body(&body).ok()))
    }

    /// Outcomes after number `after`, as many as fill `bytes_max`, or one.
    pub(crate) fn outcomes(
        &self,
        job: JobId,
        after: u64,
        bytes_max: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let range = (key(job, after.saturating_add(1)), key(job, u64::MAX));
        self.store.scan(Table::Outcome, &range.0..&range.1, &mut |key, value| {
            bytes += value.len() + 64;
            if bytes > bytes_max && !found.is_empty() {
                return false;
            }
            if let Ok(record) = OutcomeRecord::from_body(value) {
                let OutcomeRecord { task, host, ran_us, outcome } = record;
                found.push(Recorded { seq: number(key), task, host, ran_us, outcome });
            }
            true
        })?;
        Ok(found)
    }

    /// The numbers of dead tasks, with the numbers of their outcomes.
    pub(crate) fn dead(&self, job: JobId) -> Result<Vec<(u64, u64)>, StoreError> {
        let mut dead = Vec::new();
        let range = (key(job, 0), key(job, u64::MAX));
        self.store.scan(Table::Outcome, &range.0..&range.1, &mut |key, value| {
            if let Ok(OutcomeRecord { task, outcome: Outcome::Dead { .. }, .. }) =
                OutcomeRecord::from_body(value)
            {
                dead.push((number(key), task));
            }
            true
        })?;
        Ok(dead)
    }

    /// The outcome of one task, if it has one.
    pub(crate) fn outcome_of(&self, job: JobId, task: u64) -> Result<Option<Recorded>, StoreError> {
        let mut found = None;
        let range = (key(job, 0), key(job, u64::MAX));
        self.store.scan(Table::Outcome, &range.0..&range.1, &mut |key, value| {
            if let Ok(record) = OutcomeRecord::from_body(value)
                && record.task == task
            {
                let OutcomeRecord { task, host, ran_us, outcome } = record;
                found = Some(Recorded { seq: number(key), task, host, ran_us, outcome });
            }
            found.is_none()
        })?;
        Ok(found)
    }

    /// Removes everything of a job, its record first, so that a crash half-way leaves nothing that looks alive.
    pub(crate) fn forget(&self, job: JobId) -> Result<(), StoreError> {
        self.store.commit(&[Change::remove(Table::Job, job.0)])?;
        for table in [Table::Task, Table::Trial, Table::Outcome] {
            loop {
                let mut changes = Vec::new();
                let range = (key(job, 0), key(job, u64::MAX));
                self.store.scan(table, &range.0..&range.1, &mut |key, _| {
                    changes.push(Change::remove(table, key));
                    changes.len() < FORGET_AT_ONCE
                })?;
                if changes.is_empty() {
                    break;
                }
                self.store.commit(&changes)?;
            }
        }
        Ok(())
    }

    /// Rebuilds the queues after a restart. Each lease that was under way gets its whole term again.
    pub(crate) fn recover(&self, incarnation: u32, now: Moment) -> Result<Recovered, StoreError> {
        let mut jobs = Jobs::new(incarnation);
        let mut trials = self.trials()?;
        let leases = self.leases()?;
        let mut records = HashMap::new();
        let mut kept = Vec::new();
        for (id, body) in self.store.read(Table::Job)? {
            let id = id.try_into().map(JobId);
            if let (Ok(id), Ok(record)) = (id, JobRecord::from_body(&body)) {
                kept.push((record.created, id, record));
            }
        }
        kept.sort_by_key(|(created, id, _)| (*created, *id));
        for (_, id, record) in kept {
            let leased = leases.iter().filter(|lease| lease.job == id).map(|lease| lease.task);
            let job = self.job(id, &record, leased.collect(), &trials)?;
            jobs.add_job(id, job);
            records.insert(id, record);
        }
        for lease in leases {
            if records.get(&lease.job).is_some_and(|record| !record.state.is_over()) {
                jobs.resume_lease(now, lease.attempt, lease.job, lease.task, lease.host);
            }
        }
        trials.retain(|(job, _), _| records.contains_key(job));
        Ok(Recovered { jobs, records, trials })
    }

    fn job(
        &self,
        id: JobId,
        record: &JobRecord,
        leased: BTreeSet<u64>,
        trials: &HashMap<(JobId, u64), TrialRecord>,
    ) -> Result<Job, StoreError> {
        let mut job = Job::new(Arc::new(record.spec.clone()), record.owner);
        job.state = record.state.clone();
        // One bit a task: a job of ten million tasks takes 1.2 MiB while it is read.
        let mut over = vec![0u64; usize::try_from(record.submitted.div_ceil(64)).unwrap_or(usize::MAX)];
        let mut fresh = leased.last().map_or(0, |last| last + 1);
        let range = (key(id, 0), key(id, u64::MAX));
        self.store.scan(Table::Outcome, &range.0..&range.1, &mut |key, value| {
            if let Ok(OutcomeRecord { task, outcome, .. }) = OutcomeRecord::from_body(value) {
                job.recorded = number(key);
                match outcome {
                    Outcome::Done(_) => job.done += 1,
                    Outcome::Dead { .. } => job.dead += 1,
                }
                fresh = fresh.max(task + 1);
                if let Some(word) = usize::try_from(task / 64).ok().and_then(|word| over.get_mut(word)) {
                    *word |= 1 << (task % 64);
                }
            }
            true
        })?;
        let is_over = |task: &u64| {
            let word = usize::try_from(task / 64).ok().and_then(|word| over.get(word));
            word.is_some_and(|word| word & 1 << (task % 64) != 0)
        };
        let again = (0..fresh).filter(|task| !is_over(task) && !leased.contains(task));
        job.resume_at(fresh, record.submitted, again);
        for ((job_id, task), trial) in trials {
            if *job_id == id {
                let tried = trial.failures.iter().map(|failure| failure.host).collect();
                let TrialRecord { guest, host, lost, .. } = *trial;
                job.resume_trial(*task, Trial { guest, host, lost, tried });
            }
        }
        Ok(job)
    }

    fn trials(&self) -> Result<HashMap<(JobId, u64), TrialRecord>, StoreError> {
        let mut trials = HashMap::new();
        for (key, body) in self.store.read(Table::Trial)? {
            let job = key.first_chunk().map(|id| JobId(*id));
            if let (Some(job), Ok(record)) = (job, TrialRecord::from_body(&body)) {
                trials.insert((job, number(&key)), record);
            }
        }
        Ok(trials)
    }

    fn leases(&self) -> Result<Vec<Leased>, StoreError> {
        let lease = |(key, value): (Vec<u8>, Vec<u8>)| {
            let attempt = AttemptId::from_u64(number(&key));
            let job = JobId(*value.first_chunk()?);
            let task = u64::from_be_bytes(value.get(16..24)?.try_into().ok()?);
            let host = PublicKey::from_bytes(value.get(24..56)?.try_into().ok()?).ok()?;
            Some(Leased { attempt, job, task, host })
        };
        Ok(self.store.read(Table::Lease)?.into_iter().filter_map(lease).collect())
    }
}

/// A lease as it stands on disk.
struct Leased {
    attempt: AttemptId,
    job: JobId,
    task: u64,
    host: PublicKey,
}
