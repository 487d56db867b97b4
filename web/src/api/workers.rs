//! Workers.

use axum::Router;
use axum::extract::{Extension, Path, Query};
use axum::routing::{get, post};
use grid_client::view::{DoneView, List, LogLineView, WorkerView};
use grid_protocol::client::{Reply, Request};
use serde::{Deserialize, Serialize};

use crate::answer::{HttpAnswer, document, odd};
use crate::api::{Asks, read};

/// How long a worker that is stopped may take to finish, in milliseconds, as for `grid worker stop`.
const STOP_GRACE_MS: u32 = 10_000;

/// WorkerQuery workers.
#[derive(Debug, Deserialize)]
struct WorkerQuery {
    #[serde(default)]
    everyones: bool,
    #[serde(default)]
    ended: bool,
}

/// The log of a worker.
#[derive(Serialize)]
struct Log {
    dropped: u64,
    lines: Vec<LogLineView>,
}

pub(super) fn routes() -> Router {
    Router::new()
        .route("/workers", get(list))
        .route("/workers/{id}/logs", get(logs))
        .route("/workers/{id}/stop", post(stop))
}

async fn list(Extension(caller): Asks, which: Query<WorkerQuery>) -> HttpAnswer {
    let WorkerQuery { everyones, ended } = which.0;
    match caller.ask(Request::WorkerList { everyones, ended }).await? {
        Reply::Workers(workers) => document(List(workers.iter().map(WorkerView::from).collect())),
        other => Err(odd(&other)),
    }
}

async fn logs(Extension(caller): Asks, Path(id): Path<String>) -> HttpAnswer {
    match caller.ask(Request::WorkerLogs { worker: read(&id)? }).await? {
        Reply::Logs { lines, dropped } => {
            document(Log { dropped, lines: lines.iter().map(LogLineView::from).collect() })
        }
        other => Err(odd(&other)),
    }
}

async fn stop(Extension(caller): Asks, Path(id): Path<String>) -> HttpAnswer {
    let workers = vec![read(&id)?];
    caller.ask(Request::WorkerStop { workers, grace_ms: STOP_GRACE_MS }).await?;
    document(DoneView::DONE)
}
