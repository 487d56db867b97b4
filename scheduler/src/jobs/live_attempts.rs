//! The attempts of one job that are under way, each in a slot that its lease knows.
//!
//! Next to every task has one attempt at a time, so that a task is looked up only where it has, or had, several.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use grid_protocol::job::AttemptId;

use super::table::index;

/// The attempts of one job that are under way.
#[derive(Debug, Default)]
pub(super) struct LiveAttempts {
    /// A task and an attempt at it.
    slots: Vec<Option<(u64, AttemptId)>>,
    free: Vec<u32>,
    /// Tasks with attempts.
    tasks: u64,
    /// The attempts at tasks that had several, until the last of them ends.
    several: BTreeMap<u64, Vec<AttemptId>>,
    /// An attempt from before a restart, by task: it may turn out not to be the only one.
    resumed: BTreeMap<u64, AttemptId>,
}

impl LiveAttempts {
    /// An attempt at a task begins, beside `other` if that is under way; its slot.
    pub(super) fn add(&mut self, task: u64, attempt: AttemptId, other: Option<AttemptId>) -> u32 {
        match other {
            Some(other) => self.several.entry(task).or_insert_with(|| alloc::vec![other]).push(attempt),
            None => self.tasks += 1,
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            index(self.slots.len() - 1)
        });
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            *entry = Some((task, attempt));
        }
        slot
    }

    /// An attempt from before a restart is under way, perhaps beside another; its slot.
    pub(super) fn resume(&mut self, task: u64, attempt: AttemptId) -> u32 {
        let other = self.resumed.get(&task).copied();
        self.resumed.insert(task, attempt);
        self.add(task, attempt, other)
    }

    /// The attempt in a slot ends.
    pub(super) fn remove(&mut self, slot: u32) {
        let Some((task, attempt)) = self.slots.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        self.free.push(slot);
        if let Some(several) = self.several.get_mut(&task) {
            several.retain(|other| *other != attempt);
            if !several.is_empty() {
                return;
            }
            self.several.remove(&task);
        }
        self.tasks -= 1;
        self.resumed.remove(&task);
    }

    /// The attempts at a task that are under way, of which one has just ended.
    pub(super) fn others(&self, task: u64) -> &[AttemptId] {
        self.several.get(&task).map(Vec::as_slice).unwrap_or_default()
    }

    /// True if a task with an attempt has no other.
    pub(super) fn is_single(&self, task: u64) -> bool {
        self.others(task).len() <= 1
    }

    /// How many tasks have attempts.
    pub(super) fn tasks(&self) -> u64 {
        self.tasks
    }

    /// True if no attempt is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks == 0
    }

    /// The numbers of the tasks that have attempts.
    pub(super) fn task_set(&self) -> BTreeSet<u64> {
        self.slots.iter().flatten().map(|(task, _)| *task).collect()
    }

    /// All attempts, in the order of their tasks.
    pub(super) fn iter(&self) -> impl Iterator<Item = AttemptId> {
        let mut all: Vec<_> = self.slots.iter().flatten().copied().collect();
        all.sort_unstable();
        all.into_iter().map(|(_, attempt)| attempt)
    }

    /// The attempts at a task.
    pub(super) fn at(&self, task: u64) -> impl Iterator<Item = &AttemptId> {
        self.slots.iter().flatten().filter(move |(other, _)| *other == task).map(|(_, attempt)| attempt)
    }

    /// Checks the counts.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.tasks, self.task_set().len() as u64);
        assert!(self.resumed.keys().all(|task| self.at(*task).next().is_some()));
        for task in self.task_set() {
            let mut at: Vec<_> = self.at(task).copied().collect();
            at.sort_unstable();
            let others = self.others(task);
            assert!(others == at || others.is_empty() && at.len() == 1);
        }
        assert_eq!(self.slots.iter().filter(|slot| slot.is_none()).count(), self.free.len());
    }
}
