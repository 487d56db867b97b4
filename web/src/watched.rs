//! What machines look at: metrics, whether the process answers, whether the manager takes tasks.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use grid_http::{HttpProblem, metrics_response};

use crate::auth::Authenticator;

pub(crate) fn routes(auth: Arc<Authenticator>, loopback: bool) -> Router {
    let metrics = move |State(auth): State<Arc<Authenticator>>, headers: HeaderMap| async move {
        // Names of hosts are nobody else's business.
        if !loopback && auth.bearer(&headers).is_none() {
            let detail = "metrics are shown to whoever has a token";
            let problem = HttpProblem::new(StatusCode::UNAUTHORIZED, "no-token", detail);
            return problem.help("make one: `grid key token --role viewer`").into_response();
        }
        metrics_response(&headers, auth.access.metrics())
    };
    let ready = |State(auth): State<Arc<Authenticator>>| async move { ready(&auth) };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(auth)
}

fn ready(auth: &Authenticator) -> Response {
    match auth.access.trouble() {
        None => "ok\n".into_response(),
        // Why is for those who may look.
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "the manager's store takes nothing\n").into_response(),
    }
}
