//! The audit log.

use grid_protocol::activity::AuditEntry;
use serde::Serialize;

use crate::view::document::Listed;

/// Something that somebody did, or tried to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct AuditEntryView {
    /// What was done, in a word or two: `host approve`.
    pub action: String,
    /// The beginning of the key of who did it, for people.
    pub fingerprint: String,
    /// The key of who did it.
    pub key: String,
    /// Why it was refused; null if it was done.
    pub refused: Option<String>,
    /// Its number, from 1, in the order of time.
    pub seq: u64,
    /// To what.
    pub subject: String,
    /// When, in seconds since 1970 on the manager's clock.
    pub unix: u64,
    /// The way it came: `client`, `page`, `token` or `manager`.
    pub via: String,
}

impl From<&AuditEntry> for AuditEntryView {
    fn from(entry: &AuditEntry) -> Self {
        Self {
            action: entry.action.clone(),
            fingerprint: entry.key.fingerprint(),
            key: entry.key.to_string(),
            refused: entry.refused.clone(),
            seq: entry.seq,
            subject: entry.subject.clone(),
            unix: entry.unix,
            via: entry.via.clone(),
        }
    }
}

impl Listed for AuditEntryView {
    const LIST: &'static str = "audit";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{json, key};
    use serde_json::json;

    #[test]
    fn a_deed() {
        let (via, action) = ("client".to_owned(), "job stop".to_owned());
        let subject = "j07".to_owned();
        let entry = AuditEntry { seq: 1, unix: 2, key: key(1), via, action, subject, refused: None };
        let expected = json!({
            "action": "job stop",
            "fingerprint": key(1).fingerprint(),
            "key": key(1).to_string(),
            "refused": null,
            "seq": 1,
            "subject": "j07",
            "unix": 2,
            "via": "client",
        });
        assert_eq!(json(&AuditEntryView::from(&entry)), expected);
    }
}
