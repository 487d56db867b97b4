//! Workers.

use axum::extract::Extension;
use axum::http::StatusCode;
use grid_client::view::{DoneView, List, LogLineView, WorkerView};
use grid_protocol::client::{Reply, Request};
use grid_protocol::role::Role;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::answer::{HttpAnswer, document, odd};
use crate::api::Asks;
use crate::api::arguments::{InPath, InQuery, read};
use crate::openapi::{ApiRoutes, operation};

/// How long a worker that is stopped may take to finish, in milliseconds, as for `grid worker stop`.
const STOP_GRACE_MS: u32 = 10_000;

/// Which workers.
#[derive(Debug, Deserialize, IntoParams)]
struct WorkerQuery {
    /// Everybody's, for a viewer or an admin; else only the caller's.
    #[serde(default)]
    #[param(default = false)]
    everyones: bool,
    /// Those that have ended lately, too.
    #[serde(default)]
    #[param(default = false)]
    ended: bool,
}

/// The log of a worker.
#[derive(Serialize, ToSchema)]
struct Log {
    /// Number of lines that were dropped, by the host or the manager.
    dropped: u64,
    /// The newest lines that the manager keeps, oldest first.
    lines: Vec<LogLineView>,
}

pub(super) fn routes() -> ApiRoutes {
    let id = "The worker's id, as `w1.17`.";
    ApiRoutes::new("workers")
        .get(
            "/workers",
            list,
            operation("listWorkers", "Lists workers.")
                .query::<WorkerQuery>()
                .answers::<List<WorkerView>>("The workers."),
        )
        .get(
            "/workers/{id}/logs",
            logs,
            operation("showLog", "Shows what a worker wrote last.")
                .in_path("id", id)
                .answers::<Log>("The log.")
                .problems(&[StatusCode::NOT_FOUND]),
        )
        .post(
            "/workers/{id}/stop",
            stop,
            operation("stopWorker", "Stops a worker.")
                .note(format!("It has {STOP_GRACE_MS} milliseconds to finish."))
                .needs(Role::Client)
                .in_path("id", id)
                .problems(&[StatusCode::NOT_FOUND]),
        )
}

async fn list(Extension(caller): Asks, InQuery(which): InQuery<WorkerQuery>) -> HttpAnswer {
    let WorkerQuery { everyones, ended } = which;
    match caller.ask(Request::WorkerList { everyones, ended }).await? {
        Reply::Workers(workers) => document(List(workers.iter().map(WorkerView::from).collect())),
        other => Err(odd(&other)),
    }
}

async fn logs(Extension(caller): Asks, InPath(id): InPath<String>) -> HttpAnswer {
    match caller.ask(Request::WorkerLogs { worker: read(&id)? }).await? {
        Reply::Logs { lines, dropped } => {
            document(Log { dropped, lines: lines.iter().map(LogLineView::from).collect() })
        }
        other => Err(odd(&other)),
    }
}

async fn stop(Extension(caller): Asks, InPath(id): InPath<String>) -> HttpAnswer {
    let workers = vec![read(&id)?];
    caller.ask(Request::WorkerStop { workers, grace_ms: STOP_GRACE_MS }).await?;
    document(DoneView::DONE)
}
