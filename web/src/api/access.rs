//! Keys, tickets and tokens.

use axum::extract::Extension;
use axum::http::StatusCode;
use grid_client::view::{DoneView, IssuedTicketView, KeyView, List, TicketView, TokenView};
use grid_protocol::client::{Reply, Request};
use grid_protocol::role::Role;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::answer::{HttpAnswer, bad, document, odd};
use crate::api::Asks;
use crate::api::arguments::{Body, InPath, read};
use crate::openapi::{ApiRoutes, operation};

/// The role that a key gets.
#[derive(Debug, Deserialize, ToSchema)]
struct RoleGrant {
    /// `host`, `client`, `publisher`, `admin` or `viewer`.
    role: String,
}

/// The ticket that is made.
#[derive(Debug, Deserialize, ToSchema)]
struct NewTicket {
    /// The role that it grants: `host`, `client`, `publisher`, `admin` or `viewer`.
    role: String,
    /// How long it is valid, in hours: more than 0, and a year at most.
    #[schema(exclusive_minimum = 0, maximum = 8784)]
    hours: f64,
}

/// Longest lifetime of a ticket, in hours: a year.
const HOURS_MAX: f64 = 366.0 * 24.0;

pub(super) fn routes() -> ApiRoutes {
    key_routes().merge(ticket_routes()).merge(token_routes())
}

fn key_routes() -> ApiRoutes {
    let key = "The key, as `GET /keys` has it.";
    ApiRoutes::new("access")
        .get(
            "/keys",
            keys,
            operation("listKeys", "Lists the keys that the manager knows, and what each may do.")
                .needs(Role::Viewer)
                .answers::<List<KeyView>>("The keys."),
        )
        .post(
            "/keys/{key}/trust",
            trust,
            operation("trustKey", "Gives a key a role.")
                .needs(Role::Admin)
                .in_path("key", key)
                .takes_json::<RoleGrant>("The role."),
        )
        .post(
            "/keys/{key}/revoke",
            revoke,
            operation("revokeKey", "Takes all roles from a key, and keeps it out.")
                .note("A key that the manager does not know is kept out, too, but the answer is 404.")
                .needs(Role::Admin)
                .in_path("key", key)
                .problems(&[StatusCode::NOT_FOUND, StatusCode::CONFLICT]),
        )
}

fn ticket_routes() -> ApiRoutes {
    ApiRoutes::new("access")
        .get(
            "/tickets",
            tickets,
            operation("listTickets", "Lists the tickets that are valid, without their secrets.")
                .needs(Role::Viewer)
                .answers::<List<TicketView>>("The tickets."),
        )
        .post(
            "/tickets",
            new_ticket,
            operation("createTicket", "Makes a ticket.")
                .needs(Role::Admin)
                .takes_json::<NewTicket>("The ticket that is made.")
                .answers::<IssuedTicketView>("The ticket, with its secret.")
                .problems(&[StatusCode::CONFLICT, StatusCode::SERVICE_UNAVAILABLE]),
        )
        .post(
            "/tickets/{id}/remove",
            remove_ticket,
            operation("removeTicket", "Makes a ticket invalid.")
                .needs(Role::Admin)
                .in_path("id", "The ticket's id: 32 hexadecimal digits.")
                .problems(&[StatusCode::NOT_FOUND]),
        )
}

fn token_routes() -> ApiRoutes {
    ApiRoutes::new("access")
        .get(
            "/tokens",
            tokens,
            operation(
                "listTokens",
                "Lists the caller's tokens, or everybody's for an admin, without their secrets.",
            )
            .answers::<List<TokenView>>("The tokens."),
        )
        .post(
            "/tokens/{id}/remove",
            remove_token,
            operation("removeToken", "Makes a token invalid.")
                .note("It may be the caller's own, or anybody's if the caller is an admin.")
                .in_path("id", "The token's id, as `GET /tokens` has it.")
                .problems(&[StatusCode::NOT_FOUND]),
        )
}

async fn keys(Extension(caller): Asks) -> HttpAnswer {
    match caller.ask(Request::KeyList).await? {
        Reply::Keys(keys) => document(List(keys.iter().map(KeyView::from).collect())),
        other => Err(odd(&other)),
    }
}

async fn trust(
    Extension(caller): Asks,
    InPath(key): InPath<String>,
    Body(trust): Body<RoleGrant>,
) -> HttpAnswer {
    caller.ask(Request::KeyTrust { key: read(&key)?, role: read(&trust.role)? }).await?;
    document(DoneView::DONE)
}

async fn revoke(Extension(caller): Asks, InPath(key): InPath<String>) -> HttpAnswer {
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

async fn remove_ticket(Extension(caller): Asks, InPath(id): InPath<String>) -> HttpAnswer {
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

async fn remove_token(Extension(caller): Asks, InPath(id): InPath<String>) -> HttpAnswer {
    caller.ask(Request::TokenRemove { token: read(&id)? }).await?;
    document(DoneView::DONE)
}
