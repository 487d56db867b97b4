//! Leases on disk: which blocks of them there are, and which leases of each still count.
//!
//! The lease of a task that is done counts no more, whatever its block says; so a block is written again only if
//! another lease of it ends, and removed when none is left.

use std::collections::{BTreeMap, BTreeSet};

use grid_protocol::job::{AttemptId, JobId};
use grid_protocol::key::PublicKey;
use grid_protocol::record::LeaseBlock;
use grid_protocol::wire::Wire;

use crate::store::{Change, Table};

/// Leases of one block at most: what is written again when one of them ends.
const LEASES_MAX: usize = 256;

/// The blocks of leases on disk, as they will be after the next commit.
#[derive(Debug, Default)]
pub(crate) struct LeasesOnDisk {
    /// By the first attempt, under which each is kept, with the leases that still count. The attempts of a block have
    /// consecutive numbers when they begin, so that of one block all are before all of the next.
    blocks: BTreeMap<AttemptId, LeaseBlock>,
    /// Those to write or to remove.
    changed: BTreeSet<AttemptId>,
}

impl LeasesOnDisk {
    /// What was found on disk.
    pub(crate) fn of(found: Vec<(AttemptId, LeaseBlock)>) -> Self {
        Self { blocks: found.into_iter().collect(), ..Self::default() }
    }

    /// Adds the leases of attempts, whose numbers are consecutive.
    pub(crate) fn begin(&mut self, job: JobId, host: PublicKey, attempts: &[(AttemptId, u64)]) {
        for attempts in attempts.chunks(LEASES_MAX) {
            if let Some((first, _)) = attempts.first() {
                let attempts = attempts.iter().copied().collect();
                self.blocks.insert(*first, LeaseBlock { job, host, attempts });
                self.changed.insert(*first);
            }
        }
    }

    /// Ends the lease of an attempt whose task may be leased again.
    pub(crate) fn end(&mut self, attempt: AttemptId) {
        let block = self.take(attempt);
        self.changed.extend(block);
    }

    /// Ends the lease of an attempt whose task is done.
    pub(crate) fn done(&mut self, attempt: AttemptId) {
        if let Some(first) = self.take(attempt)
            && self.blocks.get(&first).is_some_and(|block| block.attempts.is_empty())
        {
            self.changed.insert(first);
        }
    }

    /// Takes a lease out of its block; returns the block's key.
    fn take(&mut self, attempt: AttemptId) -> Option<AttemptId> {
        let (first, block) = self.blocks.range_mut(..=attempt).next_back()?;
        let attempts = &mut block.attempts;
        let place = attempts.binary_search_by_key(&attempt, |(attempt, _)| *attempt).ok()?;
        attempts.remove(place);
        // A lease that lasts does not keep the room of 255 others.
        if attempts.len() < attempts.capacity() / 4 {
            attempts.shrink_to_fit();
        }
        Some(*first)
    }

    /// Takes the changes for the next commit.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().filter_map(|first| self.change(first)).collect()
    }

    fn change(&mut self, first: AttemptId) -> Option<Change> {
        let (key, block) = (first.as_u64().to_be_bytes(), self.blocks.get(&first)?);
        if block.attempts.is_empty() {
            self.blocks.remove(&first);
            return Some(Change::remove(Table::Lease, key));
        }
        Some(Change::put(Table::Lease, key, block.to_body()))
    }
}

#[cfg(test)]
mod tests {
    use grid_protocol::key::SecretKey;

    use super::*;

    fn attempt(count: u64) -> AttemptId {
        AttemptId::new(1, count)
    }

    /// What the changes say: of each block its key, and its attempts, or nothing if it is removed.
    fn said(changes: Vec<Change>) -> Vec<(AttemptId, Option<Vec<AttemptId>>)> {
        let say = |change: Change| {
            let first = AttemptId::from_u64(u64::from_be_bytes(change.key.try_into().unwrap()));
            let block = change.value.map(|body| LeaseBlock::from_body(&body).unwrap());
            (first, block.map(|block| block.attempts.iter().map(|(attempt, _)| *attempt).collect()))
        };
        changes.into_iter().map(say).collect()
    }

    #[test]
    fn a_block_is_written_again_for_a_lease_that_ends_otherwise_than_by_a_result_and_removed_after_the_last()
    {
        let (job, host) = (JobId([1; 16]), SecretKey::from_seed(&[1; 32]).public());
        let mut leases = LeasesOnDisk::default();
        leases.begin(job, host, &[(attempt(1000), 0)]);
        leases.take_changes();
        let given: Vec<_> = (0..300).map(|count| (attempt(count), count + 7)).collect();
        leases.begin(job, host, &given);
        let written = said(leases.take_changes());
        let lengths = written.iter().map(|(first, block)| (*first, block.as_ref().map(Vec::len)));
        assert_eq!(lengths.collect::<Vec<_>>(), [(attempt(0), Some(256)), (attempt(256), Some(44))]);
        (0..250).for_each(|count| leases.done(attempt(count)));
        assert_eq!(said(leases.take_changes()), [], "their outcomes say it");
        leases.end(attempt(251));
        let left = [250, 252, 253, 254, 255].map(attempt).to_vec();
        assert_eq!(said(leases.take_changes()), [(attempt(0), Some(left.clone()))]);
        // As after a restart.
        let attempts = left.iter().map(|attempt| (*attempt, 1)).collect();
        let mut leases = LeasesOnDisk::of(vec![(attempt(0), LeaseBlock { job, host, attempts })]);
        left.iter().for_each(|attempt| leases.done(*attempt));
        assert_eq!(said(leases.take_changes()), [(attempt(0), None)]);
        leases.end(attempt(250));
        assert_eq!((said(leases.take_changes()), leases.blocks.len()), (vec![], 0));
    }

    #[test]
    fn what_begins_and_ends_before_a_commit_leaves_nothing() {
        let (job, host) = (JobId([1; 16]), SecretKey::from_seed(&[1; 32]).public());
        let mut leases = LeasesOnDisk::default();
        leases.begin(job, host, &[(attempt(1), 0)]);
        leases.done(attempt(1));
        assert_eq!(said(leases.take_changes()), [(attempt(1), None)]);
    }
}
