//! The API: each route becomes one request to the manager, or a few.

mod access;
mod arguments;
mod grid;
mod hosts;
mod jobs;
mod login;
mod modules;
mod tasks;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension, Request as HttpRequest};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use grid_http::HttpProblem;
use tokio::time::timeout;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder};

use crate::auth::{Authenticator, CSRF, Caller, pass};
use crate::openapi::{self, ApiRoutes, operation};

/// Longest body of a request, in bytes, but for modules and jobs.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Longest time of a request, from its head to the head of its answer.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);

/// The description of the API, as it is served.
#[derive(Clone)]
struct DescriptionText(Bytes);

pub(crate) fn routes(auth: Arc<Authenticator>) -> Router {
    let (open, open_paths) = open_routes().into_parts();
    let (gated, gated_paths) = gated_routes().into_parts();
    let described = openapi::document(open_paths.merge(gated_paths.for_callers()), auth.cookie_name(), CSRF);
    // Structs of texts and numbers are always serialized.
    let text = DescriptionText(described.to_json().unwrap_or_default().into());
    open.layer(Extension(text))
        .merge(gated.layer(from_fn_with_state(auth.clone(), pass)))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(in_bounds))
        .with_state(auth)
}

/// What somebody may ask who is nobody.
fn open_routes() -> ApiRoutes {
    let json = ContentBuilder::new()
        .schema(Some(ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(true)))));
    let description = ApiRoutes::new("description").get(
        "/openapi.json",
        description,
        operation("describe", "Describes this API, as OpenAPI 3.1.").answers_as(
            "application/json",
            json,
            "The description.",
        ),
    );
    description.merge(login::open_routes())
}

/// What needs a session or a token.
fn gated_routes() -> ApiRoutes {
    grid::routes()
        .merge(access::routes())
        .merge(hosts::routes())
        .merge(jobs::routes())
        .merge(login::routes())
        .merge(modules::routes())
        .merge(tasks::routes())
        .merge(workers::routes())
}

/// Longest body of a request to this path, in bytes.
fn body_bytes_max(path: &str) -> usize {
    match path {
        "/modules" => modules::FORM_BYTES_MAX,
        "/jobs" => jobs::TASKS_BYTES_MAX,
        _ => BODY_BYTES_MAX,
    }
}

/// Refuses a body that says to be too long, and ends a request that takes too long, for example because its body does
/// not come.
async fn in_bounds(request: HttpRequest, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > body_bytes_max(request.uri().path())) {
        let detail = "the body is longer than any of its kind";
        return HttpProblem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).into_response();
    }
    let most = if request.uri().path() == "/modules" { 5 * REQUEST_TIME_MAX } else { REQUEST_TIME_MAX };
    timeout(most, next.run(request)).await.unwrap_or_else(|_| {
        let detail = "the request took too long to come, or to be carried out";
        HttpProblem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail).into_response()
    })
}

type Asks = Extension<Caller>;

async fn description(Extension(DescriptionText(text)): Extension<DescriptionText>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn described() -> Value {
        let (open, gated) = (open_routes().into_parts().1, gated_routes().into_parts().1);
        let document = openapi::document(open.merge(gated.for_callers()), "grid-session-4748", CSRF);
        serde_json::to_value(document).unwrap()
    }

    fn operations(document: &Value) -> Vec<(&String, &Value)> {
        let paths = document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, item)| {
                item.as_object().unwrap().values().map(move |operation| (path, operation))
            })
            .collect()
    }

    /// Each object in a value, itself among them.
    fn objects<'a>(value: &'a Value, found: &mut Vec<&'a serde_json::Map<String, Value>>) {
        match value {
            Value::Object(fields) => {
                found.push(fields);
                fields.values().for_each(|value| objects(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| objects(value, found)),
            _ => {}
        }
    }

    #[test]
    fn each_request_has_a_name_of_its_own_a_sentence_and_a_success_and_its_path_is_explained() {
        let document = described();
        let mut names = BTreeSet::new();
        for (path, operation) in operations(&document) {
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{operation}");
            assert!(operation["summary"].as_str().unwrap().ends_with('.'), "{operation}");
            assert!(operation["responses"]["200"]["content"].is_object(), "{operation}");
            let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            let in_path: Vec<_> = in_path.collect();
            let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
            let explained = parameters.iter().filter(|parameter| parameter["in"] == "path");
            let explained: Vec<_> = explained.map(|parameter| parameter["name"].as_str().unwrap()).collect();
            assert_eq!(in_path, explained, "{path}");
            assert!(parameters.iter().all(|parameter| parameter["description"].is_string()), "{operation}");
        }
    }

    #[test]
    fn whoever_changes_something_shows_a_token_or_a_session_and_what_it_shows() {
        let document = described();
        let open: Vec<_> = operations(&document)
            .into_iter()
            .filter(|(_, operation)| operation["security"] == serde_json::json!([]))
            .collect();
        let open: Vec<_> = open.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(open, ["/login", "/openapi.json"]);
        assert_eq!(
            document["paths"]["/status"]["get"]["security"],
            serde_json::json!([{ "token": [] }, { "session": [] }])
        );
        assert_eq!(
            document["paths"]["/logout"]["post"]["security"],
            serde_json::json!([{ "token": [] }, { "session": [], "csrf": [] }])
        );
        assert_eq!(document["components"]["securitySchemes"]["csrf"]["name"], CSRF);
    }

    #[test]
    fn what_is_referred_to_is_there_and_what_is_there_is_referred_to() {
        let document = described();
        let mut found = Vec::new();
        objects(&document, &mut found);
        let named: BTreeSet<_> = found
            .iter()
            .filter_map(|object| object.get("$ref")?.as_str()?.strip_prefix("#/components/"))
            .collect();
        let kinds = ["schemas", "responses"];
        let there: BTreeSet<_> = kinds
            .iter()
            .flat_map(|kind| {
                document["components"][kind]
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(move |name| format!("{kind}/{name}"))
            })
            .collect();
        assert_eq!(named, there.iter().map(String::as_str).collect());
    }

    #[test]
    fn each_field_says_what_it_is() {
        let document = described();
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            let mut found = Vec::new();
            objects(schema, &mut found);
            for (field, property) in
                found.iter().filter_map(|object| object.get("properties")?.as_object()).flatten()
            {
                // What a list holds, its view says.
                let said =
                    property["description"].is_string() || property["oneOf"][0]["description"].is_string();
                assert!(said || name.ends_with("List"), "{name}.{field}: {property}");
            }
        }
    }
}
