//! Answers: replies of the manager as documents, its denials as problems.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use grid_client::unexpected;
use grid_client::view::Document;
use grid_http::HttpProblem;
use grid_protocol::client::{Denial, DenialCode, Reply};
use serde::Serialize;

/// What a handler answers.
pub(crate) type HttpAnswer = Result<Response, HttpProblem>;

/// The problem that a denial is.
pub(crate) fn problem(denial: Denial) -> HttpProblem {
    let status = match denial.code {
        DenialCode::BadRequest => StatusCode::BAD_REQUEST,
        DenialCode::NotAllowed => StatusCode::FORBIDDEN,
        DenialCode::NotFound => StatusCode::NOT_FOUND,
        DenialCode::ModuleRejected => StatusCode::UNPROCESSABLE_ENTITY,
        DenialCode::NoCapacity => StatusCode::SERVICE_UNAVAILABLE,
        DenialCode::Conflict => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    HttpProblem::new(status, denial.code.label(), format!("{}: {}", denial.what, denial.why))
        .help(denial.help)
}

/// A reply that the manager should not have given.
pub(crate) fn odd(reply: &Reply) -> HttpProblem {
    problem(unexpected(reply))
}

/// The problem of a request that says something that cannot be read.
pub(crate) fn bad(detail: impl ToString) -> HttpProblem {
    HttpProblem::new(StatusCode::BAD_REQUEST, "bad-request", detail.to_string())
}

/// A view as a document, its fields in the order of the alphabet.
pub(crate) fn document(view: impl Serialize) -> HttpAnswer {
    // Views are plain structs: they are always serialized.
    let document = serde_json::to_value(Document::new(view)).unwrap_or_default();
    Ok(([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response())
}
