//! The job store: how jobs stand on disk.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | job | id | what it is, how it stands, how many tasks were acknowledged |
//! | task | id, number | the input |
//! | lease | attempt | id, number, host |
//! | failure | id, number, count | an attempt that failed |
//! | outcome | id, number of the outcome | the task's number and its outcome |
//! | over | id, number | the number of the outcome, and whether the task failed |
//! | trace | id | what the job is a part of, if its client said so |
//!
//! A task with an outcome is over, one with a lease is under way, and every other acknowledged task waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use grid_protocol::job::{AttemptFailure, AttemptId, JobId, JobSpec, Outcome, OutcomeEntry, Payload};
use grid_protocol::key::PublicKey;
use grid_protocol::limits::FAILURES_KEPT_MAX;
use grid_protocol::record::{JobRecord, OutcomeRecord, OverRecord};
use grid_protocol::submission::EncodedPayload;
use grid_protocol::time::Moment;
use grid_protocol::trace::TraceContext;
use grid_protocol::wire::Wire;
use grid_scheduler::jobs::{Jobs, ScheduledJob};

use crate::store::{Change, LAST_KEY, Store, StoreError, Table};

/// A key of a job's record `number`; keys sort by job, then by number.
fn key(job: JobId, number: u64) -> Vec<u8> {
    [&job.0[..], &number.to_be_bytes()].concat()
}

/// The number at the end of a key.
fn number(key: &[u8]) -> u64 {
    key.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Changes to the jobs on disk that the next commit writes.
#[derive(Debug, Default)]
pub(crate) struct JobJournal {
    changes: Vec<Change>,
    bytes: usize,
    /// Jobs whose record, failures or outcomes are among the changes.
    touched: BTreeSet<JobId>,
}

impl JobJournal {
    fn push(&mut self, change: Change) {
        self.bytes += change.bytes();
        self.changes.push(change);
    }

    /// Size of the changes, in bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the changes, for one commit, and the jobs whose committed state they alter.
    pub(crate) fn take(&mut self) -> (Vec<Change>, BTreeSet<JobId>) {
        self.bytes = 0;
        (std::mem::take(&mut self.changes), std::mem::take(&mut self.touched))
    }

    /// Writes how a job stands.
    pub(crate) fn job(&mut self, id: JobId, job: &ScheduledJob) {
        self.touched.insert(id);
        self.push(Change::put(Table::Job, id.0, record_of(job).to_body()));
    }

    /// Writes what a job is a part of.
    pub(crate) fn context(&mut self, id: JobId, context: &TraceContext) {
        self.push(Change::put(Table::Trace, id.0, context.to_body()));
    }

    /// Adds the input of a task, encoded.
    pub(crate) fn input(&mut self, job: JobId, task: u64, input: Bytes) {
        self.push(Change::put_bytes(Table::Task, key(job, task), input));
    }

    pub(crate) fn lease(&mut self, attempt: AttemptId, job: JobId, task: u64, host: PublicKey) {
        let value = [&job.0[..], &task.to_be_bytes(), host.as_bytes()].concat();
        self.push(Change::put(Table::Lease, attempt.as_u64().to_be_bytes(), value));
    }

    pub(crate) fn end_lease(&mut self, attempt: AttemptId) {
        self.push(Change::remove(Table::Lease, attempt.as_u64().to_be_bytes()));
    }

    /// Adds a failed attempt at a task; `count` is its number among the task's failures.
    pub(crate) fn failure(&mut self, job: JobId, task: u64, count: u32, failure: &AttemptFailure) {
        self.touched.insert(job);
        let key = [&key(job, task)[..], &u64::from(count).to_be_bytes()].concat();
        self.push(Change::put(Table::Failure, key, failure.to_body()));
    }

    /// Adds the outcome of a task: its results, or why it is dead.
    pub(crate) fn outcome(&mut self, job: JobId, seq: u64, record: &OutcomeRecord) {
        self.touched.insert(job);
        let dead = matches!(record.outcome, Outcome::Dead { .. });
        let over = OverRecord { seq, dead, ran_us: record.ran_us };
        self.push(Change::put(Table::Outcome, key(job, seq), record.to_body()));
        self.push(Change::put(Table::Over, key(job, record.task), over.to_body()));
    }

    /// Deletes the task's outcome and failures so that it can be retried.
    pub(crate) fn revive(&mut self, job: JobId, dead: &DeadTask) {
        self.push(Change::remove(Table::Outcome, key(job, dead.seq)));
        self.push(Change::remove(Table::Over, key(job, dead.task)));
        for failure in &dead.failures {
            self.push(Change::remove(Table::Failure, failure.clone()));
        }
    }

    /// Deletes the job's record. [`JobStore::sweep`] deletes the rest afterwards.
    pub(crate) fn end_job(&mut self, job: JobId) {
        self.touched.insert(job);
        self.push(Change::remove(Table::Job, job.0));
        self.push(Change::remove(Table::Trace, job.0));
    }
}

/// What is kept of a job. It has the highest outcome number, so that none is used twice though outcomes are deleted.
fn record_of(job: &ScheduledJob) -> JobRecord {
    JobRecord {
        owner: job.owner,
        spec: JobSpec::clone(&job.spec),
        state: job.state.clone(),
        created: job.created,
        submitted: job.submitted(),
        input_bytes: job.input_bytes(),
        recorded: job.recorded,
        done: job.done,
        dead: job.dead,
    }
}

/// A task that has failed for good.
pub(crate) struct DeadTask {
    /// The task's number in its job.
    pub(crate) task: u64,
    /// The number of the task's outcome.
    seq: u64,
    /// Keys of the task's records in the failure table.
    failures: Vec<Vec<u8>>,
}

/// Reads and writes jobs on disk. Every method may block on the disk: call it from a blocking thread.
#[derive(Clone)]
pub(crate) struct JobStore {
    store: Arc<dyn Store>,
}

/// All jobs, as the manager finds them on disk when it starts.
pub(crate) struct Recovered {
    pub(crate) jobs: Jobs,
    /// Leases to delete: the job is unknown or over, or the task is over.
    pub(crate) stale: Vec<AttemptId>,
    /// Jobs without a record of which tasks, failures or outcomes are left, to be deleted.
    pub(crate) leaving: BTreeSet<JobId>,
    /// What jobs are a part of.
    pub(crate) contexts: Vec<(JobId, TraceContext)>,
}

/// Upper bound of what one failed attempt adds to an outcome, in bytes, by the host's limits.
const FAILURE_BYTES: usize = 16 << 10;

/// Records deleted in one commit.
const FORGET_AT_ONCE: usize = 4096;

/// The tables that hold a job's records, beside the job table.
const PARTS: [Table; 4] = [Table::Task, Table::Failure, Table::Outcome, Table::Over];

/// The jobs on disk cannot be read, and the operator must act.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record of a job does not decode.
    #[error("the record of a job makes no sense")]
    Record,
}

impl JobStore {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    pub(crate) fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.store.commit(changes)
    }

    /// Why work that can wait should not use the disk; `None` if it may.
    pub(crate) fn shortage(&self) -> Option<String> {
        self.store.shortage()
    }

    /// Reads the inputs of tasks, without a copy: the caller drops them soon, as [`Store::get`] says.
    pub(crate) fn inputs(
        &self,
        job: JobId,
        tasks: impl Iterator<Item = u64>,
    ) -> Result<Vec<Option<Payload>>, StoreError> {
        let keys: Vec<_> = tasks.map(|task| key(job, task)).collect();
        let bodies = self.store.get_all(Table::Task, &keys)?;
        let input = |body| Some(EncodedPayload::from_bytes(body).ok()?.into_payload());
        Ok(bodies.into_iter().map(|body| body.and_then(input)).collect())
    }

    /// Reads the outcomes after number `after`, in order, up to about `bytes_max` bytes; at least one if there is
    /// any.
    pub(crate) fn outcomes(
        &self,
        job: JobId,
        after: u64,
        bytes_max: usize,
    ) -> Result<Vec<OutcomeEntry>, StoreError> {
        let (mut found, mut bytes, mut failed) = (Vec::new(), 0, Ok(()));
        let range = (key(job, after.saturating_add(1)), key(job, u64::MAX));
        self.store.scan(Table::Outcome, &range.0..&range.1, &mut |key, value| {
            bytes += value.len() + 64;
            if bytes > bytes_max && !found.is_empty() {
                return false;
            }
            match self.recorded(job, number(key), value) {
                Ok(recorded) => {
                    if let Some(OutcomeEntry { outcome: Outcome::Dead { attempts, .. }, .. }) = &recorded {
                        bytes += attempts.len() * FAILURE_BYTES;
                    }
                    found.extend(recorded);
                    true
                }
                Err(error) => {
                    failed = Err(error);
                    false
                }
            }
        })?;
        failed.map(|()| found)
    }

    /// Decodes an outcome and adds the task's failed attempts; `None` if it does not decode.
    fn recorded(&self, job: JobId, seq: u64, value: &[u8]) -> Result<Option<OutcomeEntry>, StoreError> {
        let Ok(OutcomeRecord { task, host, ran_us, mut outcome }) = OutcomeRecord::from_body(value) else {
            return Ok(None);
        };
        if let Outcome::Dead { attempts, .. } = &mut outcome {
            *attempts = self.failures(job, task)?;
        }
        Ok(Some(OutcomeEntry { seq, task, host, ran_us, outcome }))
    }

    /// Reads the newest failed attempts at a task, at most [`FAILURES_KEPT_MAX`], oldest first.
    pub(crate) fn failures(&self, job: JobId, task: u64) -> Result<Vec<AttemptFailure>, StoreError> {
        let mut failures = Vec::new();
        let range = (key(job, task), key(job, task.saturating_add(1)));
        self.store.scan(Table::Failure, &range.0..&range.1, &mut |_, value| {
            failures.extend(AttemptFailure::from_body(value));
            true
        })?;
        failures.drain(..failures.len().saturating_sub(FAILURES_KEPT_MAX));
        Ok(failures)
    }

    /// Reads the tasks of a job that have failed for good.
    pub(crate) fn dead(&self, job: JobId) -> Result<Vec<DeadTask>, StoreError> {
        let mut dead = Vec::new();
        let range = (key(job, 0), key(job, u64::MAX));
        self.store.scan(Table::Over, &range.0..&range.1, &mut |key, value| {
            if let Ok(OverRecord { seq, dead: true, .. }) = OverRecord::from_body(value) {
                dead.push(DeadTask { task: number(key), seq, failures: Vec::new() });
            }
            true
        })?;
        for task in &mut dead {
            let range = (key(job, task.task), key(job, task.task.saturating_add(1)));
            self.store.scan(Table::Failure, &range.0..&range.1, &mut |key, _| {
                task.failures.push(key.to_vec());
                true
            })?;
        }
        Ok(dead)
    }

    /// Reads the outcome of one task, if it has one.
    pub(crate) fn outcome_of(&self, job: JobId, task: u64) -> Result<Option<OutcomeEntry>, StoreError> {
        let over = self.store.get(Table::Over, &key(job, task))?;
        let Some(OverRecord { seq, .. }) = over.and_then(|over| OverRecord::from_body(&over).ok()) else {
            return Ok(None);
        };
        match self.store.get(Table::Outcome, &key(job, seq))? {
            Some(value) => self.recorded(job, seq, &value),
            None => Ok(None),
        }
    }

    /// Deletes the records of a forgotten job, in commits of at most [`FORGET_AT_ONCE`].
    pub(crate) fn sweep(&self, job: JobId) -> Result<(), StoreError> {
        for table in PARTS {
            loop {
                let mut changes = Vec::new();
                let range = (key(job, 0), [&job.0[..], &[0xff; 17]].concat());
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

    /// Finds jobs without a record of which other records are left: the manager ended while it deleted them.
    fn leftovers(&self, jobs: &Jobs) -> Result<BTreeSet<JobId>, StoreError> {
        let mut left = BTreeSet::new();
        for table in PARTS {
            let mut from = Vec::new();
            loop {
                let mut found = None;
                self.store.scan(table, &from..LAST_KEY, &mut |key, _| {
                    found = key.first_chunk().map(|id| JobId(*id));
                    false
                })?;
                let Some(job) = found else { break };
                if !jobs.jobs().contains_key(&job) {
                    left.insert(job);
                }
                from = [&job.0[..], &[0xff; 17]].concat();
            }
        }
        Ok(left)
    }

    /// What jobs are a part of. One that cannot be read is passed over: nothing is lost with it but a line of a trace.
    fn contexts(&self) -> Result<Vec<(JobId, TraceContext)>, StoreError> {
        let records = self.store.read(Table::Trace)?.into_iter();
        let read = |(id, body): (Vec<u8>, Vec<u8>)| {
            Some((JobId(id.try_into().ok()?), TraceContext::from_body(&body).ok()?))
        };
        Ok(records.filter_map(read).collect())
    }

    /// Rebuilds the queues after a restart. Each lease that was held gets its whole term again.
    pub(crate) fn recover(&self, incarnation: u32, now: Moment) -> Result<Recovered, RecoverError> {
        let mut jobs = Jobs::new(incarnation);
        let mut leases: BTreeMap<JobId, Vec<Leased>> = BTreeMap::new();
        for lease in self.leases()? {
            leases.entry(lease.job).or_default().push(lease);
        }
        let mut stale = Vec::new();
        let mut kept = Vec::new();
        for (id, body) in self.store.read(Table::Job)? {
            // A job whose record were skipped would lose its tasks with it: nothing else says whose they are.
            let (Ok(id), Ok(record)) = (id.try_into().map(JobId), JobRecord::from_body(&body)) else {
                return Err(RecoverError::Record);
            };
            kept.push((record.created, id, record));
        }
        kept.sort_by_key(|(created, id, _)| (*created, *id));
        for (_, id, record) in kept {
            let JobRecord { submitted, input_bytes, .. } = record;
            let mut job = ScheduledJob::new(Arc::new(record.spec), record.owner);
            (job.state, job.created) = (record.state, record.created);
            (job.done, job.dead, job.recorded) = (record.done, record.dead, record.recorded);
            let leased = leases.remove(&id).unwrap_or_default();
            if job.state.is_over() {
                stale.extend(leased.iter().map(|lease| lease.attempt));
                job.resume_at(submitted, submitted, input_bytes, []);
                jobs.add_job(id, job);
            } else {
                let tasks = leased.iter().map(|lease| lease.task).collect();
                let over = self.rebuild(id, &mut job, (submitted, input_bytes), tasks)?;
                jobs.add_job(id, job);
                for Leased { attempt, task, host, .. } in leased {
                    if over.contains(&task) {
                        stale.push(attempt);
                    } else {
                        jobs.resume_lease(now, attempt, id, task, host);
                    }
                }
            }
        }
        let stale = leases.into_values().flatten().map(|lease| lease.attempt).chain(stale).collect();
        let leaving = self.leftovers(&jobs)?;
        Ok(Recovered { jobs, stale, leaving, contexts: self.contexts()? })
    }

    /// Finds which tasks of a job are over and which of the others were begun; returns those of `leased` that are
    /// over.
    fn rebuild(
        &self,
        id: JobId,
        job: &mut ScheduledJob,
        (submitted, input_bytes): (u64, u64),
        leased: BTreeSet<u64>,
    ) -> Result<BTreeSet<u64>, StoreError> {
        // One bit per task: a job of ten million tasks takes 1.2 MiB while it is read.
        let mut over = vec![0u64; usize::try_from(submitted.div_ceil(64)).unwrap_or(usize::MAX)];
        let (mut done, mut dead, mut ran_us) = (0, 0, 0u64);
        let mut fresh = leased.last().map_or(0, |last| last + 1);
        let range = (key(id, 0), key(id, u64::MAX));
        self.store.scan(Table::Over, &range.0..&range.1, &mut |key, value| {
            if let Ok(record) = OverRecord::from_body(value) {
                let task = number(key);
                job.recorded = job.recorded.max(record.seq);
                done += u64::from(!record.dead);
                dead += u64::from(record.dead);
                ran_us = ran_us.saturating_add(if record.dead { 0 } else { record.ran_us });
                fresh = fresh.max(task + 1);
                if let Some(word) = usize::try_from(task / 64).ok().and_then(|word| over.get_mut(word)) {
                    *word |= 1 << (task % 64);
                }
            }
            true
        })?;
        (job.done, job.dead) = (done, dead);
        job.resume_time(ran_us);
        let is_over = |task: &u64| {
            let word = usize::try_from(task / 64).ok().and_then(|word| over.get(word));
            word.is_some_and(|word| word & 1 << (task % 64) != 0)
        };
        self.store.scan(Table::Failure, &range.0..&range.1, &mut |key, value| {
            let task = key.get(16..24).map(number);
            if let (Some(task), Ok(failure)) = (task, AttemptFailure::from_body(value))
                && !is_over(&task)
            {
                fresh = fresh.max(task + 1);
                job.resume_failure(task, failure.host, failure.failure.map(|failure| failure.kind.blame()));
            }
            true
        })?;
        let again = (0..fresh).filter(|task| !is_over(task) && !leased.contains(task));
        job.resume_at(fresh, submitted, input_bytes, again);
        Ok(leased.into_iter().filter(is_over).collect())
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

/// A lease on disk.
struct Leased {
    attempt: AttemptId,
    job: JobId,
    task: u64,
    host: PublicKey,
}
