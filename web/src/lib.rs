//! The manager's page and its HTTP API.
//!
//! [`router`] is everything that is served. A request comes through the guard (`grid-http`: which host it was meant for),
//! then, below `/api/v1`, through authentication (a session of the page or a token; rate; forged requests), and
//! becomes a request to the manager on behalf of whoever asks. What is answered are the views of `grid-client`, as the
//! command line prints them. No handler decides who may do what: the manager does, as for any client.

#![forbid(unsafe_code)]

mod answer;
mod api;
mod assets;
mod auth;
mod openapi;
mod rate;
mod sessions;
mod stream;
mod watched;

use std::sync::Arc;

use axum::Router;
use grid_http::{HostNames, guarded};
use grid_manager::HttpAccess;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};

use crate::auth::Authenticator;

/// How the page is served.
#[derive(Debug, Clone)]
pub struct PageConfig {
    /// Names by which it may be addressed, besides `localhost` and addresses.
    pub names: HostNames,
    /// The port, which tells its cookie from those of other managers on the machine.
    pub port: u16,
    /// It is served with TLS: its cookie is sent by nothing else.
    pub tls: bool,
    /// It is served on a loopback address alone: metrics need no token.
    pub loopback: bool,
}

/// The page, the API, the metrics and the health of a manager.
pub fn router(access: HttpAccess, config: &PageConfig) -> Router {
    let auth = Arc::new(Authenticator::new(access, config));
    // A stream is not worth a buffer that holds back its lines.
    let worth_it = DefaultPredicate::new().and(NotForContentType::const_new("text/event-stream"));
    let routes = Router::new()
        .merge(assets::routes())
        .merge(watched::routes(auth.clone(), config.loopback))
        .nest("/api/v1", api::routes(auth))
        .layer(CompressionLayer::new().compress_when(worth_it));
    guarded(routes, config.names.clone())
}
