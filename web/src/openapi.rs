//! The description of the API as OpenAPI 3.1, made from the table by which requests are served.
//!
//! A request enters [`ApiRoutes`] with its handler and its [`ApiOperation`], which says what it takes and answers.
//! Nothing else adds a route below `/api/v1`, so that nothing is served that is not described, and the other way round.

mod document;
mod operation;
mod problems;
mod routes;

pub(crate) use document::document;
pub(crate) use operation::{ApiOperation, operation};
pub(crate) use routes::ApiRoutes;

use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

/// Schemas by their names, as others refer to them.
type NamedSchemas = Vec<(String, RefOr<Schema>)>;

/// Adds the schema of `V` and those that it refers to.
fn add_schema<V: ToSchema>(schemas: &mut NamedSchemas) {
    schemas.push((V::name().into_owned(), V::schema()));
    V::schemas(schemas);
}
