//! Hosts.

use axum::Router;
use axum::extract::{Extension, Path};
use axum::http::StatusCode;
use axum::routing::{get, post};
use grid_client::view::{DoneView, HostView, HostWorkView, List};
use grid_http::HttpProblem;
use grid_protocol::client::{HostInfo, Reply, Request};
use grid_protocol::key::PublicKey;
use serde::Serialize;

use crate::answer::{HttpAnswer, document, odd};
use crate::api::{Asks, read};
use crate::auth::Caller;

/// A host, with what it is doing.
#[derive(Serialize)]
struct HostPage {
    #[serde(flatten)]
    host: HostView,
    /// Null if it is not known to take tasks: it waits for approval, or is gone.
    work: Option<HostWorkView>,
}

pub(super) fn routes() -> Router {
    Router::new()
        .route("/hosts", get(list))
        .route("/hosts/{key}", get(show))
        .route("/hosts/{key}/approve", post(approve))
        .route("/hosts/{key}/drain", post(drain))
        .route("/hosts/{key}/remove", post(remove))
}

async fn hosts(caller: &Caller) -> Result<Vec<HostInfo>, HttpProblem> {
    match caller.ask(Request::HostList).await? {
        Reply::Hosts(hosts) => Ok(hosts),
        other => Err(odd(&other)),
    }
}

async fn list(Extension(caller): Asks) -> HttpAnswer {
    document(List(hosts(&caller).await?.iter().map(HostView::from).collect()))
}

async fn show(Extension(caller): Asks, Path(key): Path<String>) -> HttpAnswer {
    let key: PublicKey = read(&key)?;
    let hosts = hosts(&caller).await?;
    let Some(host) = hosts.iter().find(|host| host.key == key) else {
        return Err(HttpProblem::new(StatusCode::NOT_FOUND, "not-found", "there is no host with this key"));
    };
    let work = match caller.ask(Request::HostShow { host: key }).await {
        Ok(Reply::HostWork(work)) => Some(HostWorkView::from(&work)),
        Ok(other) => return Err(odd(&other)),
        Err(problem) if problem.status == StatusCode::NOT_FOUND => None,
        Err(problem) => return Err(problem),
    };
    document(HostPage { host: host.into(), work })
}

async fn approve(Extension(caller): Asks, Path(key): Path<String>) -> HttpAnswer {
    caller.ask(Request::HostApprove { host: read(&key)? }).await?;
    document(DoneView::DONE)
}

async fn drain(Extension(caller): Asks, Path(key): Path<String>) -> HttpAnswer {
    caller.ask(Request::HostDrain { host: read(&key)? }).await?;
    document(DoneView::DONE)
}

async fn remove(Extension(caller): Asks, Path(key): Path<String>) -> HttpAnswer {
    caller.ask(Request::HostRemove { host: read(&key)? }).await?;
    document(DoneView::DONE)
}
