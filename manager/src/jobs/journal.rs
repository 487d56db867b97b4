//! The job journal: what the next commit writes of jobs.
//!
//! Records that are written together are kept together, in blocks: a commit of thousands of tasks makes a few changes
//! (`docs/adr/0037`).

use std::collections::{BTreeMap, BTreeSet};

use grid_protocol::block::{BLOCK_BYTES_MAX, BlockBuilder};
use grid_protocol::job::{AttemptFailure, AttemptId, JobId, Outcome};
use grid_protocol::key::PublicKey;
use grid_protocol::record::{EndBlock, LeaseBlock, OutcomeRecord, TaskEnd};
use grid_protocol::submission::EncodedPayload;
use grid_protocol::trace::TraceContext;
use grid_protocol::wire::Wire;
use grid_scheduler::jobs::ScheduledJob;

use crate::jobs::leases::LeasesOnDisk;
use crate::jobs::store::{DeadTask, key, record_of};
use crate::store::{Change, Table};

/// Changes to the jobs on disk that the next commit writes.
#[derive(Debug, Default)]
pub(crate) struct JobJournal {
    changes: Vec<Change>,
    /// Size of the changes, and of what will be changes, in bytes of memory.
    bytes: usize,
    /// Jobs whose record, failures or outcomes are among the changes.
    touched: BTreeSet<JobId>,
    /// Outcomes that will be a block, of each job.
    gathered: BTreeMap<JobId, GatheredOutcomes>,
    leases: LeasesOnDisk,
}

/// Outcomes of consecutive numbers, all of tasks that are done.
#[derive(Debug, Default)]
struct GatheredOutcomes {
    /// The number of the newest.
    last: u64,
    records: BlockBuilder,
    ends: Vec<TaskEnd>,
}

impl GatheredOutcomes {
    fn push(&mut self, seq: u64, record: &OutcomeRecord, length: usize, end: TaskEnd) {
        self.last = seq;
        self.records.push(record, length);
        self.ends.push(end);
    }

    /// True if outcome number `seq`, with a record of `length` bytes, may be in the same block.
    fn takes(&self, seq: u64, length: usize) -> bool {
        self.records.is_empty() || seq == self.last + 1 && self.records.has_room(length)
    }

    fn into_changes(self, job: JobId) -> [Change; 2] {
        let key = key(job, self.last);
        let ends = EndBlock { ends: self.ends };
        [
            Change::put(Table::Outcome, key.clone(), self.records.into_body()),
            Change::put(Table::End, key, ends.to_body()),
        ]
    }
}

impl JobJournal {
    /// A journal for a store that has these leases, each block with its key.
    pub(crate) fn after(leases: Vec<(AttemptId, LeaseBlock)>) -> Self {
        Self { leases: LeasesOnDisk::of(leases), ..Self::default() }
    }

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
        for (job, gathered) in std::mem::take(&mut self.gathered) {
            self.changes.extend(gathered.into_changes(job));
        }
        self.changes.extend(self.leases.take_changes());
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

    /// Adds the inputs of consecutive tasks, the first of which is number `first`, and which fill the frame that they are
    /// parts of.
    pub(crate) fn inputs(&mut self, job: JobId, first: u64, inputs: &[EncodedPayload]) {
        let (mut block, mut keeps_frame) = (BlockBuilder::default(), false);
        for (number, input) in (first..).zip(inputs) {
            let body = input.bytes();
            if !block.has_room(body.len()) {
                self.input_block(job, number - 1, std::mem::take(&mut block));
            }
            if block.is_empty() && body.len() > BLOCK_BYTES_MAX {
                // Not copied: it keeps its frame in memory until it is written.
                keeps_frame = true;
                self.push(Change::put_bytes(Table::Input, key(job, number), body.clone()));
            } else {
                block.push_body(body);
            }
        }
        self.input_block(job, (first + inputs.len() as u64).saturating_sub(1), block);
        if keeps_frame {
            self.bytes += inputs.iter().map(|input| input.bytes().len()).sum::<usize>();
        }
    }

    fn input_block(&mut self, job: JobId, last: u64, block: BlockBuilder) {
        if !block.is_empty() {
            self.push(Change::put(Table::Input, key(job, last), block.into_body()));
        }
    }

    /// Adds leases of one job that a host is given; the numbers of the attempts are consecutive.
    pub(crate) fn leases(&mut self, job: JobId, host: PublicKey, attempts: &[(AttemptId, u64)]) {
        self.bytes += size_of_val(attempts);
        self.leases.begin(job, host, attempts);
    }

    /// Ends a lease whose task has no result by it: the task may be leased again.
    pub(crate) fn end_lease(&mut self, attempt: AttemptId) {
        self.bytes += size_of::<AttemptId>();
        self.leases.end(attempt);
    }

    /// Ends a lease whose task is done, as the outcome in the same commit says.
    pub(crate) fn lease_is_done(&mut self, attempt: AttemptId) {
        self.leases.done(attempt);
    }

    /// Adds a failed attempt at a task; `count` is its number among the task's failures.
    pub(crate) fn failure(&mut self, job: JobId, task: u64, count: u32, failure: &AttemptFailure) {
        self.touched.insert(job);
        let key = [&key(job, task)[..], &u64::from(count).to_be_bytes()].concat();
        self.push(Change::put(Table::Failure, key, failure.to_body()));
    }

    /// Adds the outcome of a task: its results, or why it is dead. A dead task's outcome is a block by itself, so that it
    /// can be removed.
    pub(crate) fn outcome(&mut self, job: JobId, seq: u64, record: &OutcomeRecord) {
        self.touched.insert(job);
        let dead = matches!(record.outcome, Outcome::Dead { .. });
        let (length, end) = (record.body_bytes(), TaskEnd { task: record.task, dead, ran_us: record.ran_us });
        self.bytes += length + size_of::<TaskEnd>();
        let gathered = self.gathered.entry(job).or_default();
        if dead || !gathered.takes(seq, length) {
            let before = std::mem::take(gathered);
            if !before.records.is_empty() {
                self.changes.extend(before.into_changes(job));
            }
        }
        gathered.push(seq, record, length, end);
        if dead {
            self.changes.extend(std::mem::take(gathered).into_changes(job));
        }
        if gathered.records.is_empty() {
            self.gathered.remove(&job);
        }
    }

    /// Deletes the task's outcome and failures so that it can be retried.
    pub(crate) fn revive(&mut self, job: JobId, dead: &DeadTask) {
        self.push(Change::remove(Table::Outcome, key(job, dead.seq)));
        self.push(Change::remove(Table::End, key(job, dead.seq)));
        for failure in &dead.failures {
            self.push(Change::remove(Table::Failure, failure.clone()));
        }
    }

    /// Deletes the job's record. [`JobStore::sweep`](crate::jobs::store::JobStore::sweep) deletes the rest afterwards.
    pub(crate) fn end_job(&mut self, job: JobId) {
        self.touched.insert(job);
        self.push(Change::remove(Table::Job, job.0));
        self.push(Change::remove(Table::Trace, job.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: JobId = JobId([1; 16]);

    fn record(task: u64, outcome: Outcome) -> OutcomeRecord {
        OutcomeRecord { task, host: "host".into(), ran_us: 5, outcome }
    }

    fn put(journal: &mut JobJournal, table: Table) -> Vec<u64> {
        let (changes, _) = journal.take();
        let of_table = changes.into_iter().filter(|change| change.table == table);
        of_table.map(|change| crate::jobs::store::number(&change.key)).collect()
    }

    #[test]
    fn inputs_of_one_submission_are_few_records_each_under_the_number_of_its_last() {
        let mut journal = JobJournal::default();
        let input =
            |length: usize| EncodedPayload::of(grid_protocol::job::Payload::Here(vec![7; length].into()));
        let inputs: Vec<_> = [10, 10, 60 << 10, 10].map(input).into();
        journal.inputs(JOB, 100, &inputs);
        assert_eq!(put(&mut journal, Table::Input), [101, 102, 103]);
    }

    #[test]
    fn outcomes_are_one_record_until_numbers_are_missing_and_a_dead_task_is_by_itself() {
        let done = |task| record(task, Outcome::Done(Vec::new()));
        let mut journal = JobJournal::default();
        (1..4).for_each(|seq| journal.outcome(JOB, seq, &done(seq)));
        let why = "it failed".to_owned();
        journal.outcome(JOB, 4, &record(4, Outcome::Dead { why, attempts: Vec::new() }));
        (5..7).for_each(|seq| journal.outcome(JOB, seq, &done(seq)));
        journal.outcome(JOB, 9, &done(9));
        assert!(journal.bytes() > 0);
        assert_eq!(put(&mut journal, Table::Outcome), [3, 4, 6, 9]);
        assert_eq!(journal.bytes(), 0);
        journal.outcome(JOB, 10, &done(10));
        assert_eq!(put(&mut journal, Table::End), [10], "what was taken is not written again");
    }
}
