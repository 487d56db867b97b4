//! Reads the inputs of the tasks that one commit hands out: a block that several hosts have tasks of is read once.

use bytes::Bytes;
use grid_protocol::block::InputBlock;
use grid_protocol::job::{JobId, Payload};

use crate::jobs::store::JobStore;
use crate::store::StoreError;

/// Reads inputs, and keeps the block that it has read last.
pub(crate) struct InputReader<'a> {
    job_store: &'a JobStore,
    last: Option<(JobId, InputBlock)>,
}

/// Of a block of more than so many times the inputs that are wanted, these are copied: they would keep all of it in memory.
const KEPT_TIMES_MAX: usize = 8;

impl<'a> InputReader<'a> {
    pub(crate) fn new(job_store: &'a JobStore) -> Self {
        Self { job_store, last: None }
    }

    /// Reads the inputs of tasks. What is long, or one of many of its block, is not copied: the caller drops it soon, as
    /// [`Store::get`](crate::store::Store::get) says.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the operator must act; the disk or the file is broken.
    pub(crate) fn read(&mut self, job: JobId, tasks: &[u64]) -> Result<Vec<Option<Payload>>, StoreError> {
        let mut inputs = Vec::with_capacity(tasks.len());
        while let Some(task) = tasks.get(inputs.len()) {
            let begun = inputs.len();
            if let Some(block) = self.block(job, *task)? {
                let rest = tasks.get(begun..).unwrap_or_default().iter();
                inputs.extend(rest.map_while(|task| block.input(*task).map(Some)));
                let found = inputs.get_mut(begun..).unwrap_or_default();
                if found.len().saturating_mul(KEPT_TIMES_MAX) < block.len() {
                    found.iter_mut().flatten().for_each(copy);
                }
            }
            if inputs.len() == begun {
                inputs.push(None);
            }
        }
        Ok(inputs)
    }

    /// The block that has the input of `task`, if there is one.
    fn block(&mut self, job: JobId, task: u64) -> Result<Option<&InputBlock>, StoreError> {
        let has = |(of, block): &(JobId, InputBlock)| *of == job && block.has(task);
        if !self.last.as_ref().is_some_and(has) {
            self.last = self.job_store.input_block(job, task)?.map(|block| (job, block));
        }
        Ok(self.last.as_ref().map(|(_, block)| block))
    }
}

fn copy(input: &mut Payload) {
    if let Payload::Here(bytes) = input {
        *bytes = Bytes::copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use grid_protocol::submission::EncodedPayload;

    use super::*;
    use crate::jobs::journal::JobJournal;
    use crate::store::faulty_disk::FaultyDisk;
    use crate::store::{FileStore, Store};

    #[test]
    fn inputs_are_found_in_any_order_and_a_few_of_many_do_not_keep_their_block() {
        let store = FileStore::open_on(FaultyDisk::new(1).plug_in()).unwrap();
        let job = JobId([1; 16]);
        let input = |task: u64| {
            Payload::Here(vec![task.to_le_bytes()[0]; 8 + usize::from(task.to_le_bytes()[1])].into())
        };
        let mut journal = JobJournal::default();
        let inputs =
            |tasks: std::ops::Range<u64>| tasks.map(input).map(EncodedPayload::of).collect::<Vec<_>>();
        journal.inputs(job, 0, &inputs(0..300));
        journal.inputs(job, 300, &inputs(300..3000));
        store.commit(&journal.take().0).unwrap();
        let job_store = JobStore::new(Arc::new(store));
        let mut reader = InputReader::new(&job_store);
        let all: Vec<_> = (0..3000).collect();
        let read = reader.read(job, &all).unwrap();
        assert!(all.iter().zip(&read).all(|(task, read)| *read == Some(input(*task))));
        let mixed = [2999, 0, 3000, 299, 300, 1, 7];
        let read = reader.read(job, &mixed).unwrap();
        assert!(mixed.iter().zip(&read).all(|(task, read)| *read == (*task < 3000).then(|| input(*task))));
        assert_eq!(reader.read(JobId([2; 16]), &[0]).unwrap(), [None]);
        let [Some(Payload::Here(few))] = &reader.read(job, &[5]).unwrap()[..] else { panic!("it is here") };
        assert!(few.is_unique(), "it keeps its block");
    }
}
