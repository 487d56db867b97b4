//! Denials that a client makes itself.

use grid_protocol::client::{Denial, DenialCode, Reply};

/// The manager answered another question than the one that was asked.
pub(crate) fn unexpected(reply: &Reply) -> Denial {
    Denial {
        code: DenialCode::ManagerFault,
        what: "the manager's answer".to_owned(),
        why: format!("was not one to the question: {reply:?}"),
        help: "upgrade the older program".to_owned(),
    }
}
