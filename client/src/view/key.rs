//! Keys.

use grid_protocol::client::KeyInfo;
use grid_protocol::role::Role;
use serde::Serialize;

use crate::view::document::Listed;

/// A key that the manager knows, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct KeyView {
    /// The key.
    pub key: String,
    /// True if the key was revoked: it may do nothing then.
    pub revoked: bool,
    /// Its roles, among `host`, `client`, `publisher`, `admin` and `viewer`, in this order.
    pub roles: Vec<&'static str>,
}

impl From<&KeyInfo> for KeyView {
    fn from(info: &KeyInfo) -> Self {
        Self {
            key: info.key.to_string(),
            revoked: info.revoked,
            roles: info.roles.iter().map(Role::name).collect(),
        }
    }
}

impl Listed for KeyView {
    const LIST: &'static str = "keys";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{json, key};
    use grid_protocol::role::Roles;
    use serde_json::json;

    #[test]
    fn a_key() {
        let roles = Roles::NONE.with(Role::Admin).with(Role::Client);
        let info = KeyInfo { key: key(1), roles, revoked: false };
        let expected = json!({ "key": key(1).to_string(), "revoked": false, "roles": ["client", "admin"] });
        assert_eq!(json(&KeyView::from(&info)), expected);
    }
}
