//! The job store: how jobs stand on disk.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | job | id | what it is, how it stands, how many tasks were acknowledged |
//! | input | id, number of the last | a block: inputs of consecutive tasks |
//! | lease | first attempt | leases of one host: id, host, attempts with their tasks |
//! | failure | id, number, count | an attempt that failed |
//! | outcome | id, number of the last outcome | a block: tasks' numbers and their outcomes |
//! | end | id, number of the last outcome | the numbers of the same tasks, and whether they failed |
//! | trace | id | what the job is a part of, if its client said so |
//!
//! A task with an outcome is over, one with a lease is under way, and every other acknowledged task waits. A block of outcomes has those of
//! one commit, of tasks that are done; a dead task's is by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use grid_protocol::block::{InputBlock, first_of, outcomes_of};
use grid_protocol::job::{AttemptFailure, AttemptId, JobId, JobSpec, Outcome, OutcomeEntry};
use grid_protocol::key::PublicKey;
use grid_protocol::limits::FAILURES_KEPT_MAX;
use grid_protocol::record::{EndBlock, JobRecord, LeaseBlock, OutcomeRecord, TaskEnd};
use grid_protocol::time::Moment;
use grid_protocol::trace::TraceContext;
use grid_protocol::wire::Wire;
use grid_scheduler::jobs::{Jobs, ScheduledJob};

use crate::store::{Change, LAST_KEY, Store, StoreError, Table};

/// Sorts after every key of a job's records.
fn beyond(job: JobId) -> Vec<u8> {
    [&job.0[..], &[0xff; 17]].concat()
}

/// A key of a job's record `number`; keys sort by job, then by number.
pub(super) fn key(job: JobId, number: u64) -> Vec<u8> {
    [&job.0[..], &number.to_be_bytes()].concat()
}

/// The number at the end of a key.
pub(super) fn number(key: &[u8]) -> u64 {
    key.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// What is kept of a job. It has the highest outcome number, so that none is used twice though outcomes are deleted.
pub(super) fn record_of(job: &ScheduledJob) -> JobRecord {
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
    pub(super) seq: u64,
    /// Keys of the task's records in the failure table.
    pub(super) failures: Vec<Vec<u8>>,
}

/// Reads and writes jobs on disk. Every method may block on the disk: call it from a blocking thread.
#[derive(Clone)]
pub(crate) struct JobStore {
    store: Arc<dyn Store>,
}

/// All jobs, as the manager finds them on disk when it starts.
pub(crate) struct Recovered {
    pub(crate) jobs: Jobs,
    /// Leases, in the blocks in which they are kept.
    pub(crate) leases: Vec<(AttemptId, LeaseBlock)>,
    /// Leases to end: the job is unknown or over, or the task is over.
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
const PARTS: [Table; 4] = [Table::Input, Table::Failure, Table::Outcome, Table::End];

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

    /// Reads the block that has the input of a task, or else the next one.
    pub(super) fn input_block(&self, job: JobId, task: u64) -> Result<Option<InputBlock>, StoreError> {
        let record = self.store.first(Table::Input, &key(job, task)..&beyond(job))?;
        Ok(record.and_then(|(key, body)| InputBlock::read(body, number(&key))))
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
        let from = key(job, after.saturating_add(1));
        self.store.scan(Table::Outcome, &from..&beyond(job), &mut |key, block| {
            let Ok(records) = outcomes_of(block, number(key)) else {
                return true;
            };
            for (seq, record) in records.filter(|(seq, _)| *seq > after) {
                bytes += record.body_bytes() + 64;
                if bytes > bytes_max && !found.is_empty() {
                    return false;
                }
                match self.entry(job, seq, record) {
                    Ok(entry) => {
                        if let Outcome::Dead { attempts, .. } = &entry.outcome {
                            bytes += attempts.len() * FAILURE_BYTES;
                        }
                        found.push(entry);
                    }
                    Err(error) => {
                        failed = Err(error);
                        return false;
                    }
                }
            }
            true
        })?;
        failed.map(|()| found)
    }

    /// An outcome with the task's failed attempts.
    fn entry(&self, job: JobId, seq: u64, record: OutcomeRecord) -> Result<OutcomeEntry, StoreError> {
        let OutcomeRecord { task, host, ran_us, mut outcome } = record;
        if let Outcome::Dead { attempts, .. } = &mut outcome {
            *attempts = self.failures(job, task)?;
        }
        Ok(OutcomeEntry { seq, task, host, ran_us, outcome })
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
        self.ends(job, &mut |seq, end| {
            if end.dead {
                dead.push(DeadTask { task: end.task, seq, failures: Vec::new() });
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

    /// Reads the outcome of one task, if it has one. Reads how each task of the job ended.
    pub(crate) fn outcome_of(&self, job: JobId, task: u64) -> Result<Option<OutcomeEntry>, StoreError> {
        let mut found = None;
        self.ends(job, &mut |seq, end| {
            found = (end.task == task).then_some(seq);
            found.is_none()
        })?;
        let Some(seq) = found else { return Ok(None) };
        Ok(self.outcomes(job, seq.saturating_sub(1), 0)?.into_iter().find(|entry| entry.seq == seq))
    }

    /// Calls `visit` with how each task ended, and the number of its outcome, until it returns false.
    fn ends(&self, job: JobId, visit: &mut dyn FnMut(u64, TaskEnd) -> bool) -> Result<(), StoreError> {
        self.store.scan(Table::End, &key(job, 0)..&beyond(job), &mut |key, block| {
            let ends = EndBlock::from_body(block).map(|block| block.ends).unwrap_or_default();
            (first_of(number(key), ends.len())..).zip(ends).all(|(seq, end)| visit(seq, end))
        })
    }

    /// Deletes the records of a forgotten job, in commits of at most [`FORGET_AT_ONCE`].
    pub(crate) fn sweep(&self, job: JobId) -> Result<(), StoreError> {
        for table in PARTS {
            loop {
                let mut changes = Vec::new();
                self.store.scan(table, &key(job, 0)..&beyond(job), &mut |key, _| {
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
                from = beyond(job);
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
        let blocks = self.leases()?;
        for lease in blocks.iter().flat_map(|(_, block)| leased(block)) {
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
        Ok(Recovered { jobs, leases: blocks, stale, leaving, contexts: self.contexts()? })
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
        self.ends(id, &mut |seq, TaskEnd { task, dead: is_dead, ran_us: ran }| {
            job.recorded = job.recorded.max(seq);
            done += u64::from(!is_dead);
            dead += u64::from(is_dead);
            ran_us = ran_us.saturating_add(if is_dead { 0 } else { ran });
            fresh = fresh.max(task + 1);
            if let Some(word) = usize::try_from(task / 64).ok().and_then(|word| over.get_mut(word)) {
                *word |= 1 << (task % 64);
            }
            true
        })?;
        (job.done, job.dead) = (done, dead);
        job.resume_time(ran_us);
        let is_over = |task: &u64| {
            let word = usize::try_from(task / 64).ok().and_then(|word| over.get(word));
            word.is_some_and(|word| word & 1 << (task % 64) != 0)
        };
        self.store.scan(Table::Failure, &key(id, 0)..&beyond(id), &mut |key, value| {
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

    fn leases(&self) -> Result<Vec<(AttemptId, LeaseBlock)>, StoreError> {
        let lease = |(key, value): (Vec<u8>, Vec<u8>)| {
            Some((AttemptId::from_u64(number(&key)), LeaseBlock::from_body(&value).ok()?))
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

fn leased(block: &LeaseBlock) -> impl Iterator<Item = Leased> {
    let LeaseBlock { job, host, attempts } = block;
    attempts.iter().map(|(attempt, task)| Leased { attempt: *attempt, job: *job, task: *task, host: *host })
}
