//! The document: what holds for all requests, and the schemas.

use utoipa::openapi::schema::{Components, ComponentsBuilder, Object, Schema, SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr, Server};

use crate::openapi::problems::{self, PROBLEM};
use crate::openapi::routes::{ApiPaths, CSRF_TOKEN, SESSION, TOKEN};

/// The version of the API, which its path has, too. It says nothing of the version of the software.
const VERSION: &str = "1";

/// What a reader must know before the first request.
const ABOUT: &str = "What a manager's page does and shows, for programs. Answers are views, as the command's `--json` \
prints them; each is a document with the number `schema`, and may get more fields without another number. A field that \
has nothing to say is null. Errors are problem documents (RFC 9457).\n\n\
A program shows a token, made by `grid key token`. A page has a session, made by `POST /login`. The roles of the key \
that asks count at each request. A key may ask 50 times a second, and an address log in once a second; beyond that and \
a little more it is 429.";

/// The description of these requests, for a session whose cookie has this name.
pub(crate) fn document(described: ApiPaths, cookie: &str, csrf: &str) -> OpenApi {
    let mut components = ComponentsBuilder::new().schemas_from_iter(described.schemas);
    for (name, response) in problems::responses() {
        components = components.response(name, response);
    }
    let mut components = components.schema(PROBLEM, problems::schema()).build();
    components.schemas.values_mut().for_each(require_what_may_be_null);
    add_security(&mut components, cookie, csrf);
    let license = LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE")).build();
    let info =
        InfoBuilder::new().title("Grid").version(VERSION).description(Some(ABOUT)).license(Some(license));
    OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([Server::new("/api/v1")]))
        .paths(described.paths)
        .components(Some(components))
        .build()
}

fn add_security(components: &mut Components, cookie: &str, csrf: &str) {
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("gridtoken1…");
    let token = token.description(Some("A token, made by `grid key token`.")).build();
    let session = "The cookie of a session, which `POST /login` sets. Its name has the port of the page.";
    let session = ApiKey::Cookie(ApiKeyValue::with_description(cookie, session));
    let shown = "What a session shows to change something: `csrf` of `GET /me`.";
    let shown = ApiKey::Header(ApiKeyValue::with_description(csrf, shown));
    components.add_security_scheme(TOKEN, SecurityScheme::Http(token));
    components.add_security_scheme(SESSION, SecurityScheme::ApiKey(session));
    components.add_security_scheme(CSRF_TOKEN, SecurityScheme::ApiKey(shown));
}

/// Makes each field that may be null a required one.
///
/// That is the rule of the views: a field that has nothing to say is there, and null. The few that are left out instead
/// have a schema without null. What is derived from an `Option` cannot know, and says that it may be missing.
fn require_what_may_be_null(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) => {
            let nullable = object.properties.iter().filter(|(_, property)| may_be_null(property));
            let names: Vec<_> = nullable.map(|(name, _)| name.clone()).collect();
            let Object { required, .. } = object;
            required.extend(names.into_iter().filter(|name| !required.contains(name)).collect::<Vec<_>>());
        }
        RefOr::T(Schema::AllOf(all)) => all.items.iter_mut().for_each(require_what_may_be_null),
        _ => {}
    }
}

fn may_be_null(schema: &RefOr<Schema>) -> bool {
    let has_null = |kind: &SchemaType| match kind {
        SchemaType::Type(kind) => *kind == Type::Null,
        SchemaType::Array(kinds) => kinds.contains(&Type::Null),
        SchemaType::AnyValue => false,
    };
    match schema {
        RefOr::T(Schema::Object(object)) => has_null(&object.schema_type),
        RefOr::T(Schema::Array(array)) => has_null(&array.schema_type),
        RefOr::T(Schema::OneOf(one)) => one.items.iter().any(may_be_null),
        _ => false,
    }
}
