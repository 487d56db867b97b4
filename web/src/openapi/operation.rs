//! One request of the API: what it takes, and what it answers.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use grid_client::view::{Document, DoneView};
use grid_protocol::role::Role;
use utoipa::openapi::content::{Content, ContentBuilder};
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{HeaderBuilder, Ref, RefOr, Required};
use utoipa::{IntoParams, ToSchema};

use crate::openapi::problems::problem_name;
use crate::openapi::{NamedSchemas, add_schema};

/// What a request takes, and what it answers. It is begun by [`operation`].
pub(crate) struct ApiOperation {
    id: &'static str,
    summary: &'static str,
    notes: Vec<String>,
    parameters: Vec<Parameter>,
    body: Option<RequestBody>,
    answer: ResponseBuilder,
    problems: BTreeSet<u16>,
    schemas: NamedSchemas,
}

/// A request with this name, which is unique, and this summary, which is one sentence. It answers `{"done": true}`
/// unless it is told otherwise.
pub(crate) fn operation(id: &'static str, summary: &'static str) -> ApiOperation {
    let described = ApiOperation {
        id,
        summary,
        notes: Vec::new(),
        parameters: Vec::new(),
        body: None,
        answer: ResponseBuilder::new(),
        problems: BTreeSet::new(),
        schemas: Vec::new(),
    };
    described.answers::<DoneView>("It is done.")
}

impl ApiOperation {
    /// Says more than the summary, in a paragraph.
    pub(crate) fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Says which role it needs.
    pub(crate) fn needs(self, role: Role) -> Self {
        self.note(match role {
            Role::Viewer => "It needs the role `viewer` or `admin`.".to_owned(),
            role => format!("It needs the role `{role}`."),
        })
    }

    /// A text in its path, under this name.
    pub(crate) fn in_path(self, name: &str, text: &str) -> Self {
        let schema = ObjectBuilder::new().schema_type(Type::String);
        self.parameter(name, ParameterIn::Path, Required::True, text, schema)
    }

    /// A number in its path, under this name.
    pub(crate) fn number_in_path(self, name: &str, text: &str) -> Self {
        let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        let schema = schema.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
        self.parameter(name, ParameterIn::Path, Required::True, text, schema)
    }

    /// A header that it may have.
    pub(crate) fn in_header(self, name: &str, text: &str) -> Self {
        let schema = ObjectBuilder::new().schema_type(Type::String);
        self.parameter(name, ParameterIn::Header, Required::False, text, schema)
    }

    fn parameter(
        mut self,
        name: &str,
        place: ParameterIn,
        required: Required,
        text: &str,
        schema: ObjectBuilder,
    ) -> Self {
        let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(required);
        self.parameters.push(parameter.description(Some(text)).schema(Some(schema)).build());
        self.problems(&[StatusCode::BAD_REQUEST])
    }

    /// The parameters of its query.
    pub(crate) fn query<Q: IntoParams>(mut self) -> Self {
        self.parameters.extend(Q::into_params(|| Some(ParameterIn::Query)));
        self.problems(&[StatusCode::BAD_REQUEST])
    }

    /// A body of JSON.
    pub(crate) fn takes_json<B: ToSchema>(mut self, text: &str) -> Self {
        add_schema::<B>(&mut self.schemas);
        let schema: RefOr<Schema> = Ref::from_schema_name(B::name()).into();
        self.takes(&["application/json"], schema, text).problems(&[StatusCode::UNSUPPORTED_MEDIA_TYPE])
    }

    /// A body of one of these types.
    pub(crate) fn takes(mut self, kinds: &[&str], schema: impl Into<RefOr<Schema>>, text: &str) -> Self {
        let content = Content::new(Some(schema));
        let body = RequestBodyBuilder::new().description(Some(text)).required(Some(Required::True));
        let body = kinds.iter().fold(body, |body, kind| body.content(*kind, content.clone()));
        self.body = Some(body.build());
        self.problems(&[StatusCode::BAD_REQUEST])
    }

    /// It answers a document with this view.
    pub(crate) fn answers<V: ToSchema>(mut self, text: &str) -> Self {
        add_schema::<Document<V>>(&mut self.schemas);
        let schema: RefOr<Schema> = Ref::from_schema_name(Document::<V>::name()).into();
        self.answers_as("application/json", ContentBuilder::new().schema(Some(schema)), text)
    }

    /// It answers something else than a document.
    pub(crate) fn answers_as(mut self, kind: &str, content: ContentBuilder, text: &str) -> Self {
        self.answer = ResponseBuilder::new().description(text).content(kind, content.build());
        self
    }

    /// Its answer has a header.
    pub(crate) fn answer_header(mut self, name: &str, text: &str) -> Self {
        let schema = ObjectBuilder::new().schema_type(Type::String);
        let header = HeaderBuilder::new().schema(Some(schema)).description(Some(text)).build();
        self.answer = self.answer.header(name, header);
        self
    }

    /// Schemas that its text names.
    pub(crate) fn names_schema<V: ToSchema>(mut self) -> Self {
        add_schema::<V>(&mut self.schemas);
        self
    }

    /// Problems that it may answer, besides those of every request.
    pub(crate) fn problems(mut self, statuses: &[StatusCode]) -> Self {
        self.problems.extend(statuses.iter().map(StatusCode::as_u16));
        self
    }

    /// The operation, and the schemas that it refers to.
    pub(super) fn build(self, tag: &str) -> (Operation, NamedSchemas) {
        let answer: Response = self.answer.build();
        let mut operation = OperationBuilder::new()
            .operation_id(Some(self.id))
            .summary(Some(self.summary))
            .description((!self.notes.is_empty()).then(|| self.notes.join("\n\n")))
            .tag(tag)
            .request_body(self.body)
            .response(StatusCode::OK.as_str(), answer);
        for parameter in self.parameters {
            operation = operation.parameter(parameter);
        }
        let mut operation = operation.build();
        for status in self.problems {
            add_problem(&mut operation, status);
        }
        (operation, self.schemas)
    }
}

/// Says that a request may be answered with the problem of this status.
pub(super) fn add_problem(operation: &mut Operation, status: u16) {
    let problem = Ref::from_response_name(problem_name(status));
    operation.responses.responses.insert(status.to_string(), problem.into());
}
