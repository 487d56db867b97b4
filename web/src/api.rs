//! The API: each route becomes one request to the manager, or a few.

mod access;
mod hosts;
mod jobs;
mod login;
mod modules;
mod tasks;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension, FromRequest, Query, Request as HttpRequest};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use grid_client::view::{AuditEntryView, List, OverviewView, StatusView};
use grid_http::HttpProblem;
use grid_protocol::client::{Reply, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::answer::{HttpAnswer, bad, document, odd};
use crate::auth::{Authenticator, Caller, pass};
use crate::stream;

/// Longest body of a request, in bytes, but for modules and jobs.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Longest time of a request, from its head to the head of its answer.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);

pub(crate) fn routes(auth: Arc<Authenticator>) -> Router {
    let behind_the_gate = Router::new()
        .route("/me", get(login::me))
        .route("/logout", axum::routing::post(login::logout))
        .route("/status", get(status))
        .route("/overview", get(overview))
        .route("/audit", get(audit))
        .route("/events", get(events))
        .route("/samples", get(samples))
        .route("/stream", get(stream))
        .merge(access::routes())
        .merge(hosts::routes())
        .merge(jobs::routes())
        .merge(modules::routes())
        .merge(tasks::routes())
        .merge(workers::routes())
        .layer(from_fn_with_state(auth.clone(), pass));
    login::routes(auth)
        .merge(behind_the_gate)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(in_bounds))
}

/// Longest body of a request to this path, in bytes.
fn body_bytes_max(path: &str) -> usize {
    match path {
        "/modules" => modules::FORM_BYTES_MAX,
        "/jobs" => jobs::TASKS_BYTES_MAX,
        _ => BODY_BYTES_MAX,
    }
}

/// Refuses a body that says to be too long, and ends a request that takes too long, for example because its body does
/// not come.
async fn in_bounds(request: HttpRequest, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > body_bytes_max(request.uri().path())) {
        let detail = "the body is longer than any of its kind";
        return HttpProblem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).into_response();
    }
    let most = if request.uri().path() == "/modules" { 5 * REQUEST_TIME_MAX } else { REQUEST_TIME_MAX };
    timeout(most, next.run(request)).await.unwrap_or_else(|_| {
        let detail = "the request took too long to come, or to be carried out";
        HttpProblem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail).into_response()
    })
}

type Asks = Extension<Caller>;

/// A body of JSON; what is wrong with it is a problem document.
struct Body<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = HttpProblem;

    async fn from_request(request: HttpRequest, state: &S) -> Result<Self, HttpProblem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        // A form of another site cannot say this, and a script of it would be asked first.
        if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
            let detail = "a body of the type application/json is expected";
            return Err(HttpProblem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad-request", detail));
        }
        let body = Bytes::from_request(request, state).await;
        let body =
            body.map_err(|error| HttpProblem::new(error.status(), "bad-request", error.body_text()))?;
        serde_json::from_slice(&body).map(Self).map_err(bad)
    }
}

/// Reads an id or a key from a path.
fn read<T: std::str::FromStr<Err: ToString>>(text: &str) -> Result<T, HttpProblem> {
    text.parse().map_err(bad)
}

async fn status(Extension(caller): Asks) -> HttpAnswer {
    match caller.ask(Request::Status).await? {
        Reply::Status(status) => document(StatusView::from(&status)),
        other => Err(odd(&other)),
    }
}

async fn overview(Extension(caller): Asks) -> HttpAnswer {
    match caller.ask(Request::Overview).await? {
        Reply::Overview(overview) => document(OverviewView::from(&overview)),
        other => Err(odd(&other)),
    }
}

/// Which entries of the audit log.
#[derive(Debug, Deserialize)]
struct Before {
    #[serde(default)]
    before: u64,
    #[serde(default = "hundred")]
    most: u32,
}

fn hundred() -> u32 {
    100
}

async fn audit(Extension(caller): Asks, query: Query<Before>) -> HttpAnswer {
    let Before { before, most } = query.0;
    match caller.ask(Request::AuditList { before, most }).await? {
        Reply::Audit(entries) => document(List(entries.iter().map(AuditEntryView::from).collect())),
        other => Err(odd(&other)),
    }
}

/// Which entries of a ring.
#[derive(Debug, Deserialize)]
struct RingQuery {
    #[serde(default)]
    after: u64,
    #[serde(default = "hundred")]
    most: u32,
    #[serde(default)]
    wait_ms: u32,
}

async fn events(Extension(caller): Asks, query: Query<RingQuery>) -> HttpAnswer {
    let RingQuery { after, most, wait_ms } = query.0;
    document(stream::events(&caller, after, most, wait_ms).await?)
}

async fn samples(Extension(caller): Asks, query: Query<RingQuery>) -> HttpAnswer {
    let RingQuery { after, most, .. } = query.0;
    document(stream::samples(&caller, after, most).await?)
}

async fn stream(Extension(caller): Asks, begin: Query<stream::Begin>, headers: HeaderMap) -> HttpAnswer {
    stream::serve(caller, begin, &headers).await
}
