//! Views: how each thing of the grid is shown as JSON, with which words and in which units.
//!
//! Everything that shows the grid to people or to scripts serializes these: the command line's `--json` does. A view is
//! a plain struct of texts and numbers, made from what the manager answers (`JobView::from(&info)`), or by a function
//! where that is not all of it. It goes one way: nothing reads a view back.
//!
//! Ids, keys and digests are texts in the form that the command line takes. A field that has nothing to say is null,
//! unless its documentation says that it is left out. A view's fields stand in the order of the alphabet, which is
//! also their order in JSON.
//!
//! With the feature `schema`, the views that the HTTP API answers with have JSON schemas, whose descriptions are the
//! documentation here. The feature changes nothing else.

mod audit;
mod check;
mod document;
mod event;
mod feed;
mod host;
mod job;
mod job_summary;
mod key;
mod module;
mod outcome;
mod overview;
mod sample;
#[cfg(feature = "schema")]
mod schema;
mod status;
mod task;
mod ticket;
mod token;
mod trace;
mod value;
mod worker;

pub use audit::AuditEntryView;
pub use check::{CheckState, CheckView, DiagnosisView};
pub use document::{Document, DoneView, ExplanationView, List, Listed, SCHEMA};
pub use event::EventView;
pub use feed::FeedEntryView;
pub use host::HostView;
pub use job::JobView;
pub use job_summary::{FailureReasonView, JobSummaryView, SlowTaskView};
pub use key::KeyView;
pub use module::ModuleView;
pub use outcome::{AttemptView, DeadTaskView, FileView, OutcomeView, TaskFailedView};
pub use overview::{OverviewView, TotalsView};
pub use sample::{TaskSampleColumns, TaskSamplesView};
pub use status::StatusView;
pub use task::{HeldAttemptView, HostLoadView, HostWorkView, TaskView};
pub use ticket::{IssuedTicketView, TicketContentsView, TicketView, join_line};
pub use token::TokenView;
pub use trace::{TaskTraceView, TracePartView};
pub use value::ValueView;
pub use worker::{DeploymentView, LogLineView, SpawnedWorkerView, WorkerView};

#[cfg(test)]
mod tests {
    use grid_protocol::key::{PublicKey, SecretKey};
    use serde::Serialize;
    use serde_json::Value;

    /// A view as JSON; fails unless its fields stand in the order of the alphabet.
    pub(super) fn json(view: &impl Serialize) -> Value {
        let value = serde_json::to_value(view).unwrap();
        assert_eq!(serde_json::to_string(view).unwrap(), value.to_string());
        value
    }

    pub(super) fn key(seed: u8) -> PublicKey {
        SecretKey::from_seed(&[seed; 32]).public()
    }
}
