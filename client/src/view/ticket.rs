//! Tickets.

use grid_protocol::client::TicketInfo;
use grid_protocol::role::Role;
use grid_protocol::ticket::Ticket;
use serde::Serialize;

use crate::view::document::Listed;
use crate::view::value::hexadecimal;

/// A ticket that the manager keeps, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct TicketView {
    /// When it expires, in seconds since 1970.
    pub expires: u64,
    /// Its id: 32 hexadecimal digits.
    pub id: String,
    /// The role that it grants: `host`, `client`, `publisher`, `admin` or `viewer`.
    pub role: &'static str,
    /// The key that used it; null if none did.
    pub used_by: Option<String>,
}

impl From<&TicketInfo> for TicketView {
    fn from(ticket: &TicketInfo) -> Self {
        Self {
            expires: ticket.expires,
            id: hexadecimal(&ticket.id),
            role: ticket.role.name(),
            used_by: ticket.used_by.map(|key| key.to_string()),
        }
    }
}

impl Listed for TicketView {
    const LIST: &'static str = "tickets";
}

/// A ticket as it was just made, with its secret: whoever reads the view may use the ticket.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct IssuedTicketView {
    /// The command line that uses it.
    pub join: String,
    /// The role that it grants: `host`, `client`, `publisher`, `admin` or `viewer`.
    pub role: &'static str,
    /// The ticket as text.
    pub ticket: String,
    /// How long it is valid, in seconds from now.
    pub ttl_s: u64,
}

impl IssuedTicketView {
    /// The view of the ticket with this text, which grants `role` for `ttl_s` seconds from now.
    pub fn new(ticket: String, role: Role, ttl_s: u64) -> Self {
        Self { join: join_line(role, &ticket), role: role.name(), ticket, ttl_s }
    }
}

/// The command line that uses a ticket: for a host the one that starts it, else one that shows the grid.
pub fn join_line(role: Role, ticket: &str) -> String {
    match role {
        Role::Host => format!("grid-host --manager {ticket}"),
        _ => format!("grid --manager {ticket} status"),
    }
}

/// What a ticket's own text says, without its secret. Whether it was used only its manager knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TicketContentsView {
    /// Where its manager listens, each as `HOST:PORT`.
    pub addresses: Vec<String>,
    /// When it expires, in seconds since 1970.
    pub expires: u64,
    /// Its id: 32 hexadecimal digits.
    pub id: String,
    /// The key of its manager.
    pub manager: String,
    /// The role that it grants: `host`, `client`, `publisher`, `admin` or `viewer`.
    pub role: &'static str,
}

impl From<&Ticket> for TicketContentsView {
    fn from(ticket: &Ticket) -> Self {
        Self {
            addresses: ticket.addresses.clone(),
            expires: ticket.expires,
            id: hexadecimal(&ticket.id),
            manager: ticket.manager.to_string(),
            role: ticket.role.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{json, key};
    use serde_json::json;

    #[test]
    fn a_ticket_that_the_manager_keeps() {
        let mut ticket =
            TicketInfo { id: [0xab; 16], role: Role::Host, expires: 1_700_000_000, used_by: None };
        let mut expected = json!({
            "expires": 1_700_000_000,
            "id": "abababababababababababababababab",
            "role": "host",
            "used_by": null,
        });
        assert_eq!(json(&TicketView::from(&ticket)), expected);
        ticket.used_by = Some(key(1));
        expected["used_by"] = key(1).to_string().into();
        assert_eq!(json(&TicketView::from(&ticket)), expected);
    }

    #[test]
    fn a_ticket_that_was_just_made() {
        let issued = |role| IssuedTicketView::new("grid1abc".to_owned(), role, 3600);
        let join = "grid-host --manager grid1abc";
        let expected = json!({ "join": join, "role": "host", "ticket": "grid1abc", "ttl_s": 3600 });
        assert_eq!(json(&issued(Role::Host)), expected);
        let join = "grid --manager grid1abc status";
        let expected = json!({ "join": join, "role": "client", "ticket": "grid1abc", "ttl_s": 3600 });
        assert_eq!(json(&issued(Role::Client)), expected);
    }

    #[test]
    fn what_a_ticket_says_without_its_secret() {
        let addresses = vec!["192.0.2.7:4747".to_owned()];
        let ticket = Ticket::new(addresses, key(1), Role::Admin, 1_700_000_000, [1; 16], [2; 32]);
        let expected = json!({
            "addresses": ["192.0.2.7:4747"],
            "expires": 1_700_000_000,
            "id": "01010101010101010101010101010101",
            "manager": key(1).to_string(),
            "role": "admin",
        });
        assert_eq!(json(&TicketContentsView::from(&ticket)), expected);
    }
}
