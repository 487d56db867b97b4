//! Batches: tasks that are submitted with one request.

use bytes::Bytes;
use grid_protocol::job::BlobRef;
use grid_protocol::limits::{BATCH_BYTES_MAX, BATCH_TASKS_MAX, PAYLOAD_BYTES_MAX};
use grid_protocol::submission::{BorrowedPayload, EncodedInputs, InputEncoder};

/// Tasks that are submitted together. A clone shares the memory of their inputs.
#[derive(Clone)]
pub(super) struct TaskBatch {
    pub(super) inputs: EncodedInputs,
    /// Inputs that are too long for a request, which has references in their place: to be uploaded before.
    pub(super) long: Vec<(BlobRef, Bytes)>,
}

/// A batch that is being filled. Each input is encoded and dropped as it comes: the next may have its memory.
#[derive(Default)]
pub(super) struct TaskBatchBuilder {
    inputs: InputEncoder,
    long: Vec<(BlobRef, Bytes)>,
    bytes: usize,
}

/// Bytes that the reference to a long input takes, at most.
const LONG_BYTES: usize = 64;

/// Bytes of the long inputs of one batch, unless it has only one: they are in memory until the batch is submitted.
const LONG_INPUTS_BYTES_MAX: usize = 4 << 20;

/// Bytes that an input takes of a request, at most.
fn bytes_of(input: &Bytes) -> usize {
    if is_long(input) { LONG_BYTES } else { input.len() + 16 }
}

fn is_long(input: &Bytes) -> bool {
    input.len() > PAYLOAD_BYTES_MAX
}

impl TaskBatchBuilder {
    /// True if the input may be added.
    pub(super) fn has_room(&self, input: &Bytes) -> bool {
        let fits = self.bytes + bytes_of(input) <= BATCH_BYTES_MAX && self.inputs.count() < BATCH_TASKS_MAX;
        let long_fits = || {
            let long_bytes: usize = self.long.iter().map(|(_, long)| long.len()).sum();
            self.long.is_empty() || long_bytes + input.len() <= LONG_INPUTS_BYTES_MAX
        };
        self.is_empty() || fits && (!is_long(input) || long_fits())
    }

    /// True if there is enough for a request: half of what it may have, or a long input.
    pub(super) fn is_enough(&self) -> bool {
        let half = self.inputs.count() >= BATCH_TASKS_MAX / 2 || self.bytes >= BATCH_BYTES_MAX / 2;
        half || !self.long.is_empty()
    }

    /// True if it has no tasks.
    pub(super) fn is_empty(&self) -> bool {
        self.inputs.count() == 0
    }

    /// Adds an input.
    pub(super) fn push(&mut self, input: Bytes) {
        self.bytes += bytes_of(&input);
        if is_long(&input) {
            let stored = BlobRef::of(&input);
            self.inputs.push(BorrowedPayload::Blob(stored));
            self.long.push((stored, input));
        } else {
            self.inputs.push(BorrowedPayload::Here(&input));
        }
    }

    /// The batch, which leaves an empty one; `None` if it has no tasks.
    pub(super) fn finish(&mut self) -> Option<TaskBatch> {
        let Self { inputs, long, .. } = std::mem::take(self);
        (inputs.count() > 0).then(|| TaskBatch { inputs: inputs.finish(), long })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_no_more_tasks_and_bytes_than_a_request_may_have() {
        let mut many = TaskBatchBuilder::default();
        assert!(many.finish().is_none() && many.has_room(&Bytes::new()));
        (0..BATCH_TASKS_MAX).for_each(|_| {
            assert!(many.has_room(&Bytes::new()));
            many.push(Bytes::new());
        });
        assert!(!many.has_room(&Bytes::new()) && many.is_enough());
        assert_eq!(many.finish().unwrap().inputs.count(), BATCH_TASKS_MAX as u64);
        assert!(many.is_empty(), "it leaves an empty one");
        let half = Bytes::from(vec![7; PAYLOAD_BYTES_MAX - 16]);
        (0..2).for_each(|_| many.push(half.clone()));
        assert!(!many.has_room(&Bytes::from_static(b"x")));
    }

    #[test]
    fn a_long_input_has_a_reference_in_the_request() {
        let long = Bytes::from(vec![7; PAYLOAD_BYTES_MAX + 1]);
        let mut batch = TaskBatchBuilder::default();
        batch.push(long.clone());
        assert!(batch.is_enough(), "a source of long inputs is not read ahead");
        batch.push(Bytes::from_static(b"short"));
        let batch = batch.finish().unwrap();
        let stored = BlobRef::of(&long);
        let inputs = [BorrowedPayload::Blob(stored), BorrowedPayload::Here(b"short")];
        assert_eq!((batch.inputs, batch.long), (inputs.into_iter().collect(), vec![(stored, long)]));
    }

    #[test]
    fn the_long_inputs_of_a_batch_are_few() {
        let long = Bytes::from(vec![7; 1 << 20]);
        let mut batch = TaskBatchBuilder::default();
        while batch.has_room(&long) {
            batch.push(long.clone());
        }
        assert_eq!(batch.finish().unwrap().long.len(), 4);
        let longest = Bytes::from(vec![7; 5 << 20]);
        assert!(batch.has_room(&longest), "the first always fits");
        batch.push(longest);
        assert!(!batch.has_room(&long) && batch.has_room(&Bytes::from_static(b"short")));
    }
}
