//! The outgoing mail of one connection: encoded frames by lane, and large messages apart.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::WorkerId;
use crate::limits::{INLINE_BYTES_MAX, MAIL_STREAMS};
use crate::link::{Link, Sent};
use crate::mail::{BulkHead, MailFrame};

/// Outgoing mail, which a driver takes and writes.
///
/// All mail of a worker uses the same lane, so its order is kept.
#[derive(Debug, Default)]
pub struct SendQueue {
    lanes: [Vec<u8>; MAIL_STREAMS],
    bulk: VecDeque<(BulkHead, Bytes)>,
}

impl SendQueue {
    /// Queues a message of `worker`, with `settled` as acknowledgement of the other direction. A message over
    /// [`INLINE_BYTES_MAX`] is announced in its lane and queued for a stream of its own.
    pub fn put<T>(&mut self, worker: WorkerId, sent: &Sent<T>, settled: u64) {
        let (seq, kind) = (sent.seq, sent.kind);
        if sent.payload.len() <= INLINE_BYTES_MAX {
            self.frame(&MailFrame::Inline { worker, seq, settled, kind, payload: &sent.payload });
        } else {
            let length = sent.payload.len() as u64;
            self.frame(&MailFrame::Bulk { worker, seq, settled, kind, length });
            self.bulk.push_back((BulkHead { worker, seq, length }, sent.payload.clone()));
        }
    }

    /// Queues the acknowledgement that `link` owes, if it owes one.
    pub fn settle<T>(&mut self, worker: WorkerId, link: &mut Link<T>) {
        if link.owes_acknowledgement() {
            let settled = link.acknowledge();
            self.frame(&MailFrame::Settled { worker, settled });
        }
    }

    /// Queues what a peer lacks that has everything up to `position`: the acknowledgement of `link`, then its
    /// later messages.
    pub fn resume<T>(&mut self, worker: WorkerId, link: &mut Link<T>, position: u64) {
        let settled = link.acknowledge();
        self.frame(&MailFrame::Settled { worker, settled });
        for sent in link.resend_after(position) {
            self.put(worker, sent, settled);
        }
    }

    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.bulk.is_empty() && self.lanes.iter().all(Vec::is_empty)
    }

    /// Swaps the frames of each lane with `lanes`, whose buffers are reused. The caller passes empty buffers.
    pub fn take_lanes(&mut self, lanes: &mut [Vec<u8>; MAIL_STREAMS]) {
        core::mem::swap(&mut self.lanes, lanes);
    }

    /// Takes the next large message, which the driver writes to a stream of its own.
    pub fn take_bulk(&mut self) -> Option<(BulkHead, Bytes)> {
        self.bulk.pop_front()
    }

    fn frame(&mut self, frame: &MailFrame<'_>) {
        let number = frame.worker().as_u64() % MAIL_STREAMS as u64;
        let [first, others @ ..] = &mut self.lanes;
        let other = usize::try_from(number).unwrap_or_default().checked_sub(1);
        let lane = other.and_then(|other| others.get_mut(other)).unwrap_or(first);
        let start = lane.len();
        lane.extend_from_slice(&[0; 4]);
        frame.encode_into(lane);
        // A mail frame is bounded by MAIL_FRAME_BYTES_MAX, far below 4 GiB.
        let length = u32::try_from(lane.len() - start - 4).unwrap_or(u32::MAX);
        if let Some(place) = lane.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::MessageKind;

    #[test]
    fn a_message_at_the_limit_goes_inline_and_one_byte_more_goes_apart() {
        let worker = WorkerId::new(1, 1);
        let mut link: Link = Link::default();
        let mut post = SendQueue::default();
        for length in [INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1] {
            let payload = Bytes::from(alloc::vec![7; length]);
            post.put(
                worker,
                &Sent { seq: 1, kind: MessageKind::Message, payload, tag: () },
                link.acknowledge(),
            );
        }
        let (head, payload) = post.take_bulk().unwrap();
        assert_eq!(head.length, payload.len() as u64);
        assert_eq!(payload.len(), INLINE_BYTES_MAX + 1);
        assert!(post.take_bulk().is_none());
        let mut lanes = Default::default();
        post.take_lanes(&mut lanes);
        assert!(lanes[1].len() <= crate::limits::MAIL_FRAME_BYTES_MAX + 4 + 40);
        assert!(post.is_empty());
    }

    #[test]
    fn a_worker_keeps_to_its_lane() {
        let mut post = SendQueue::default();
        let mut link: Link = Link::default();
        for count in 0..8 {
            link.push(MessageKind::Message, Bytes::new(), ());
            post.resume(WorkerId::new(1, count), &mut link, 0);
        }
        let mut lanes = Default::default();
        post.take_lanes(&mut lanes);
        assert!(lanes.iter().all(|lane: &Vec<u8>| !lane.is_empty()));
    }
}
