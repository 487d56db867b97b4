//! What workers send, and how they end.

use grid_protocol::event::Event;
use grid_protocol::worker::End;
use serde::Serialize;

use crate::view::value::ValueView;

/// What a client is told of one of its workers. Which of the three it is, its fields say: `message`, `failed` or `left`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum EventView {
    /// The worker sent a message.
    Message {
        /// The message.
        message: ValueView,
        /// The worker's id.
        worker: String,
    },
    /// The worker could not handle a message.
    Failed {
        /// The reason, in the worker's words.
        failed: String,
        /// The worker's id.
        worker: String,
    },
    /// The worker has ended.
    Left {
        /// The guest's own frames, innermost first; left out if there are none.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        backtrace: Vec<String>,
        /// How it ended, in words for people.
        left: String,
        /// Number of messages that it was sent and did not answer.
        unanswered: usize,
        /// The worker's id.
        worker: String,
    },
}

impl EventView {
    /// The view of an event; `None` if it is not shown, as the start of a worker is not.
    pub fn of(event: &Event) -> Option<Self> {
        Some(match event {
            Event::Message { worker, payload } => {
                Self::Message { message: ValueView::of(payload), worker: worker.to_string() }
            }
            Event::Failed { worker, reason, .. } => {
                Self::Failed { failed: reason.clone(), worker: worker.to_string() }
            }
            Event::Left { worker, end, unanswered } => Self::Left {
                backtrace: if let End::Failed(failure) = end {
                    failure.backtrace.clone()
                } else {
                    Vec::new()
                },
                left: end.to_string(),
                unanswered: unanswered.len(),
                worker: worker.to_string(),
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{json, key};
    use bytes::Bytes;
    use grid_protocol::digest::Digest;
    use grid_protocol::id::WorkerId;
    use grid_protocol::worker::{Failure, FailureKind};
    use serde_json::json;

    fn worker() -> WorkerId {
        WorkerId::new(1, 2)
    }

    #[test]
    fn what_a_worker_sent() {
        let event = Event::Message { worker: worker(), payload: Bytes::from_static(b"\x18\x2a") };
        assert_eq!(json(&EventView::of(&event).unwrap()), json!({ "message": 42, "worker": "w1.2" }));
        let event = Event::Failed { worker: worker(), message: 7, reason: "no".to_owned() };
        assert_eq!(json(&EventView::of(&event).unwrap()), json!({ "failed": "no", "worker": "w1.2" }));
    }

    #[test]
    fn how_a_worker_ended() {
        let left = |end| Event::Left { worker: worker(), end, unanswered: vec![Bytes::new(), Bytes::new()] };
        let expected = json!({ "left": "stopped as asked", "unanswered": 2, "worker": "w1.2" });
        assert_eq!(json(&EventView::of(&left(End::Stopped)).unwrap()), expected);
        let backtrace = vec!["add".to_owned(), "main".to_owned()];
        let failure = Failure { kind: FailureKind::Trap, message: "unreachable".to_owned(), backtrace };
        let expected = json!({
            "backtrace": ["add", "main"],
            "left": "trap: unreachable",
            "unanswered": 2,
            "worker": "w1.2",
        });
        assert_eq!(json(&EventView::of(&left(End::Failed(failure))).unwrap()), expected);
    }

    #[test]
    fn that_a_worker_started_is_not_shown() {
        let (host, module) = (key(1), Digest::of(b""));
        let event = Event::Joined { worker: worker(), host, module, replaces: None };
        assert_eq!(EventView::of(&event), None);
    }
}
