//! What machines look at: metrics, whether the process answers, whether the manager takes tasks.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use grid_http::Problem;

use crate::gate::Gate;

/// The media type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) fn routes(gate: Arc<Gate>, loopback: bool) -> Router {
    let metrics = move |State(gate): State<Arc<Gate>>, headers: HeaderMap| async move {
        // Names of hosts are nobody else's business.
        if !loopback && gate.bearer(&headers).is_none() {
            let detail = "metrics are shown to whoever has a token";
            let problem = Problem::new(StatusCode::UNAUTHORIZED, "no-token", detail);
            return problem.help("make one: `grid key token --role viewer`").into_response();
        }
        ([(header::CONTENT_TYPE, OPEN_METRICS)], gate.access.metrics()).into_response()
    };
    let ready = |State(gate): State<Arc<Gate>>| async move { ready(&gate) };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(gate)
}

fn ready(gate: &Gate) -> Response {
    match gate.access.trouble() {
        None => "ok\n".into_response(),
        // Why is for those who may look.
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "the manager's store takes nothing\n").into_response(),
    }
}
