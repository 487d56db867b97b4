//! Logging in and out.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use grid_client::view::DoneView;
use grid_http::HttpProblem;
use grid_manager::Asker;
use grid_protocol::client::{Reply, Request};
use grid_protocol::role::Role;
use grid_protocol::ticket::Ticket;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::answer::{HttpAnswer, document, odd};
use crate::api::Asks;
use crate::api::arguments::Body;
use crate::auth::{Authenticator, From, foreign};
use crate::openapi::{ApiRoutes, operation};

/// How somebody logs in: one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum Login {
    /// The code of a link that `grid ui` made.
    Code(String),
    /// A ticket, of any role but a host's.
    Ticket(String),
}

/// Who is logged in.
#[derive(Serialize, ToSchema)]
struct Me {
    /// What the header `x-grid-csrf` must hold; null for a token.
    csrf: Option<String>,
    /// The beginning of the key, for people.
    fingerprint: String,
    /// The key that asks.
    key: String,
    /// The manager's key.
    manager: String,
    /// What the caller may do: among `client`, `publisher`, `admin` and `viewer`.
    roles: Vec<&'static str>,
    /// The version of the manager's software.
    software: String,
}

/// What somebody may ask who is not logged in.
pub(super) fn open_routes() -> ApiRoutes {
    ApiRoutes::new("session").post(
        "/login",
        login,
        operation("logIn", "Begins a session, with the code of a link that `grid ui` made or with a ticket.")
            .note("A session ends when the manager restarts, after 12 hours without use, or after a week.")
            .takes_json::<Login>("The code or the ticket.")
            .answer_header("set-cookie", "The session's cookie.")
            .problems(&[
                StatusCode::FORBIDDEN,
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::INTERNAL_SERVER_ERROR,
            ]),
    )
}

pub(super) fn routes() -> ApiRoutes {
    ApiRoutes::new("session")
        .get(
            "/me",
            me,
            operation("showMe", "Says who asks, and what they may do.").answers::<Me>("Who asks."),
        )
        .post(
            "/logout",
            logout,
            operation("logOut", "Ends the session; does nothing to a token.")
                .answer_header("set-cookie", "A cookie that forgets the session's."),
        )
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

async fn me(Extension(caller): Asks) -> HttpAnswer {
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

async fn logout(Extension(caller): Asks) -> HttpAnswer {
    caller.secret.iter().for_each(|secret| caller.auth.sessions.end(secret));
    let mut response = document(DoneView::DONE)?;
    if let Ok(cookie) = HeaderValue::from_str(&caller.auth.no_cookie()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
