//! The table of what the API serves.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::routing::{MethodRouter, get, post};
use utoipa::openapi::HttpMethod;
use utoipa::openapi::path::{Operation, Paths};
use utoipa::openapi::security::SecurityRequirement;

use crate::auth::Authenticator;
use crate::openapi::NamedSchemas;
use crate::openapi::operation::{ApiOperation, add_problem};
use crate::openapi::problems::{OF_EVERY_CHANGE, OF_EVERY_REQUEST, OF_WHO_ASKS};

/// The name of the security scheme of tokens.
pub(super) const TOKEN: &str = "token";

/// The name of the security scheme of a session's cookie.
pub(super) const SESSION: &str = "session";

/// The name of the security scheme of what a session shows to change something.
pub(super) const CSRF_TOKEN: &str = "csrf";

/// What is served, each request with its description.
pub(crate) struct ApiRoutes {
    router: Router<Arc<Authenticator>>,
    tag: &'static str,
    paths: ApiPaths,
}

/// The descriptions of what is served.
#[derive(Default)]
pub(crate) struct ApiPaths {
    pub(super) paths: Paths,
    pub(super) schemas: NamedSchemas,
}

impl ApiRoutes {
    /// No requests yet; those that are added to it are shown together, under this name.
    pub(crate) fn new(tag: &'static str) -> Self {
        Self { router: Router::new(), tag, paths: ApiPaths::default() }
    }

    /// Serves a request that reads.
    pub(crate) fn get<H, T>(self, path: &str, handler: H, operation: ApiOperation) -> Self
    where
        H: Handler<T, Arc<Authenticator>>,
        T: 'static,
    {
        self.add(path, HttpMethod::Get, get(handler), operation)
    }

    /// Serves a request that changes something.
    pub(crate) fn post<H, T>(self, path: &str, handler: H, operation: ApiOperation) -> Self
    where
        H: Handler<T, Arc<Authenticator>>,
        T: 'static,
    {
        self.add(path, HttpMethod::Post, post(handler), operation)
    }

    fn add(
        mut self,
        path: &str,
        method: HttpMethod,
        handler: MethodRouter<Arc<Authenticator>>,
        operation: ApiOperation,
    ) -> Self {
        let (mut operation, schemas) = operation.build(self.tag);
        let changes = if method == HttpMethod::Post { OF_EVERY_CHANGE } else { &[] };
        OF_EVERY_REQUEST.iter().chain(changes).for_each(|status| add_problem(&mut operation, *status));
        // Nobody in particular, until `for_callers` says otherwise.
        operation.security = Some(Vec::new());
        self.paths.paths.add_path_operation(path, vec![method], operation);
        self.paths.schemas.extend(schemas);
        self.router = self.router.route(path, handler);
        self
    }

    /// Longest body of the requests so far, in bytes.
    pub(crate) fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.router = self.router.layer(DefaultBodyLimit::max(bytes));
        self
    }

    /// Serves what `other` serves, too.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.paths = self.paths.merge(other.paths);
        self
    }

    /// What serves, and the description of it.
    pub(crate) fn into_parts(self) -> (Router<Arc<Authenticator>>, ApiPaths) {
        (self.router, self.paths)
    }
}

impl ApiPaths {
    /// These and others.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.paths.merge(other.paths);
        self.schemas.extend(other.schemas);
        self
    }

    /// Says of each that it needs a token or a session, as [`pass`](crate::auth::pass) sees to.
    pub(crate) fn for_callers(mut self) -> Self {
        for item in self.paths.paths.values_mut() {
            item.get.iter_mut().for_each(|operation| needs_caller(operation, &[SESSION]));
            item.post.iter_mut().for_each(|operation| needs_caller(operation, &[SESSION, CSRF_TOKEN]));
        }
        self
    }
}

/// Says that a request needs a token, or all that `session` names.
fn needs_caller(operation: &mut Operation, session: &[&str]) {
    let none = <[String; 0]>::default;
    let token = SecurityRequirement::new(TOKEN, none());
    let session =
        session.iter().fold(SecurityRequirement::default(), |needed, name| needed.add(*name, none()));
    operation.security = Some(vec![token, session]);
    OF_WHO_ASKS.iter().for_each(|status| add_problem(operation, *status));
}
