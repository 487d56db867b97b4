//! The description of the HTTP API, held against real answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde_json::{Map, Value};

use crate::answered::Answered;

/// A description, and which of its answers were seen.
pub struct ApiDescription {
    document: Value,
    /// Each request, as `GET /jobs/{job}`, with the status of its answer.
    seen: Mutex<BTreeSet<(String, u16)>>,
}

/// Keywords that say nothing of which values are good.
const SAY_NOTHING: &[&str] = &["description", "title", "default", "format", "propertyNames"];

/// Keywords that [`ApiDescription::check`] knows.
const KNOWN: &[&str] =
    &["$ref", "type", "properties", "required", "additionalProperties", "items", "allOf", "oneOf", "minimum"];

impl ApiDescription {
    /// The description with this text.
    ///
    /// # Panics
    ///
    /// If it is no JSON.
    pub fn parse(text: &str) -> Self {
        Self { document: serde_json::from_str(text).unwrap(), seen: Mutex::default() }
    }

    /// The requests that it describes: method and path.
    pub fn requests(&self) -> BTreeSet<(String, String)> {
        let paths = self.document["paths"].as_object().into_iter().flatten();
        let methods = paths.flat_map(|(path, item)| {
            item.as_object()
                .into_iter()
                .flatten()
                .map(move |(method, _)| (method.to_uppercase(), path.clone()))
        });
        methods.collect()
    }

    /// The requests that were seen to be answered with this status.
    pub fn answered(&self, status: u16) -> BTreeSet<(String, String)> {
        let seen = self.seen.lock().unwrap();
        let answered = seen.iter().filter(|(_, known)| *known == status);
        let pairs = answered.filter_map(|(request, _)| request.split_once(' '));
        pairs.map(|(method, path)| (method.to_owned(), path.to_owned())).collect()
    }

    /// Checks an answer of the API.
    ///
    /// # Panics
    ///
    /// If it is not as the description says.
    pub fn hold(&self, method: &str, target: &str, answered: &Answered) {
        let wrong = self.wrong(method, target, answered);
        assert_eq!(wrong, Vec::<String>::new(), "{method} {target}: {answered:?}");
    }

    fn wrong(&self, method: &str, target: &str, answered: &Answered) -> Vec<String> {
        let path = target.split('?').next().unwrap_or_default().trim_start_matches("/api/v1");
        let template = self.template(path);
        let operation =
            template.as_ref().map(|template| &self.document["paths"][template][method.to_lowercase()]);
        let Some((template, operation)) = template.as_ref().zip(operation.filter(|found| found.is_object()))
        else {
            let wanted = if template.is_some() { 405 } else { 404 };
            return if answered.status == wanted {
                Vec::new()
            } else {
                vec!["it is not described".to_owned()]
            };
        };
        let status = answered.status.to_string();
        let Some(response) = operation["responses"].get(&status) else {
            return vec![format!("the status {status} is not described")];
        };
        let response = self.resolved(response);
        let kind = answered.header("content-type");
        let Some(content) = response["content"].get(kind) else {
            return vec![format!("the content type {kind:?} is not described")];
        };
        let missing = response["headers"].as_object().into_iter().flatten();
        let missing = missing.filter(|(name, _)| answered.header(name).is_empty());
        let mut wrong: Vec<_> = missing.map(|(name, _)| format!("the header {name} is missing")).collect();
        match serde_json::from_str(&answered.body) {
            Ok(body) => self.check(&content["schema"], &body, "", &mut wrong),
            Err(error) => wrong.push(format!("the body: {error}")),
        }
        self.seen.lock().unwrap().insert((format!("{method} {template}"), answered.status));
        wrong
    }

    /// Checks the data of an event of the stream.
    ///
    /// # Panics
    ///
    /// If it is not as the description says.
    pub fn hold_event(&self, name: &str, data: &Value) {
        let stream = &self.document["paths"]["/stream"]["get"]["responses"]["200"]["content"];
        let schema = &stream["text/event-stream"]["x-events"][name];
        let mut wrong = Vec::new();
        self.check(schema, data, "", &mut wrong);
        assert_eq!(wrong, Vec::<String>::new(), "{name}: {data}");
    }

    /// The path of the description that a path is one of.
    fn template(&self, path: &str) -> Option<String> {
        let fits = |template: &&String| {
            let (mut parts, mut named) = (path.split('/'), template.split('/'));
            named.by_ref().zip(parts.by_ref()).all(|(named, part)| named.starts_with('{') || named == part)
                && path.split('/').count() == template.split('/').count()
        };
        self.document["paths"].as_object()?.keys().find(fits).cloned()
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(place) => self.document.pointer(place.trim_start_matches('#')).unwrap_or(&Value::Null),
            None => value,
        }
    }

    /// Says what is wrong with a value, a field that the schema does not describe among it.
    fn check(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        self.check_described(schema, value, at, wrong);
        let Value::Object(fields) = value else { return };
        let mut described = BTreeMap::new();
        if self.collect(schema, &mut described) {
            let unknown = fields.keys().filter(|name| !described.contains_key(name.as_str()));
            wrong.extend(unknown.map(|name| format!("{at}/{name} is not described")));
        }
    }

    /// Collects the fields that a schema describes; false if others may be there, too.
    fn collect<'a>(&'a self, schema: &'a Value, described: &mut BTreeMap<&'a str, &'a Value>) -> bool {
        let schema = self.resolved(schema);
        let properties = schema["properties"].as_object();
        described.extend(properties.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema)));
        let parts = schema["allOf"].as_array();
        let closed = parts.map(|parts| parts.iter().all(|part| self.collect(part, described)));
        closed.unwrap_or(properties.is_some() && schema.get("additionalProperties").is_none())
    }

    fn check_described(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        let schema = self.resolved(schema);
        let Some(keywords) = schema.as_object() else {
            wrong.push(format!("{at} has no schema"));
            return;
        };
        let unknown = keywords
            .keys()
            .filter(|word| !KNOWN.contains(&word.as_str()) && !SAY_NOTHING.contains(&word.as_str()));
        wrong.extend(unknown.map(|word| format!("{at}: the keyword {word} is not known here")));
        if !is_of_type(&schema["type"], value) {
            wrong.push(format!("{at} is {value}, not {}", schema["type"]));
        }
        if schema["minimum"].as_i64().zip(value.as_i64()).is_some_and(|(least, value)| value < least) {
            wrong.push(format!("{at} is {value}, which is too little"));
        }
        let parts = schema["allOf"].as_array().into_iter().flatten();
        parts.for_each(|part| self.check_described(part, value, at, wrong));
        if let Some(choices) = schema["oneOf"].as_array() {
            let fits = choices.iter().filter(|choice| {
                let mut wrong = Vec::new();
                self.check(choice, value, at, &mut wrong);
                wrong.is_empty()
            });
            if fits.count() != 1 {
                wrong.push(format!("{at} is not one of what it may be: {value}"));
            }
        }
        for (place, item) in value.as_array().into_iter().flatten().enumerate() {
            if let Some(schema) = schema.get("items") {
                self.check(schema, item, &format!("{at}/{place}"), wrong);
            }
        }
        if let Some(fields) = value.as_object() {
            self.check_fields(schema, fields, at, wrong);
        }
    }

    fn check_fields(&self, schema: &Value, fields: &Map<String, Value>, at: &str, wrong: &mut Vec<String>) {
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let missing = required.filter(|name| !fields.contains_key(*name));
        wrong.extend(missing.map(|name| format!("{at}/{name} is missing")));
        for (name, value) in fields {
            let property = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
            if let Some(property) = property.filter(|property| property.is_object()) {
                self.check(property, value, &format!("{at}/{name}"), wrong);
            }
        }
    }
}

/// True if a value is of the type, or of one of the types.
fn is_of_type(kinds: &Value, value: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    };
    match kinds {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(is),
        kind => is(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn described() -> ApiDescription {
        let host = json!({
            "type": "object",
            "required": ["name", "end"],
            "properties": {
                "name": { "type": "string" },
                "end": { "type": ["integer", "null"], "minimum": 0 },
                "left": { "$ref": "#/components/schemas/Left" },
            },
        });
        let document = json!({ "required": ["schema"], "type": "object", "properties": { "schema": { "type": "integer" } } });
        let schemas = json!({
            "Host": host,
            "Left": { "type": "object", "additionalProperties": { "type": "string" } },
            "HostDocument": { "allOf": [{ "$ref": "#/components/schemas/Host" }, document] },
        });
        let content =
            json!({ "application/json": { "schema": { "$ref": "#/components/schemas/HostDocument" } } });
        let operation = json!({ "responses": { "200": { "content": content } } });
        let paths = json!({ "/hosts/{key}": { "get": operation } });
        ApiDescription::parse(&json!({ "paths": paths, "components": { "schemas": schemas } }).to_string())
    }

    fn answered(status: u16, body: &Value) -> Answered {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Answered { status, headers, body: body.to_string() }
    }

    #[test]
    fn a_true_answer_is_true() {
        let described = described();
        for body in [
            json!({ "name": "one", "end": null, "schema": 1 }),
            json!({ "name": "one", "end": 2, "schema": 1, "left": { "a": "b" } }),
        ] {
            assert_eq!(
                described.wrong("GET", "/api/v1/hosts/k1?a=b", &answered(200, &body)),
                Vec::<String>::new()
            );
        }
        assert_eq!(described.answered(200), described.requests());
    }

    #[test]
    fn an_answer_that_is_not_as_described_is_found() {
        let described = described();
        for (body, expected) in [
            (json!({ "name": "one", "schema": 1 }), "/end is missing"),
            (json!({ "name": "one", "end": null }), "/schema is missing"),
            (json!({ "name": null, "end": null, "schema": 1 }), "/name is null, not \"string\""),
            (json!({ "name": "one", "end": 1.5, "schema": 1 }), "/end is 1.5, not [\"integer\",\"null\"]"),
            (json!({ "name": "one", "end": -1, "schema": 1 }), "/end is -1, which is too little"),
            (json!({ "name": "one", "end": null, "schema": 1, "more": 1 }), "/more is not described"),
            (
                json!({ "name": "one", "end": null, "schema": 1, "left": { "a": 1 } }),
                "/left/a is 1, not \"string\"",
            ),
            (json!([]), " is [], not \"object\""),
        ] {
            let wrong = described.wrong("GET", "/api/v1/hosts/k1", &answered(200, &body));
            assert!(wrong.iter().any(|wrong| wrong == expected), "{body}: {wrong:?}");
        }
        let body = json!({});
        assert_eq!(
            described.wrong("GET", "/api/v1/hosts/k1", &answered(404, &body)),
            ["the status 404 is not described"]
        );
        assert_eq!(
            described.wrong("POST", "/api/v1/hosts/k1", &answered(200, &body)),
            ["it is not described"]
        );
        assert_eq!(described.wrong("POST", "/api/v1/hosts/k1", &answered(405, &body)), Vec::<String>::new());
        assert_eq!(described.wrong("GET", "/api/v1/hosts", &answered(200, &body)), ["it is not described"]);
    }
}
