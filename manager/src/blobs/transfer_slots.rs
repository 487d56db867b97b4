//! How many payloads a peer may have under way, and for how long, so that one that stalls holds up itself alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use grid_protocol::key::PublicKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// BlobStore of one peer under way at once: each is held in memory, so that a peer takes 128 MiB at the most.
const SLOTS_A_PEER: usize = 2;

/// A payload takes so long at the most, and a second for each 64 KiB: the slowest line that is any use.
const TRANSFER_TIME: Duration = Duration::from_secs(30);
const BYTES_A_SECOND_MIN: u64 = 64 << 10;

/// The slots of all peers.
#[derive(Debug, Default)]
pub(crate) struct TransferSlots(Mutex<BTreeMap<PublicKey, Weak<Semaphore>>>);

/// A peer's right to one transfer, until it is dropped.
pub(crate) struct TransferSlot {
    _permit: Option<OwnedSemaphorePermit>,
}

impl TransferSlots {
    /// Waits until the peer has a slot free.
    pub(crate) async fn take(&self, peer: PublicKey) -> TransferSlot {
        let slots = {
            let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // A peer of which nothing is under way needs no entry.
            peers.retain(|_, slots| slots.strong_count() > 0);
            let known = peers.get(&peer).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let slots = Arc::new(Semaphore::new(SLOTS_A_PEER));
                peers.insert(peer, Arc::downgrade(&slots));
                slots
            })
        };
        // It is never closed.
        TransferSlot { _permit: slots.acquire_owned().await.ok() }
    }
}

/// How long a payload of so many bytes may be under way.
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
