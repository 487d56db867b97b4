//! Documents: what is printed or answered as a whole.

use serde::{Serialize, Serializer};

/// The version of the views, in each document's `schema`.
pub const SCHEMA: u32 = 1;

/// One view as a document of its own: its fields, and [`SCHEMA`] beside them as `schema`.
///
/// The view must be serialized as a struct or a map; anything else is an error of the serializer.
///
/// # Examples
///
/// ```
/// use grid_client::view::{Document, ExplanationView};
///
/// let why = ExplanationView::from(vec!["no host is there".to_owned()]);
/// let text = serde_json::to_string(&Document::new(why)).unwrap();
/// assert_eq!(text, r#"{"lines":["no host is there"],"schema":1}"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document<V> {
    #[serde(flatten)]
    view: V,
    schema: u32,
}

impl<V> Document<V> {
    /// The document with this view.
    pub fn new(view: V) -> Self {
        Self { view, schema: SCHEMA }
    }
}

/// A view of which there are lists.
pub trait Listed: Serialize {
    /// The name of a list of them.
    const LIST: &'static str;
}

/// A list of views, under the name that such lists have: `{"jobs": […]}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<V>(pub Vec<V>);

impl<V: Listed> Serialize for List<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(V::LIST, &self.0)])
    }
}

/// Success of what has nothing else to show: `{"done": true}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct DoneView {
    /// Always true.
    pub done: bool,
}

impl DoneView {
    /// Success.
    pub const DONE: Self = Self { done: true };
}

/// Why a job, a task or a host is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExplanationView {
    /// The explanation, one sentence a line.
    pub lines: Vec<String>,
}

impl From<Vec<String>> for ExplanationView {
    fn from(lines: Vec<String>) -> Self {
        Self { lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::SpawnedWorkerView;
    use crate::view::tests::json;
    use grid_protocol::id::WorkerId;
    use serde_json::json;

    #[test]
    fn a_document_has_the_fields_of_its_view_and_the_schema() {
        let explanation = ExplanationView::from(vec!["no host is there".to_owned()]);
        assert_eq!(json(&explanation), json!({ "lines": ["no host is there"] }));
        assert_eq!(json(&Document::new(explanation)), json!({ "lines": ["no host is there"], "schema": 1 }));
        assert_eq!(json(&Document::new(DoneView::DONE)), json!({ "done": true, "schema": 1 }));
    }

    #[test]
    fn a_list_has_the_name_of_what_is_in_it() {
        let list = List(vec![SpawnedWorkerView::from(WorkerId::new(1, 2))]);
        assert_eq!(json(&list), json!({ "workers": ["w1.2"] }));
        let empty = Document::new(List::<SpawnedWorkerView>(Vec::new()));
        assert_eq!(serde_json::to_value(empty).unwrap(), json!({ "schema": 1, "workers": [] }));
    }
}
