//! What machines look at: metrics, whether the process answers, whether the manager takes tasks.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use grid_http::HttpProblem;

use crate::auth::Authenticator;

/// The media type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The media type of the older text format, which everything that reads metrics knows.
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn routes(auth: Arc<Authenticator>, loopback: bool) -> Router {
    let metrics = move |State(auth): State<Arc<Authenticator>>, headers: HeaderMap| async move {
        // Names of hosts are nobody else's business.
        if !loopback && auth.bearer(&headers).is_none() {
            let detail = "metrics are shown to whoever has a token";
            let problem = HttpProblem::new(StatusCode::UNAUTHORIZED, "no-token", detail);
            return problem.help("make one: `grid key token --role viewer`").into_response();
        }
        let metrics = auth.access.metrics();
        let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok());
        if accepted.is_some_and(|accepted| accepted.contains("application/openmetrics-text")) {
            ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics).into_response()
        } else {
            ([(header::CONTENT_TYPE, CLASSIC)], classic(&metrics)).into_response()
        }
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

/// Metrics in the older text format: there, what is said of a counter names it as its samples do, with `_total`.
fn classic(metrics: &str) -> String {
    let mut text = String::with_capacity(metrics.len());
    let kinds = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let counters: BTreeSet<_> = kinds.filter(|(_, kind)| *kind == "counter").map(|(name, _)| name).collect();
    for line in metrics.lines() {
        let said = ["# HELP ", "# TYPE "].into_iter().find_map(|prefix| {
            let (name, rest) = line.strip_prefix(prefix)?.split_once(' ')?;
            counters.contains(name).then_some((prefix, name, rest))
        });
        match said {
            Some((prefix, name, rest)) => text.extend([prefix, name, "_total ", rest, "\n"]),
            None if line.starts_with("# UNIT ") || line == "# EOF" => {}
            None => text.extend([line, "\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_named_as_its_samples_are() {
        let open = "# HELP grid_a Things.\n# TYPE grid_a counter\ngrid_a_total 1\n# HELP grid_b_bytes Size.\n\
            # TYPE grid_b_bytes gauge\n# UNIT grid_b_bytes bytes\ngrid_b_bytes 2\n# EOF\n";
        let expected = "# HELP grid_a_total Things.\n# TYPE grid_a_total counter\ngrid_a_total 1\n\
            # HELP grid_b_bytes Size.\n# TYPE grid_b_bytes gauge\ngrid_b_bytes 2\n";
        assert_eq!(classic(open), expected);
    }
}
