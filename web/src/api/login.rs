//! Logging in and out.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::routing::post;
use grid_client::view::DoneView;
use grid_http::HttpProblem;
use grid_manager::Asker;
use grid_protocol::client::{Reply, Request};
use grid_protocol::role::Role;
use grid_protocol::ticket::Ticket;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::answer::{HttpAnswer, document, odd};
use crate::api::{Asks, Body};
use crate::auth::{Authenticator, From, foreign};

/// How somebody logs in: one of the two.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Login {
    /// The code of a link that `grid ui` made.
    Code(String),
    /// A ticket, of any role but a host's.
    Ticket(String),
}

/// Who is logged in.
#[derive(Serialize)]
struct Me {
    /// What the header `x-grid-csrf` must hold; null for a token.
    csrf: Option<String>,
    fingerprint: String,
    key: String,
    manager: String,
    roles: Vec<&'static str>,
    software: String,
}

pub(super) fn routes(auth: Arc<Authenticator>) -> Router {
    Router::new().route("/login", post(login)).with_state(auth)
}

async fn login(
    State(auth): State<Arc<Authenticator>>,
    from: From,
    headers: HeaderMap,
    Body(login): Body<Login>,
) -> HttpAnswer {
    foreign(&headers)?;
    let peer = from.map(|Extension(peer)| peer);
    if !auth.may_log_in(peer) {
        let problem = HttpProblem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "too many logins");
        return Err(problem.help("wait a second"));
    }
    let from = peer.map_or_else(|| "the page".to_owned(), |peer| peer.0.to_string());
    let asker = match login {
        Login::Code(code) => auth.access.redeem_code(&code, &from).ok_or_else(|| {
            let detail = "the link was used already, or is older than a minute";
            refused(detail).help("type `grid ui` again")
        })?,
        Login::Ticket(text) => redeem(&auth, &text, &from).await?,
    };
    let secrets = auth
        .secrets()
        .map_err(|detail| HttpProblem::new(StatusCode::INTERNAL_SERVER_ERROR, "manager-fault", detail))?;
    let secret = auth.sessions.begin(asker, secrets, Instant::now());
    let mut response = document(DoneView::DONE)?;
    if let Ok(cookie) = HeaderValue::from_str(&auth.cookie(&secret)) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn refused(detail: impl Into<String>) -> HttpProblem {
    HttpProblem::new(StatusCode::FORBIDDEN, "refused", detail)
}

async fn redeem(auth: &Authenticator, text: &str, from: &str) -> Result<Asker, HttpProblem> {
    let ticket: Ticket = text.trim().parse().map_err(|error| {
        refused(format!("this is no ticket: {error}")).help("`grid ticket new --role viewer` makes one")
    })?;
    auth.access
        .redeem_ticket(&ticket, from)
        .await
        .map_err(|refusal| refused(refusal.to_string()).help("`grid ticket new --role viewer` makes another"))
}

pub(super) async fn me(Extension(caller): Asks) -> HttpAnswer {
    let status = match caller.ask(Request::Status).await? {
        Reply::Status(status) => status,
        other => return Err(odd(&other)),
    };
    let roles = caller.auth.access.roles(caller.asker);
    document(Me {
        csrf: caller.csrf.clone(),
        fingerprint: caller.asker.key.fingerprint(),
        key: caller.asker.key.to_string(),
        manager: status.manager.to_string(),
        roles: roles.iter().map(Role::name).collect(),
        software: status.software,
    })
}

pub(super) async fn logout(Extension(caller): Asks) -> HttpAnswer {
    caller.secret.iter().for_each(|secret| caller.auth.sessions.end(secret));
    let mut response = document(DoneView::DONE)?;
    if let Ok(cookie) = HeaderValue::from_str(&caller.auth.no_cookie()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
