//! One task of a job.

use axum::Router;
use axum::extract::{Extension, Path};
use axum::routing::get;
use grid_client::view::TaskView;
use grid_protocol::client::{Reply, Request, Subject};
use serde::Serialize;

use crate::answer::{HttpAnswer, document, odd};
use crate::api::{Asks, read};

/// A task, with why it is as it is.
#[derive(Serialize)]
struct TaskPage {
    explanation: Vec<String>,
    #[serde(flatten)]
    task: TaskView,
}

pub(super) fn routes() -> Router {
    Router::new().route("/jobs/{job}/tasks/{task}", get(show))
}

async fn show(Extension(caller): Asks, Path((job, task)): Path<(String, u64)>) -> HttpAnswer {
    let job = read(&job)?;
    let shown = match caller.ask(Request::TaskShow { job, task }).await? {
        Reply::Task(task) => TaskView::from(&task),
        other => return Err(odd(&other)),
    };
    match caller.ask(Request::Explain(Subject::Task(job, task))).await? {
        Reply::Explanation { lines } => document(TaskPage { explanation: lines, task: shown }),
        other => Err(odd(&other)),
    }
}
