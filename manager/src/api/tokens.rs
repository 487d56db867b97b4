//! Tokens, and links to the page.

use std::sync::Arc;

use grid_protocol::client::{Denial, DenialCode, Reply};
use grid_protocol::key::PublicKey;
use grid_protocol::limits::NAME_BYTES_MAX;
use grid_protocol::name::is_obeyed;
use grid_protocol::role::{Role, Roles};
use grid_protocol::token::TokenInfo;

use crate::api::denials::{deny, fault, found, not_allowed};
use crate::asker::Asker;
use crate::catalog::CatalogError;
use crate::context::Context;

/// Longest lifetime of a token, in seconds: a year.
const TTL_S_MAX: u64 = 366 * 24 * 3600;

pub(super) async fn new_token(
    context: &Arc<Context>,
    asker: Asker,
    roles: Roles,
    id: PublicKey,
    role: Role,
    ttl_s: u64,
    name: String,
) -> Result<Reply, Denial> {
    let wrong = |why: &str, help: &str| Err(deny(DenialCode::BadRequest, "token", why, help));
    if role == Role::Host || !roles.has(role) {
        return Err(not_allowed("make a token of that role", asker.key, role));
    }
    if ttl_s == 0 || ttl_s > TTL_S_MAX {
        return wrong(
            "a token lives for a second at least, and for a year at most",
            "ask for less with --days",
        );
    }
    if name.len() > NAME_BYTES_MAX || name.chars().any(is_obeyed) {
        return wrong("its name is too long or cannot be shown", "");
    }
    let now = context.unix_now();
    let token = TokenInfo { id, owner: asker.key, role, expires: now.saturating_add(ttl_s), name };
    let kept = context
        .catalog(move |catalog| {
            if catalog.token(&id, now).is_some() {
                return Ok(false);
            }
            catalog.add_token(token, now)?;
            Ok::<_, CatalogError>(true)
        })
        .await
        .map_err(fault)?;
    if kept { Ok(Reply::Done) } else { wrong("there is such a token already", "draw another") }
}

pub(super) async fn remove_token(
    context: &Arc<Context>,
    asker: Asker,
    roles: Roles,
    id: PublicKey,
) -> Result<Reply, Denial> {
    let now = context.unix_now();
    let removed = context
        .catalog(move |catalog| {
            let is_theirs = |token: &TokenInfo| roles.has(Role::Admin) || token.owner == asker.key;
            if !catalog.token(&id, now).is_some_and(is_theirs) {
                return Ok(false);
            }
            catalog.remove_token(&id)?;
            Ok::<_, CatalogError>(true)
        })
        .await
        .map_err(fault)?;
    found(removed, "token", "`grid key tokens` lists them")
}

/// Makes a link that logs `asker` in to the page.
pub(super) fn page_link(context: &Context, asker: Asker) -> Result<Reply, Denial> {
    let code = context.config.machine.random().map_err(|error| fault(error.into()))?;
    match context.page_links.make(asker, code, context.now()) {
        Some((url, certificate)) => Ok(Reply::PageLink { url, certificate }),
        None => {
            let why = "this manager serves none";
            let help = "start it with a page: `grid up --http 127.0.0.1:4748`";
            Err(deny(DenialCode::Conflict, "page", why, help))
        }
    }
}
