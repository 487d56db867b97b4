//! Keys, tickets and tokens.

use axum::Router;
use axum::extract::{Extension, Path};
use axum::routing::{get, post};
use grid_client::view::{DoneView, IssuedTicketView, KeyView, List, TicketView, TokenView};
use grid_protocol::client::{Reply, Request};
use grid_protocol::role::Role;
use serde::Deserialize;

use crate::answer::{HttpAnswer, bad, document, odd};
use crate::api::{Asks, Body, read};

/// The role that a key gets.
#[derive(Debug, Deserialize)]
struct RoleGrant {
    role: String,
}

/// The ticket that is made.
#[derive(Debug, Deserialize)]
struct NewTicket {
    role: String,
    hours: f64,
}

/// Longest lifetime of a ticket, in hours: a year.
const HOURS_MAX: f64 = 366.0 * 24.0;

pub(super) fn routes() -> Router {
    Router::new()
        .route("/keys", get(keys))
        .route("/keys/{key}/trust", post(trust))
        .route("/keys/{key}/revoke", post(revoke))
        .route("/tickets", get(tickets).post(new_ticket))
        .route("/tickets/{id}/remove", post(remove_ticket))
        .route("/tokens", get(tokens))
        .route("/tokens/{id}/remove", post(remove_token))
}

async fn keys(Extension(caller): Asks) -> HttpAnswer {
    match caller.ask(Request::KeyList).await? {
        Reply::Keys(keys) => document(List(keys.iter().map(KeyView::from).collect())),
        other => Err(odd(&other)),
    }
}

async fn trust(Extension(caller): Asks, Path(key): Path<String>, Body(trust): Body<RoleGrant>) -> HttpAnswer {
    caller.ask(Request::KeyTrust { key: read(&key)?, role: read(&trust.role)? }).await?;
    document(DoneView::DONE)
}

async fn revoke(Extension(caller): Asks, Path(key): Path<String>) -> HttpAnswer {
    caller.ask(Request::KeyRevoke { key: read(&key)? }).await?;
    document(DoneView::DONE)
}

async fn tickets(Extension(caller): Asks) -> HttpAnswer {
    match caller.ask(Request::TicketList).await? {
        Reply::Tickets(tickets) => document(List(tickets.iter().map(TicketView::from).collect())),
        other => Err(odd(&other)),
    }
}

async fn new_ticket(Extension(caller): Asks, Body(new): Body<NewTicket>) -> HttpAnswer {
    let role: Role = read(&new.role)?;
    if !(new.hours > 0.0 && new.hours <= HOURS_MAX) {
        return Err(bad("a ticket is good for more than no time, and for a year at most"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above and below")]
    let ttl_s = (new.hours * 3600.0).ceil() as u64;
    match caller.ask(Request::TicketNew { role, ttl_s }).await? {
        Reply::Ticket { text } => document(IssuedTicketView::new(text, role, ttl_s)),
        other => Err(odd(&other)),
    }
}

async fn remove_ticket(Extension(caller): Asks, Path(id): Path<String>) -> HttpAnswer {
    let id = u128::from_str_radix(&id, 16).ok().filter(|_| id.len() == 32);
    let id = id.ok_or_else(|| bad("a ticket's id has 32 hexadecimal digits"))?.to_be_bytes();
    caller.ask(Request::TicketRemove { id }).await?;
    document(DoneView::DONE)
}

async fn tokens(Extension(caller): Asks) -> HttpAnswer {
    match caller.ask(Request::TokenList).await? {
        Reply::Tokens(tokens) => document(List(tokens.iter().map(TokenView::from).collect())),
        other => Err(odd(&other)),
    }
}

async fn remove_token(Extension(caller): Asks, Path(id): Path<String>) -> HttpAnswer {
    caller.ask(Request::TokenRemove { token: read(&id)? }).await?;
    document(DoneView::DONE)
}
