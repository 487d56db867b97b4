//! Hosts.

use std::collections::HashMap;

use axum::extract::Extension;
use axum::http::StatusCode;
use grid_client::view::{DoneView, HostLoadView, HostView, HostWorkView, List, Listed};
use grid_http::HttpProblem;
use grid_protocol::client::{HostInfo, Reply, Request};
use grid_protocol::key::PublicKey;
use grid_protocol::role::Role;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{HttpAnswer, document, odd};
use crate::api::Asks;
use crate::api::arguments::{InPath, read};
use crate::auth::Caller;
use crate::openapi::{ApiRoutes, operation};

/// A host, with what it is doing.
#[derive(Serialize, ToSchema)]
struct HostPage {
    #[serde(flatten)]
    host: HostView,
    /// What it is doing; null if it is not known to take tasks: it waits for approval, or is gone.
    work: Option<HostWorkView>,
}

/// A host, with how much it has to do.
#[derive(Serialize, ToSchema)]
struct HostRow {
    #[serde(flatten)]
    host: HostView,
    /// How much it has to do; null if it is not known to take tasks: it waits for approval, or is gone.
    load: Option<HostLoadView>,
}

impl Listed for HostRow {
    const LIST: &'static str = HostView::LIST;
}

pub(super) fn routes() -> ApiRoutes {
    let key = "The host's key.";
    ApiRoutes::new("hosts")
        .get(
            "/hosts",
            list,
            operation("listHosts", "Lists the hosts, by their names.").answers::<List<HostRow>>("The hosts."),
        )
        .get(
            "/hosts/{key}",
            show,
            operation("showHost", "Shows one host, and what it is doing.")
                .in_path("key", key)
                .answers::<HostPage>("The host.")
                .problems(&[StatusCode::NOT_FOUND]),
        )
        .post(
            "/hosts/{key}/approve",
            approve,
            operation("approveHost", "Lets a host in that waits for approval.")
                .needs(Role::Admin)
                .in_path("key", key)
                .problems(&[StatusCode::NOT_FOUND]),
        )
        .post(
            "/hosts/{key}/drain",
            drain,
            operation(
                "drainHost",
                "Drains a host: it gets no more work, stops its workers, and leaves when none is left.",
            )
            .needs(Role::Admin)
            .in_path("key", key)
            .problems(&[StatusCode::NOT_FOUND]),
        )
        .post(
            "/hosts/{key}/remove",
            remove,
            operation("removeHost", "Revokes a host's key: it leaves now, and stays out.")
                .needs(Role::Admin)
                .in_path("key", key)
                .problems(&[StatusCode::NOT_FOUND, StatusCode::CONFLICT]),
        )
}

pub(super) async fn hosts(caller: &Caller) -> Result<Vec<HostInfo>, HttpProblem> {
    match caller.ask(Request::HostList).await? {
        Reply::Hosts(hosts) => Ok(hosts),
        other => Err(odd(&other)),
    }
}

async fn list(Extension(caller): Asks) -> HttpAnswer {
    let loads = match caller.ask(Request::HostLoads).await? {
        Reply::HostLoads(loads) => loads,
        other => return Err(odd(&other)),
    };
    let loads: HashMap<_, _> = loads.iter().map(|load| (load.host, load)).collect();
    let row = |host: &HostInfo| HostRow {
        host: host.into(),
        load: loads.get(&host.key).map(|load| HostLoadView::from(*load)),
    };
    document(List(hosts(&caller).await?.iter().map(row).collect()))
}

async fn show(Extension(caller): Asks, InPath(key): InPath<String>) -> HttpAnswer {
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

async fn approve(Extension(caller): Asks, InPath(key): InPath<String>) -> HttpAnswer {
    caller.ask(Request::HostApprove { host: read(&key)? }).await?;
    document(DoneView::DONE)
}

async fn drain(Extension(caller): Asks, InPath(key): InPath<String>) -> HttpAnswer {
    caller.ask(Request::HostDrain { host: read(&key)? }).await?;
    document(DoneView::DONE)
}

async fn remove(Extension(caller): Asks, InPath(key): InPath<String>) -> HttpAnswer {
    caller.ask(Request::HostRemove { host: read(&key)? }).await?;
    document(DoneView::DONE)
}
