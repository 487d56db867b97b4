//! One task of a job.

use axum::extract::Extension;
use axum::http::StatusCode;
use grid_client::view::{List, TaskTraceView, TaskView};
use grid_http::HttpProblem;
use grid_protocol::client::{Reply, Request, Subject};
use grid_protocol::job::JobId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{HttpAnswer, document, odd};
use crate::api::Asks;
use crate::api::arguments::{InPath, read};
use crate::auth::Caller;
use crate::openapi::{ApiRoutes, operation};

/// A task, with why it is as it is.
#[derive(Serialize, ToSchema)]
struct TaskPage {
    /// Why it is as it is, one sentence a line.
    explanation: Vec<String>,
    #[serde(flatten)]
    task: TaskView,
    /// Where its time went; null if it was not traced, or is not over.
    trace: Option<TaskTraceView>,
}

pub(super) fn routes() -> ApiRoutes {
    let job = "The job's id.";
    ApiRoutes::new("jobs")
        .get(
            "/jobs/{job}/tasks/{task}",
            show,
            operation("showTask", "Shows one task, and why it is as it is.")
                .in_path("job", job)
                .number_in_path("task", "The task's number in its job, from 0.")
                .answers::<TaskPage>("The task.")
                .problems(&[StatusCode::NOT_FOUND]),
        )
        .get(
            "/jobs/{job}/traces",
            traces,
            operation("listTraces", "Lists where the time of a job's tasks went, of those that were traced.")
                .in_path("job", job)
                .answers::<List<TaskTraceView>>("The traces, in the order in which the tasks ended.")
                .problems(&[StatusCode::NOT_FOUND]),
        )
}

/// Where the time of a job's tasks went.
async fn traces_of(caller: &Caller, job: JobId) -> Result<Vec<TaskTraceView>, HttpProblem> {
    match caller.ask(Request::JobTraces { job }).await? {
        Reply::Traces(traces) => Ok(traces.iter().map(Into::into).collect()),
        other => Err(odd(&other)),
    }
}

async fn traces(Extension(caller): Asks, InPath(job): InPath<String>) -> HttpAnswer {
    document(List(traces_of(&caller, read(&job)?).await?))
}

async fn show(Extension(caller): Asks, InPath((job, task)): InPath<(String, u64)>) -> HttpAnswer {
    let job = read(&job)?;
    let shown = match caller.ask(Request::TaskShow { job, task }).await? {
        Reply::Task(task) => TaskView::from(&task),
        other => return Err(odd(&other)),
    };
    let trace = traces_of(&caller, job).await?.into_iter().rfind(|trace| trace.task == task);
    match caller.ask(Request::Explain(Subject::Task(job, task))).await? {
        Reply::Explanation { lines } => document(TaskPage { explanation: lines, task: shown, trace }),
        other => Err(odd(&other)),
    }
}
