//! One task of a job.

use axum::extract::Extension;
use axum::http::StatusCode;
use grid_client::view::TaskView;
use grid_protocol::client::{Reply, Request, Subject};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{HttpAnswer, document, odd};
use crate::api::Asks;
use crate::api::arguments::{InPath, read};
use crate::openapi::{ApiRoutes, operation};

/// A task, with why it is as it is.
#[derive(Serialize, ToSchema)]
struct TaskPage {
    /// Why it is as it is, one sentence a line.
    explanation: Vec<String>,
    #[serde(flatten)]
    task: TaskView,
}

pub(super) fn routes() -> ApiRoutes {
    ApiRoutes::new("jobs").get(
        "/jobs/{job}/tasks/{task}",
        show,
        operation("showTask", "Shows one task, and why it is as it is.")
            .in_path("job", "The job's id.")
            .number_in_path("task", "The task's number in its job, from 0.")
            .answers::<TaskPage>("The task.")
            .problems(&[StatusCode::NOT_FOUND]),
    )
}

async fn show(Extension(caller): Asks, InPath((job, task)): InPath<(String, u64)>) -> HttpAnswer {
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
