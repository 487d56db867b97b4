//! Tokens.

use grid_protocol::token::TokenInfo;
use serde::Serialize;

use crate::view::document::Listed;

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct TokenView {
    /// When it expires, in seconds since 1970.
    pub expires: u64,
    /// Its public half, which is its id.
    pub id: String,
    /// What it is for; may be empty.
    pub name: String,
    /// The key that it acts for.
    pub owner: String,
    /// What it may do at most: `client`, `publisher`, `admin` or `viewer`.
    pub role: &'static str,
}

impl From<&TokenInfo> for TokenView {
    fn from(token: &TokenInfo) -> Self {
        Self {
            expires: token.expires,
            id: token.id.to_string(),
            name: token.name.clone(),
            owner: token.owner.to_string(),
            role: token.role.name(),
        }
    }
}

impl Listed for TokenView {
    const LIST: &'static str = "tokens";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{json, key};
    use grid_protocol::role::Role;
    use serde_json::json;

    #[test]
    fn a_token() {
        let (role, name) = (Role::Viewer, "board".to_owned());
        let token = TokenInfo { id: key(1), owner: key(2), role, expires: 3, name };
        let expected = json!({
            "expires": 3,
            "id": key(1).to_string(),
            "name": "board",
            "owner": key(2).to_string(),
            "role": "viewer",
        });
        assert_eq!(json(&TokenView::from(&token)), expected);
    }
}
