//! Schemas that cannot be derived: of documents, of lists, and of what one value or another may stand for.

use std::borrow::Cow;

use utoipa::openapi::schema::{AllOfBuilder, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::view::document::{Document, List, Listed, SCHEMA};
use crate::view::outcome::FileView;

/// The schemas that others refer to, by their names.
type Schemas = Vec<(String, RefOr<Schema>)>;

/// Adds the schema of `V` and those that it refers to.
fn add<V: ToSchema>(schemas: &mut Schemas) {
    schemas.push((V::name().into_owned(), V::schema()));
    V::schemas(schemas);
}

/// The view's fields, and `schema` beside them.
impl<V: ToSchema> PartialSchema for Document<V> {
    fn schema() -> RefOr<Schema> {
        let version = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .description(Some(format!("The version of the views, which is {SCHEMA}.")))
            .minimum(Some(1));
        let document = ObjectBuilder::new().property("schema", version).required("schema");
        AllOfBuilder::new().item(Ref::from_schema_name(V::name())).item(document).into()
    }
}

impl<V: ToSchema> ToSchema for Document<V> {
    fn name() -> Cow<'static, str> {
        format!("{}Document", V::name()).into()
    }

    fn schemas(schemas: &mut Schemas) {
        add::<V>(schemas);
    }
}

/// One field, whose name the view knows.
impl<V: Listed + ToSchema> PartialSchema for List<V> {
    fn schema() -> RefOr<Schema> {
        let items = ArrayBuilder::new().items(Ref::from_schema_name(V::name()));
        ObjectBuilder::new().property(V::LIST, items).required(V::LIST).into()
    }
}

impl<V: Listed + ToSchema> ToSchema for List<V> {
    fn name() -> Cow<'static, str> {
        format!("{}List", V::name()).into()
    }

    fn schemas(schemas: &mut Schemas) {
        add::<V>(schemas);
    }
}

/// A path or the contents. As a value may be anything, a derived schema could not tell them apart.
impl PartialSchema for FileView {
    fn schema() -> RefOr<Schema> {
        let place = ObjectBuilder::new().schema_type(Type::String);
        let place = place.description(Some("Where it was written to, as a path."));
        let contents = ObjectBuilder::new().schema_type(Type::Object);
        let contents =
            contents.description(Some("Its contents: `{\"text\": …}`, or `{\"bytes\": …}` in hexadecimal."));
        OneOfBuilder::new().item(place).item(contents).description(Some("A file that a task wrote.")).into()
    }
}

impl ToSchema for FileView {}
