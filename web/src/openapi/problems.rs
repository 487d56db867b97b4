//! The problems that requests are answered with.

use axum::http::header;
use utoipa::openapi::content::Content;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{HeaderBuilder, Ref, RefOr};

/// The name of the schema of all of them.
pub(super) const PROBLEM: &str = "Problem";

/// Each status with the name of its problem, and with when it is answered and which `code` it has then.
const PROBLEMS: &[(u16, &str, &str)] = &[
    (400, "BadRequest", "Something in the request cannot be read, or is outside the limits: `bad-request`."),
    (401, "NoSession", "There is neither a session nor a token, or it is not good any more: `no-session`."),
    (
        403,
        "Refused",
        "The key or the token has not the role: `not-allowed`. Another site asked, or the CSRF header is not the \
         session's: `forged`. The code or the ticket is not good: `refused`.",
    ),
    (404, "NotFound", "There is nothing of that name, or the caller may not see it: `not-found`."),
    (408, "Timeout", "The request took too long to come, or to be carried out: `timeout`."),
    (409, "Conflict", "The present state does not allow it: `conflict`."),
    (413, "TooLarge", "The body, or a task in it, is too long: `too-large`."),
    (415, "WrongType", "The body is of another type: `bad-request`."),
    (421, "WrongHost", "The request names a host that this server is not: `host`."),
    (
        422,
        "ModuleRejected",
        "The manager refuses the module, its manifest or its signature: `module-rejected`.",
    ),
    (429, "TooMany", "There were too many requests of this key, or logins from this address: `too-many`."),
    (500, "ManagerFault", "The manager cannot do it, for example because its disk is full: `manager-fault`."),
    (
        503,
        "Unavailable",
        "A limit of the manager is reached: `no-capacity`. There are too many streams: `too-many`.",
    ),
];

/// Problems of every request.
pub(super) const OF_EVERY_REQUEST: &[u16] = &[408, 421];

/// Problems of every request that changes something, whose body may be too long.
pub(super) const OF_EVERY_CHANGE: &[u16] = &[413];

/// Problems of every request that needs a session or a token.
pub(super) const OF_WHO_ASKS: &[u16] = &[401, 403, 429, 500];

/// The name of the problem with this status.
pub(super) fn problem_name(status: u16) -> &'static str {
    PROBLEMS.iter().find(|(known, ..)| *known == status).map_or(PROBLEM, |(_, name, _)| name)
}

/// The responses, by their names.
pub(super) fn responses() -> impl Iterator<Item = (&'static str, Response)> {
    PROBLEMS.iter().map(|(status, name, text)| {
        let schema: RefOr<Schema> = Ref::from_schema_name(PROBLEM).into();
        let response = ResponseBuilder::new().description(*text);
        let response = response.content("application/problem+json", Content::new(Some(schema)));
        let response = match status {
            429 => {
                let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
                let header = HeaderBuilder::new().schema(Some(seconds));
                let header = header.description(Some("Seconds to wait.")).build();
                response.header(header::RETRY_AFTER.as_str(), header)
            }
            _ => response,
        };
        (*name, response.build())
    })
}

/// The schema of a problem, as `grid-http` writes it.
pub(super) fn schema() -> Schema {
    let text = |text: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(text));
    let status =
        ObjectBuilder::new().schema_type(Type::Integer).description(Some("The status of the answer."));
    let fields = [
        ("code", text("The kind of problem in a word or two, for programs.")),
        ("detail", text("What went wrong, for people.")),
        ("help", text("What to do about it, for people; may be empty.")),
        ("status", status),
        ("title", text("The status in words.")),
        ("type", text("Always `about:blank`: `code` tells problems apart.")),
    ];
    let mut problem =
        ObjectBuilder::new().description(Some("Why a request was not done, as RFC 9457 has it."));
    for (name, field) in fields {
        problem = problem.property(name, field).required(name);
    }
    problem.into()
}
