//! What a request brings: in its path, its query and its body. What is wrong with it is a problem document.

use axum::extract::multipart::Multipart;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use bytes::Bytes;
use grid_http::HttpProblem;
use serde::de::DeserializeOwned;

use crate::answer::bad;

/// What the path names.
pub(super) struct InPath<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = HttpProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpProblem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(path)| Self(path)).map_err(|error| refused(error.status(), error.body_text()))
    }
}

/// The parameters of the query.
pub(super) struct InQuery<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for InQuery<T> {
    type Rejection = HttpProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpProblem> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| refused(error.status(), error.body_text()))
    }
}

/// A body of any type.
pub(super) struct AnyBody(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for AnyBody {
    type Rejection = HttpProblem;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpProblem> {
        let body = Bytes::from_request(request, state).await;
        body.map(Self).map_err(|error| refused(error.status(), error.body_text()))
    }
}

/// A body of JSON.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = HttpProblem;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpProblem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        // A form of another site cannot say this, and a script of it would be asked first.
        if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
            let detail = "a body of the type application/json is expected";
            return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let AnyBody(body) = AnyBody::from_request(request, state).await?;
        serde_json::from_slice(&body).map(Self).map_err(bad)
    }
}

/// A body that is a form with files.
pub(super) struct Form(pub(super) Multipart);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = HttpProblem;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpProblem> {
        let form = Multipart::from_request(request, state).await;
        form.map(Self).map_err(|error| refused(error.status(), error.body_text()))
    }
}

fn refused(status: StatusCode, detail: impl Into<String>) -> HttpProblem {
    let code = if status == StatusCode::PAYLOAD_TOO_LARGE { "too-large" } else { "bad-request" };
    HttpProblem::new(status, code, detail)
}

/// Reads an id or a key from a path.
pub(super) fn read<T: std::str::FromStr<Err: ToString>>(text: &str) -> Result<T, HttpProblem> {
    text.parse().map_err(bad)
}
