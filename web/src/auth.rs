//! Authentication: who asks, how often, and whether the request is theirs.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::header::{self, HeaderMap};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use grid_http::{HttpProblem, PeerAddress};
use grid_manager::{Asker, HttpAccess};
use grid_protocol::client::{Reply, Request as GridRequest};
use grid_protocol::key::PublicKey;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::PageConfig;
use crate::answer::problem;
use crate::rate::RateLimit;
use crate::sessions::Sessions;

/// The header by which a page shows that a request is its own.
pub(crate) const CSRF: &str = "x-grid-csrf";

/// Streams at a time.
const STREAMS_MAX: usize = 256;

/// What all requests share.
pub(crate) struct Authenticator {
    pub(crate) access: HttpAccess,
    pub(crate) sessions: Sessions,
    /// Places for streams.
    pub(crate) streams: Arc<Semaphore>,
    cookie: String,
    tls: bool,
    requests: RateLimit<PublicKey>,
    logins: RateLimit<IpAddr>,
}

/// Who asks.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) auth: Arc<Authenticator>,
    pub(crate) asker: Asker,
    /// What a request that changes something must show; none for a token.
    pub(crate) csrf: Option<String>,
    /// The session's secret, by which it ends.
    pub(crate) secret: Option<String>,
}

impl Caller {
    /// Makes a request for whoever asks.
    pub(crate) async fn ask(&self, request: GridRequest) -> Result<Reply, HttpProblem> {
        self.ask_with(request, None).await
    }

    /// As [`Self::ask`], with the bytes that go with it.
    pub(crate) async fn ask_with(
        &self,
        request: GridRequest,
        body: Option<Bytes>,
    ) -> Result<Reply, HttpProblem> {
        match self.auth.access.request(self.asker, request, body).await {
            Reply::Denied(denial) => Err(problem(denial)),
            reply => Ok(reply),
        }
    }
}

impl Authenticator {
    pub(crate) fn new(access: HttpAccess, config: &PageConfig) -> Self {
        Self {
            access,
            sessions: Sessions::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            // Cookies know no ports: another manager on this machine must not end our sessions.
            cookie: format!("grid-session-{}", config.port),
            tls: config.tls,
            requests: RateLimit::new(50.0, 200.0),
            logins: RateLimit::new(1.0, 20.0),
        }
    }

    /// Fresh random bytes.
    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N], String> {
        grid_disk::random().map_err(|error| error.to_string())
    }

    /// The two secrets of a session.
    pub(crate) fn secrets(&self) -> Result<[[u8; 32]; 2], String> {
        Ok([self.random()?, self.random()?])
    }

    /// True if somebody from this address may try to log in now.
    pub(crate) fn may_log_in(&self, from: Option<PeerAddress>) -> bool {
        let address = from.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |PeerAddress(from)| from.ip());
        self.logins.allow(address, Instant::now())
    }

    /// The name of a session's cookie.
    pub(crate) fn cookie_name(&self) -> &str {
        &self.cookie
    }

    /// The cookie that holds a session's secret.
    pub(crate) fn cookie(&self, secret: &str) -> String {
        let secure = if self.tls { "; Secure" } else { "" };
        format!("{}={secret}; Path=/; HttpOnly; SameSite=Strict{secure}", self.cookie)
    }

    /// The cookie that forgets it.
    pub(crate) fn no_cookie(&self) -> String {
        format!("{}; Max-Age=0", self.cookie(""))
    }

    /// Whom a token in the headers acts for.
    pub(crate) fn bearer(&self, headers: &HeaderMap) -> Option<Asker> {
        let header = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = header.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| self.access.token(token.trim())).flatten()
    }

    fn secret(&self, headers: &HeaderMap) -> Option<String> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut pairs =
            cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.cookie).map(|(_, secret)| secret.to_owned())
    }

    fn caller(self: &Arc<Self>, headers: &HeaderMap) -> Option<Caller> {
        let auth = self.clone();
        if headers.contains_key(header::AUTHORIZATION) {
            let asker = self.bearer(headers)?;
            return Some(Caller { auth, asker, csrf: None, secret: None });
        }
        let secret = self.secret(headers)?;
        let session = self.sessions.find(&secret, Instant::now())?;
        Some(Caller { auth, asker: session.asker, csrf: Some(session.csrf), secret: Some(secret) })
    }
}

/// Lets a request pass if it is somebody's, and theirs.
pub(crate) async fn pass(
    State(auth): State<Arc<Authenticator>>,
    mut request: Request,
    next: Next,
) -> Response {
    match admit(&auth, request.method(), request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn admit(auth: &Arc<Authenticator>, method: &Method, headers: &HeaderMap) -> Result<Caller, HttpProblem> {
    foreign(headers)?;
    let Some(caller) = auth.caller(headers) else {
        let detail = "nobody is logged in";
        let problem = HttpProblem::new(StatusCode::UNAUTHORIZED, "no-session", detail);
        return Err(problem.help("type `grid ui`; a program shows a token, made by `grid key token`"));
    };
    if let Some(csrf) = &caller.csrf
        && !matches!(*method, Method::GET | Method::HEAD)
        && !headers.get(CSRF).is_some_and(|shown| is_same(shown.as_bytes(), csrf.as_bytes()))
    {
        let detail = "the request does not come from the page itself";
        return Err(HttpProblem::new(StatusCode::FORBIDDEN, "forged", detail).help("load the page anew"));
    }
    if !auth.requests.allow(caller.asker.key, Instant::now()) {
        let detail = "too many requests";
        return Err(HttpProblem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", detail).help("wait a second"));
    }
    Ok(caller)
}

/// Refuses what a browser says that another site has asked for.
pub(crate) fn foreign(headers: &HeaderMap) -> Result<(), HttpProblem> {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    if matches!(site, Some(b"cross-site" | b"same-site")) {
        let detail = "another site has asked for this";
        return Err(HttpProblem::new(StatusCode::FORBIDDEN, "forged", detail));
    }
    Ok(())
}

/// Compares two secrets in a time that does not tell where they differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// The peer's address, if the server has told.
pub(crate) type From = Option<Extension<PeerAddress>>;
