//! What holds for every request, whoever serves it: the host that it was meant for, headers that protect the reader, and
//! errors as problem documents.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use crate::host_names::HostNames;

/// The address of the peer, as an extension of each request.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub SocketAddr);

/// An error as RFC 9457 has it. `detail` and `help` are shown to people.
#[derive(Debug, Clone)]
pub struct HttpProblem {
    /// The status of the response.
    pub status: StatusCode,
    /// The kind of error in a word or two, for scripts.
    pub code: &'static str,
    /// What went wrong.
    pub detail: String,
    /// What to do about it; may be empty.
    pub help: String,
}

impl HttpProblem {
    /// A problem without help.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), help: String::new() }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

impl IntoResponse for HttpProblem {
    fn into_response(self) -> Response {
        // Texts and a number are always serialized.
        let document = serde_json::to_string(&ProblemDocument {
            code: self.code,
            detail: &self.detail,
            help: &self.help,
            status: self.status.as_u16(),
            title: self.status.canonical_reason().unwrap_or("Error"),
            kind: "about:blank",
        });
        let document = document.unwrap_or_default();
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
        let mut response = (self.status, kind, document).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A problem, as it is sent.
#[derive(serde::Serialize)]
struct ProblemDocument<'a> {
    code: &'a str,
    detail: &'a str,
    help: &'a str,
    status: u16,
    title: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

/// What to do if a server is asked by a name that it does not know, for both programs that serve HTTP.
const NAMED: &str = "use its address, or start it with --http-name NAME (grid-host: --metrics-name NAME)";

/// Lets a page load what comes from here, and nothing else; nobody may frame it.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The router, behind the checks that hold for every request.
pub fn guarded(router: Router, names: HostNames) -> Router {
    let unknown =
        || async { HttpProblem::new(StatusCode::NOT_FOUND, "not-found", "there is nothing of that name") };
    let router = router.fallback(unknown).method_not_allowed_fallback(|| async {
        HttpProblem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "it is not asked for in this way")
    });
    router.layer(from_fn_with_state(names, check))
}

async fn check(State(names): State<HostNames>, request: Request, next: Next) -> Response {
    let mut response = match refused(&names, request.headers()) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    protect(&mut response);
    response
}

fn refused(names: &HostNames, headers: &HeaderMap) -> Option<HttpProblem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
    if hosts.next().is_some() || !names.allow(host) {
        let detail = "this server has another name than the one that was asked for";
        let problem = HttpProblem::new(StatusCode::MISDIRECTED_REQUEST, "host", detail);
        return Some(problem.help(NAMED));
    }
    None
}

fn protect(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    let always = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
