//! Limits how many blobs a peer may transfer at a time, and for how long, so that a peer that stalls delays only
//! itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use grid_protocol::key::PublicKey;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Transfers of one peer at a time: each blob is held in memory, so a peer takes 2 × 64 MiB = 128 MiB at most.
const SLOTS_A_PEER: usize = 2;

/// Time limit of a transfer: this plus a second for each 64 KiB, the slowest connection that is served.
const TRANSFER_TIME: Duration = Duration::from_secs(30);
const BYTES_A_SECOND_MIN: u64 = 64 << 10;

/// The transfer slots of all peers.
#[derive(Debug, Default)]
pub(crate) struct TransferSlots(Mutex<BTreeMap<PublicKey, Weak<Semaphore>>>);

/// A peer's right to one transfer, until this is dropped.
pub(crate) struct TransferSlot {
    _permit: Option<OwnedSemaphorePermit>,
}

impl TransferSlots {
    /// Waits until the peer has a free slot.
    pub(crate) async fn take(&self, peer: PublicKey) -> TransferSlot {
        let slots = {
            let mut peers = self.0.lock();
            // A peer without a transfer in progress needs no entry.
            peers.retain(|_, slots| slots.strong_count() > 0);
            let known = peers.get(&peer).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let slots = Arc::new(Semaphore::new(SLOTS_A_PEER));
                peers.insert(peer, Arc::downgrade(&slots));
                slots
            })
        };
        // The semaphore is never closed, so `acquire_owned` cannot fail.
        TransferSlot { _permit: slots.acquire_owned().await.ok() }
    }
}

/// Time limit of a transfer of `length` bytes.
pub(crate) fn time_for(length: usize) -> Duration {
    TRANSFER_TIME + Duration::from_secs(length as u64 / BYTES_A_SECOND_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_protocol::key::SecretKey;

    fn peer(seed: u8) -> PublicKey {
        SecretKey::from_seed(&[seed; 32]).public()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_holds_all_of_its_slots_holds_up_itself_alone() {
        let slots = TransferSlots::default();
        let first = slots.take(peer(1)).await;
        let _second = slots.take(peer(1)).await;
        let third = tokio::time::timeout(Duration::from_secs(3600), slots.take(peer(1)));
        assert!(third.await.is_err());
        let other = tokio::time::timeout(Duration::from_secs(1), slots.take(peer(2)));
        assert!(other.await.is_ok());
        drop(first);
        let third = tokio::time::timeout(Duration::from_secs(1), slots.take(peer(1)));
        assert!(third.await.is_ok());
    }
}
