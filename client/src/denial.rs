//! Denials that the client makes itself.

use grid_protocol::client::{Denial, DenialCode, Reply};

/// The denial for a reply that does not belong to the request.
pub fn unexpected(reply: &Reply) -> Denial {
    Denial {
        code: DenialCode::ManagerFault,
        what: "the manager's answer".to_owned(),
        why: format!("was not one to the question: {reply:?}"),
        help: "upgrade the older program".to_owned(),
    }
}
