//! What a guest has sent that its mailbox has no room for.
//!
//! Only a function of the host that may wait can make a guest wait in the middle of a call, and of a module that imports one
//! wasmtime refuses direct calls. So `send` never waits there: the message does, and the guest goes on until the next loop edge or
//! function, where it is interrupted until all of it has been sent.

use std::collections::VecDeque;

use bytes::Bytes;
use grid_protocol::worker::Failure;

use crate::mailbox::MessagePort;
use crate::sandbox::failure::Stop;
use crate::sandbox::memory_use::MemoryUse;

/// Messages and failures of one guest, in their order.
#[derive(Debug)]
pub(super) struct Unsent {
    queue: VecDeque<Outgoing>,
    memory: MemoryUse,
}

#[derive(Debug)]
enum Outgoing {
    Message(Bytes),
    Failure(u64, Failure),
}

impl Unsent {
    /// Nothing, which counts as `memory`.
    pub(super) fn new(memory: MemoryUse) -> Self {
        Self { queue: VecDeque::new(), memory }
    }

    /// Adds a message.
    ///
    /// # Errors
    ///
    /// [`Stop::NoRoom`] if more than a message of `message_bytes` and [`BESIDES_BYTES`] would wait. Only a guest that sends several
    /// messages in a row, without a loop or a function of its own between, adds a second.
    pub(super) fn add_message(&mut self, message: Bytes, message_bytes: usize) -> Result<(), Stop> {
        let most = message_bytes.saturating_add(BESIDES_BYTES);
        if !self.memory.grow(cost(&message), most) {
            return Err(Stop::NoRoom { most });
        }
        self.queue.push_back(Outgoing::Message(message));
        Ok(())
    }

    /// Adds that the message `seq` could not be handled.
    pub(super) fn add_failure(&mut self, seq: u64, failure: Failure) {
        self.queue.push_back(Outgoing::Failure(seq, failure));
    }

    /// Gives the mailbox what it has room for; true if that is all.
    pub(super) fn pass_on(&mut self, mailbox: &dyn MessagePort) -> bool {
        while let Some(next) = self.queue.pop_front() {
            match next {
                Outgoing::Message(message) if mailbox.has_room() => {
                    self.memory.shrink(cost(&message));
                    mailbox.send(message);
                }
                message @ Outgoing::Message(_) => {
                    self.queue.push_front(message);
                    return false;
                }
                Outgoing::Failure(seq, failure) => mailbox.fail(seq, failure),
            }
        }
        true
    }
}

/// What may wait besides a message of any length: 1 MiB.
const BESIDES_BYTES: usize = 1 << 20;

/// What a message counts as, in bytes.
fn cost(message: &Bytes) -> usize {
    message.len().saturating_add(256)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::{Context, Poll};
    use std::time::Duration;

    use grid_protocol::worker::FailureKind;
    use parking_lot::Mutex;

    use super::*;
    use crate::mailbox::Received;

    /// Room for so many messages, and what came.
    #[derive(Debug, Default)]
    struct Narrow(Mutex<(usize, Vec<String>)>);

    impl MessagePort for Narrow {
        fn poll_incoming(&self, _: &mut Context<'_>) -> Poll<Received> {
            Poll::Pending
        }

        fn send(&self, payload: Bytes) {
            let (room, got) = &mut *self.0.lock();
            *room -= 1;
            got.push(String::from_utf8(payload.to_vec()).unwrap());
        }

        fn has_room(&self) -> bool {
            self.0.lock().0 > 0
        }

        fn poll_room(&self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }

        fn fail(&self, seq: u64, _: Failure) {
            self.0.lock().1.push(format!("{seq} failed"));
        }

        fn done(&self, _: u64, _: Option<Duration>) {}

        fn flush(&self) {}

        fn log(&self, _: u8, _: &str, _: bool) {}
    }

    #[test]
    fn what_waits_goes_in_order_as_there_is_room_and_its_memory_is_given_back() {
        let all = Arc::<AtomicU64>::default();
        let (mut unsent, mailbox) = (Unsent::new(MemoryUse::none(&all)), Narrow::default());
        unsent.add_message("a".into(), 1000).unwrap();
        unsent.add_message("b".into(), 1000).unwrap();
        let failure = Failure { kind: FailureKind::Reported, message: String::new(), backtrace: Vec::new() };
        unsent.add_failure(7, failure);
        assert_eq!(all.load(Ordering::Relaxed), 2 * 257);
        let mut steps = Vec::new();
        for _ in 0..3 {
            let done = unsent.pass_on(&mailbox);
            steps.push((done, mailbox.0.lock().1.len(), all.load(Ordering::Relaxed)));
            mailbox.0.lock().0 = 1;
        }
        assert_eq!(steps, [(false, 0, 514), (false, 1, 257), (true, 3, 0)]);
        assert_eq!(mailbox.0.lock().1, ["a", "b", "7 failed"]);
    }

    #[test]
    fn a_message_of_any_length_may_wait_and_two_of_the_longest_may_not() {
        let mut unsent = Unsent::new(MemoryUse::none(&Arc::default()));
        let longest = 2 * BESIDES_BYTES;
        unsent.add_message(Bytes::from(vec![0; longest]), longest).unwrap();
        unsent.add_message("short".into(), longest).unwrap();
        let refused = unsent.add_message(Bytes::from(vec![0; longest]), longest);
        assert_eq!(refused, Err(Stop::NoRoom { most: 3 * BESIDES_BYTES }));
    }
}
