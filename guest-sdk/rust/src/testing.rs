//! A stand-in for the host, so that a worker can be tested where it is written.
//!
//! On any target but WebAssembly, grid calls end up here: a test drives the worker and looks at what it did.

use std::cell::RefCell;

use crate::{Turn, Worker};

/// What a worker did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Done {
    /// What it sent, in order.
    pub sent: Vec<Vec<u8>>,
    /// Why it failed the message, if it did.
    pub failed: Option<String>,
    /// What it wrote to its log.
    pub logged: Vec<(i32, String)>,
}

thread_local! {
    static DONE: RefCell<Done> = RefCell::default();
}

/// Gives a worker a message and lets it take its turns, `most` at the most; what it did.
pub fn deliver<W: Worker>(worker: &mut W, message: &[u8], most: usize) -> Done {
    DONE.take();
    worker.handle_msg(message);
    for _ in 0..most {
        if worker.turn() == Turn::Idle {
            break;
        }
    }
    DONE.take()
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn recv(_buffer: &mut [u8]) -> i32 {
    grid_abi::NOTHING
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn send(message: &[u8]) {
    DONE.with_borrow_mut(|done| done.sent.push(message.to_vec()));
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn log(level: i32, line: &str) {
    DONE.with_borrow_mut(|done| done.logged.push((level, line.to_owned())));
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn fail(reason: &str) {
    DONE.with_borrow_mut(|done| done.failed = Some(reason.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Countdown(u8);

    impl Worker for Countdown {
        fn new(arguments: &[u8]) -> Result<Self, String> {
            arguments.first().copied().map(Self).ok_or_else(|| "no start".to_owned())
        }

        fn handle_msg(&mut self, message: &[u8]) {
            if message.is_empty() {
                crate::fail("empty");
            }
        }

        fn turn(&mut self) -> Turn {
            crate::send(&[self.0]);
            self.0 -= 1;
            if self.0 == 0 { Turn::Idle } else { Turn::Again }
        }
    }

    #[test]
    fn a_worker_takes_turns_until_it_is_idle() {
        let mut worker = Countdown::new(&[3]).unwrap();
        let done = deliver(&mut worker, b"go", 10);
        assert_eq!(done.sent, [[3], [2], [1]]);
        assert_eq!(done.failed, None);
    }

    #[test]
    fn a_failure_is_seen() {
        let mut worker = Countdown::new(&[1]).unwrap();
        assert_eq!(deliver(&mut worker, b"", 10).failed.as_deref(), Some("empty"));
    }
}
